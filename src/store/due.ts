/**
 * Everything that waits for time or work, by the time of its next check. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `due` | sorted set | `upgrade:<id>`, `cluster:<id>` and `batch:<id>` by the time of their next check |
 */
import type { Instant } from '../core/domain.ts';
import { IDS_AT_ONCE, RedisPart } from './redis-port.ts';
import { script } from './script.ts';

const DUE_KINDS = ['upgrade', 'cluster', 'batch'] as const;

export interface DueItem {
  readonly kind: (typeof DUE_KINDS)[number];
  readonly id: string;
}

/** Parses the form in which an item is due: `<kind>:<id>`. */
export function dueItem(text: string): DueItem {
  const [name, id = ''] = text.split(':', 2);
  return { kind: DUE_KINDS.find((kind) => kind === name) ?? 'upgrade', id };
}

export interface DueStore {
  /**
   * Takes up to `limit` due items, and lends each to the caller for `lend_ms`. After that, the item is due
   * again for other callers.
   */
  take(now: Instant, limit: number, lend_ms: number): Promise<readonly DueItem[]>;
  /** There was nothing to do: sets the time of the next check. Has no effect on an item that waits no longer. */
  defer(item: DueItem, at: Instant): Promise<void>;
  /** Everything that waits, due or not. For a process that starts. */
  list(): Promise<readonly DueItem[]>;
}

const TAKE = script('due.take', {
  keys: { due: ['zset', 'due'] },
  args: ['now', 'limit', 'lend_until'],
  lua: `
local items = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, limit)
for _, item in ipairs(items) do
  redis.call('ZREM', DUE, item)
  redis.call('ZADD', DUE, lend_until, item)
end
return items`,
});

const DEFER = script('due.defer', {
  keys: { due: ['zset', 'due'] },
  args: ['item', 'at'],
  lua: `
if redis.call('ZREM', DUE, item) == 0 then return 0 end
return redis.call('ZADD', DUE, at, item)`,
});

export class RedisDue extends RedisPart implements DueStore {
  async take(now: Instant, limit: number, lend_ms: number) {
    const items = await this.port.run(TAKE, { now, limit, lend_until: now + lend_ms });
    return (items as readonly string[]).map(dueItem);
  }

  async defer({ kind, id }: DueItem, at: Instant) {
    await this.port.run(DEFER, { item: `${kind}:${id}`, at });
  }

  async list() {
    // ZSCAN reads in parts. An item that is there all the time is returned at least once, whatever else
    // changes.
    const items = new Set<string>();
    const due = this.port.key('due');
    let cursor = '0';
    do {
      const [next, found] = await this.port.ask((redis) => redis.zscan(due, cursor, 'COUNT', IDS_AT_ONCE));
      for (let at = 0; at < found.length; at += 2) items.add(found[at] ?? '');
      cursor = next;
    } while (cursor !== '0');
    return [...items].map(dueItem);
  }
}
