import type { AttemptReport, Instant } from '../src/core/domain.ts';
import { type Logger, textOf } from '../src/log.ts';
import type { Sleep } from '../src/service.ts';
import type { Journal, JournalEntry } from './journal.ts';

/**
 * An order as it was received: the entry of the journal without its progress and without what came before.
 */
export type Order = Omit<JournalEntry, 'attempt' | 'past' | 'fenced'>;

interface JournalWriterDeps {
  readonly journal: Journal;
  readonly instance_id: string;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly sleep: Sleep;
  /** Aborted when the agent stops. */
  readonly stopped: AbortSignal;
  /** Called after each attempt to write a result again. */
  readonly tell: () => Promise<void>;
}

/**
 * A result that could not be written to the journal is written again after this time, then at growing
 * intervals.
 */
const REWRITE_MS = 250;
const REWRITE_MAX_MS = 5_000;
/**
 * How long a failed write of the journal is reported: an order that waits for the journal is repeated sooner.
 */
const FAULT_COUNTS_MS = 15_000;

/** Writes an agent's journal, also while the disk refuses: full, read-only or broken. */
export class JournalWriter {
  readonly #deps: JournalWriterDeps;
  #tail: Promise<unknown> = Promise.resolve();
  /** Why the journal could not be written, and when that was found. */
  #fault: { readonly message: string; readonly at: Instant } | null = null;
  /** Writes a result that is not in the journal yet, again and again until it is. */
  #unwritten: Promise<void> = Promise.resolve();

  constructor(deps: JournalWriterDeps) {
    this.#deps = deps;
  }

  /** Why the journal could not be written a short time ago; null if nothing is wrong. */
  fault(now: Instant): string | null {
    return this.#fault && now - this.#fault.at < FAULT_COUNTS_MS ? this.#fault.message : null;
  }

  /**
   * Comparing with the journal and writing it happen one at a time: copies of an order that arrive together
   * are one order.
   */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(work);
    this.#tail = mine.catch(() => undefined);
    return mine;
  }

  async write(entry: JournalEntry): Promise<void> {
    const { journal, log, instance_id, now } = this.#deps;
    try {
      await journal.write(entry);
      this.#fault = null;
    } catch (err) {
      if (!this.#fault) log.error({ err, instance_id }, 'the journal cannot be written; trying again');
      const message = `the journal of its guest agent cannot be written (${textOf(err)}): it takes no order, and tells no result, until it can`;
      this.#fault = { message, at: now() };
      throw err;
    }
  }

  /** Writes the result of an order. If that fails, it is tried again, while other orders are carried out. */
  async writeResult(report: AttemptReport, order: Order): Promise<void> {
    if (!(await this.#tryResult(report, order))) this.#unwritten = this.#goOn(report, order);
  }

  /** Resolves when no result is being written any more, after the agent was stopped. */
  async end(): Promise<void> {
    await this.#unwritten;
  }

  /** Resolves with false if the result could not be written. */
  #tryResult(report: AttemptReport, order: Order): Promise<boolean> {
    return this.inTurn(async () => {
      if (!this.#deps.journal.holds(report)) return true;
      return this.write({ attempt: report, ...order }).then(
        () => true,
        () => false,
      );
    });
  }

  /** Runs in parallel with other work: a full disk must not prevent a start of the server. Never rejects. */
  async #goOn(report: AttemptReport, order: Order): Promise<void> {
    const { sleep, stopped, tell } = this.#deps;
    let isWritten = false;
    for (let pause_ms = REWRITE_MS; !isWritten; pause_ms = Math.min(2 * pause_ms, REWRITE_MAX_MS)) {
      await sleep(pause_ms, stopped);
      if (stopped.aborted) return;
      isWritten = await this.#tryResult(report, order);
      await tell();
    }
  }
}
