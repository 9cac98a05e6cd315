import { CofferError } from '../../src/core/errors.ts';
import type { Authenticate } from './caller.ts';

/** True for a host, with or without a port, that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])(:\d{1,5})?$/i.test(host);
}

/**
 * `COFFER_AUTH=none`: every caller that reaches the loopback port is accepted. A page in a browser on this
 * machine can reach the port too, under a name of its own that it makes point to 127.0.0.1 (DNS rebinding);
 * the Host header reveals that.
 */
export const believeEverybody: Authenticate = async (request, tenant_id) => {
  if (request.host !== '' && !isLoopback(request.host)) {
    const message = `With COFFER_AUTH=none only requests to localhost are answered, not to '${request.host}'.`;
    throw new CofferError('forbidden', message);
  }
  const credentials = { user_id: null, project_id: tenant_id, roles: ['admin'], is_admin: true };
  return { user: null, project_id: tenant_id, credentials, is_confined: true };
};
