import type { Cluster, Instant } from '../domain.ts';
import { creationSequence } from '../sequence/creation.ts';
import type { Move } from '../sequence/sequence.ts';
import { operatorsOwn } from './manager.ts';

export const mariadb = operatorsOwn('mariadb', galeraOrder);
export const pxc = operatorsOwn('pxc', galeraOrder);

/**
 * One by one, whatever `max_unavailable` allows: another member brings a returning member up to date, and both
 * are slow meanwhile. Broken instances first, then in creation order.
 */
function galeraOrder(cluster: Cluster, to_version: string, now: Instant): readonly Move[] {
  return creationSequence(cluster, to_version, now).map((move, index) => ({ ...move, stage: index }));
}
