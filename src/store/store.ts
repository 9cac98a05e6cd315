/**
 * The store: the only place where the truth is kept. Every method is one atomic step, and may be repeated
 * after an unknown outcome. Rejects with `CofferError('store_unavailable')` when the store cannot be reached
 * in time: the outcome is then unknown, and the caller reads again.
 *
 * - `redis.ts`: the store on Redis. `lua.ts`: its scripts.
 * - `batches.ts`: the same for batches, with `redis-batches.ts` and `lua-batches.ts`.
 * - `test/twins/`: the store in memory, for the simulator.
 * - `begin-upgrade.ts`, `begin-batch.ts`: the functions that begin upgrades and batches, for each of the
 *   three ways to ask for them.
 * - `change-catalogue.ts`: how the catalogue changes.
 */
import type { Batch } from '../core/batch/record.ts';
import type { Catalogue } from '../core/catalogue.ts';
import type {
  Cluster,
  ClusterTask,
  DatastoreVersion,
  Endpoint,
  GuestReport,
  Instance,
  InstanceTask,
  Instant,
} from '../core/domain.ts';
import type { MeasuredKind, MeasuredTimes } from '../core/history.ts';
import type { Upgrade, UpgradeEvent } from '../core/record.ts';
import type { BatchStore } from './batches.ts';

/** A cast that the store keeps until the bus has confirmed it. */
export interface PendingCast {
  /** The id of what it starts: an upgrade's, or `<cluster_id>:<method>`. */
  readonly id: string;
  readonly topic: string;
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly request_id: string;
  /** The span of the request; absent where nothing is traced. */
  readonly trace?: string;
  readonly tenant_id: string;
  /** What a taskmanager of Trove must find in the context of the cast. */
  readonly notification?: Readonly<Record<string, string>>;
}

/** What a provisioner needs in addition to the cluster itself. It is removed once the cluster is built. */
export interface BuildOrder {
  readonly databases: readonly string[];
  readonly users: readonly {
    readonly name: string;
    readonly verifier: string;
    readonly databases: readonly string[];
  }[];
}

/** Keys by the ids of their instances or clusters, encrypted by the caller. */
export type Keys = ReadonlyMap<string, string>;
export const NO_KEYS: Keys = new Map();

/** The id under which a cluster's join key is kept, next to the keys of instances. */
export function joinKeyId(cluster_id: string): string {
  return `join:${cluster_id}`;
}

/** `stale`: the agent has already asked at a later time. `full`: other agents have all places. */
export type JoinVerdict = 'stale' | 'full' | Joined;

export interface Joined {
  readonly instance_id: string;
  /** Where the first instance of those being built will serve; null until its agent has joined. */
  readonly first: Endpoint | null;
}

export type BeginVerdict =
  | { readonly verdict: 'begun' }
  /** An upgrade of the same id was begun before: the request was repeated, or the cast was redelivered. */
  | { readonly verdict: 'duplicate' }
  | { readonly verdict: 'busy'; readonly task: ClusterTask; readonly upgrade_id: string | null }
  | { readonly verdict: 'missing' }
  /**
   * The cluster that the decision was based on has changed, and the upgrade would be older than the cluster:
   * decide again.
   */
  | { readonly verdict: 'changed' }
  /** The target version was deleted in the meantime. */
  | { readonly verdict: 'no_version' };

export type PutVerdict =
  | { readonly verdict: 'put' }
  /** Another revision was written since: read again and decide again. */
  | { readonly verdict: 'conflict' }
  /** `users`, each `cluster:<id>` or `upgrade:<id>`, use a version that must be unused. */
  | { readonly verdict: 'in_use'; readonly version_id: string; readonly users: readonly string[] };

/**
 * `changed`: the cluster has changed since it was read: read it again. Otherwise the task that the cluster is
 * busy with; null if there is no such cluster.
 */
export type ResizeVerdict = 'begun' | 'changed' | ClusterTask | null;

/** The answer to a request, kept so that it can be sent again. */
export interface StoredAnswer {
  readonly status: number;
  readonly location: string | null;
  readonly body: string;
}

export type RequestVerdict =
  /**
   * Carry the request out. `operation_id` is the same in every try. What the request begins must have this
   * id, so that it begins once.
   */
  | { readonly verdict: 'begun'; readonly operation_id: string }
  | { readonly verdict: 'answered'; readonly answer: StoredAnswer }
  | { readonly verdict: 'in_flight' }
  /** The key was used for another request. */
  | { readonly verdict: 'reused' };

