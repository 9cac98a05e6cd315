import { type Cluster, type DatastoreVersion, type Instant, versionOf } from './domain.ts';
import { CofferError } from './errors.ts';
import { DEFAULT_POLICY, type Policy } from './policy.ts';
import type { GateName, RequestedBy, Upgrade, UpgradeEvent } from './record.ts';

/** What somebody asks for, whichever way in it came. */
export interface UpgradeRequest {
  readonly cluster_id: string;
  /** Whose cluster it must be; null where the asking side is trusted with all tenants (RPC). */
  readonly tenant_id: string | null;
  /** A datastore version by name or id. */
  readonly datastore_version: string;
  readonly policy?: Partial<Policy>;
  readonly requested_by: RequestedBy;
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

/** Checks the gates that can be read off the cluster itself. Throws `cluster_busy` or `gate_blocked`. */
export function checkAdmission(cluster: Cluster, target: DatastoreVersion): void {
  if (cluster.task !== 'NONE') throw busy(cluster.task, cluster.upgrade_id);
  if (!target.active) throw blocked('version_active', `datastore version ${target.name} is not active`);
  const major = majorOf(cluster.datastore_version);
  if (cluster.manager === 'postgresql' && major !== majorOf(target.name)) {
    throw blocked(
      'version_path',
      `${cluster.datastore_version} and ${target.name} are different major releases: only minor releases of ${major} can be reached in place`,
    );
  }
  if (compareVersions(target.name, cluster.datastore_version) < 0) {
    throw blocked(
      'version_path',
      `${target.name} is older than ${cluster.datastore_version}, and a cluster is not downgraded`,
    );
  }
  const isNeeded =
    cluster.datastore_version_id !== target.id ||
    cluster.instances.some((instance) => versionOf(instance) !== target.name);
  if (!isNeeded) throw blocked('upgrade_needed', `every instance of the cluster runs ${target.name} already`);
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

function blocked(gate: GateName, reason: string): CofferError {
  return new CofferError('gate_blocked', `The upgrade is blocked by ${gate}: ${reason}.`);
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

/** The record of an upgrade that was just accepted, and its first event. */
export function acceptedUpgrade(
  cluster: Cluster,
  target: DatastoreVersion,
  request: UpgradeRequest,
  id: string,
  now: Instant,
): { readonly upgrade: Upgrade; readonly event: UpgradeEvent } {
  const upgrade: Upgrade = {
    id,
    cluster_id: cluster.id,
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
    steps: [],
  };
  const message = `upgrade of ${cluster.name} from ${upgrade.from_version} to ${upgrade.to_version} accepted`;
  return { upgrade, event: { seq: 1, at: now, type: 'accepted', message } };
}
