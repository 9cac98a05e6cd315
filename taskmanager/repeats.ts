import type { AttemptId, Instant } from '../src/core/domain.ts';

/** Whatever the answers take: after this long it is said again. */
const LONGEST_MS = 10_000;
/** So many of the last answers are kept. */
const ANSWERS = 20;
/** A message may be on its way for so many times as long as the quickest of them took. */
const PATIENCE = 3;

interface Said {
  readonly key: string;
  readonly at: Instant;
}

/**
 * Holds back what this process has said a moment ago. The machine says again what nobody has answered; where
 * thousands of upgrades share the queues even the quickest answer takes seconds, and each message that is said
 * again makes all others later. What somebody else has said, who may be dead, is never held back.
 */
export class Repeats {
  /** The last order to each instance, in the order in which they went out. */
  readonly #said = new Map<string, Said>();
  readonly #answers: number[] = [];

  /** True if it should go out now; it counts as said then. */
  admit(instance_id: string, attempt: AttemptId, now: Instant): boolean {
    const key = keyOf(attempt);
    const last = this.#said.get(instance_id);
    const ago_ms = now - (last?.at ?? now);
    if (last?.key === key && ago_ms >= 0 && ago_ms < this.#window()) return false;
    this.#forgetOld(now);
    this.#said.delete(instance_id);
    this.#said.set(instance_id, { key, at: now });
    return true;
  }

  /** It did not go out. */
  withdraw(instance_id: string): void {
    this.#said.delete(instance_id);
  }

  /** An answer has come, so long after the question. */
  answered(ms: number): void {
    this.#answers.push(Math.max(0, ms));
    if (this.#answers.length > ANSWERS) this.#answers.shift();
  }

  /** By the quickest: a guest that works long on a question does not make the others slow. */
  #window(): number {
    return this.#answers.length === 0 ? 0 : Math.min(LONGEST_MS, PATIENCE * Math.min(...this.#answers));
  }

  #forgetOld(now: Instant): void {
    for (const [instance_id, { at }] of this.#said) {
      if (now - at < LONGEST_MS) return;
      this.#said.delete(instance_id);
    }
  }
}

function keyOf({ upgrade_id, step, attempt, action }: AttemptId): string {
  return `${upgrade_id}/${step}/${attempt}/${action}`;
}
