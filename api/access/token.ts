import type { FastifyRequest } from 'fastify';
import { CofferError } from '../../src/core/errors.ts';

/** Keystone's longest are a fraction of it. */
const FORM = /^[\x21-\x7e]{1,4096}$/;

/** The token that a request came with. Throws `unauthorized`; the message never repeats it. */
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
