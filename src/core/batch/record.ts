/**
 * The record of a batch: a small head, which every commit writes anew, and its members, one per selected
 * cluster. A commit writes only the members that have changed. So an event costs in a batch of thousands what
 * it costs in a batch of ten.
 */
import type { Instant } from '../domain.ts';
import type { Percentage, Policy } from '../policy.ts';
import type { RequestedBy, PauseReason as UpgradePauseReason } from '../record.ts';

/** All given conditions must hold. */
export interface Selector {
  /** Id or name of a datastore. */
  readonly datastore?: string;
  /** A range such as `>=17.5 <17.10`, in which the present version must lie. */
  readonly version?: string;
  /** A pattern: `*` stands for any text, `?` for one character. */
  readonly name?: string;
  /** One of the cluster's tags. */
  readonly tag?: string;
}

/** Explicit clusters, or all clusters that match a selector. */
export interface Selection {
  readonly clusters?: readonly ChosenCluster[];
  readonly selector?: Selector;
  /** An administrator selects among the clusters of all tenants. */
  readonly all_tenants: boolean;
}

interface ChosenCluster {
  readonly id: string;
  /** Replaces the batch's policy, field by field. */
  readonly policy?: Partial<Policy>;
}

/** The head of a batch: its goal, its progress, and the tallies of its members. */
export interface Batch {
  readonly id: string;
  /**
   * The tenant that owns the batch. Its clusters may belong to other tenants if an administrator asked for
   * it.
   */
  readonly tenant_id: string;
  readonly name: string | null;
  /** Counts commits; a commit names the revision it read (compare-and-set). */
  readonly revision: number;
  /** The number of the last event. The numbers have no gaps (G9). */
  readonly seq: number;
  readonly datastore_id: string;
  readonly datastore: string;
  /** B6: the target is pinned when the batch is accepted. */
  readonly to_version_id: string;
  readonly to_version: string;
  /** The policy of each cluster's upgrade, unless the cluster has one of its own. */
  readonly policy: Partial<Policy>;
  /** The selection as it was requested. */
  readonly selection: Selection;
  readonly requested_by: RequestedBy;
  readonly created: Instant;
  readonly state: BatchState;
  /** A person asked to stop the batch. It ends as `cancelled` once nothing is in flight. */
  readonly cancelling: boolean;
  /** The position of the current wave. */
  readonly wave: number;
  /** The last wave that a person has approved; -1 before the first. */
  readonly approved_wave: number;
  readonly waves: readonly Wave[];
  /** How many clusters there are in all, including those left out. */
  readonly size: number;
  /**
   * How many selected clusters had nothing to do or could not reach the target. They are skipped from the
   * start, and in no wave.
   */
  readonly left_out: number;
}

export const BATCH_PAUSE_REASONS = [
  'requested',
  'approval',
  'failures',
  'write_outage',
  'health',
  'rolled_back',
] as const;
export type BatchPauseReason = (typeof BATCH_PAUSE_REASONS)[number];

export type BatchState =
  /** Accepted and safe; no taskmanager has taken it up. */
  | { readonly name: 'scheduled' }
  | { readonly name: 'running'; readonly started: Instant; readonly soak: Soak | null }
  /** Rolls a wave back; afterwards the batch is paused. */
  | { readonly name: 'rolling_back'; readonly started: Instant; readonly wave: number }
  /** Waits for a person; `message` says for what. Upgrades in flight run to their end. */
  | {
      readonly name: 'paused';
      /** Null if it was paused before a taskmanager took it up. */
      readonly started: Instant | null;
      readonly since: Instant;
      readonly reason: BatchPauseReason;
      readonly message: string;
    }
  /** `incomplete`: the batch came to its end, and some of its clusters did not reach the target. */
  | {
      readonly name: 'succeeded' | 'incomplete' | 'cancelled';
      readonly started: Instant;
      readonly ended: Instant;
      readonly message: string;
    };

type BatchStateName = BatchState['name'];
export const ACTIVE_BATCH_STATES: readonly BatchStateName[] = [
  'scheduled',
  'running',
  'rolling_back',
  'paused',
];
export const BATCH_ENDS = ['succeeded', 'incomplete', 'cancelled'] as const;
export type BatchEnd = (typeof BATCH_ENDS)[number];

/** A time between two waves: until it is over, the upgraded clusters must stay healthy. */
interface Soak {
  readonly until: Instant;
  /** Since when a cluster has been unhealthy; null while all are healthy. */
  readonly unwell_since: Instant | null;
}

export interface Wave {
  readonly max_concurrent: number;
  /** How many clusters may fail. If one more fails, the batch pauses. */
  readonly failure_budget: number | Percentage;
  /** How much write outage its clusters may have together; null: no limit. */
  readonly write_outage_budget_seconds: number | null;
  /** How long, after the wave, all clusters upgraded so far must stay healthy. */
  readonly soak_seconds: number;
  /** A person must approve it before it starts. */
  readonly approval: boolean;
  readonly size: number;
  readonly started: Instant | null;
  readonly ended: Instant | null;
  /** B1: the tally of its members. */
  readonly counts: WaveCounts;
  /** How many running members have an upgrade that has failed and waits for a person. */
  readonly troubled: number;
  /** How many running members have an upgrade that waits for its window. They take up no place. */
  readonly parked: number;
  readonly write_outage_ms: number;
  /**
   * A person who lets a batch continue after it exceeded a budget grants the full budget again: it is counted
   * from here.
   */
  readonly forgiven_failures: number;
  readonly forgiven_outage_ms: number;
}

