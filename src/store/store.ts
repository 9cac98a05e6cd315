/**
 * The store: the only place where the truth is kept. Every method is one atomic step, safe to
 * repeat after an unknown outcome. Rejects with `CofferError('store_unavailable')` when the store
 * can't be reached in time: the outcome is then unknown, and the caller reads again.
 *
 * Files: `redis.ts` the store on Redis · `lua.ts` its scripts · `batches.ts` the same for batches, with
 * `redis-batches.ts` and `lua-batches.ts` · `test/twins/` the store in memory, for the simulator ·
 * `begin-upgrade.ts` and `begin-batch.ts` the functions in which all three ways in meet · `change-catalogue.ts`
 * how the catalogue changes.
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

/** A cast that is safe in the store until the bus has confirmed it. */
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
  /** What a taskmanager of Trove's kind must find in its context. */
  readonly notification?: Readonly<Record<string, string>>;
}

/** What a provisioner needs beyond the cluster itself; dropped once the cluster is built. */
export interface BuildOrder {
  readonly databases: readonly string[];
  readonly users: readonly {
    readonly name: string;
    readonly verifier: string;
    readonly databases: readonly string[];
  }[];
}

/** Keys by the ids of what they are for, as whoever keeps them has encrypted them. */
export type Keys = ReadonlyMap<string, string>;
export const NO_KEYS: Keys = new Map();

/** The id under which a cluster's join key is kept, beside the keys of instances. */
export function joinKeyId(cluster_id: string): string {
  return `join:${cluster_id}`;
}

/** `stale`: the agent has asked later than that already. `full`: all places are taken. */
export type JoinVerdict = 'stale' | 'full' | Joined;

export interface Joined {
  readonly instance_id: string;
  /** Where the first instance that is being built is to serve; null until its agent has joined. */
  readonly first: Endpoint | null;
}

export type BeginVerdict =
  | { readonly verdict: 'begun' }
  /** The same upgrade id was begun before: a repeated request or a redelivered cast. */
  | { readonly verdict: 'duplicate' }
  | { readonly verdict: 'busy'; readonly task: ClusterTask; readonly upgrade_id: string | null }
  | { readonly verdict: 'missing' }
  /** What was decided on is no longer so, and the upgrade would be older than the cluster: decide again. */
  | { readonly verdict: 'changed' }
  /** The version to go to was deleted meanwhile. */
  | { readonly verdict: 'no_version' };

export type PutVerdict =
  | { readonly verdict: 'put' }
  /** Another revision was put since: read again and decide again. */
  | { readonly verdict: 'conflict' }
  /** Of what nobody may be using, `cluster:<id>` or `upgrade:<id>` use one. */
  | { readonly verdict: 'in_use'; readonly version_id: string; readonly users: readonly string[] };

/** `changed`: the cluster is not as it was seen any more: look again. Else the task that it is busy with; null if missing. */
export type ResizeVerdict = 'begun' | 'changed' | ClusterTask | null;

/** What was answered to a request, to be said again. */
export interface StoredAnswer {
  readonly status: number;
  readonly location: string | null;
  readonly body: string;
}

export type RequestVerdict =
  /** Carry it out. `operation_id` is the same in every try: what it begins must bear it, so that it begins once. */
  | { readonly verdict: 'begun'; readonly operation_id: string }
  | { readonly verdict: 'answered'; readonly answer: StoredAnswer }
  | { readonly verdict: 'in_flight' }
  /** The key was used for another request. */
  | { readonly verdict: 'reused' };

/** A new revision of an upgrade with everything that must become true together with it. */
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
  /** How long steps have taken that ended with this revision; kept for the manager. */
  readonly measured: readonly {
    readonly manager: string;
    readonly step: MeasuredKind;
    readonly ms: number;
  }[];
  /** Set when the upgrade ends: the cluster's task returns to NONE, and this is its version. */
  readonly release: { readonly datastore_version_id: string; readonly datastore_version: string } | null;
  /** It paused, went on or ended: its batch, if it has one, is to look. */
  readonly moves_batch: boolean;
  /** When the upgrade wants to be looked at again; null when it has ended. */
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
  /** The last id of the page before. */
  readonly marker: string | null;
}

/** What one step of a walk over everything has removed. */
export interface Forgotten {
  readonly count: number;
  /** Pass as `marker` to go on; null at the end. */
  readonly next_marker: string | null;
}

/** One step forgets hardly more upgrades: a store serves nobody else meanwhile. */
export const FORGET_AT_ONCE = 100;

export interface HeartbeatOutcome {
  /** False for a report older than the one already held. */
  readonly fresh: boolean;
  readonly cluster_id: string;
  readonly task: ClusterTask;
  readonly upgrade_id: string | null;
}

/** A cluster, and the catalogue that it is judged by. */
export interface Found {
  readonly cluster: Cluster;
  readonly catalogue: Catalogue;
}

export interface Loaded {
  readonly upgrade: Upgrade;
  /** Null if the cluster has been removed meanwhile. */
  readonly cluster: Cluster | null;
  /** All versions of the cluster's datastore, as the catalogue has them now. */
  readonly versions: readonly DatastoreVersion[];
}

