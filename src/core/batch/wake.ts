import type { Instant } from '../domain.ts';
import type { BatchNext, BatchSeen } from './inputs.ts';
import { type Batch, isBatchActive, isOpen, type Member } from './record.ts';
import { loadOf } from './schedule.ts';
import type { Load } from './share.ts';

/** A batch that no taskmanager has taken up is checked after this long. */
export const BATCH_TAKE_UP_MS = 1_000;
/** How often the upgrades in flight are compared with the record, hints or not. */
const LOOK_MS = 5_000;
/** How often to check while other batches hold the places that this one could use. */
const CROWDED_LOOK_MS = 1_000;
/** How often to check while only a person can make the batch continue. */
const IDLE_LOOK_MS = 60_000;

/** When the batch must be checked again, whatever happens or does not happen; null once it has ended. */
export function batchWakeAt(next: BatchNext, seen: BatchSeen, now: Instant): Instant | null {
  const { batch, members, effects } = next;
  const { state, waves } = batch;
  if (!isBatchActive(batch)) return null;
  if (effects.some(({ kind }) => kind === 'again')) return now;
  const isAtWork = waves.some(({ counts }) => counts.running > 0);
  const times = [now + (isAtWork || isSoaking(batch) ? LOOK_MS : IDLE_LOOK_MS)];
  if (state.name === 'running' && state.soak) times.push(state.soak.until);
  if (state.name === 'running' || state.name === 'rolling_back') {
    const waits = members.map(({ after }) => (after.state.name === 'waiting' ? after.state.until : Infinity));
    times.push(seen.next_ready ?? Infinity, ...waits);
    const { running, wants } = loadAfter(next, seen, now);
    if (wants > running) times.push(now + CROWDED_LOOK_MS);
  }
  return Math.max(now, Math.min(...times));
}

function isSoaking({ state }: Batch): boolean {
  return state.name === 'running' && state.soak !== null;
}

/** How many places the batch has, and how many it could use, once `next` is committed. */
export function loadAfter({ batch, members }: BatchNext, seen: BatchSeen, now: Instant): Load {
  const isReady = (member: Member) =>
    isOpen(member) &&
    member.wave === batch.wave &&
    (member.state.name !== 'waiting' || member.state.until <= now);
  const change = members.reduce(
    (sum, { before, after }) => sum + Number(isReady(after)) - Number(isReady(before)),
    0,
  );
  return loadOf(batch, Math.max(0, seen.ready_count + change));
}
