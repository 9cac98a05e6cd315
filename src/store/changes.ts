import type { Redis } from 'ioredis';
import { reconnectIfSilent } from '../redis-client.ts';

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
    subscriber.on('message', (channel: string) => this.#notice(channel));
    // What was published while the connection was away has come to nobody: all look again.
    subscriber.on('ready', () => {
      for (const channel of this.#waiting.keys())
        void this.#subscribe(channel).finally(() => this.#notice(channel));
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
    return this.#subscribe(channel);
  }

  /** May be repeated. Where it fails, the connection is away and subscribes to all channels when it is back. */
  #subscribe(channel: string): Promise<unknown> {
    return this.#subscriber.subscribe(channel).catch((err) => reconnectIfSilent(this.#subscriber, err));
  }

  #notice(channel: string): void {
    for (const notice of this.#waiting.get(channel) ?? []) notice();
  }

  #remove(channel: string, notice: () => void): void {
    const waiting = this.#waiting.get(channel);
    waiting?.delete(notice);
    if (waiting?.size !== 0) return;
    this.#waiting.delete(channel);
    this.#subscriber.unsubscribe(channel).catch(() => undefined);
  }
}