export type WaveCounts = Readonly<Record<MemberStateName, number>>;

export const MEMBER_STATES = [
  'queued',
  'waiting',
  'running',
  'succeeded',
  'failed',
  'skipped',
  'cancelled',
] as const;
export type MemberStateName = (typeof MEMBER_STATES)[number];

/** One selected cluster. */
export interface Member {
  /** Counted from 0. It identifies the member and never changes. */
  readonly position: number;
  /** Null if the cluster was left out from the start. */
  readonly wave: number | null;
  readonly cluster_id: string;
  readonly cluster_name: string;
  readonly tenant_id: string;
  /** The version that the cluster ran when the batch was accepted. */
  readonly from_version: string;
  /** What the policy of this cluster's upgrade sets in place of the batch's policy; null if nothing. */
  readonly policy: Partial<Policy> | null;
  /** How many upgrades have begun so far. The id of each follows from this number (B5). */
  readonly tries: number;
  /** The last upgrade; null before the first. */
  readonly upgrade_id: string | null;
  /** The upgrade to roll back; null while the way is forward. */
  readonly undo: string | null;
  /** The write outage of all its upgrades together. */
  readonly write_outage_ms: number;
  readonly started: Instant | null;
  /** Since when something other than the batch has kept the member from beginning; null when nothing does. */
  readonly waiting_since: Instant | null;
  readonly state: MemberState;
}

export type MemberState =
  | { readonly name: 'queued' }
  /** B8: the member takes up no place. Its turn comes again at `until`. */
  | { readonly name: 'waiting'; readonly until: Instant; readonly reason: string }
  | {
      readonly name: 'running';
      readonly since: Instant;
      /** `back`: the upgrade rolls another one back. */
      readonly way: 'forward' | 'back';
      /** Why the member's upgrade is paused; null if it is not paused. */
      readonly held: Held | null;
    }
  | { readonly name: 'succeeded'; readonly ended: Instant }
  | { readonly name: 'failed' | 'skipped' | 'cancelled'; readonly ended: Instant; readonly reason: string };

interface Held {
  readonly reason: UpgradePauseReason;
  readonly message: string;
}

/** A line in a batch's event stream. */
export interface BatchEvent {
  readonly seq: number;
  readonly at: Instant;
  readonly type: BatchEventType;
  readonly wave?: number;
  readonly cluster_id?: string;
  readonly upgrade_id?: string;
  readonly message: string;
}

export const BATCH_EVENT_TYPES = [
  'accepted',
  'started',
  'wave_started',
  'cluster_started',
  'cluster_waiting',
  'cluster_held',
  'cluster_queued',
  'cluster_succeeded',
  'cluster_failed',
  'cluster_skipped',
  'cluster_cancelled',
  'wave_done',
  'soaking',
  'unwell',
  'approved',
  'paused',
  'resumed',
  'cancelling',
  'rolling_back',
  'succeeded',
  'incomplete',
  'cancelled',
] as const;
export type BatchEventType = (typeof BATCH_EVENT_TYPES)[number];

/** What must be done outside the machine, as data. All of it may be done twice without harm. */
export type BatchEffect =
  /** Begins the member's upgrade under the id that the member already has (B5). */
  | { readonly kind: 'begin'; readonly member: Member }
  | { readonly kind: 'act'; readonly upgrade_id: string; readonly action: 'cancel' | 'rollback' }
  /** There is more to do now than was read. */
  | { readonly kind: 'again' };

/** True until the batch has ended. */
export function isBatchActive({ state }: Batch): boolean {
  return !(BATCH_ENDS as readonly string[]).includes(state.name);
}

/** True if the member's turn is still to come. */
export function isOpen({ state }: Member): boolean {
  return state.name === 'queued' || state.name === 'waiting';
}

/** How many members take up a place: they are running, and not merely waiting for a window. */
export function inFlight({ waves }: Batch): number {
  return waves.reduce((sum, { counts, parked }) => sum + counts.running - parked, 0);
}

/**
 * How many clusters of a wave may fail. A percentage above zero allows at least one: 5 % of nine would be
 * none.
 */
export function failuresAllowed({ failure_budget, size }: Pick<Wave, 'failure_budget' | 'size'>): number {
  if (typeof failure_budget === 'number') return failure_budget;
  const percent = Number.parseFloat(failure_budget);
  return percent === 0 ? 0 : Math.min(size, Math.max(1, Math.floor((size * percent) / 100)));
}

/** What a person can ask of a batch. Asking for the same twice does no harm. */
export const BATCH_ACTIONS = ['pause', 'resume', 'approve', 'retry', 'skip', 'rollback', 'cancel'] as const;
export type BatchAction = (typeof BATCH_ACTIONS)[number];

export interface AskedOfBatch {
  readonly action: BatchAction;
  /** With `retry` and `skip`: the ids of these clusters, instead of all clusters that failed. */
  readonly clusters?: readonly string[];
  /** With `rollback`: which wave, counted from 0. Without it, the current wave. */
  readonly wave?: number;
}