/** A new revision of an upgrade, with everything that must become true together with it. */
export interface Commit {
  /** `upgrade.revision` is the revision that was read plus one. */
  readonly upgrade: Upgrade;
  readonly events: readonly UpgradeEvent[];
  readonly instance_tasks: readonly {
    readonly instance_id: string;
    readonly task: InstanceTask;
    readonly fault: string | null;
    readonly in_doubt: boolean;
    readonly told_version?: string | null;
  }[];
  /** The durations of the steps that ended with this revision. They are kept for the manager. */
  readonly measured: readonly {
    readonly manager: string;
    readonly step: MeasuredKind;
    readonly ms: number;
  }[];
  /** Set when the upgrade ends: the cluster's task returns to NONE, and the cluster gets this version. */
  readonly release: { readonly datastore_version_id: string; readonly datastore_version: string } | null;
  /** True if the upgrade paused, continued or ended: its batch, if it has one, must be checked. */
  readonly moves_batch: boolean;
  /** When the upgrade must be checked again; null once it has ended. */
  readonly wake_at: Instant | null;
  readonly now: Instant;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Pass as `marker` to get the next page; null on the last. */
  readonly next_marker: string | null;
}

export interface PageRequest {
  readonly limit: number;
  /** The last id of the previous page. */
  readonly marker: string | null;
}

/** What one step of a walk over all records has removed. */
export interface Forgotten {
  readonly count: number;
  /** Pass as `marker` to continue; null at the end. */
  readonly next_marker: string | null;
}

/** One step removes few more upgrades than this, because the store serves nobody else in the meantime. */
export const FORGET_AT_ONCE = 100;

export interface HeartbeatOutcome {
  /** False for a report older than the one already held. */
  readonly fresh: boolean;
  readonly cluster_id: string;
  readonly task: ClusterTask;
  readonly upgrade_id: string | null;
}

/** A cluster, and the catalogue that decisions about it are based on. */
export interface Found {
  readonly cluster: Cluster;
  readonly catalogue: Catalogue;
}

export interface Loaded {
  readonly upgrade: Upgrade;
  /** Null if the cluster has been removed in the meantime. */
  readonly cluster: Cluster | null;
  /** All versions of the cluster's datastore, as the catalogue has them now. */
  readonly versions: readonly DatastoreVersion[];
}

/**
 * No report is under way for this long. If a report is older than the last one by more than this, the guest's
 * clock was set back.
 */
export const CLOCK_STEP_MS = 60_000;

/** How long an answer is sent again to repeated requests: a day. */
export const REPLAY_MS = 86_400_000;
/**
 * A process that carries out a request counts as dead after this long, and the next try may proceed. This is
 * longer than any request takes. If the first process finishes late after all, nothing begins twice, because
 * both tries use the same id.
 */
export const IN_FLIGHT_MS = 15_000;

/** A request under an idempotency key. */
export interface KeyedRequest {
  readonly tenant_id: string;
  readonly key: string;
  /** Made from the sender, the method, the path and the body of the request. */
  readonly fingerprint: string;
  /** Names this try: a new id each time. */
  readonly claim: string;
}

export interface Store {
  readonly batches: BatchStore;

  /** The whole catalogue, as one consistent view. */
  getCatalogue(): Promise<Catalogue>;
  /** Replaces the catalogue of the preceding revision, if nobody uses the versions in `unused`. */
  putCatalogue(catalogue: Catalogue, unused: readonly string[]): Promise<PutVerdict>;

