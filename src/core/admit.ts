import { adoptionFindings } from './adopted.ts';
import {
  type Cluster,
  type DatastoreVersion,
  type Instance,
  type Instant,
  isInDoubt,
  versionOf,
} from './domain.ts';
import { CofferError } from './errors.ts';
import { type ExpectedTimes, expectedTimes, NOTHING_MEASURED } from './history.ts';
import type { Finding } from './phase.ts';
import { DEFAULT_POLICY, isOverridden, type Policy } from './policy.ts';
import { replicaSetsOf, twoPrimaries } from './primaries.ts';
import type { BatchPlace, RequestedBy, Upgrade, UpgradeEvent } from './record.ts';
import { mixRefusal, pathRefusal } from './version-path.ts';

/** A request for an upgrade, whichever way it came in. */
export interface UpgradeRequest {
  readonly cluster_id: string;
  /** The only instance of the cluster that is to be upgraded. */
  readonly instance_id?: string;
  /** The tenant that must own the cluster; null where the sender is trusted with all tenants (RPC). */
  readonly tenant_id: string | null;
  /** A datastore version by name or id. */
  readonly datastore_version: string;
  readonly policy?: Partial<Policy>;
  /**
   * The hash of the plan that a person has seen and agreed to: the request is refused if the plan would be
   * another one now.
   */
  readonly plan_hash?: string;
  readonly requested_by: RequestedBy;
  /** The batch that the upgrade is part of. */
  readonly batch?: BatchPlace;
  /** Given by the sender, so that a repeated request does not begin a second upgrade. */
  readonly upgrade_id?: string;
}

/** The version that a request names, by id or name, within the cluster's datastore. */
export function findTarget(
  versions: readonly DatastoreVersion[],
  cluster: Cluster,
  name_or_id: string,
): DatastoreVersion {
  const own = versions.filter((version) => version.datastore_id === cluster.datastore_id);
  const found = own.find((version) => version.id === name_or_id || version.name === name_or_id);
  if (found) return found;
  throw new CofferError(
    'datastore_version_not_found',
    `Datastore version '${name_or_id}' cannot be found for datastore '${cluster.datastore_name}'. ` +
      `Known versions: ${own.map((version) => version.name).join(', ')}.`,
  );
}

/**
 * The part of the cluster that an upgrade of one instance is about: that instance alone, with the version that
 * it runs itself if the catalogue has that version. The whole cluster when no instance is named. Throws
 * `instance_not_found`.
 */
export function scopeOf(
  versions: readonly DatastoreVersion[],
  cluster: Cluster,
  instance_id: string | undefined,
): Cluster {
  if (instance_id === undefined) return cluster;
  const instance = cluster.instances.find(({ id }) => id === instance_id);
  if (!instance) {
    throw new CofferError('instance_not_found', `Instance ${instance_id} cannot be found.`);
  }
  const own = versions.find(
    ({ datastore_id, name }) => datastore_id === cluster.datastore_id && name === versionOf(instance),
  );
  const from = own && { datastore_version_id: own.id, datastore_version: own.name };
  return { ...cluster, ...from, name: instance.name, instances: [instance] };
}

/** What else decides whether a cluster may go to a version. */
export interface Circumstances {
  /** All versions of the cluster's datastore: some of them must not serve beside others. */
  readonly versions: readonly DatastoreVersion[];
  /**
   * The whole cluster, including the instances that the upgrade leaves alone, if the upgrade is about one
   * instance.
   */
  readonly whole?: Cluster;
  readonly overrides?: Policy['overrides'];
}

/** Checks the gates that follow from cluster and catalogue alone. Throws `cluster_busy` or `gate_blocked`. */
export function checkAdmission(
  cluster: Cluster,
  target: DatastoreVersion,
  circumstances: Circumstances,
): void {
  const [first] = admissionFindings(cluster, target, circumstances);
  if (first?.gate === 'cluster_idle') throw busy(cluster.task, cluster.upgrade_id);
  if (first) throw blockedBy(first);
}

/** All gates that follow from cluster and catalogue alone and do not hold. */
export function admissionFindings(
  cluster: Cluster,
  target: DatastoreVersion,
  circumstances: Circumstances,
): readonly Finding[] {
  const { overrides = [] } = circumstances;
  return [
    clusterIdle(cluster),
    ...adoptionFindings(circumstances.whole ?? cluster, circumstances.versions),
    ...versionFindings(cluster, target, circumstances),
    upgradeNeeded(cluster, target),
    ...onePrimaryEach(cluster, circumstances.whole),
  ]
    .filter((finding) => finding !== null)
    .filter((finding) => !isOverridden({ overrides }, finding.gate));
}

/** The rules of the catalogue that forbid taking a cluster to `target`, whether the cluster is busy or not. */
export function versionFindings(
  cluster: Cluster,
  target: DatastoreVersion,
  { versions, whole = cluster }: Circumstances,
): readonly Finding[] {
  const reason = pathOf(cluster, target) ?? mixOf(cluster, target, { versions, whole });
  return [versionActive(target), reason === null ? null : { gate: 'version_path' as const, reason }].filter(
    (finding) => finding !== null,
  );
}

function clusterIdle({ task, upgrade_id }: Cluster): Finding | null {
  if (task === 'NONE') return null;
  const which = task === 'UPGRADING_CLUSTER' && upgrade_id ? `: its upgrade is ${upgrade_id}` : '';
  return { gate: 'cluster_idle', reason: `the current cluster task is '${task}'${which}` };
}

export function versionActive({ name, active }: DatastoreVersion): Finding | null {
  return active ? null : { gate: 'version_active', reason: `datastore version ${name} is not active` };
}

