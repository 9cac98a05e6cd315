import { randomBytes } from 'node:crypto';

const SECRET_BYTES = 32;

/** The token with which external agents join a cluster: it says which one, and proves that they may. */
export function newJoinToken(cluster_id: string): string {
  return `${cluster_id}.${randomBytes(SECRET_BYTES).toString('base64url')}`;
}
