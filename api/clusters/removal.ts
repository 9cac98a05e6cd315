import { busy } from '../../src/core/admit.ts';
import type { Cluster } from '../../src/core/domain.ts';
import type { PendingCast } from '../../src/store/outbox.ts';
import type { Deps } from '../deps.ts';
import { clusterMissing } from './look-up.ts';

/** Begins to remove a cluster. `DELETING`: an earlier request has begun that, and its cast does the work. */
export async function beginRemoval(
  deps: Deps,
  { id }: Cluster,
  cast: PendingCast,
): Promise<'begun' | 'DELETING'> {
  const outcome = await deps.store.provisioning.beginDelete(id, cast, deps.now());
  if (outcome === null) throw clusterMissing(id);
  if (outcome === 'begun' || outcome === 'DELETING') return outcome;
  // The upgrade may have begun after the cluster was read: the message names the upgrade that holds the
  // cluster now.
  throw busy(outcome, (await deps.store.clusters.get(id))?.upgrade_id ?? null);
}
