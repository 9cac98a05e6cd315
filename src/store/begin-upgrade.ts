import {
  acceptedUpgrade,
  busy,
  checkAdmission,
  checkWindow,
  findTarget,
  scopeOf,
  type UpgradeRequest,
} from '../core/admit.ts';
import { versionsOf } from '../core/catalogue.ts';
import { uuidFrom } from '../core/digest.ts';
import type { Cluster, Instant } from '../core/domain.ts';
import { CofferError } from '../core/errors.ts';
import { type FollowUp, followUpRefusal, followUpUpgrade, retargetedRequest } from '../core/follow-up.ts';
import { expectedTimes } from '../core/history.ts';
import { clusterNotification, inContext } from '../core/notification.ts';
import { statedPolicy } from '../core/policy.ts';
import { checkPlanHash, type Plan, previewUpgrade } from '../core/preview.ts';
import {
  type BatchPlace,
  goalIdOf,
  goalOf,
  isActive,
  type RequestedBy,
  type Upgrade,
  type UpgradeEvent,
} from '../core/record.ts';
import type { Found } from './clusters.ts';
import type { PendingCast } from './outbox.ts';
import type { Store } from './store.ts';
import type { Loaded } from './upgrades.ts';

/**
 * How long the process that began an upgrade has to publish its cast before a taskmanager checks the upgrade
 * by itself.
 */
const TAKE_UP_MS = 2_000;

interface Begun {
  readonly upgrade: Upgrade;
  readonly cluster: Cluster;
  /** The cast that makes a taskmanager take the upgrade up; pending in the store until confirmed. */
  readonly cast: PendingCast;
  /** True if an upgrade of this id was begun before: nothing has changed. */
  readonly duplicate: boolean;
}

interface BeginDeps {
  readonly store: Pick<Store, 'clusters' | 'upgrades'>;
  readonly now: () => Instant;
  readonly newId: () => string;
}

/**
 * Begins an upgrade. REST, RPC and the queue all use this function. After it resolves, the upgrade is safe.
 * When it throws, nothing has changed, except with `store_unavailable`: then the outcome is not known.
 *
 * `found` saves the first read. Throws `CofferError`: `cluster_not_found`, `datastore_version_not_found`,
 * `cluster_busy`, `gate_blocked`, `instance_not_found`, `conflict` (the plan is another one than the plan
 * agreed to), `invalid_request` (a window in which nothing could be done), `store_unavailable`.
 */
export async function beginUpgrade(deps: BeginDeps, request: UpgradeRequest, found?: Found): Promise<Begun> {
  const { store, now, newId } = deps;
  const id = request.upgrade_id ?? newId();
  const seen = found ?? (await lookUp(store, request));
  const { cluster } = seen;
  const earlier = request.upgrade_id === undefined ? null : await store.upgrades.get(id);
  if (earlier) return { upgrade: earlier, cluster, cast: castFor(earlier), duplicate: true };

  const versions = versionsOf(seen.catalogue, cluster.datastore_id);
  const target = findTarget(versions, cluster, request.datastore_version);
  const scope = scopeOf(versions, cluster, request.instance_id);
  checkAdmission(scope, target, { versions, whole: cluster, overrides: request.policy?.overrides ?? [] });
  const expected = expectedTimes(await store.upgrades.measuredTimes(cluster.manager));
  checkWindow(request.policy ?? {}, expected);
  if (request.plan_hash !== undefined)
    checkPlanHash(await planUpgrade(deps, seen, request), request.plan_hash);
  const acceptance = { id, now: timeOfBirth(cluster, now()), expected };
  const begun = await begin(store, cluster, acceptedUpgrade(scope, target, request, acceptance));
  return begun ?? beginUpgrade(deps, { ...request, upgrade_id: id });
}

interface FollowUpRequest {
  readonly as: FollowUp;
  readonly requested_by: RequestedBy;
  readonly batch?: BatchPlace;
  /** As with `beginUpgrade`: the upgrade of this id begins once, even if it has ended by now. */
  readonly upgrade_id?: string;
}

/**
 * Begins the retry of an ended upgrade with another version, given by name or id. Throws as `beginUpgrade`
 * does, and `action_refused` with the reason.
 */
export async function beginRetryWith(
  deps: BeginDeps,
  { upgrade: ended, cluster, versions }: Loaded,
  { datastore_version, requested_by }: Pick<UpgradeRequest, 'datastore_version' | 'requested_by'>,
): Promise<Begun> {
  if (!cluster) throw clusterMissing(ended);
  const to = findTarget(versions, cluster, datastore_version);
  if (to.id === goalIdOf(ended))
    return beginFollowUp(deps, { upgrade: ended, cluster, versions }, { as: 'retry', requested_by });
  mustFollow(ended, followUpRefusal(ended, cluster, 'retry', to), 'retry');
  return beginUpgrade(deps, retargetedRequest(ended, to, requested_by));
}

function mustFollow({ id, state }: Upgrade, refusal: string | null, as: FollowUp): void {
  if (refusal === null) return;
  throw new CofferError(
    'action_refused',
    `Upgrade ${id} is ${state.name}, and '${as}' is refused: ${refusal}.`,
  );
}

/**
 * Begins the upgrade that follows up an ended one. If it is asked for twice, it begins once, for as long as
 * it is active. Throws as `beginUpgrade` does, and `action_refused` with the reason.
 */
