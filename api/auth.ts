import type { FastifyRequest } from 'fastify';
import { CofferError } from '../src/core/errors.ts';
import { isLoopback } from './config.ts';

/** Who asks, for which tenant. */
export interface Caller {
  readonly tenant_id: string;
  /** Null where nobody has to say who they are. */
  readonly user: string | null;
  /** May see what belongs to any tenant. */
  readonly is_admin: boolean;
  readonly request_id: string;
}

/** Answers who asks. Rejects with `unauthorized` or `forbidden`. */
export type Authenticate = (request: FastifyRequest, tenant_id: string) => Promise<Caller>;

/**
 * `COFFER_AUTH=none`: everybody who reaches the loopback port is believed. A page in a browser on
 * this machine can reach it too, under a name of its own that it lets point to 127.0.0.1 (DNS
 * rebinding); the Host header gives that away.
 */
export const believeEverybody: Authenticate = async (request, tenant_id) => {
  if (request.host !== '' && !isLoopback(request.host)) {
    const message = `With COFFER_AUTH=none only requests to localhost are answered, not to '${request.host}'.`;
    throw new CofferError('forbidden', message);
  }
  return { tenant_id, user: null, is_admin: true, request_id: request.id };
};
