import type { Redis } from 'ioredis';
import type { Changes } from './changes.ts';
import { type EventsRequest, eventFrom, type Numbered } from './events.ts';
import type { Page, PageRequest } from './page.ts';
import type { Script } from './script.ts';

/** Lists of unlimited length are split: one command or one pipeline names this many ids. */
export const IDS_AT_ONCE = 500;

type Command = (args: readonly string[]) => Promise<unknown>;

/** What the parts of the store on Redis share. Every rejection is an error for the callers of the store. */
export class RedisPort {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #changes: Changes;
  readonly #guard: <T>(command: () => Promise<T>) => Promise<T>;
  readonly #commands = new Map<string, Command>();

  constructor(deps: {
    readonly redis: Redis;
    readonly prefix: string;
    readonly changes: Changes;
    /** Awaits a command, and makes an error of the store of its rejection. */
    readonly guard: <T>(command: () => Promise<T>) => Promise<T>;
  }) {
    this.#redis = deps.redis;
    this.#prefix = deps.prefix;
    this.#changes = deps.changes;
    this.#guard = deps.guard;
  }

  key(...parts: readonly string[]): string {
    return [this.#prefix, ...parts].join(':');
  }

  ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    return this.#guard(() => command(this.#redis));
  }

  async run<G>(script: Script<G>, given: NoInfer<G>): Promise<unknown> {
    const args = script.flatten(this.#prefix, given);
    // The arguments are one array, which ioredis flattens: a function call with 125,000 arguments is too much
    // for V8.
    return this.#guard(() => this.#commandOf(script)(args));
  }

  #commandOf({ name, number_of_keys, lua }: Pick<Script<never>, 'name' | 'number_of_keys' | 'lua'>): Command {
    const known = this.#commands.get(name);
    if (known) return known;
    this.#redis.defineCommand(name, { numberOfKeys: number_of_keys, lua });
    const redis = this.#redis as unknown as Record<string, Command>;
    const command: Command = (args) => redis[name]?.(args) ?? Promise.reject(new Error(`${name} is gone`));
    this.#commands.set(name, command);
    return command;
  }

  /** Reads a field of the records that exist, in the order of their ids. */
  async fieldOf(kind: string, ids: readonly string[], field: string): Promise<readonly string[]> {
    const found: string[] = [];
    for (const part of inParts(ids, IDS_AT_ONCE)) {
      const answers = await this.ask(async (redis) => {
        const pipeline = redis.pipeline();
        for (const id of part) pipeline.hget(this.key(kind, id), field);
        return (await pipeline.exec())?.map(([err, value]) => {
          if (err) throw err;
          return value;
        });
      });
      for (const value of answers ?? []) if (typeof value === 'string') found.push(value);
    }
    return found;
  }

  /** Reads the records that exist. */
  async docs<T>(kind: string, ids: readonly string[]): Promise<readonly T[]> {
    return (await this.fieldOf(kind, ids, 'doc')).map((doc) => JSON.parse(doc) as T);
  }

  async doc<T>(kind: string, id: string): Promise<T | null> {
    const doc = await this.ask((redis) => redis.hget(this.key(kind, id), 'doc'));
    return doc === null ? null : (JSON.parse(doc) as T);
  }

  /** Reads a page of a set that is sorted by id. */
  async idsAfter(key: string, { limit, marker }: PageRequest): Promise<Page<string>> {
    const after = marker === null ? '-' : `(${marker}`;
    // Not ZRANGE … BYLEX: that needs Redis 6.2.
    const found = await this.ask((redis) => redis.zrangebylex(key, after, '+', 'LIMIT', 0, limit + 1));
    return idPage(found, limit);
  }

  /** Reads a page of a set that is sorted by time, newest first. */
  async newestFirst(key: string, { limit, marker }: PageRequest): Promise<Page<string>> {
    const rank = marker === null ? null : await this.ask((redis) => redis.zrevrank(key, marker));
    const from = rank === null ? 0 : rank + 1;
    return idPage(await this.ask((redis) => redis.zrevrange(key, from, from + limit)), limit);
  }

  /** Events of an upgrade or a batch after `after_seq`, oldest first; see `EventsRequest`. */
  async events<Event extends Numbered>(
    kind: 'upgrade' | 'batch',
    id: string,
    after_seq: number,
    { limit, wait_ms }: EventsRequest,
  ): Promise<readonly Event[]> {
    const key = this.key(kind, id, 'events');
    const read = async () => {
      const entries = await this.ask((redis) => redis.xrange(key, `${after_seq + 1}-0`, '+', 'COUNT', limit));
      return entries.map(([entry_id, [, field = '{}']]) => eventFrom<Event>(entry_id, field));
    };
    const found = await read();
    if (found.length > 0 || wait_ms <= 0) return found;
    // Subscribe first, read again, then wait: so an event between the two reads is not missed.
    const change = this.#changes.next(id, wait_ms);
    try {
      await change.listening;
      const meanwhile = await read();
      if (meanwhile.length > 0) return meanwhile;
      await change.noticed;
    } finally {
      change.forget();
    }
    return read();
  }
}

/** A part of the store on Redis. */
export abstract class RedisPart {
  protected readonly port: RedisPort;

  constructor(port: RedisPort) {
    this.port = port;
  }
}

/** A page from up to `limit` ids and the one after them. */
function idPage(found: readonly string[], limit: number): Page<string> {
  const items = found.slice(0, limit);
  return { items, next_marker: found.length > limit ? (items.at(-1) ?? null) : null };
}

export function inParts<T>(all: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, at) =>
    all.slice(at * size, (at + 1) * size),
  );
}
