import { type AttemptId, type GuestAction, type Instant, isCall } from '../src/core/domain.ts';
import { NO_PATIENCE, type Patience } from '../src/core/upgrade/inputs.ts';

/**
 * While fewer orders than this wait for an answer, a copy of each costs nothing, and a lost order should be
 * sent again at once.
 */
const CROWD = 200;
/** No order waits longer than this for its repetition, however long answers take. */
const LONGEST_MS = 30_000;
/** For calls and for casts, the times of this many latest answers are kept. */
const ANSWERS = 20;
/** An order is repeated after this many times the time of the quickest of these answers. */
const FACTOR = 3;

interface Sent {
  readonly attempt: AttemptId;
  /** When the order was sent for the first time: an answer may belong to any of its copies. */
  readonly since: Instant;
  readonly at: Instant;
  readonly isHeard: boolean;
}

/**
 * Measures how long guests take to answer the orders of this process. Where thousands of upgrades share the
 * queues, even the quickest answer takes seconds, and each repeated order delays all others. So the machine
 * repeats no order sooner than a guest could have answered it, and the record says when that is.
 */
export class Answers {
  /** The last order to each instance, sorted by when it was sent. */
  readonly #sent = new Map<string, Sent>();
  readonly #times: Readonly<Record<keyof Patience, number[]>> = { call_ms: [], cast_ms: [] };
  /** How many of these orders have no answer yet. */
  #waiting = 0;
  readonly #crowd: number;

  /** `crowd`: how many orders must wait for an answer before any order is repeated later than usual. */
  constructor(crowd: number = CROWD) {
    this.#crowd = crowd;
  }

  sent(instance_id: string, attempt: AttemptId, now: Instant): void {
    const last = this.#sent.get(instance_id);
    const first = last && isSame(last.attempt, attempt) ? last : { since: now, isHeard: false };
    this.#forgetOld(now);
    this.forget(instance_id);
    this.#sent.set(instance_id, { attempt, since: first.since, at: now, isHeard: first.isHeard });
    if (!first.isHeard) this.#waiting += 1;
  }

  /** Call this when the order was not sent, or when its answer is lost. */
  forget(instance_id: string): void {
    if (this.#sent.get(instance_id)?.isHeard === false) this.#waiting -= 1;
    this.#sent.delete(instance_id);
  }

  /** Notes the first answer of the guest to the order. */
  heard(instance_id: string, attempt: AttemptId, now: Instant): void {
    const order = this.#sent.get(instance_id);
    if (!order || order.isHeard || !isSame(order.attempt, attempt)) return;
    this.#sent.set(instance_id, { ...order, isHeard: true });
    this.#waiting -= 1;
    const times = this.#times[kindOf(attempt.action)];
    times.push(Math.max(0, now - order.since));
    if (times.length > ANSWERS) times.shift();
  }

  get patience(): Patience {
    if (this.#waiting < this.#crowd) return NO_PATIENCE;
    return { call_ms: patienceMs(this.#times.call_ms), cast_ms: patienceMs(this.#times.cast_ms) };
  }

  #forgetOld(now: Instant): void {
    for (const [id, { at }] of this.#sent) {
      if (now - at < LONGEST_MS) break;
      this.forget(id);
    }
  }
}

/** Depends on the quickest answer, so that a guest that takes long to answer does not slow down the others. */
function patienceMs(times: readonly number[]): number {
  return times.length === 0 ? 0 : Math.min(LONGEST_MS, FACTOR * Math.min(...times));
}

/** The answer to a cast comes with a heartbeat, behind the heartbeats of all guests. */
function kindOf(action: GuestAction): keyof Patience {
  return isCall(action) ? 'call_ms' : 'cast_ms';
}

function isSame(one: AttemptId, other: AttemptId): boolean {
  return (
    one.upgrade_id === other.upgrade_id &&
    one.step === other.step &&
    one.attempt === other.attempt &&
    one.action === other.action
  );
}
