import type { FastifyRequest } from 'fastify';
import type { RequestedBy } from '../../src/core/record.ts';
import type { Credentials } from './language.ts';
import type { RateLimits } from './rate-limits.ts';
import type { AccessRules } from './rules.ts';

/** The caller, as the authentication has found them. */
export interface Identity {
  /** The name in records and events; null where callers need not identify themselves. */
  readonly user: string | null;
  /** The project whose clusters are the caller's own; null for a caller with a role in no project. */
  readonly project_id: string | null;
  /** What the rules are checked against: `user_id`, `project_id`, `roles`, `is_admin` … */
  readonly credentials: Credentials;
  /** Can access nothing outside the tenant in the path, not even as an administrator. */
  readonly is_confined: boolean;
}

/** The caller, and the tenant that the request is for. */
export interface Caller extends Identity {
  /** The tenant in the path. */
  readonly tenant_id: string;
  /** May see the objects of any tenant. */
  readonly is_admin: boolean;
  readonly request_id: string;
  /** The span of this request; absent where nothing is traced. */
  readonly trace?: string;
  /** Whether the objects of that tenant exist for this request. */
  sees(tenant_id: string): boolean;
}

/** The caller in the form that records keep. */
export function requestedBy({ user, request_id, trace }: Caller): RequestedBy {
  return { user, request_id, ...(trace !== undefined && { trace }), via: 'rest' };
}

/** Resolves with the caller's identity. Rejects with `unauthorized` or `forbidden`. */
export type Authenticate = (request: FastifyRequest, tenant_id: string) => Promise<Identity>;

/** Who the caller is, and what they may do. */
export interface Access {
  readonly authenticate: Authenticate;
  /** How a 401 tells callers to sign in; null where nobody can. */
  readonly challenge: string | null;
  readonly rules: AccessRules;
  /** How many requests tenants may send; null for no limit. */
  readonly limits: RateLimits | null;
}
