import { type AttemptId, type GuestAction, type Instant, isCall } from '../src/core/domain.ts';

/**
 * While fewer orders than this wait for an answer, a copy of each costs nothing, and a lost order should be
 * sent again at once.
 */
const CROWD = 200;
/** No order is held back for longer than this, however long answers take. */
const LONGEST_MS = 30_000;
/** For each way, the times of this many latest answers are kept. */
const ANSWERS = 20;
/** An order is held back for this many times the time of the quickest of these answers. */
const PATIENCE = 3;

/**
 * A call gets an answer of its own. The answer to a cast comes with a heartbeat, behind the heartbeats of all
 * guests.
 */
type Way = 'call' | 'cast';

interface Said {
  readonly attempt: AttemptId;
  /** When the order was sent for the first time: an answer may belong to any of its copies. */
  readonly since: Instant;
  readonly at: Instant;
  readonly isHeard: boolean;
}

/**
 * Holds back orders that this process has sent a moment ago. The machine repeats each order that has no
 * answer yet. Where thousands of upgrades share the queues, even the quickest answer takes seconds, and each
 * repeated message delays all others. Orders that another process has sent are never held back: that process
 * may be dead.
 */
export class Repeats {
  /** The last order to each instance, sorted by when it was sent. */
  readonly #said = new Map<string, Said>();
  /** The last order of each upgrade, sorted likewise. */
  readonly #lastOf = new Map<string, Said>();
  readonly #answers: Readonly<Record<Way, number[]>> = { call: [], cast: [] };
  /** How many of these orders have no answer yet. */
  #waiting = 0;
  readonly #crowd: number;

  /** `crowd`: how many orders must wait for an answer before any order is held back. */
  constructor(crowd: number = CROWD) {
    this.#crowd = crowd;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** True if the order should be sent now. It counts as sent from then on. */
  admit(instance_id: string, attempt: AttemptId, now: Instant): boolean {
    const last = this.#said.get(instance_id);
    const again = last && isSame(last.attempt, attempt) ? last : null;
    if (again && this.#isFresh(again, now)) return false;
    this.#forgetOld(now);
    const said = { attempt, since: again?.since ?? now, at: now, isHeard: again?.isHeard ?? false };
    this.#forget(instance_id);
    this.#said.set(instance_id, said);
    if (!said.isHeard) this.#waiting += 1;
    this.#lastOf.delete(attempt.upgrade_id);
    this.#lastOf.set(attempt.upgrade_id, said);
    return true;
  }

  /** Call this when the order was not sent, or when its answer is lost. */
  withdraw(instance_id: string, { upgrade_id }: AttemptId): void {
    this.#forget(instance_id);
    this.#lastOf.delete(upgrade_id);
  }

  /** Notes the first answer of the guest to the order. */
  heard(instance_id: string, attempt: AttemptId, now: Instant): void {
    const said = this.#said.get(instance_id);
    if (!said || said.isHeard || !isSame(said.attempt, attempt)) return;
    this.#said.set(instance_id, { ...said, isHeard: true });
    this.#waiting -= 1;
    const answers = this.#answers[wayOf(attempt.action)];
    answers.push(Math.max(0, now - said.since));
    if (answers.length > ANSWERS) answers.shift();
  }

  /**
   * Until when an upgrade need not be checked, because this process has just sent an order for it. Null:
   * check it.
   */
  quietUntil(upgrade_id: string, now: Instant): Instant | null {
    const last = this.#lastOf.get(upgrade_id);
    return last && this.#isFresh(last, now) ? last.at + this.#window(last) : null;
  }

  /**
   * Depends on the quickest answer, so that a guest that takes long to answer does not slow down the others.
   */
  #window({ attempt }: Said): number {
    if (this.#waiting < this.#crowd) return 0;
    const answers = this.#answers[wayOf(attempt.action)];
    return answers.length === 0 ? 0 : Math.min(LONGEST_MS, PATIENCE * Math.min(...answers));
  }

  /** If the clock was set back, the age of an order is not known, and the order does not count as fresh. */
  #isFresh(said: Said, now: Instant): boolean {
    return now >= said.at && now - said.at < this.#window(said);
  }

  #forgetOld(now: Instant): void {
    for (const [id, { at }] of this.#said) {
      if (now - at < LONGEST_MS) break;
      this.#forget(id);
    }
    for (const [id, { at }] of this.#lastOf) {
      if (now - at < LONGEST_MS) break;
      this.#lastOf.delete(id);
    }
  }

  #forget(instance_id: string): void {
    if (this.#said.get(instance_id)?.isHeard === false) this.#waiting -= 1;
    this.#said.delete(instance_id);
  }
}

function wayOf(action: GuestAction): Way {
  return isCall(action) ? 'call' : 'cast';
}

function isSame(one: AttemptId, other: AttemptId): boolean {
  return (
    one.upgrade_id === other.upgrade_id &&
    one.step === other.step &&
    one.attempt === other.attempt &&
    one.action === other.action
  );
}
