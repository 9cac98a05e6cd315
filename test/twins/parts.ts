/** What the in-memory twins have in common. */
import { CofferError } from '../../src/core/errors.ts';
import type { Sleep } from '../../src/service.ts';
import type { Page } from '../../src/store/store.ts';

/** As it comes back from Redis. */
export function asJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** Redis orders by bytes; ids are ASCII. */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function pageOf<T extends { readonly id: string }>(from: readonly T[], limit: number): Page<T> {
  const items = from.slice(0, limit);
  return { items, next_marker: from.length > limit ? (items.at(-1)?.id ?? null) : null };
}

/** Event streams by the id of what they tell of. */
export class EventLog<Event extends { readonly seq: number }> {
  readonly #events = new Map<string, readonly Event[]>();
  /** Readers that wait for the next event. */
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #sleep: Sleep;

  constructor(sleep: Sleep) {
    this.#sleep = sleep;
  }

  get all(): ReadonlyMap<string, readonly Event[]> {
    return this.#events;
  }

  append(id: string, events: readonly Event[]): void {
    const held = this.#events.get(id) ?? [];
    const last = held.at(-1)?.seq ?? 0;
    if (!events.every(({ seq }, index) => seq === last + index + 1))
      throw new CofferError('internal', `events ${last + 1} and on are missing`);
    this.#events.set(id, [...held, ...asJson(events)]);
    if (events.length > 0) for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  delete(id: string): void {
    this.#events.delete(id);
  }

  async read(
    id: string,
    after_seq: number,
    { limit, wait_ms }: { limit: number; wait_ms: number },
  ): Promise<readonly Event[]> {
    const found = () => (this.#events.get(id) ?? []).filter(({ seq }) => seq > after_seq);
    if (found().length === 0 && wait_ms > 0) await this.#untilEvent(id, wait_ms);
    return found().slice(0, limit);
  }

  async #untilEvent(id: string, wait_ms: number): Promise<void> {
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting);
    const found = new AbortController();
    const wake = () => found.abort();
    waiting.add(wake);
    await this.#sleep(wait_ms, found.signal);
    waiting.delete(wake);
  }
}
