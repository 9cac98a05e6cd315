import type { Instant } from '../../src/core/domain.ts';
import type { Random } from './random.ts';

interface Planned {
  readonly at: Instant;
  /** Decides which of the calls that are planned for the same moment comes first. */
  readonly tie: number;
  readonly run: (() => void) | null;
  readonly wakes: 'code' | 'nobody';
  isOff: boolean;
}

export const T0: Instant = 1_800_000_000_000;
/** After this many steps in one moment, some code runs in a loop. */
const MAX_STEPS = 1_000_000;

/**
 * Virtual time, and the only part that decides what happens next. All promises of a simulation settle within
 * a step, so that the sequence of steps, and everything with it, follows from the seed.
 */
export class Scheduler {
  #now: Instant = T0;
  #steps = 0;
  /** The number of macrotasks until all code has come to rest. */
  #settling = 1;
  readonly #random: Random;
  readonly #heap: Planned[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  get now(): Instant {
    return this.#now;
  }

  get steps(): number {
    return this.#steps;
  }

  /**
   * Plans a call; returns a function that cancels it. A call that `wakes` nobody must not settle a promise:
   * then there is nothing to wait for after it.
   */
  after(ms: number, run: () => void, wakes: Planned['wakes'] = 'code'): () => void {
    const at = this.#now + Math.max(0, Math.round(ms));
    const planned: Planned = { at, tie: this.#random.next(), run, wakes, isOff: false };
    this.#push(planned);
    return () => {
      planned.isOff = true;
    };
  }

  /** The present step reads the body of an HTTP request, which comes a macrotask after the request. */
  readsBody(): void {
    this.#settling = 3;
  }

  /**
   * Runs step after step until `isOver`; calls `check` after each step, when all code has come to rest. False
   * if the end never comes: some code runs in a loop.
   */
  async run(isOver: () => boolean, check: () => void): Promise<boolean> {
    const limit = this.#steps + MAX_STEPS;
    while (!isOver()) {
      const next = this.#pop();
      if (!next) throw new Error('the simulation has nothing to do');
      if (this.#steps > limit) return false;
      if (next.isOff) continue;
      this.#now = next.at;
      this.#steps += 1;
      next.run?.();
      if (next.wakes === 'code') await this.#settle();
      check();
    }
    return true;
  }

  /** One macrotask later, all code that the step's promises have woken has run to its next wait. */
  async #settle(): Promise<void> {
    do {
      await new Promise((resolve) => setImmediate(resolve));
      this.#settling -= 1;
    } while (this.#settling > 0);
    this.#settling = 1;
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let index = heap.push(planned) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (!above || !isBefore(planned, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = planned;
  }

  #pop(): Planned | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (!left) break;
      if (right && isBefore(right, left)) child += 1;
      const smallest = child % 2 === 0 && right ? right : left;
      if (!isBefore(smallest, last)) break;
      heap[index] = smallest;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(one: Planned, other: Planned): boolean {
  return one.at < other.at || (one.at === other.at && one.tie < other.tie);
}
