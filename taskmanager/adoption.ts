/** Makes the record of an adopted cluster say what its servers say. */
import { settlementOf } from '../src/core/adopted.ts';
import type { Instant } from '../src/core/domain.ts';
import type { Logger } from '../src/log.ts';
import type { Found } from '../src/store/clusters.ts';
import type { Store } from '../src/store/store.ts';

interface AdoptionDeps {
  readonly store: Pick<Store, 'clusters' | 'adoption'>;
  readonly log: Logger;
  readonly now: () => Instant;
}

/**
 * Ends the adoption of a cluster once nothing is in its way, and later follows the version that all its servers
 * say. Called for each heartbeat that may change something: it does nothing if nothing is new.
 */
export async function settleAdopted(
  { store, log, now }: AdoptionDeps,
  { cluster, catalogue }: Found,
): Promise<void> {
  const settlement = settlementOf(cluster, catalogue.versions);
  if (!settlement) return;
  const { version, system_identifier } = settlement;
  const verdict = await store.adoption.settle(cluster, settlement, now());
  const about = { cluster_id: cluster.id, version: version.name, system_identifier };
  if (verdict === 'settled') {
    const isNew = cluster.task === 'BUILDING';
    return log.info(
      about,
      isNew ? 'cluster adopted' : 'the servers have another version: the record follows',
    );
  }
  if (typeof verdict === 'string') return;
  const fault = `its data (system identifier ${system_identifier}) belongs to another adopted cluster: release that one first`;
  if (cluster.instances.every((instance) => instance.fault === fault)) return;
  log.warn({ ...about, claimed_by: verdict.claimed_by }, 'these servers are in another adopted cluster');
  await store.adoption.blame(cluster, fault);
}
