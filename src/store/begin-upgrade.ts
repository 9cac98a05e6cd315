import { acceptedUpgrade, busy, checkAdmission, findTarget, type UpgradeRequest } from '../core/admit.ts';
import { DATASTORE_VERSIONS } from '../core/catalogue.ts';
import type { Cluster, Instant } from '../core/domain.ts';
import { CofferError } from '../core/errors.ts';
import { checkPlanHash, type Plan, previewUpgrade } from '../core/preview.ts';
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
 * `gate_blocked`, `conflict` (another plan than the one agreed to), `store_unavailable`.
 */
export async function beginUpgrade(
  deps: { readonly store: Store; readonly now: () => Instant; readonly newId: () => string },
  request: UpgradeRequest,
): Promise<Begun> {
  const { store, now, newId } = deps;
  const id = request.upgrade_id ?? newId();
  const cluster = await clusterOf(store, request);
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

  checkAdmission(cluster, target, request.policy?.overrides);
  if (request.plan_hash !== undefined) checkPlanHash(planOf(cluster, request, now()), request.plan_hash);
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
      throw clusterMissing(request);
    default:
      return outcome satisfies never;
  }
}

/** What the request would begin, and what would hold it back now. Changes nothing. */
export async function planUpgrade(
  { store, now }: { readonly store: Store; readonly now: () => Instant },
  request: Omit<UpgradeRequest, 'requested_by'>,
): Promise<Plan> {
  return planOf(await clusterOf(store, request), request, now());
}

function planOf(cluster: Cluster, request: Omit<UpgradeRequest, 'requested_by'>, now: Instant): Plan {
  const target = findTarget(DATASTORE_VERSIONS, cluster, request.datastore_version);
  return previewUpgrade(cluster, { ...request, target }, now);
}

type Asked = Pick<UpgradeRequest, 'cluster_id' | 'tenant_id'>;

async function clusterOf(store: Store, { cluster_id, tenant_id }: Asked): Promise<Cluster> {
  const cluster = await store.getCluster(cluster_id);
  if (!cluster || (tenant_id !== null && cluster.tenant_id !== tenant_id))
    throw clusterMissing({ cluster_id });
  return cluster;
}

function clusterMissing({ cluster_id }: Pick<Asked, 'cluster_id'>): CofferError {
  return new CofferError('cluster_not_found', `Cluster '${cluster_id}' cannot be found.`);
}
