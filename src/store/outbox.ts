/**
 * Messages that are still to be sent: casts, and notifications about upgrades. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `casts`, `casts:at` | hash, sorted set | casts that the bus has not confirmed yet, and since when |
 * | `untold` | hash | upgrades with notifications to come, and the last event that was notified |
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Instant } from '../core/domain.ts';
import { IDS_AT_ONCE, inParts, RedisPart } from './redis-port.ts';
import { script } from './script.ts';

/** A cast that the store keeps until the bus has confirmed it. */
export interface PendingCast {
  /** The id of what it starts: an upgrade's, or `<cluster_id>:<method>`. */
  readonly id: string;
  readonly topic: string;
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly request_id: string;
  /** The span of the request; absent where nothing is traced. */
  readonly trace?: string;
  readonly tenant_id: string;
  /** What a taskmanager of Trove must find in the context of the cast. */
  readonly notification?: Readonly<Record<string, string>>;
}

export interface OutboxStore {
  pendingCasts(before: Instant, limit: number): Promise<readonly PendingCast[]>;
  castConfirmed(id: string): Promise<void>;
  /**
   * Upgrades that still need notifications, each with the number of the last event that was notified.
   * Upgrades are listed if they begin in a store that was opened with `notifies`.
   */
  untold(): Promise<readonly { readonly upgrade_id: string; readonly seq: number }[]>;
  /** Records how far an upgrade has been notified. Null: no notification is left to send. */
  told(upgrade_id: string, seq: number | null): Promise<void>;
}

const CAST_KEYS = { casts: ['hash', 'casts'], casts_at: ['zset', 'casts:at'] } as const;

/** How a script makes a cast pending: its keys, its arguments and its Lua. `cast_id` is empty for no cast. */
export const ADD_CAST = {
  keys: CAST_KEYS,
  args: ['cast_id', 'cast', 'cast_at'],
  lua: `
if cast_id ~= '' then
  redis.call('HSET', CASTS, cast_id, cast)
  redis.call('ZADD', CASTS_AT, cast_at, cast_id)
end
`,
} as const;

export function castArgs(cast: PendingCast | null, at: Instant) {
  return { cast_id: cast?.id ?? null, cast: cast && JSON.stringify(cast), cast_at: at };
}

const PENDING = script('outbox.pending', {
  keys: CAST_KEYS,
  args: ['before', 'limit'],
  lua: `
local ids = redis.call('ZRANGEBYSCORE', CASTS_AT, '-inf', before, 'LIMIT', 0, limit)
local found = {}
for i, id in ipairs(ids) do found[i] = redis.call('HGET', CASTS, id) end
return found`,
});

const CONFIRMED = script('outbox.confirmed', {
  keys: CAST_KEYS,
  lists: { confirmed: ['id'] },
  lua: `
for id in confirmed() do
  redis.call('ZREM', CASTS_AT, id)
  redis.call('HDEL', CASTS, id)
end`,
});

export class RedisOutbox extends RedisPart implements OutboxStore {
  /** Confirmed casts. They are removed from the pending ones in the next turn of the event loop. */
  readonly #confirmed: string[] = [];
  #confirming: Promise<void> | null = null;

  async pendingCasts(before: Instant, limit: number) {
    const found = (await this.port.run(PENDING, { before, limit })) as readonly (string | null)[];
    return found.filter((text) => text !== null).map((text) => JSON.parse(text) as PendingCast);
  }

  /** RabbitMQ confirms many casts at once: those of one turn of the event loop are removed together. */
  castConfirmed(id: string): Promise<void> {
    this.#confirmed.push(id);
    this.#confirming ??= nextTurn().then(async () => {
      const ids = this.#confirmed.splice(0);
      this.#confirming = null;
      for (const confirmed of inParts(ids, IDS_AT_ONCE)) await this.port.run(CONFIRMED, { confirmed });
    });
    return this.#confirming;
  }

  async untold() {
    const held = await this.port.ask((redis) => redis.hgetall(this.port.key('untold')));
    return Object.entries(held).map(([upgrade_id, seq]) => ({ upgrade_id, seq: Number(seq) }));
  }

  async told(upgrade_id: string, seq: number | null) {
    const key = this.port.key('untold');
    await this.port.ask((redis) =>
      seq === null ? redis.hdel(key, upgrade_id) : redis.hset(key, upgrade_id, seq),
    );
  }
}
