/**
 * The batch machine: many upgrades under one policy, in waves. As pure as the upgrade machine, whose
 * shape it has one level up: its events are that upgrades have moved, its effects that some begin.
 *
 * It goes by levels, not by edges: each look compares the members that were read with what their
 * upgrades are now, so that a lost hint costs a later look and nothing else. A member in state
 * `running` *is* the promise to begin its upgrade, under an id that follows from batch, cluster and
 * try: beginning it twice begins it once.
 *
 * Files: `advance.ts` inputs · `orders.ts` what people ask for · `follow.ts` what has become of the
 * members' upgrades · `schedule.ts` waves, budgets, and what begins next · `draft.ts` the record while it is
 * being moved · `wake.ts` when to look again · `share.ts` places among batches · `selection.ts` clusters and
 * waves · `admit.ts` the first record · `actions.ts` what a person can do · `record.ts` the words.
 *
 * Invariants, cited where they are kept:
 * - B1: every member ends in exactly one of succeeded, failed, skipped, cancelled, and the waves' counts are the tallies of their members' states.
 * - B2: nothing begins while the wave has its `max_concurrent` in flight, or the batch its share of the places of all batches.
 * - B3: a wave starts only when the one before it is over, its soak has held, and a person has approved where that is asked for.
 * - B4: past a budget nothing begins until a person has decided; what is in flight ends.
 * - B5: an upgrade's id follows from batch, cluster and try; only the last try's outcome counts.
 * - B6: the target version is the one that was pinned when the batch was accepted.
 * - B7: paused or cancelling, nothing begins; while a wave is taken back only ways back do.
 * - B8: a member that has to wait holds no place, and says for what and until when.
 */
import type { Instant } from '../domain.ts';
import type { PauseReason, StateName, Upgrade } from '../record.ts';
import { BatchDraft } from './draft.ts';
import { follow, type Refusal, refused } from './follow.ts';
import { type BatchOrder, obey } from './orders.ts';
import { type Batch, type BatchEffect, type BatchEvent, isBatchActive, type Member } from './record.ts';
import { proceed } from './schedule.ts';
import type { Load } from './share.ts';

/** What can happen to a batch. */
export type BatchInput =
  /** Time has passed, or upgrades have moved: look at everything that was read. */
  | { readonly type: 'wake' }
  /** Upgrades could not begin. */
  | { readonly type: 'refused'; readonly refusals: readonly Refusal[] }
  /** A person asks for something. */
  | { readonly type: 'order'; readonly order: BatchOrder; readonly by: string };

/** What was read together with the record. Only part of the members: those that the input may concern. */
export interface BatchSeen {
  readonly members: readonly Member[];
  /** Upgrades of the running ones among them, by id; absent: there is none. */
  readonly upgrades: ReadonlyMap<string, UpgradeSeen>;
  /** Positions of open members of the wave at work whose turn has come, in order; each is among `members`. */
  readonly ready: readonly number[];
  /** How many are ready in all. */
  readonly ready_count: number;
  /** When the turn of the next of those that wait comes; null if none waits. */
  readonly next_ready: Instant | null;
  /** Names of clusters that were upgraded and are not healthy; null when nobody has looked. */
  readonly unwell: readonly string[] | null;
  /** What the other active batches have and want. */
  readonly others: readonly Load[];
  /** Clusters in flight in all batches together. */
  readonly max_concurrent_total: number;
}

/** Of an upgrade: what its batch goes by. */
export interface UpgradeSeen {
  readonly state: StateName;
  readonly reason: PauseReason | null;
  readonly message: string;
  readonly direction: Upgrade['direction'];
  readonly cancelling: boolean;
  readonly write_outage_ms: number;
}

export interface BatchNext {
  readonly batch: Batch;
  /** Those that have changed. */
  readonly members: readonly { readonly before: Member; readonly after: Member }[];
  readonly effects: readonly BatchEffect[];
  readonly events: readonly BatchEvent[];
  /** `stale`: nothing to commit. `refused`: a person asked for what the state does not allow; see `reason`. */
  readonly verdict: 'applied' | 'stale' | 'refused';
  readonly reason?: string;
}

/** Moves a batch on. */
export function advanceBatch(batch: Batch, input: BatchInput, seen: BatchSeen, now: Instant): BatchNext {
  const draft = new BatchDraft(batch, seen, now);
  if (!isBatchActive(batch)) {
    return input.type === 'order' ? no(batch, `the batch has ended: ${batch.state.name}`) : draft.finish();
  }
  const refusal = apply(draft, input);
  if (refusal !== undefined) return no(batch, refusal);
  for (const member of draft.members) follow(draft, member);
  proceed(draft);
  return draft.finish();
}

function apply(draft: BatchDraft, input: BatchInput): string | undefined {
  switch (input.type) {
    case 'wake':
      return undefined;
    case 'refused':
      for (const refusal of input.refusals) refused(draft, refusal);
      return undefined;
    case 'order':
      return obey(draft, input.order, input.by);
    default:
      return input satisfies never;
  }
}

function no(batch: Batch, reason: string): BatchNext {
  return { batch, members: [], effects: [], events: [], verdict: 'refused', reason };
}

/** What a batch goes by of an upgrade's record. */
export function seenOf(upgrade: Upgrade): UpgradeSeen {
  const { state, direction, cancelling, write_outage_ms } = upgrade;
  return {
    state: state.name,
    reason: state.name === 'paused' ? state.reason : null,
    message: 'message' in state ? state.message : state.name,
    direction,
    cancelling,
    write_outage_ms,
  };
}
