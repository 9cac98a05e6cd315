import { uuidFrom } from '../digest.ts';
import type { Instant } from '../domain.ts';
import { counted } from '../words.ts';
import type { BatchNext, BatchSeen } from './inputs.ts';
import {
  type Batch,
  type BatchEffect,
  type BatchEnd,
  type BatchEvent,
  type BatchEventType,
  type BatchPauseReason,
  failuresAllowed,
  type Member,
  type MemberState,
  type Wave,
} from './record.ts';

/** A batch while it is being changed: collects what has changed, the effects, and the events. */
export class BatchDraft {
  readonly seen: BatchSeen;
  readonly now: Instant;
  #batch: Batch;
  readonly #before: Batch;
  readonly #members: Map<number, Member>;
  readonly #effects: BatchEffect[] = [];
  readonly #events: BatchEvent[] = [];

  constructor(batch: Batch, seen: BatchSeen, now: Instant) {
    this.#before = batch;
    this.#batch = batch;
    this.seen = seen;
    this.now = now;
    this.#members = new Map(seen.members.map((member) => [member.position, member]));
  }

  get batch(): Batch {
    return this.#batch;
  }

  /** The members that were read, with all changes so far. */
  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  get wave(): Wave {
    return this.waveAt(this.#batch.wave);
  }

  waveAt(position: number): Wave {
    const wave = this.#batch.waves[position];
    if (!wave) throw new Error(`batch ${this.#batch.id} has no wave ${position}`);
    return wave;
  }

  member(position: number): Member | undefined {
    return this.#members.get(position);
  }

  /** B1: moves a member to another state, and updates the tally of its wave. */
  enter(member: Member, state: MemberState, fields: Partial<Omit<Member, 'state'>> = {}): Member {
    const before = this.#members.get(member.position);
    const after: Member = { ...member, ...fields, state };
    this.#members.set(after.position, after);
    if (before && after.wave !== null) this.#tally(after.wave, before, after);
    return after;
  }

  #tally(position: number, before: Member, after: Member): void {
    const wave = this.waveAt(position);
    const counts = { ...wave.counts };
    counts[before.state.name] -= 1;
    counts[after.state.name] += 1;
    const troubled = wave.troubled + Number(isTroubled(after)) - Number(isTroubled(before));
    this.setWave(position, {
      counts,
      troubled,
      parked: wave.parked + Number(isParked(after)) - Number(isParked(before)),
      write_outage_ms: wave.write_outage_ms + after.write_outage_ms - before.write_outage_ms,
      // A failure that was forgiven and has been repaired since must not make the budget larger than it is.
      forgiven_failures: Math.min(wave.forgiven_failures, counts.failed + troubled),
    });
  }

  setWave(position: number, fields: Partial<Wave>): void {
    this.set({
      waves: this.#batch.waves.map((wave, index) => (index === position ? { ...wave, ...fields } : wave)),
    });
  }

  set(fields: Partial<Batch>): void {
    this.#batch = { ...this.#batch, ...fields };
  }

  say(effect: BatchEffect): void {
    this.#effects.push(effect);
  }

  emit(
    type: BatchEventType,
    message: string,
    about: Omit<BatchEvent, 'seq' | 'at' | 'type' | 'message'> = {},
  ) {
    const seq = this.#batch.seq + 1;
    this.set({ seq });
    this.#events.push({ seq, at: this.now, type, ...about, message });
  }

  /** Emits an event about a member. */
  tell(type: BatchEventType, { cluster_id, cluster_name, wave, upgrade_id }: Member, message: string): void {
    this.emit(type, `${cluster_name}: ${message}`, {
      ...(wave !== null && { wave }),
      cluster_id,
      ...(upgrade_id !== null && { upgrade_id }),
    });
  }

