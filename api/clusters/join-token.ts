import { randomBytes } from 'node:crypto';

const SECRET_BYTES = 32;

/**
 * The token with which external agents join a cluster: it names the cluster, and proves that the agent may
 * join.
 */
export function newJoinToken(cluster_id: string): string {
  return `${cluster_id}.${randomBytes(SECRET_BYTES).toString('base64url')}`;
}
