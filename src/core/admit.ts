import { type Cluster, type DatastoreVersion, type Instant, versionOf } from './domain.ts';
import { CofferError } from './errors.ts';
import { type ExpectedTimes, expectedTimes, NOTHING_MEASURED } from './history.ts';
import { DEFAULT_POLICY, isOverridden, type Policy } from './policy.ts';
import type { BatchPlace, GateName, RequestedBy, Upgrade, UpgradeEvent } from './record.ts';

/** What somebody asks for, whichever way in it came. */
export interface UpgradeRequest {
  readonly cluster_id: string;
  /** Only this one of its instances is to be upgraded. */
  readonly instance_id?: string;
  /** Whose cluster it must be; null where the asking side is trusted with all tenants (RPC). */
  readonly tenant_id: string | null;
  /** A datastore version by name or id. */
  readonly datastore_version: string;
  readonly policy?: Partial<Policy>;
  /** Of the plan that somebody has seen and agreed to: refused when it would be another one now. */
  readonly plan_hash?: string;
  readonly requested_by: RequestedBy;
  /** The batch that it is part of. */
  readonly batch?: BatchPlace;
  /** Given by the asking side when a repeated request must not begin twice. */
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
 * The cluster as far as an upgrade of one of its instances goes: that instance alone, and the version that
 * it runs itself where the catalogue has it. The whole cluster when no instance is named. Throws
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

/** A gate that does not hold, and why. */
export interface Finding {
  readonly gate: GateName;
  readonly reason: string;
}

/** Checks the gates that can be read off the cluster itself. Throws `cluster_busy` or `gate_blocked`. */
export function checkAdmission(
  cluster: Cluster,
  target: DatastoreVersion,
  overrides: Policy['overrides'] = [],
): void {
  const [first] = admissionFindings(cluster, target, overrides);
  if (first?.gate === 'cluster_idle') throw busy(cluster.task, cluster.upgrade_id);
  if (first) throw blockedBy(first);
}

/** All gates that can be read off the cluster itself and do not hold. */
export function admissionFindings(
  cluster: Cluster,
  target: DatastoreVersion,
  overrides: Policy['overrides'] = [],
): readonly Finding[] {
  const findings = [
    clusterIdle(cluster),
    versionActive(target),
    versionPath(cluster, target),
    upgradeNeeded(cluster, target),
  ];
  return findings
    .filter((finding) => finding !== null)
    .filter((finding) => !isOverridden({ overrides }, finding.gate));
}

function clusterIdle({ task, upgrade_id }: Cluster): Finding | null {
  if (task === 'NONE') return null;
  const which = task === 'UPGRADING_CLUSTER' && upgrade_id ? `: its upgrade is ${upgrade_id}` : '';
  return { gate: 'cluster_idle', reason: `the current cluster task is '${task}'${which}` };
}

function versionActive({ name, active }: DatastoreVersion): Finding | null {
  return active ? null : { gate: 'version_active', reason: `datastore version ${name} is not active` };
}

function versionPath({ manager, datastore_version }: Cluster, { name }: DatastoreVersion): Finding | null {
  const major = majorOf(datastore_version);
  if (manager === 'postgresql' && major !== majorOf(name)) {
    return {
      gate: 'version_path',
      reason: `${datastore_version} and ${name} are different major releases: only minor releases of ${major} can be reached in place`,
    };
  }
  if (compareVersions(name, datastore_version) >= 0) return null;
  return {
    gate: 'version_path',
    reason: `${name} is older than ${datastore_version}, and a cluster is not downgraded`,
  };
}

function upgradeNeeded(cluster: Cluster, target: DatastoreVersion): Finding | null {
  const isNeeded =
    cluster.datastore_version_id !== target.id ||
    cluster.instances.some((instance) => versionOf(instance) !== target.name);
  if (isNeeded) return null;
  return { gate: 'upgrade_needed', reason: `all of ${cluster.name} runs ${target.name} already` };
}

/** Trove's words, and the way out. */
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

/** Throws `invalid_request` for a window in which no step could ever be done: the upgrade would wait for ever (G1). */
export function checkWindow({ window }: Partial<Policy>, expected: ExpectedTimes): void {
  const longest_ms = Math.max(expected.instance.p95_ms, expected.switchover.p95_ms);
  if (!window || window.duration_seconds * 1000 >= longest_ms) return;
  throw new CofferError(
    'invalid_request',
    `The window is open for ${window.duration_seconds} s, and a step is expected to take up to ` +
      `${Math.ceil(longest_ms / 1000)} s: it must be at least as long.`,
  );
}

/** Orders dotted versions by their numbers: 17.9 before 17.10. */
export function compareVersions(a: string, b: string): number {
  const [as, bs] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let i = 0; i < Math.max(as.length, bs.length); i++) {
    const difference = (as[i] ?? 0) - (bs[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function majorOf(version: string): string {
  return version.split('.', 1)[0] ?? version;
}

/** What an upgrade gets when it is accepted. */
export interface Acceptance {
  readonly id: string;
  readonly now: Instant;
  /** What steps of its manager take, by what was measured; a minute each when nothing was. */
  readonly expected?: ExpectedTimes;
}

/** The record of an upgrade that was just accepted, and its first event. `cluster` is what it is about: see `scopeOf`. */
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
