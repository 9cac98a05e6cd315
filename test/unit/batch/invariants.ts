/** What must be so after every input of the batch machine: the B-numbers of `advance.ts`, found again from outside. */
import type { BatchNext, BatchSeen } from '../../../src/core/batch/inputs.ts';
import {
  type Batch,
  isBatchActive,
  isOpen,
  MEMBER_STATES,
  type Member,
} from '../../../src/core/batch/record.ts';
import type { Load } from '../../../src/core/batch/share.ts';
import type { Instant } from '../../../src/core/domain.ts';

interface Before {
  readonly batch: Batch;
  readonly members: readonly Member[];
}

export function violationsOf(
  before: Before,
  next: BatchNext,
  members: readonly Member[],
  seen: BatchSeen,
  { wake_at, load, now }: { readonly wake_at: Instant | null; readonly load: Load; readonly now: Instant },
): string[] {
  return [
    ...tallies(next.batch, members),
    ...places(next, members, seen),
    ...order(before, next, now),
    ...share(next, members, load, now),
    ...endings(before, next, members, wake_at),
    ...record(before, next),
  ];
}

/** B1. */
function tallies({ waves, left_out, size }: Batch, members: readonly Member[]): string[] {
  const found: string[] = [];
  for (const [position, wave] of waves.entries()) {
    const own = members.filter((member) => member.wave === position);
    for (const name of MEMBER_STATES) {
      const real = own.filter(({ state }) => state.name === name).length;
      if (wave.counts[name] !== real)
        found.push(`B1: wave ${position} counts ${wave.counts[name]} ${name}, and has ${real}`);
    }
    if (own.length !== wave.size)
      found.push(`B1: wave ${position} is of ${wave.size}, and has ${own.length}`);
    const held = (reasons: readonly string[]) =>
      own.filter(
        ({ state }) => state.name === 'running' && state.held && reasons.includes(state.held.reason),
      );
    if (wave.troubled !== held(['failure', 'gate']).length) found.push('B1: troubled is wrong');
    if (wave.parked !== held(['window']).length) found.push('B1: parked is wrong');
    if (wave.forgiven_failures > wave.counts.failed + wave.troubled) found.push('B4: too much is forgiven');
  }
  const outside = members.filter(({ wave }) => wave === null);
  if (outside.length !== left_out || members.length !== size) found.push('B1: members are missing');
  return found;
}

function inFlight(members: readonly Member[]): number {
  return members.filter(({ state }) => state.name === 'running' && state.held?.reason !== 'window').length;
}

/** B2, B5, B7. */
function places(next: BatchNext, members: readonly Member[], seen: BatchSeen): string[] {
  const found: string[] = [];
  const begun = next.members.filter(
    ({ before: was, after }) => isOpen(was) && after.state.name === 'running',
  );
  if (begun.length === 0) return found;
  const { state, cancelling, waves, wave } = next.batch;
  if (state.name !== 'running' && state.name !== 'rolling_back')
    found.push(`B7: ${state.name}, and something begins`);
  if (cancelling) found.push('B7: cancelling, and something begins');
  if (inFlight(members) > (waves[wave]?.max_concurrent ?? 0))
    found.push('B2: more than max_concurrent in flight');
  const all = inFlight(members) + seen.others.reduce((sum, { running }) => sum + running, 0);
  if (all > seen.max_concurrent_total) found.push('B2: more than the places of all batches');
  for (const { before: was, after } of begun) {
    if (after.wave !== wave) found.push(`B3: ${after.cluster_name} begins in wave ${after.wave} of ${wave}`);
    if (after.tries !== was.tries + 1 || after.upgrade_id === was.upgrade_id)
      found.push('B5: the same try again');
    if (state.name === 'rolling_back' && after.undo === null)
      found.push('B7: a way forward begins in a roll back');
  }
  const ids = members.flatMap(({ upgrade_id }) => upgrade_id ?? []);
  if (new Set(ids).size !== ids.length) found.push('B5: two members have one upgrade');
  if (state.name === 'running' && waves[wave]?.approval && next.batch.approved_wave < wave)
    found.push('B3: not approved');
  return found;
}

/** B3: nothing of the waves before is still to come when a later one starts, and the last of them has soaked. */
function order(before: Before, { batch }: BatchNext, now: Instant): string[] {
  if (batch.wave <= before.batch.wave) return [];
  const found = batch.waves
    .slice(0, batch.wave)
    .flatMap(({ counts }, index) =>
      counts.queued + counts.waiting + counts.running > 0 ? [`B3: wave ${index} is not over`] : [],
    );
  const last = batch.waves[before.batch.wave];
  if (last && last.size > 0 && now - (last.ended ?? now) < last.soak_seconds * 1000)
    found.push(`B3: wave ${before.batch.wave} has not soaked since it was over`);
  return found;
}

/** B2: what others are told that it has and could use is what its members say, unless it looks again at once. */
function share(
  { batch, effects, verdict }: BatchNext,
  members: readonly Member[],
  load: Load,
  now: Instant,
): string[] {
  if (verdict === 'refused' || effects.some(({ kind }) => kind === 'again')) return [];
  const { state, cancelling, waves, wave } = batch;
  const running = inFlight(members);
  const isReady = ({ state: own }: Member) =>
    own.name === 'queued' || (own.name === 'waiting' && own.until <= now);
  const ready = members.filter((member) => member.wave === wave && isReady(member)).length;
  const begins = !cancelling && (state.name === 'running' || state.name === 'rolling_back');
  const most = Math.max(running, waves[wave]?.max_concurrent ?? 0);
  const wants = begins ? Math.min(most, running + ready) : running;
  if (load.running === running && load.wants === wants) return [];
  return [`B2: tells of ${load.running} and ${load.wants}, and has ${running} and could use ${wants}`];
}

/** B1, G1. */
function endings(
  before: Before,
  { batch }: BatchNext,
  members: readonly Member[],
  wake_at: Instant | null,
): string[] {
  const found: string[] = [];
  const isOver = !isBatchActive(batch);
  const left = members.filter((member) => isOpen(member) || member.state.name === 'running');
  if (isOver && left.length > 0) found.push(`B1: it has ended, and of its members ${left.length} not`);
  if (isOver !== (wake_at === null)) found.push(`G1: ${batch.state.name}, and it is looked at ${wake_at}`);
  if (before.batch.state.name === 'running' && batch.state.name === 'paused' && batch.state.message === '') {
    found.push('G1: paused without a reason');
  }
  return found;
}

/** G9, and that nothing but the record says what is changed. */
function record(before: Before, next: BatchNext): string[] {
  const found: string[] = [];
  const { batch, events, verdict } = next;
  if (events.some(({ seq }, index) => seq !== before.batch.seq + index + 1))
    found.push('G9: events have a gap');
  if (batch.seq !== before.batch.seq + events.length)
    found.push('G9: the record does not know its last event');
  if (verdict === 'applied' && batch.revision !== before.batch.revision + 1)
    found.push('a revision is missing');
  if (verdict !== 'applied' && batch !== before.batch) found.push('not applied, and changed');
  if (batch.to_version_id !== before.batch.to_version_id) found.push('B6: another target');
  return found;
}
