/**
 * The record of a batch: a small head, which every commit writes anew, and its members, one per
 * selected cluster, of which a commit writes only those that have changed. So a batch of thousands
 * costs per event what a batch of ten costs.
 */
import type { Instant } from '../domain.ts';
import type { Percentage, Policy } from '../policy.ts';
import type { RequestedBy, PauseReason as UpgradePauseReason } from '../record.ts';
import type { Selection } from './selection.ts';

/** The head of a batch: what it is to do, how far it is, and the tallies of its members. */
export interface Batch {
  readonly id: string;
  /** Whose batch it is; its clusters may be those of others if an administrator asked for it. */
  readonly tenant_id: string;
  readonly name: string | null;
  /** Counts commits; a commit names the revision it read (compare-and-set). */
  readonly revision: number;
  /** Number of the last event emitted; they are gapless (G9). */
  readonly seq: number;
  readonly datastore_id: string;
  readonly datastore: string;
  /** B6: the target is pinned when the batch is accepted. */
  readonly to_version_id: string;
  readonly to_version: string;
  /** Of each cluster's upgrade, where the cluster has none of its own. */
  readonly policy: Partial<Policy>;
  /** What was asked for, as it was asked. */
  readonly selection: Selection;
  readonly requested_by: RequestedBy;
  readonly created: Instant;
  readonly state: BatchState;
  /** A person asked to stop; it ends as `cancelled` once nothing is in flight. */
  readonly cancelling: boolean;
  /** Position of the wave at work. */
  readonly wave: number;
  /** The last wave that a person has approved; -1 before the first. */
  readonly approved_wave: number;
  readonly waves: readonly Wave[];
  /** How many clusters there are in all, those left out included. */
  readonly size: number;
  /** Selected, but there was nothing to do or no way there: skipped from the start, in no wave. */
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
  /** Takes a wave back; afterwards it is paused. */
  | { readonly name: 'rolling_back'; readonly started: Instant; readonly wave: number }
  /** Waits for a person; `message` says for what. What is in flight ends. */
  | {
      readonly name: 'paused';
      /** Null if it was paused before a taskmanager took it up. */
      readonly started: Instant | null;
      readonly since: Instant;
      readonly reason: BatchPauseReason;
      readonly message: string;
    }
  /** `incomplete`: it went to its end, and some of its clusters did not get there. */
  | {
      readonly name: 'succeeded' | 'incomplete' | 'cancelled';
      readonly started: Instant;
      readonly ended: Instant;
      readonly message: string;
    };

export type BatchStateName = BatchState['name'];
export const ACTIVE_BATCH_STATES: readonly BatchStateName[] = [
  'scheduled',
  'running',
  'rolling_back',
  'paused',
];
export const BATCH_ENDS = ['succeeded', 'incomplete', 'cancelled'] as const;
export type BatchEnd = (typeof BATCH_ENDS)[number];

/** Between two waves: what was upgraded must stay healthy until then. */
export interface Soak {
  readonly until: Instant;
  /** Since when something is not healthy; null while all is well. */
  readonly unwell_since: Instant | null;
}

export interface Wave {
  readonly max_concurrent: number;
  /** Clusters that may fail: one more, and the batch pauses. */
  readonly failure_budget: number | Percentage;
  /** Write outage that its clusters may have together; null: any. */
  readonly write_outage_budget_seconds: number | null;
  /** Afterwards the health of everything upgraded so far must hold this long. */
  readonly soak_seconds: number;
  /** A person must approve it before it starts. */
  readonly approval: boolean;
  readonly size: number;
  readonly started: Instant | null;
  readonly ended: Instant | null;
  /** B1: the tally of its members. */
  readonly counts: WaveCounts;
  /** Of those running: how many have an upgrade that has failed and waits for a person. */
  readonly troubled: number;
  /** Of those running: how many have an upgrade that waits for its window, and hold no place. */
  readonly parked: number;
  readonly write_outage_ms: number;
  /** Whoever lets a batch go on past a budget grants the budget anew: counted from here. */
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
  /** From 0; names the member for ever. */
  readonly position: number;
  /** Null if it was left out from the start. */
  readonly wave: number | null;
  readonly cluster_id: string;
  readonly cluster_name: string;
  readonly tenant_id: string;
  /** What it ran when the batch was accepted. */
  readonly from_version: string;
  /** What its upgrade's policy has that the batch's has not; null if nothing. */
  readonly policy: Partial<Policy> | null;
  /** Upgrades begun so far; the id of each follows from it (B5). */
  readonly tries: number;
  /** The last of them; null before the first. */
  readonly upgrade_id: string | null;
  /** The upgrade that is to be undone; null while the way is forward. */
  readonly undo: string | null;
  /** Of all its upgrades together. */
  readonly write_outage_ms: number;
  readonly started: Instant | null;
  /** Since when something else than the batch keeps it from beginning; null when nothing does. */
  readonly waiting_since: Instant | null;
  readonly state: MemberState;
}

export type MemberState =
  | { readonly name: 'queued' }
  /** B8: it holds no place; its turn comes again at `until`. */
  | { readonly name: 'waiting'; readonly until: Instant; readonly reason: string }
  | {
      readonly name: 'running';
      readonly since: Instant;
      /** `back`: the upgrade is one that undoes another. */
      readonly way: 'forward' | 'back';
      /** Why its upgrade is paused; null when it isn't. */
      readonly held: Held | null;
    }
  | { readonly name: 'succeeded'; readonly ended: Instant }
  | { readonly name: 'failed' | 'skipped' | 'cancelled'; readonly ended: Instant; readonly reason: string };

export interface Held {
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

/** What is to be done outside, as data; all of it is safe to do twice. */
export type BatchEffect =
  /** Begins the member's upgrade under the id that it bears already (B5). */
  | { readonly kind: 'begin'; readonly member: Member }
  | { readonly kind: 'act'; readonly upgrade_id: string; readonly action: 'cancel' | 'rollback' }
  /** There is more to do at once than was read. */
  | { readonly kind: 'again' };

/** True until the batch has ended. */
export function isBatchActive({ state }: Batch): boolean {
  return !(BATCH_ENDS as readonly string[]).includes(state.name);
}

/** Its turn is still to come. */
export function isOpen({ state }: Member): boolean {
  return state.name === 'queued' || state.name === 'waiting';
}

/** Members that have a place: at work, not merely waiting for a window. */
export function inFlight({ waves }: Batch): number {
  return waves.reduce((sum, { counts, parked }) => sum + counts.running - parked, 0);
}

/** How many clusters of a wave may fail. A percentage above zero is at least one: 5 % of nine would be none. */
export function failuresAllowed({ failure_budget, size }: Pick<Wave, 'failure_budget' | 'size'>): number {
  if (typeof failure_budget === 'number') return failure_budget;
  const percent = Number.parseFloat(failure_budget);
  return percent === 0 ? 0 : Math.min(size, Math.max(1, Math.floor((size * percent) / 100)));
}
