import type { Redis } from 'ioredis';

/** What a caller waits for: one change, or the end of its patience. */
export interface NextChange {
  /** Resolves when no change from now on can be missed, or when the patience has ended. */
  readonly listening: Promise<unknown>;
  readonly noticed: Promise<void>;
  forget(): void;
}

/**
 * Hears of changes over Redis: each upgrade and batch has a channel of its own, and is listened to only while
 * somebody waits for it. A channel for all would bring every commit to every process.
 */
export class Changes {
  readonly #subscriber: Redis;
  readonly #prefix: string;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(subscriber: Redis, prefix: string) {
    this.#subscriber = subscriber;
    this.#prefix = prefix;
    subscriber.on('message', (channel: string) => {
      for (const notice of this.#waiting.get(channel) ?? []) notice();
    });
  }

  /** The channel of one upgrade or batch. */
  channelOf(id: string): string {
    return `${this.#prefix}:changes:${id}`;
  }

  /** With a timer that is held: Node.js may collect `AbortSignal.timeout()` as garbage before its time. */
  next(id: string, wait_ms: number): NextChange {
    const channel = this.channelOf(id);
    let notice = () => {};
    const noticed = new Promise<void>((resolve) => {
      notice = resolve;
    });
    const timer = setTimeout(notice, wait_ms);
    // While Redis is away this waits for it, longer than the caller does.
    const listening = Promise.race([this.#add(channel, notice), noticed]);
    const forget = () => {
      clearTimeout(timer);
      this.#remove(channel, notice);
    };
    return { listening, noticed, forget };
  }

  /** Asked for anew by each: an answer says that it has come into effect. */
  #add(channel: string, notice: () => void): Promise<unknown> {
    const waiting = this.#waiting.get(channel) ?? new Set();
    this.#waiting.set(channel, waiting.add(notice));
    return this.#subscriber.subscribe(channel).catch(() => undefined);
  }

  #remove(channel: string, notice: () => void): void {
    const waiting = this.#waiting.get(channel);
    waiting?.delete(notice);
    if (waiting?.size !== 0) return;
    this.#waiting.delete(channel);
    this.#subscriber.unsubscribe(channel).catch(() => undefined);
  }
}