  /**
   * Creates a cluster with task BUILDING, its keys, and its `create_cluster` cast, which is then pending.
   * `taken`: there is a cluster of that id. `full`: its tenant has `max_clusters` already. `no_version`: its
   * version was deleted in the meantime.
   */
  createCluster(
    cluster: Cluster,
    order: BuildOrder,
    cast: PendingCast,
    options?: { readonly max_clusters?: number | null; readonly keys?: Keys },
  ): Promise<'created' | 'taken' | 'full' | 'no_version'>;
  getCluster(id: string): Promise<Cluster | null>;
  /** Reads the cluster and the catalogue. The catalogue may be a later one. */
  seeCluster(id: string): Promise<Found | null>;
  /** Those of these clusters that exist. */
  clustersOf(ids: readonly string[]): Promise<readonly Cluster[]>;
  /** The ids of a tenant's clusters of that name, oldest first. */
  findClusters(tenant_id: string, name: string): Promise<readonly string[]>;
  /** Clusters in order of id; null: those of all tenants. */
  listClusters(tenant_id: string | null, page: PageRequest): Promise<Page<Cluster>>;
  getBuildOrder(cluster_id: string): Promise<BuildOrder | null>;
  /**
   * Gives an external agent an instance that is being built: the next one in creation order, or the one that
   * the agent was given before. That instance will then serve at `endpoint`. Each time that the agent asks,
   * `sent` must be later than before.
   */
  joinCluster(
    cluster_id: string,
    agent: { readonly id: string; readonly endpoint: Endpoint; readonly sent: Instant },
  ): Promise<JoinVerdict>;
  /**
   * BUILDING or GROWING_CLUSTER → NONE, together with the tasks of the instances that were being built. Does
   * nothing if the cluster has another task by now. `since` is the `updated` of the cluster that the caller
   * has judged: the caller knows nothing about a task that has begun later.
   */
  finishBuild(cluster_id: string, now: Instant, since?: Instant): Promise<void>;
  /**
   * Task NONE → GROWING_CLUSTER. Adds these instances at the end, with their keys and a build order, and
   * makes the cast pending. `seen` is the cluster that the decision was based on; see `ResizeVerdict`.
   */
  beginGrow(
    seen: Cluster,
    added: readonly Instance[],
    cast: PendingCast,
    now: Instant,
    keys?: Keys,
  ): Promise<ResizeVerdict>;
  /** Task NONE → SHRINKING_CLUSTER. Sets these instances' tasks to DELETING, and makes the cast pending. */
  beginShrink(seen: Cluster, ids: readonly string[], cast: PendingCast, now: Instant): Promise<ResizeVerdict>;
  /**
   * SHRINKING_CLUSTER → NONE: removes the instances in `removed` and their keys. Other instances that were to
   * go stay, with `fault`. Does nothing if the cluster has changed since it was `seen`.
   */
  finishShrink(seen: Cluster, removed: readonly string[], fault: string | null, now: Instant): Promise<void>;
  /**
   * NONE or BUILDING → DELETING, with the `delete_cluster` cast pending. Otherwise returns the cluster's
   * task, or null if there is no such cluster. BUILDING is allowed because a cluster that never gets built
   * must be deletable.
   */
  beginDelete(cluster_id: string, cast: PendingCast, now: Instant): Promise<'begun' | ClusterTask | null>;
  /** Removes a cluster in task DELETING with its instances, keys, upgrades and events. */
  removeCluster(cluster_id: string): Promise<void>;
  clusterOfInstance(instance_id: string): Promise<string | null>;
  /**
   * Writes a guest's report if it is newer than the last one (by `sent`), or older by `CLOCK_STEP_MS` or
   * more: then the guest's clock was set back. Null for an unknown instance.
   */
  heartbeat(instance_id: string, report: GuestReport, now: Instant): Promise<HeartbeatOutcome | null>;

  /**
   * Task NONE → UPGRADING_CLUSTER. Writes the record at revision 1 with its first event, and the cast to
   * publish (G3).
   */
  begin(
    upgrade: Upgrade,
    event: UpgradeEvent,
    cast: PendingCast | null,
    wake_at: Instant,
  ): Promise<BeginVerdict>;
  getUpgrade(id: string): Promise<Upgrade | null>;
  /** Those of these upgrades that exist. */
  upgradesOf(ids: readonly string[]): Promise<readonly Upgrade[]>;
  /** A cluster's upgrades, newest first. */
  listUpgrades(cluster_id: string, page: PageRequest): Promise<Page<Upgrade>>;
  /**
   * Removes upgrades that ended before this time, with their events, of up to `limit` clusters in order of
   * id. A cluster keeps its latest upgrade, because a retry or a rollback may take it up. A batch keeps its
   * upgrades as long as the batch itself is there. A cast that is not confirmed keeps the upgrade that it
   * starts.
   */
  forgetUpgrades(before: Instant, page: PageRequest): Promise<Forgotten>;
  /** The upgrade, its cluster and the versions of its datastore, as one consistent view. */
  load(upgrade_id: string): Promise<Loaded | null>;
  /** `conflict`: another revision was committed since. The caller reads again and decides again. */
  commit(commit: Commit): Promise<'committed' | 'conflict'>;
  /**
   * The latest durations of a manager's steps, at most `MEASURED_STEPS` of each kind. They may be some
   * seconds old.
   */
  measuredTimes(manager: string): Promise<MeasuredTimes>;
  /** Events after `after_seq`, oldest first; waits up to `wait_ms` when there are none yet. */
  events(
    upgrade_id: string,
    after_seq: number,
    options: { limit: number; wait_ms: number },
  ): Promise<readonly UpgradeEvent[]>;

