import type { FastifyRequest } from 'fastify';
import { CofferError } from '../src/core/errors.ts';
import type { RequestedBy } from '../src/core/record.ts';
import type { Credentials } from './access/language.ts';
import { isLoopback } from './config.ts';

/** Who asks, as whoever has checked it tells. */
export interface Identity {
  /** In the words of records and events; null where nobody has to say who they are. */
  readonly user: string | null;
  /** Whose clusters they are at home with; null for who has a role in no project. */
  readonly project_id: string | null;
  /** What the rules go by: `user_id`, `project_id`, `roles`, `is_admin` … */
  readonly credentials: Credentials;
  /** Reaches nothing beyond the tenant of the path, also as an administrator. */
  readonly is_confined: boolean;
}

/** Who asks, for which tenant. */
export interface Caller extends Identity {
  /** The tenant of the path. */
  readonly tenant_id: string;
  /** May see what belongs to any tenant. */
  readonly is_admin: boolean;
  readonly request_id: string;
  /** The span of this request; absent where nothing is traced. */
  readonly trace?: string;
  /** Whether what belongs to that tenant exists for this request. */
  sees(tenant_id: string): boolean;
}

/** As records keep it. */
export function requestedBy({ user, request_id, trace }: Caller): RequestedBy {
  return { user, request_id, ...(trace !== undefined && { trace }), via: 'rest' };
}

/** Answers who asks. Rejects with `unauthorized` or `forbidden`. */
export type Authenticate = (request: FastifyRequest, tenant_id: string) => Promise<Identity>;

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
  const credentials = { user_id: null, project_id: tenant_id, roles: ['admin'], is_admin: true };
  return { user: null, project_id: tenant_id, credentials, is_confined: true };
};
