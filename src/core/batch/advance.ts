/**
 * The batch machine: many upgrades under one policy, in waves. It is as pure as the upgrade machine, and has
 * the same shape one level up: its inputs say that upgrades have moved, and its effects begin upgrades.
 *
 * It depends on states, not on events: each check compares the members that were read with the present state
 * of their upgrades. So a lost hint only delays a check. A member in state `running` *is* the promise to
 * begin its upgrade, under an id that follows from batch, cluster and try: to begin it a second time changes
 * nothing.
 *
 * - `inputs.ts`: what goes in, and what comes out. `advance.ts`: what each input does. `act.ts`: what people ask
 *   for.
 * - `track.ts`: what has become of the members' upgrades.
 * - `schedule.ts`: waves, budgets, and what begins next. `share.ts`: places shared among batches.
 * - `draft.ts`: the record while it is being changed. `record.ts`: its types.
 * - `wake.ts`: when the next check is due.
 * - `selection.ts`: clusters and waves. `admit.ts`: the first record.
 * - `actions.ts`: what a person can do.
 *
 * Invariants, cited where they are kept:
 * - B1: every member ends in exactly one of succeeded, failed, skipped, cancelled, and the waves' counts are
 *   the tallies of their members' states.
 * - B2: nothing begins while the wave has its `max_concurrent` in flight, or the batch has its share of the
 *   places of all batches.
 * - B3: a wave starts only when the wave before it is over, its soak has held, and a person has approved the
 *   wave if it needs an approval.
 * - B4: once a budget is exceeded, nothing begins until a person has decided. What is in flight runs to its
 *   end.
 * - B5: an upgrade's id follows from batch, cluster and try. Only the outcome of the last try counts.
 * - B6: the target version is the one that was pinned when the batch was accepted.
 * - B7: while the batch is paused or being cancelled, nothing begins. While a wave is rolled back, only
 *   rollbacks begin.
 * - B8: a member that has to wait takes up no place, and says what it waits for and until when.
 */
import type { Instant } from '../domain.ts';
import type { Upgrade } from '../record.ts';
import { act } from './act.ts';
import { BatchDraft } from './draft.ts';
import type { BatchInput, BatchNext, BatchSeen, UpgradeSeen } from './inputs.ts';
import { type Batch, isBatchActive } from './record.ts';
import { proceed } from './schedule.ts';
import { refused, track } from './track.ts';

export function advanceBatch(batch: Batch, input: BatchInput, seen: BatchSeen, now: Instant): BatchNext {
  const draft = new BatchDraft(batch, seen, now);
  if (!isBatchActive(batch)) {
    return input.type === 'asked' ? no(batch, `the batch has ended: ${batch.state.name}`) : draft.finish();
  }
  const refusal = apply(draft, input);
  if (refusal !== undefined) return no(batch, refusal);
  for (const member of draft.members) track(draft, member);
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
    case 'asked':
      return act(draft, input.asked, input.by);
    default:
      return input satisfies never;
  }
}

function no(batch: Batch, reason: string): BatchNext {
  return { batch, members: [], effects: [], events: [], verdict: 'refused', reason };
}

/** Extracts the part of an upgrade's record that its batch depends on. */
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