  /**
   * Takes up to `limit` due ids, and lends each to the caller for `lend_ms`. After that, the id is due again
   * for other callers.
   */
  takeDue(now: Instant, limit: number, lend_ms: number): Promise<readonly DueItem[]>;
  /**
   * There was nothing to do: sets the time of the next check. Has no effect on an item that is no longer in
   * the schedule.
   */
  defer(item: DueItem, at: Instant): Promise<void>;
  /** Everything that waits for time or work, due or not. For a process that starts. */
  listActive(): Promise<readonly DueItem[]>;

  /** Claims a request for a process that will carry it out, or reports what has become of the request. */
  beginRequest(request: KeyedRequest, now: Instant): Promise<RequestVerdict>;
  /**
   * Keeps the answer. Null: there is no answer worth repeating, and the next try may proceed. Does nothing if
   * another try holds the claim.
   */
  endRequest(request: KeyedRequest, answer: StoredAnswer | null): Promise<void>;

  /**
   * Upgrades that still need notifications, each with the number of the last event that was notified.
   * Upgrades are listed if they begin in a store that was opened with `notifies`.
   */
  untold(): Promise<readonly { readonly upgrade_id: string; readonly seq: number }[]>;
  /** Records how far an upgrade has been notified. Null: no notification is left to send. */
  told(upgrade_id: string, seq: number | null): Promise<void>;
  /** True if `holder` has the duty now, and for `lease_ms` from now. Only one holder has it at a time. */
  holdDuty(duty: string, holder: string, lease_ms: number): Promise<boolean>;

  /** The key of an instance, or a join key; null if there is none. */
  getKey(id: string): Promise<string | null>;
  /** Replaces an existing key. False if the key no longer exists. */
  replaceKey(id: string, sealed: string): Promise<boolean>;
  /** The ids of all keys. */
  keyIds(): Promise<readonly string[]>;

  pendingCasts(before: Instant, limit: number): Promise<readonly PendingCast[]>;
  castConfirmed(id: string): Promise<void>;

  /** Counts what waits, for metrics. */
  counts(now: Instant): Promise<StoreCounts>;
  /**
   * The id of the installation that the store belongs to. It becomes `fresh`, unless there is one already.
   */
  installation(fresh: string): Promise<string>;
  /** Reports whether the store would take a write. Never rejects. */
  health(): Promise<StoreHealth>;
  close(): Promise<void>;
}

/** `refuses_writes`: the store answers, and changes nothing. `reason` says why, and what to do. */
export type StoreHealth =
  | { readonly status: 'ok' }
  | { readonly status: 'unreachable' | 'refuses_writes'; readonly reason: string };

export interface StoreCounts {
  /** Upgrades that have not ended, by the name of their state. */
  readonly upgrades: Readonly<Record<string, number>>;
  /** The heads of batches that have not ended. */
  readonly batches: readonly Batch[];
  /** How much is due, and for how long the first item has been due. */
  readonly overdue: number;
  readonly overdue_ms: number;
  /** Casts that the bus has not confirmed yet, and the age of the oldest. */
  readonly pending_casts: number;
  readonly pending_casts_ms: number;
}

/** A batch that got a hint is checked after this long at the latest, even if no taskmanager was woken. */
export const HINT_GRACE_MS = 1_000;

const DUE_KINDS = ['upgrade', 'cluster', 'batch'] as const;

export interface DueItem {
  readonly kind: (typeof DUE_KINDS)[number];
  readonly id: string;
}

/** Parses the form in which an item is due: `<kind>:<id>`. */
export function dueItem(text: string): DueItem {
  const [name, id = ''] = text.split(':', 2);
  return { kind: DUE_KINDS.find((kind) => kind === name) ?? 'upgrade', id };
}

export type { Instance };
