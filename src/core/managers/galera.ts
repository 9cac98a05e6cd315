import type { Cluster, Instant } from '../domain.ts';
import { creationOrder } from '../order/creation.ts';
import type { Move } from '../order/order.ts';
import { operatorsOwn } from './manager.ts';

export const mariadb = operatorsOwn('mariadb', galeraOrder);
export const pxc = operatorsOwn('pxc', galeraOrder);

/**
 * One by one, whatever `max_unavailable` allows: another member brings a returning member up to date, and both
 * are slow meanwhile. Broken instances first, then in creation order.
 */
function galeraOrder(cluster: Cluster, to_version: string, now: Instant): readonly Move[] {
  return creationOrder(cluster, to_version, now).map((move, index) => ({ ...move, stage: index }));
}