export async function beginFollowUp(
  deps: Omit<BeginDeps, 'newId'>,
  { upgrade: ended, cluster }: Loaded,
  request: FollowUpRequest,
): Promise<Begun> {
  const { store, now } = deps;
  const { as, requested_by, batch, upgrade_id } = request;
  if (!cluster) throw clusterMissing(ended);
  const id = upgrade_id ?? uuidFrom(`coffer ${as} of upgrade ${ended.id}`);
  const earlier = await store.upgrades.get(id);
  if (earlier && (isActive(earlier) || upgrade_id !== undefined)) {
    return { upgrade: earlier, cluster, cast: castFor(earlier), duplicate: true };
  }
  mustFollow(ended, followUpRefusal(ended, cluster, as), as);
  const expected = expectedTimes(await store.upgrades.measuredTimes(cluster.manager));
  // A rollback waits for no window.
  if (as === 'retry' && ended.direction === 'forward') checkWindow(ended.policy, expected);
  const acceptance = { id, now: timeOfBirth(cluster, now()), expected };
  const asked = { ...acceptance, as, requested_by, ...(batch && { batch }) };
  const begun = await begin(store, cluster, followUpUpgrade(ended, cluster, asked));
  if (begun) return begun;
  const again = await store.upgrades.load(ended.id);
  if (!again) throw clusterMissing(ended);
  return beginFollowUp(deps, again, request);
}

/** Also a fence: a later upgrade of a cluster has a later time, even where the clocks of hosts differ. */
function timeOfBirth({ updated }: Cluster, now: Instant): Instant {
  return Math.max(now, updated + 1);
}

/** Null if another upgrade has begun and ended since `cluster` was read: the caller must decide again. */
async function begin(
  store: BeginDeps['store'],
  cluster: Cluster,
  { upgrade, event }: { readonly upgrade: Upgrade; readonly event: UpgradeEvent },
): Promise<Begun | null> {
  const cast = castFor(upgrade);
  // A batch takes up its upgrades by itself.
  const outcome = await store.upgrades.begin(
    upgrade,
    event,
    upgrade.batch ? null : cast,
    upgrade.created + TAKE_UP_MS,
  );
  switch (outcome.verdict) {
    case 'begun':
    case 'duplicate':
      return { upgrade, cluster, cast, duplicate: outcome.verdict === 'duplicate' };
    case 'busy':
      throw busy(outcome.task, outcome.upgrade_id);
    case 'missing':
      throw clusterMissing(upgrade);
    case 'changed':
      return null;
    case 'no_version':
      throw versionMissing(goalOf(upgrade));
    default:
      return outcome satisfies never;
  }
}

/**
 * Carries everything that begins the upgrade: if Redis has lost the record by the time a taskmanager takes the cast, the
 * taskmanager begins the same upgrade again, not one under the default policy. The version is the one to reach, so that
 * a peer that ignores `follows` does not go forward where a rollback was asked for. The hash of the plan that somebody
 * agreed to is not sent: the api has compared it before it accepted the upgrade, and what is accepted must not be refused.
 * The upgrades of a batch have no cast: the batch begins them again from its own record.
 */
function castFor(upgrade: Upgrade): PendingCast {
  const { id, cluster_id, instance_id, requested_by, tenant_id, policy, follows } = upgrade;
  const { user, via } = requested_by;
  const args = {
    datastore_version_id: goalIdOf(upgrade),
    upgrade_id: id,
    policy: statedPolicy(policy),
    requested_by: { user, via },
    ...(follows && { follows }),
  };
  return {
    id,
    topic: 'taskmanager',
    ...(instance_id === undefined
      ? { method: 'upgrade_cluster', args: { cluster_id, ...args } }
      : { method: 'upgrade', args: { instance_id, ...args } }),
    request_id: requested_by.request_id,
    ...(requested_by.trace !== undefined && { trace: requested_by.trace }),
    tenant_id,
    notification: inContext('DBaaSClusterUpgrade', clusterNotification(upgrade)),
  };
}

/** Returns what the request would begin, and what would hold it back now. Changes nothing. */
export async function planUpgrade(
  { store, now }: Omit<BeginDeps, 'newId'>,
  { cluster, catalogue }: Found,
  request: Omit<UpgradeRequest, 'cluster_id' | 'tenant_id' | 'requested_by'>,
): Promise<Plan> {
  const versions = versionsOf(catalogue, cluster.datastore_id);
  const target = findTarget(versions, cluster, request.datastore_version);
  const expected = expectedTimes(await store.upgrades.measuredTimes(cluster.manager));
  checkWindow(request.policy ?? {}, expected);
  const scope = scopeOf(versions, cluster, request.instance_id);
  return previewUpgrade(cluster, { ...request, target, versions, scope, expected }, now());
}

type Asked = Pick<UpgradeRequest, 'cluster_id' | 'tenant_id'>;

async function lookUp({ clusters }: BeginDeps['store'], { cluster_id, tenant_id }: Asked): Promise<Found> {
  const found = await clusters.see(cluster_id);
  if (!found || (tenant_id !== null && found.cluster.tenant_id !== tenant_id))
    throw clusterMissing({ cluster_id });
  return found;
}

function versionMissing(name: string): CofferError {
  const message = `Datastore version '${name}' was deleted a moment ago.`;
  return new CofferError('datastore_version_not_found', message);
}

function clusterMissing({ cluster_id }: Pick<Asked, 'cluster_id'>): CofferError {
  return new CofferError('cluster_not_found', `Cluster '${cluster_id}' cannot be found.`);
}
