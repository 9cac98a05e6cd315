import { acceptedUpgrade, busy, checkAdmission, findTarget, type UpgradeRequest } from '../core/admit.ts';
import { DATASTORE_VERSIONS } from '../core/catalogue.ts';
import type { Cluster, Instant } from '../core/domain.ts';
import { CofferError } from '../core/errors.ts';
import type { Upgrade } from '../core/record.ts';
import type { PendingCast, Store } from './store.ts';

/** For how long the one who began an upgrade is left to publish its cast before a taskmanager looks by itself. */
const TAKE_UP_MS = 2_000;

export interface Begun {
  readonly upgrade: Upgrade;
  readonly cluster: Cluster;
  /** The cast that makes a taskmanager take the upgrade up; pending in the store until confirmed. */
  readonly cast: PendingCast;
  /** True if this upgrade id was begun before: nothing has changed. */
  readonly duplicate: boolean;
}

/**
 * Begins an upgrade: the one function in which REST, RPC and the queue meet. After it resolves the
 * upgrade is safe; when it throws, nothing has changed.
 *
 * Throws `CofferError`: `cluster_not_found`, `datastore_version_not_found`, `cluster_busy`,
 * `gate_blocked`, `store_unavailable`.
 */
export async function beginUpgrade(
  deps: { readonly store: Store; readonly now: () => Instant; readonly newId: () => string },
  request: UpgradeRequest,
): Promise<Begun> {
  const { store, now, newId } = deps;
  const id = request.upgrade_id ?? newId();
  const cluster = await store.getCluster(request.cluster_id);
  if (!cluster || (request.tenant_id !== null && cluster.tenant_id !== request.tenant_id)) {
    throw new CofferError('cluster_not_found', `Cluster '${request.cluster_id}' cannot be found.`);
  }
  const target = findTarget(DATASTORE_VERSIONS, cluster, request.datastore_version);
  const cast: PendingCast = {
    id,
    topic: 'taskmanager',
    method: 'upgrade_cluster',
    args: { cluster_id: cluster.id, datastore_version_id: target.id, upgrade_id: id },
    request_id: request.requested_by.request_id,
    tenant_id: cluster.tenant_id,
  };
  const earlier = request.upgrade_id === undefined ? null : await store.getUpgrade(id);
  if (earlier) return { upgrade: earlier, cluster, cast, duplicate: true };

  checkAdmission(cluster, target);
  // Also a fence: later upgrades of a cluster have later times, even where the clocks of hosts differ.
  const created = Math.max(now(), cluster.updated + 1);
  const { upgrade, event } = acceptedUpgrade(cluster, target, request, id, created);
  const outcome = await store.begin(upgrade, event, cast, created + TAKE_UP_MS);
  switch (outcome.verdict) {
    case 'begun':
    case 'duplicate':
      return { upgrade, cluster, cast, duplicate: outcome.verdict === 'duplicate' };
    case 'busy':
      throw busy(outcome.task, outcome.upgrade_id);
    case 'missing':
      throw new CofferError('cluster_not_found', `Cluster '${request.cluster_id}' cannot be found.`);
    default:
      return outcome satisfies never;
  }
}