/** No report is under way for so long: one that is older by more comes from a clock that was set back. */
export const CLOCK_STEP_MS = 60_000;

/** An answer is said again for a day. */
export const REPLAY_MS = 86_400_000;
/**
 * Whoever carries a request out is taken for dead after this long: the next try goes ahead. Longer than any
 * request takes; one that is late after all begins nothing twice, since both name it the same.
 */
export const IN_FLIGHT_MS = 15_000;

/** A request under an idempotency key. */
export interface KeyedRequest {
  readonly tenant_id: string;
  readonly key: string;
  /** Of who asks, method, path and body. */
  readonly fingerprint: string;
  /** Names this try: a new id each time. */
  readonly claim: string;
}

export interface Store {
  readonly batches: BatchStore;

  /** The whole catalogue, as one consistent view. */
  getCatalogue(): Promise<Catalogue>;
  /** Puts a catalogue in the place of the revision before its own, if nobody uses the versions `unused`. */
  putCatalogue(catalogue: Catalogue, unused: readonly string[]): Promise<PutVerdict>;

  /**
   * Task BUILDING, its `create_cluster` cast pending, its keys kept. `taken`: there is one of that id.
   * `full`: its tenant has `max_clusters` already. `no_version`: its version was deleted meanwhile.
   */
  createCluster(
    cluster: Cluster,
    order: BuildOrder,
    cast: PendingCast,
    options?: { readonly max_clusters?: number | null; readonly keys?: Keys },
  ): Promise<'created' | 'taken' | 'full' | 'no_version'>;
  getCluster(id: string): Promise<Cluster | null>;
  /** The same with the catalogue, which may be a later one. */
  seeCluster(id: string): Promise<Found | null>;
  /** Those of them that exist. */
  clustersOf(ids: readonly string[]): Promise<readonly Cluster[]>;
  /** Ids of a tenant's clusters of that name, oldest first. */
  findClusters(tenant_id: string, name: string): Promise<readonly string[]>;
  /** In order of id; null: of all tenants. */
  listClusters(tenant_id: string | null, page: PageRequest): Promise<Page<Cluster>>;
  getBuildOrder(cluster_id: string): Promise<BuildOrder | null>;
  /**
   * Gives an external agent an instance that is being built: the next in creation order, or
   * the one that it was given before, which is to serve at `endpoint` from now on. Each time that it
   * asks it must have `sent` later than before.
   */
  joinCluster(
    cluster_id: string,
    agent: { readonly id: string; readonly endpoint: Endpoint; readonly sent: Instant },
  ): Promise<JoinVerdict>;
  /**
   * BUILDING or GROWING_CLUSTER → NONE, and with it the tasks of the instances that were being built;
   * nothing if the task is another by now. `since` is the `updated` of the cluster that was judged: of a
   * task that has begun later nothing is known.
   */
  finishBuild(cluster_id: string, now: Instant, since?: Instant): Promise<void>;
  /**
   * Task NONE → GROWING_CLUSTER, with these instances at the end, their keys, a build order for them,
   * and the cast pending. `seen` is the cluster by which that was decided; see `ResizeVerdict`.
   */
  beginGrow(
    seen: Cluster,
    added: readonly Instance[],
    cast: PendingCast,
    now: Instant,
    keys?: Keys,
  ): Promise<ResizeVerdict>;
  /** Task NONE → SHRINKING_CLUSTER, these instances' tasks DELETING, and the cast pending. */
  beginShrink(seen: Cluster, ids: readonly string[], cast: PendingCast, now: Instant): Promise<ResizeVerdict>;
  /**
   * SHRINKING_CLUSTER → NONE: forgets the instances in `removed` and their keys; others that were to go stay, with `fault`.
   * Nothing if the cluster is not as it was `seen` any more.
   */
  finishShrink(seen: Cluster, removed: readonly string[], fault: string | null, now: Instant): Promise<void>;
  /**
   * NONE or BUILDING → DELETING with the `delete_cluster` cast pending; else the task that it has, null
   * if missing. A cluster that never gets built must have a way out.
   */
  beginDelete(cluster_id: string, cast: PendingCast, now: Instant): Promise<'begun' | ClusterTask | null>;
  /** Forgets a cluster in task DELETING with its instances, keys, upgrades and events. */
  removeCluster(cluster_id: string): Promise<void>;
  clusterOfInstance(instance_id: string): Promise<string | null>;
  /**
   * Writes a guest's report if it is newer than the one held (by `sent`), or older by `CLOCK_STEP_MS`
   * and more: then its clock was set back. Null for an unknown instance.
   */
  heartbeat(instance_id: string, report: GuestReport, now: Instant): Promise<HeartbeatOutcome | null>;

