import type { Redis } from 'ioredis';
import type { Batch, BatchEvent, Member } from '../core/batch/record.ts';
import { isOpen } from '../core/batch/record.ts';
import type { Load } from '../core/batch/share.ts';
import type { Instant } from '../core/domain.ts';
import { BATCH_CHUNK, type BatchCommit, type BatchStore, type MembersRequest, readyAt } from './batches.ts';
import { eventField, type Numbered } from './event-field.ts';
import type { ScriptName } from './redis.ts';
import type { Forgotten, Page, PageRequest } from './store.ts';

/** What the store on Redis provides to its part for batches. */
export interface RedisPort {
  readonly redis: Redis;
  readonly prefix: string;
  readonly channelOf: (id: string) => string;
  readonly key: (...parts: readonly string[]) => string;
  readonly run: (script: ScriptName, args: readonly (string | number)[]) => Promise<unknown>;
  readonly ask: <T>(command: () => Promise<T>) => Promise<T>;
  /** Reads a page of a set that is sorted by id. */
  readonly idsAfter: (
    key: string,
    page: PageRequest,
  ) => Promise<{ readonly ids: readonly string[]; readonly next_marker: string | null }>;
  readonly events: <Event extends Numbered>(
    key: string,
    id: string,
    after_seq: number,
    options: { limit: number; wait_ms: number },
  ) => Promise<readonly Event[]>;
}

/** Batches on Redis: see `lua-batches.ts` for the keys. */
export class RedisBatches implements BatchStore {
  readonly #port: RedisPort;

  constructor(port: RedisPort) {
    this.#port = port;
  }

  async create(...[batch, members, event, wake_at]: Parameters<BatchStore['create']>) {
    const { key, run } = this.#port;
    const { id, tenant_id, created } = batch;
    const verdict = await run('createBatch', [
      key('batch', id),
      key('batch', id, 'events'),
      key('due'),
      key('batches', tenant_id),
      key('batches'),
      id,
      created,
      JSON.stringify(batch),
      eventField(event),
      wake_at,
      ...members.flatMap((member) => [
        member.position,
        member.cluster_id,
        JSON.stringify(member),
        member.state.name,
        ...placeOf(member),
      ]),
    ]);
    return verdict as 'begun' | 'duplicate';
  }

  async get(id: string): Promise<Batch | null> {
    const { redis, key, ask } = this.#port;
    const doc = await ask(() => redis.hget(key('batch', id), 'doc'));
    return doc === null ? null : (JSON.parse(doc) as Batch);
  }

  async list(tenant_id: string, { limit, marker }: PageRequest): Promise<Page<Batch>> {
    const { redis, key, ask } = this.#port;
    const all = key('batches', tenant_id);
    const rank = marker === null ? null : await ask(() => redis.zrevrank(all, marker));
    const from = rank === null ? 0 : rank + 1;
    const ids = await ask(() => redis.zrevrange(all, from, from + limit));
    const wanted = ids.slice(0, limit);
    const batches = await Promise.all(wanted.map((id) => this.get(id)));
    const items = batches.filter((batch) => batch !== null);
    return { items, next_marker: ids.length > limit ? (wanted.at(-1) ?? null) : null };
  }

  async page(page: PageRequest): Promise<Page<Batch>> {
    const { key, idsAfter } = this.#port;
    const { ids, next_marker } = await idsAfter(key('batches'), page);
    const batches = await Promise.all(ids.map((id) => this.get(id)));
    return { items: batches.filter((batch) => batch !== null), next_marker };
  }

  async members(id: string, { limit, marker, state }: MembersRequest): Promise<Page<Member>> {
    const { redis, key, ask } = this.#port;
    const first = marker === null ? 0 : Number(marker) + 1;
    const positions =
      state === null
        ? Array.from({ length: limit + 1 }, (_, index) => String(first + index))
        : await ask(() =>
            redis.zrangebyscore(key('batch', id, 'state', state), first, '+inf', 'LIMIT', 0, limit + 1),
          );
    if (positions.length === 0) return { items: [], next_marker: null };
    const docs = await ask(() => redis.hmget(key('batch', id, 'members'), ...positions));
    const found = docs.flatMap((doc) => (doc === null ? [] : [JSON.parse(doc) as Member]));
    const items = found.slice(0, limit);
    const last = items.at(-1);
    return { items, next_marker: found.length > limit && last ? String(last.position) : null };
  }

  async load(...[id, { now, states, cluster_ids }]: Parameters<BatchStore['load']>) {
    const { key, run } = this.#port;
    const answer = await run('loadBatch', [
      key('batch', id),
      key('batch-loads'),
      id,
      now,
      BATCH_CHUNK,
      states.length,
      ...states,
      ...cluster_ids,
    ]);
    if (answer === null) return null;
    const [doc, members, hints, ready, ready_count, next_ready, loads] = answer as [
      string,
      readonly string[],
      readonly string[],
      readonly string[],
      number,
      string,
      readonly string[] | Readonly<Record<string, string>>,
    ];
    const others = (Array.isArray(loads) ? loads.filter((_, index) => index % 2 === 1) : Object.values(loads))
      .map((load) => JSON.parse(load as string) as Load)
      .filter((load) => load.batch_id !== id);
    return {
      batch: JSON.parse(doc) as Batch,
      members: members.map((member) => JSON.parse(member) as Member),
      hints,
      ready: ready.map(Number),
      ready_count,
      next_ready: next_ready === '' ? null : Number(next_ready),
      others,
    };
  }

  async commit(commit: BatchCommit): Promise<'committed' | 'conflict'> {
    const { channelOf, key, run } = this.#port;
    const { batch, members, events, load } = commit;
    const done = await run('commitBatch', [
      key('batch', batch.id),
      key('batch', batch.id, 'events'),
      key('due'),
      key('batch-loads'),
      batch.id,
      batch.revision - 1,
      JSON.stringify(batch),
      batch.wave,
      commit.wake_at ?? '',
      commit.now,
      channelOf(batch.id),
      load === null ? '' : JSON.stringify(load),
      load?.running ?? 0,
      commit.max_concurrent_total ?? '',
      events.length,
      members.length,
      ...events.flatMap((event) => [event.seq, eventField(event)]),
      ...members.flatMap(({ before, after }) => [
        after.position,
        JSON.stringify(after),
        before.state.name,
        after.state.name,
        ...placeOf(after),
      ]),
      ...commit.hints,
    ]);
    return done === 1 ? 'committed' : 'conflict';
  }

  async looked(...[batch, hints, wake_at]: Parameters<BatchStore['looked']>): Promise<void> {
    const { key, run } = this.#port;
    const { id, revision } = batch;
    await run('lookedAtBatch', [key('batch', id), key('due'), id, revision, wake_at, ...hints]);
  }

  async forget(before: Instant, page: PageRequest): Promise<Forgotten> {
    const { key, prefix, run, idsAfter } = this.#port;
    const { ids, next_marker } = await idsAfter(key('batches'), page);
    const count = await run('forgetBatches', [key('batches'), prefix, before, ...ids]);
    return { count: count as number, next_marker };
  }

  events(...[id, after_seq, options]: Parameters<BatchStore['events']>): Promise<readonly BatchEvent[]> {
    return this.#port.events(this.#port.key('batch', id, 'events'), id, after_seq, options);
  }
}

/** The member's wave, and when its turn comes; empty where there is none. */
function placeOf(member: Member): readonly [string | number, string | number] {
  return [member.wave ?? '', isOpen(member) ? readyAt(member) : ''];
}