  get #started(): Instant | null {
    const { state } = this.#batch;
    return state.name === 'scheduled' ? null : state.started;
  }

  get started(): Instant {
    return this.#started ?? this.now;
  }

  get hasStarted(): boolean {
    return this.#started !== null;
  }

  /** Continues the batch, or starts it if something kept it waiting before it had started. */
  run(): void {
    const isFirst = !this.hasStarted;
    this.set({ state: { name: 'running', started: this.started, soak: null } });
    if (!isFirst) return;
    const { size, left_out, to_version, waves } = this.#batch;
    const goal = `${counted(size - left_out, 'cluster')} to ${to_version}`;
    this.emit('started', `${goal} in ${counted(waves.length, 'wave')}`);
  }

  pause(reason: BatchPauseReason, message: string): void {
    if (this.#batch.state.name === 'paused') return;
    this.set({ state: { name: 'paused', started: this.#started, since: this.now, reason, message } });
    this.emit('paused', message);
  }

  /**
   * Continues the batch. Everything that has used up a budget so far is forgiven, so that the full budget is
   * available again.
   */
  resume(message: string): void {
    for (const [position, wave] of this.#batch.waves.entries()) {
      const forgiven = { forgiven_failures: failuresOf(wave), forgiven_outage_ms: wave.write_outage_ms };
      this.setWave(position, forgiven);
    }
    if (this.#batch.state.name !== 'paused') return;
    this.emit('resumed', message);
    this.run();
  }

  end(name: BatchEnd, message: string): void {
    this.set({ state: { name, started: this.started, ended: this.now, message } });
    this.emit(name, message);
  }

  /**
   * True if another check is needed at once, because there are members to begin that were not read as ready.
   */
  #hasMore(): boolean {
    const { wave, state } = this.#batch;
    if (state.name !== 'running' && state.name !== 'rolling_back') return false;
    if (wave !== this.#before.wave) return true;
    const read = new Set(this.seen.ready);
    return this.members.some(
      (one) => one.state.name === 'queued' && one.wave === wave && !read.has(one.position),
    );
  }

  finish(): BatchNext {
    if (this.#hasMore()) this.say({ kind: 'again' });
    const isSame = this.#batch === this.#before && this.#effects.length === 0;
    if (isSame) return { batch: this.#before, members: [], effects: [], events: [], verdict: 'stale' };
    const read = new Map(this.seen.members.map((member) => [member.position, member]));
    const changed = this.members.filter((member) => read.get(member.position) !== member);
    return {
      batch: { ...this.#batch, revision: this.#before.revision + 1 },
      members: changed.map((after) => ({ before: read.get(after.position) ?? after, after })),
      effects: this.#effects,
      events: this.#events,
      verdict: 'applied',
    };
  }
}

/** The member's upgrade cannot continue without a person. It counts as failed for as long as that lasts. */
export function isTroubled({ state }: Member): boolean {
  return state.name === 'running' && (state.held?.reason === 'failure' || state.held?.reason === 'gate');
}

/** The member's upgrade waits for its window, so the member takes up no place. */
export function isParked({ state }: Member): boolean {
  return state.name === 'running' && state.held?.reason === 'window';
}

function failuresOf({ counts, troubled }: Wave): number {
  return counts.failed + troubled;
}

/** How much of its budgets a wave has used. At 1 or more, a budget is exceeded. */
export function budgetsUsed(wave: Wave): { readonly failures: number; readonly write_outage: number } {
  const allowed = failuresAllowed(wave);
  const budget = wave.write_outage_budget_seconds;
  const outage_s = (wave.write_outage_ms - wave.forgiven_outage_ms) / 1000;
  return {
    failures: Math.max(0, failuresOf(wave) - wave.forgiven_failures) / (allowed + 1),
    write_outage: budget === null || outage_s === 0 ? 0 : outage_s / Math.max(budget, outage_s / 2),
  };
}

/** B4: describes which budget of a wave is exceeded; null if none is. */
export function overBudget(wave: Wave): { reason: BatchPauseReason; message: string } | null {
  const allowed = failuresAllowed(wave);
  const failures = failuresOf(wave) - wave.forgiven_failures;
  if (failures > allowed) {
    const share = typeof wave.failure_budget === 'number' ? '' : ` (${wave.failure_budget} of ${wave.size})`;
    const message = `${counted(failures, 'cluster')} failed, and its failure budget is ${allowed}${share}`;
    return { reason: 'failures', message };
  }
  const budget = wave.write_outage_budget_seconds;
  const outage_s = (wave.write_outage_ms - wave.forgiven_outage_ms) / 1000;
  if (budget === null || outage_s <= budget) return null;
  return {
    reason: 'write_outage',
    message: `its clusters took no writes for ${outage_s} s together, and its budget is ${budget} s`,
  };
}

/**
 * B5: returns the same id for the same try, so that a try begins one upgrade, however often it is asked for.
 */
export function upgradeIdOf(batch_id: string, cluster_id: string, tries: number): string {
  return uuidFrom(`upgrade ${batch_id}/${cluster_id}/${tries}`);
}