  /** Task NONE → UPGRADING_CLUSTER, the record at revision 1 with its first event, and the cast to publish (G3). */
  begin(
    upgrade: Upgrade,
    event: UpgradeEvent,
    cast: PendingCast | null,
    wake_at: Instant,
  ): Promise<BeginVerdict>;
  getUpgrade(id: string): Promise<Upgrade | null>;
  /** Those of them that exist. */
  upgradesOf(ids: readonly string[]): Promise<readonly Upgrade[]>;
  /** A cluster's upgrades, newest first. */
  listUpgrades(cluster_id: string, page: PageRequest): Promise<Page<Upgrade>>;
  /**
   * Forgets upgrades that ended before then, with their events, of up to `limit` clusters in order of id. A
   * cluster keeps its latest upgrade, which a retry or a rollback may take up; a batch keeps its own as long as
   * it is there itself, and a cast that is not confirmed keeps the one that it starts.
   */
  forgetUpgrades(before: Instant, page: PageRequest): Promise<Forgotten>;
  /** The upgrade, its cluster and the versions of its datastore, as one consistent view. */
  load(upgrade_id: string): Promise<Loaded | null>;
  /** `conflict`: another revision was committed since; read again and decide again. */
  commit(commit: Commit): Promise<'committed' | 'conflict'>;
  /** The latest durations of a manager's steps, `MEASURED_STEPS` of each kind at most. May be some seconds old. */
  measuredTimes(manager: string): Promise<MeasuredTimes>;
  /** Events after `after_seq`, oldest first; waits up to `wait_ms` when there are none yet. */
  events(
    upgrade_id: string,
    after_seq: number,
    options: { limit: number; wait_ms: number },
  ): Promise<readonly UpgradeEvent[]>;

  /** Takes up to `limit` due ids, and lends each to the caller for `lend_ms`: others see it due again after that. */
  takeDue(now: Instant, limit: number, lend_ms: number): Promise<readonly DueItem[]>;
  /** Nothing was to be done: look again then. No effect on what is no longer due at all. */
  defer(item: DueItem, at: Instant): Promise<void>;
  /** Everything that waits for time or work, whether due or not: for a process that starts. */
  listActive(): Promise<readonly DueItem[]>;

  /** Claims a request for one who carries it out, or tells what has become of it. */
  beginRequest(request: KeyedRequest, now: Instant): Promise<RequestVerdict>;
  /** Keeps the answer; null when there is none worth repeating, and the next try may go ahead. Nothing if another holds the claim. */
  endRequest(request: KeyedRequest, answer: StoredAnswer | null): Promise<void>;

  /**
   * Upgrades that notifications are still to come of, each with the number of the last event that was
   * told. Kept where they begin in a store that was opened with `notifies`.
   */
  untold(): Promise<readonly { readonly upgrade_id: string; readonly seq: number }[]>;
  /** Null: nothing more is to come. */
  told(upgrade_id: string, seq: number | null): Promise<void>;
  /** True if `holder` has the duty now and for `lease_ms` from now: one at a time has. */
  holdDuty(duty: string, holder: string, lease_ms: number): Promise<boolean>;

  /** The key of an instance, or a join key; null if there is none. */
  getKey(id: string): Promise<string | null>;
  /** Puts another in the place of a key that is there. False if there is none any more. */
  replaceKey(id: string, sealed: string): Promise<boolean>;
  /** Of all keys. */
  keyIds(): Promise<readonly string[]>;

  pendingCasts(before: Instant, limit: number): Promise<readonly PendingCast[]>;
  castConfirmed(id: string): Promise<void>;

  /** What waits, counted: for metrics. */
  counts(now: Instant): Promise<StoreCounts>;
  /** The id of the installation that the store belongs to: `fresh`, unless it has one already. */
  installation(fresh: string): Promise<string>;
  /** Whether it would take a write. Never rejects. */
  health(): Promise<StoreHealth>;
  close(): Promise<void>;
}

/** `refuses_writes`: it answers, and changes nothing; `reason` says why, and what to do. */
export type StoreHealth =
  | { readonly status: 'ok' }
  | { readonly status: 'unreachable' | 'refuses_writes'; readonly reason: string };

export interface StoreCounts {
  /** Upgrades that have not ended, by the name of their state. */
  readonly upgrades: Readonly<Record<string, number>>;
  /** The heads of batches that have not ended. */
  readonly batches: readonly Batch[];
  /** What is due, and for how long the first of them has been. */
  readonly overdue: number;
  readonly overdue_ms: number;
  /** Casts that the bus has not confirmed yet, and the age of the oldest. */
  readonly pending_casts: number;
  readonly pending_casts_ms: number;
}

/** A batch that got a hint is looked at by then, even if nobody was woken. */
export const HINT_GRACE_MS = 1_000;

const DUE_KINDS = ['upgrade', 'cluster', 'batch'] as const;

export interface DueItem {
  readonly kind: (typeof DUE_KINDS)[number];
  readonly id: string;
}

/** From the form in which it is due: `<kind>:<id>`. */
export function dueItem(text: string): DueItem {
  const [name, id = ''] = text.split(':', 2);
  return { kind: DUE_KINDS.find((kind) => kind === name) ?? 'upgrade', id };
}

export type { Instance };
