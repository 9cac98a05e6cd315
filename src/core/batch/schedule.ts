/** Waves, budgets, soaks, and what begins next. */
import type { Instant } from '../domain.ts';
import type { Policy } from '../policy.ts';
import { windowAt } from '../window.ts';
import { counted, iso } from '../words.ts';
import { type BatchDraft, overBudget, upgradeIdOf } from './draft.ts';
import { type Batch, inFlight, isOpen, type Member, type Wave } from './record.ts';
import { type Load, mayBegin } from './share.ts';
import { tellOfBegin } from './track.ts';

/** If an upgraded cluster stays unhealthy for this long during a soak, the batch pauses. */
const UNWELL_MS = 30_000;

/** Checks everything that waits: what is over, what is due, what can begin. */
export function proceed(draft: BatchDraft): void {
  if (draft.batch.cancelling) return endIfIdle(draft);
  if (draft.batch.state.name === 'scheduled') draft.run();
  const { state } = draft.batch;
  if (state.name === 'rolling_back') return takeBack(draft, state.wave);
  if (state.name !== 'running' || pauseIfOverBudget(draft)) return;
  while (isWaveOver(draft.wave)) if (!nextWave(draft)) return;
  if (draft.wave.started === null && !startWave(draft)) return;
  beginWhatCan(draft);
}

/** B1, B7: cancels the members that have not begun, and ends the batch when nothing is running. */
function endIfIdle(draft: BatchDraft): void {
  for (const member of draft.members.filter(isOpen)) cancelMember(draft, member, 'the batch was cancelled');
  const { waves } = draft.batch;
  if (waves.some(({ counts }) => counts.running > 0)) return;
  draft.end('cancelled', tallyOf(draft.batch));
}

export function cancelMember(draft: BatchDraft, member: Member, why: string): void {
  const reason = member.undo === null ? why : `${why}: it was not taken back`;
  draft.enter(member, { name: 'cancelled', ended: draft.now, reason }, { undo: null });
}

/** B7: only rollbacks of this wave begin. */
function takeBack(draft: BatchDraft, wave: number): void {
  const { counts } = draft.waveAt(wave);
  if (counts.queued + counts.waiting + counts.running > 0) return beginWhatCan(draft);
  draft.pause(
    'rolled_back',
    `wave ${wave + 1} was taken back: ${tallyOf(draft.batch)}; resume it, or cancel it`,
  );
}

/** B4. */
function pauseIfOverBudget(draft: BatchDraft): boolean {
  for (const [position, wave] of draft.batch.waves.entries()) {
    const over = overBudget(wave);
    if (!over) continue;
    draft.pause(
      over.reason,
      `wave ${position + 1}: ${over.message}; retry or skip what failed, roll the wave back, resume, or cancel`,
    );
    return true;
  }
  return false;
}

function isWaveOver({ counts }: Wave): boolean {
  return counts.queued + counts.waiting + counts.running === 0;
}

/** B3: goes to the next wave, or ends the batch after the last. False if the batch must wait first. */
function nextWave(draft: BatchDraft): boolean {
  const { wave: position, waves } = draft.batch;
  const { size } = draft.wave;
  if (draft.wave.ended === null) {
    draft.setWave(position, { started: draft.wave.started ?? draft.now, ended: draft.now });
    if (size > 0) draft.emit('wave_done', `wave ${position + 1}: ${wordsOf(draft.wave)}`, { wave: position });
  }
  const next = position + 1;
  if (next >= waves.length) {
    endAfterLast(draft);
    return false;
  }
  if (size > 0 && !hasSoaked(draft)) return false;
  draft.set({ wave: next });
  return true;
}

/** B3: false while the wave waits for a person. */
function startWave(draft: BatchDraft): boolean {
  const { wave, approved_wave } = draft.batch;
  const { size, approval } = draft.wave;
  if (approval && approved_wave < wave) {
    draft.pause(
      'approval',
      `wave ${wave + 1} of ${counted(size, 'cluster')} waits for approval: approve it, or cancel`,
    );
    return false;
  }
  draft.setWave(wave, { started: draft.now });
  draft.emit('wave_started', `wave ${wave + 1}: ${counted(size, 'cluster')}`, { wave });
  return true;
}

function endAfterLast(draft: BatchDraft): void {
  const { batch } = draft;
  const missed = batch.waves.some(({ counts }) => counts.failed + counts.cancelled > 0);
  draft.end(missed ? 'incomplete' : 'succeeded', tallyOf(batch));
}

/**
 * B3: a single check that finds an unhealthy cluster starts the soak anew. If a cluster stays unhealthy, the
 * batch pauses.
 */
function hasSoaked(draft: BatchDraft): boolean {
  const { wave, state } = draft.batch;
  const { soak_seconds } = draft.wave;
  if (soak_seconds === 0) return true;
  if (state.name !== 'running') return false;
  const { unwell } = draft.seen;
  const until = draft.now + soak_seconds * 1000;
  if (state.soak === null) {
    draft.set({ state: { ...state, soak: { until, unwell_since: null } } });
    draft.emit('soaking', `wave ${wave + 1}: health must hold for ${soak_seconds} s`, { wave });
    return false;
  }
  if (unwell === null) return false;
  if (unwell.length > 0) {
    const since = state.soak.unwell_since ?? draft.now;
    const names = namesOf(unwell);
    if (state.soak.unwell_since === null) draft.emit('unwell', `not healthy: ${names}`, { wave });
    draft.set({ state: { ...state, soak: { until, unwell_since: since } } });
    if (draft.now - since >= UNWELL_MS) {
      draft.pause('health', `not healthy after their upgrade: ${names}; mend them, then resume, or cancel`);
    }
    return false;
  }
  if (state.soak.unwell_since !== null) {
    draft.set({ state: { ...state, soak: { until, unwell_since: null } } });
    return false;
  }
  if (draft.now < state.soak.until) return false;
  draft.set({ state: { ...state, soak: null } });
  return true;
}

