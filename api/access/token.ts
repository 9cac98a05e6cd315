import type { FastifyRequest } from 'fastify';
import { CofferError } from '../../src/core/errors.ts';

/** The longest tokens of Keystone are a fraction of this. */
const FORM = /^[\x21-\x7e]{1,4096}$/;

/** The token of a request. Throws `unauthorized`; the message never repeats the token. */
export function tokenOf({ headers }: FastifyRequest): string {
  const token = headers['x-auth-token'];
  if (token === undefined)
    throw new CofferError('unauthorized', 'Authentication required: send a token as X-Auth-Token.');
  if (typeof token === 'string' && FORM.test(token)) return token;
  throw new CofferError(
    'unauthorized',
    'X-Auth-Token must be one token: up to 4096 visible ASCII characters.',
  );
}
