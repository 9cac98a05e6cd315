import type { Redis } from 'ioredis';
import { reconnectIfSilent } from '../redis-client.ts';

/** What a caller waits for: one change, or the end of the time that it is willing to wait. */
interface NextChange {
  /** Resolves when no change from now on can be missed, or when the time is over. */
  readonly listening: Promise<unknown>;
  readonly noticed: Promise<void>;
  forget(): void;
}

/**
 * Receives news of changes over Redis. Each upgrade and each batch has a channel of its own, which is
 * subscribed to only while a caller waits for it. One channel for all would bring every commit to every
 * process.
 */
export class Changes {
  readonly #subscriber: Redis;
  readonly #prefix: string;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(subscriber: Redis, prefix: string) {
    this.#subscriber = subscriber;
    this.#prefix = prefix;
    subscriber.on('message', (channel: string) => this.#notice(channel));
    // Nobody has received what was published while the connection was broken: all callers read again.
    subscriber.on('ready', () => {
      for (const channel of this.#waiting.keys())
        void this.#subscribe(channel).finally(() => this.#notice(channel));
    });
  }

  /**
   * Uses a timer that is referenced: Node.js may collect `AbortSignal.timeout()` as garbage before its time.
   */
  next(id: string, wait_ms: number): NextChange {
    // `EVENTS_LUA.tell` publishes there.
    const channel = `${this.#prefix}:changes:${id}`;
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

  /** Every caller subscribes, even if others have: the answer says that the subscription is in effect. */
  #add(channel: string, notice: () => void): Promise<unknown> {
    const waiting = this.#waiting.get(channel) ?? new Set();
    this.#waiting.set(channel, waiting.add(notice));
    return this.#subscribe(channel);
  }

  /**
   * May be repeated. If it fails, the connection is broken, and all channels are subscribed to when it is
   * back.
   */
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