/**
 * After a failure an instance may run a later version than the cluster's record says, or another one
 * altogether: so the version of each instance is checked.
 */
function pathOf(cluster: Cluster, target: DatastoreVersion): string | null {
  if (target.manager !== cluster.manager) {
    return `${target.name} is run by the manager ${target.manager}, and the cluster by ${cluster.manager}`;
  }
  const ofCluster = pathRefusal(cluster.datastore_version, target);
  if (ofCluster !== null) return ofCluster;
  for (const instance of cluster.instances) {
    const refusal = pathRefusal(versionOf(instance) ?? cluster.datastore_version, target);
    if (refusal !== null) return `${instance.name} runs ${versionOf(instance)}: ${refusal}`;
  }
  return null;
}

/** A rolling upgrade runs the new version beside the old ones from its first step to its last but one. */
function mixOf(
  { instances, datastore_version }: Cluster,
  target: DatastoreVersion,
  { versions, whole }: { readonly versions: readonly DatastoreVersion[]; readonly whole: Cluster },
): string | null {
  const runs = (instance: Instance) => versionOf(instance) ?? datastore_version;
  const old = instances.filter((instance) => runs(instance) !== target.name);
  const leftAlone = whole.instances.filter(({ id }) => instances.every((one) => one.id !== id));
  const beside = [...(old.length > 1 ? old : []), ...leftAlone].map(runs);
  return (
    beside.map((version) => mixRefusal(target.name, version, versions)).find((one) => one !== null) ?? null
  );
}

/**
 * Waiting does not help against two primaries, so they refuse an upgrade. A missing primary may be a failover
 * under way: such an upgrade is accepted and waits.
 */
function onePrimaryEach(scope: Cluster, whole: Cluster = scope): readonly Finding[] {
  const isMeant = (set: readonly Instance[]) =>
    set.some(({ id }) => scope.instances.some((instance) => instance.id === id));
  const sets = replicaSetsOf(whole).filter(isMeant);
  return sets.map((set) => twoPrimaries(set, whole)).filter((finding) => finding !== null);
}

function upgradeNeeded(cluster: Cluster, target: DatastoreVersion): Finding | null {
  const isNeeded =
    cluster.datastore_version_id !== target.id ||
    cluster.instances.some((instance) => versionOf(instance) !== target.name || isInDoubt(instance));
  if (isNeeded) return null;
  return { gate: 'upgrade_needed', reason: `all of ${cluster.name} runs ${target.name} already` };
}

/** Trove's wording, and what to do about it. */
export function busy(task: string, upgrade_id: string | null): CofferError {
  const wayOut =
    task === 'UPGRADING_CLUSTER' && upgrade_id
      ? ` Its upgrade is ${upgrade_id}: wait for it, or cancel it.`
      : '';
  return new CofferError(
    'cluster_busy',
    `This action cannot be performed on the cluster while the current cluster task is '${task}'.${wayOut}`,
  );
}

function blockedBy({ gate, reason }: Finding): CofferError {
  return new CofferError('gate_blocked', `The upgrade is blocked by ${gate}: ${reason}.`);
}

/**
 * Throws `invalid_request` for a window in which no step could ever finish: the upgrade would wait for ever
 * (G1).
 */
export function checkWindow({ window }: Partial<Policy>, expected: ExpectedTimes): void {
  const { instance, switchover } = expected;
  const longest = instance.p95_ms >= switchover.p95_ms ? instance : switchover;
  if (!window || window.duration_seconds * 1000 >= longest.p95_ms) return;
  const needs =
    longest.median_ms !== null
      ? 'a step is expected to take up to'
      : 'a step that was never measured is given';
  throw new CofferError(
    'invalid_request',
    `The window is open for ${window.duration_seconds} s, and ${needs} ` +
      `${Math.ceil(longest.p95_ms / 1000)} s: it must be at least as long.`,
  );
}

/** What is added to a request when it is accepted. */
export interface Acceptance {
  readonly id: string;
  readonly now: Instant;
  /** How long steps of the cluster's manager take, as measured. */
  readonly expected?: ExpectedTimes;
}

/**
 * The record of an upgrade that was just accepted, and its first event. `cluster` is the part that the upgrade
 * is about: see `scopeOf`.
 */
export function acceptedUpgrade(
  cluster: Cluster,
  target: Pick<DatastoreVersion, 'id' | 'name'>,
  request: UpgradeRequest,
  { id, now, expected = expectedTimes(NOTHING_MEASURED) }: Acceptance,
): { readonly upgrade: Upgrade; readonly event: UpgradeEvent } {
  const upgrade: Upgrade = {
    id,
    cluster_id: cluster.id,
    ...(request.instance_id !== undefined && { instance_id: request.instance_id }),
    tenant_id: cluster.tenant_id,
    revision: 1,
    seq: 1,
    from_version_id: cluster.datastore_version_id,
    from_version: cluster.datastore_version,
    to_version_id: target.id,
    to_version: target.name,
    policy: { ...DEFAULT_POLICY, ...request.policy },
    requested_by: request.requested_by,
    created: now,
    state: { name: 'scheduled' },
    cancelling: false,
    approved: false,
    waited_ms: 0,
    acted: [],
    direction: 'forward',
    round: 0,
    planned_round: -1,
    write_outage_ms: 0,
    batch: request.batch ?? null,
    expected,
    progressed: now,
    silent: false,
    follows: null,
    steps: [],
  };
  const message = `upgrade of ${cluster.name} from ${upgrade.from_version} to ${upgrade.to_version} accepted`;
  return { upgrade, event: { seq: 1, at: now, type: 'accepted', message } };
}
