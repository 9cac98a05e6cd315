import { type AttemptId, type GuestAction, type Instant, isCall } from '../src/core/domain.ts';

/** With fewer orders in line than this a copy of each costs nothing, and what is lost should come at once. */
const CROWD = 200;
/** Whatever the answers take: after this long it is said again. */
const LONGEST_MS = 30_000;
/** So many of the last answers are kept, of each way. */
const ANSWERS = 20;
/** A message may be on its way for so many times as long as the quickest of them took. */
const PATIENCE = 3;

/** A call is answered by itself; the answer to a cast comes with the heartbeats, behind those of all guests. */
type Way = 'call' | 'cast';

interface Said {
  readonly attempt: AttemptId;
  /** The first time: an answer may be to any of them. */
  readonly since: Instant;
  readonly at: Instant;
  readonly isHeard: boolean;
}

/**
 * Holds back what this process has said a moment ago. The machine says again what nobody has answered; where
 * thousands of upgrades share the queues even the quickest answer takes seconds, and each message that is said
 * again makes all others later. What somebody else has said, who may be dead, is never held back.
 */
export class Repeats {
  /** The last order to each instance, in the order in which they went out. */
  readonly #said = new Map<string, Said>();
  /** Each upgrade's last order, likewise. */
  readonly #lastOf = new Map<string, Said>();
  readonly #answers: Readonly<Record<Way, number[]>> = { call: [], cast: [] };
  /** Of how many of them nothing was heard yet. */
  #waiting = 0;
  readonly #crowd: number;

  /** `crowd`: how many must wait before anything is held back. */
  constructor(crowd: number = CROWD) {
    this.#crowd = crowd;
  }

  /** How many orders it waits for. */
  get waiting(): number {
    return this.#waiting;
  }

  /** True if it should go out now; it counts as said then. */
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

  /** It did not go out, or its answer is lost. */
  withdraw(instance_id: string, { upgrade_id }: AttemptId): void {
    this.#forget(instance_id);
    this.#lastOf.delete(upgrade_id);
  }

  /** A first word from the guest about it. */
  heard(instance_id: string, attempt: AttemptId, now: Instant): void {
    const said = this.#said.get(instance_id);
    if (!said || said.isHeard || !isSame(said.attempt, attempt)) return;
    this.#said.set(instance_id, { ...said, isHeard: true });
    this.#waiting -= 1;
    const answers = this.#answers[wayOf(attempt.action)];
    answers.push(Math.max(0, now - said.since));
    if (answers.length > ANSWERS) answers.shift();
  }

  /** Until when an upgrade need not be looked at, as this process has just said something for it; null: look. */
  quietUntil(upgrade_id: string, now: Instant): Instant | null {
    const last = this.#lastOf.get(upgrade_id);
    return last && this.#isFresh(last, now) ? last.at + this.#window(last) : null;
  }

  /** By the quickest: a guest that works long on its answer does not make the others slow. */
  #window({ attempt }: Said): number {
    if (this.#waiting < this.#crowd) return 0;
    const answers = this.#answers[wayOf(attempt.action)];
    return answers.length === 0 ? 0 : Math.min(LONGEST_MS, PATIENCE * Math.min(...answers));
  }

  /** Of a clock that was set back nobody knows. */
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