/** B2, B8: begins as many members whose turn has come as there are places. */
function beginWhatCan(draft: BatchDraft): void {
  let places = placesFor(draft);
  const waiting: { member: Member; reason: string }[] = [];
  for (const position of draft.seen.ready) {
    if (places === 0) break;
    const member = draft.member(position);
    if (!member || member.wave !== draft.batch.wave || !isOpen(member)) continue;
    const closed = closedFor(draft, member);
    if (closed) {
      const fields = { waiting_since: member.waiting_since ?? draft.now };
      const after = draft.enter(member, { name: 'waiting', ...closed }, fields);
      if (member.waiting_since === null) waiting.push({ member: after, reason: closed.reason });
      continue;
    }
    begin(draft, member);
    places -= 1;
  }
  tellOfWaiting(draft, waiting);
  // More members are ready than were read, and there are places for them.
  if (places > 0 && draft.seen.ready_count > draft.seen.ready.length) draft.say({ kind: 'again' });
}

/** A window that closes makes many members wait at once: that is one event. */
function tellOfWaiting(draft: BatchDraft, waiting: readonly { member: Member; reason: string }[]): void {
  const [first] = waiting;
  if (!first) return;
  if (waiting.length === 1) return draft.tell('cluster_waiting', first.member, first.reason);
  const names = namesOf(waiting.map(({ member }) => member.cluster_name));
  draft.emit('cluster_waiting', `${waiting.length} clusters wait: ${first.reason} (${names})`, {
    wave: draft.batch.wave,
  });
}

/** B5, B6. */
function begin(draft: BatchDraft, member: Member): void {
  const tries = member.tries + 1;
  const upgrade_id = upgradeIdOf(draft.batch.id, member.cluster_id, tries);
  const way = member.undo === null ? 'forward' : 'back';
  const begun = draft.enter(
    member,
    { name: 'running', since: draft.now, way, held: null },
    { tries, upgrade_id, started: member.started ?? draft.now },
  );
  draft.say({ kind: 'begin', member: begun });
  if (member.waiting_since === null) tellOfBegin(draft, begun);
}

/**
 * B2: a batch never wants more than its wave's `max_concurrent`, so its share is never more than that either.
 */
function placesFor({ batch, seen }: BatchDraft): number {
  const loads = [...seen.others, loadOf(batch, seen.ready_count)];
  return mayBegin(batch.id, loads, seen.max_concurrent_total);
}

/**
 * The places that the batch has, and the places that it could use now, if `ready` of its members could begin.
 */
export function loadOf(batch: Batch, ready: number): Load {
  const running = inFlight(batch);
  const max = batch.waves[batch.wave]?.max_concurrent ?? 0;
  const isBeginning =
    !batch.cancelling && (batch.state.name === 'running' || batch.state.name === 'rolling_back');
  const wants = isBeginning ? Math.max(running, Math.min(max, running + ready)) : running;
  return { batch_id: batch.id, tenant_id: batch.tenant_id, running, wants };
}

/** The policy of a member's upgrade: the member's own policy replaces the batch's, field by field. */
export function policyOf(batch: Pick<Batch, 'policy'>, { policy }: Pick<Member, 'policy'>): Partial<Policy> {
  return { ...batch.policy, ...policy };
}

/** B8: why the member's upgrade could do nothing now, and when it can. A rollback waits for nothing. */
function closedFor(draft: BatchDraft, member: Member): { reason: string; until: Instant } | null {
  if (member.undo !== null) return null;
  const { window, not_before } = policyOf(draft.batch, member);
  if (not_before && draft.now < not_before) {
    return { reason: `it is not to start before ${iso(not_before)}`, until: not_before };
  }
  const state = window ? windowAt(window, draft.now) : null;
  if (state?.name !== 'closed') return null;
  // A window that never opens is checked now and then: in the meantime the batch can be cancelled, or the
  // member skipped.
  if (state.opens === null) return { reason: 'its window never opens', until: draft.now + 86_400_000 };
  return { reason: `its window is closed; it opens at ${iso(state.opens)}`, until: state.opens };
}

/** How many members are in which state, in a few words. */
function tallyOf({ waves, left_out }: Batch): string {
  const sum = (name: keyof Wave['counts']) => waves.reduce((total, { counts }) => total + counts[name], 0);
  return `${sum('succeeded')} succeeded, ${sum('failed')} failed, ${sum('skipped') + left_out} skipped, ${sum('cancelled')} cancelled`;
}

function wordsOf({ counts }: Wave): string {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

const NAMES_SHOWN = 5;

export function namesOf(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN).join(', ');
  return names.length > NAMES_SHOWN ? `${shown} and ${names.length - NAMES_SHOWN} more` : shown;
}
