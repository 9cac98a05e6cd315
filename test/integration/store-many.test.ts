/**
 * Any number of things in one step of the store on Redis. Lua refuses to take apart some 8,000 values at once
 * (`unpack`), V8 a call with some 125,000 arguments; 8,001 and 100,000 are past the one and near the other.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PendingCast } from '../../src/store/outbox.ts';
import { openRedisStore, type RedisStore } from '../../src/store/redis.ts';
import { newBatch } from '../conformance/batches.ts';
import { castOf, newCluster, seeded } from '../conformance/store.ts';
import { plainRedis } from '../support/redis.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';

const NOW = 1_800_000_000_000;

describe('the store on Redis, with many at once', () => {
  const { redis_url: url } = testUrls();
  const prefix = uniqueName('many');
  let store: RedisStore;
  let redis: Redis;
  beforeAll(async () => {
    store = await seeded(await openRedisStore({ url, prefix, log: silentLog }));
    redis = plainRedis(url);
  });
  afterAll(async () => {
    await store.close();
    redis.disconnect();
  });

  /** Runs `command` for each of many. */
  const forEach = async <T>(many: readonly T[], command: (each: T) => readonly (string | number)[]) => {
    for (let at = 0; at < many.length; at += 10_000) {
      const pipeline = redis.pipeline();
      for (const each of many.slice(at, at + 10_000)) {
        const [name, ...args] = command(each);
        pipeline.call(String(name), args);
      }
      await pipeline.exec();
    }
  };

  it.each([8_001, 100_000])('reads %i casts, and has them confirmed in one turn', async (count) => {
    const cast: PendingCast = castOf(newCluster(), 'create_cluster');
    const ids = Array.from({ length: count }, () => randomUUID());
    await forEach(ids, (id) => ['HSET', `${prefix}:casts`, id, JSON.stringify({ ...cast, id })]);
    await forEach(ids, (id) => ['ZADD', `${prefix}:casts:at`, NOW, id]);
    expect(await store.counts(NOW)).toMatchObject({ pending_casts: count });
    const pending = await store.outbox.pendingCasts(NOW, 8_001);
    const all = new Set<string>(ids);
    expect(pending.filter(({ id }) => all.has(id))).toHaveLength(8_001);

    await Promise.all(ids.map((id) => store.outbox.castConfirmed(id)));
    expect(await store.outbox.pendingCasts(NOW, count)).toEqual([]);
    expect(await redis.exists(`${prefix}:casts`, `${prefix}:casts:at`)).toBe(0);
  });

  it.each([8_001, 100_000])('counts %i upgrades that are due', async (count) => {
    const ids = Array.from({ length: count }, () => randomUUID());
    await forEach(ids, (id) => ['ZADD', `${prefix}:due`, NOW, `upgrade:${id}`]);
    await forEach(ids, (id) => ['HSET', `${prefix}:upgrade:${id}`, 'state', 'running']);
    expect(await store.counts(NOW)).toMatchObject({ upgrades: { running: count }, overdue: count });
    expect(await store.due.list()).toHaveLength(count);
    expect(await store.due.take(NOW, 8_001, 1)).toHaveLength(8_001);
    await redis.unlink(`${prefix}:due`);
    await forEach(ids, (id) => ['UNLINK', `${prefix}:upgrade:${id}`]);
  });

  it('builds, shrinks and removes a cluster of 8,001 instances', async () => {
    const { id, instances: [one] = [], ...rest } = newCluster();
    const instances = Array.from({ length: 8_001 }, (_, index) => ({
      ...(one as NonNullable<typeof one>),
      ...{ id: randomUUID(), cluster_id: id, name: `m-${index}`, task: 'BUILDING' as const },
    }));
    const keys = new Map(instances.map((instance) => [instance.id, 'sealed']));
    const cluster = { ...rest, id, instances };
    const order = { databases: [], users: [] };
    const cast = castOf(cluster, 'create_cluster');
    expect(await store.provisioning.create(cluster, order, cast, { keys })).toBe('created');
    await store.provisioning.finishBuild(id, NOW);
    const seen = await store.clusters.get(id);
    expect(new Set(seen?.instances.map(({ task }) => task))).toEqual(new Set(['NONE']));
    expect(await store.keys.ids()).toHaveLength(8_001);

    const ids = instances.slice(1).map((instance) => instance.id);
    if (!seen) throw new Error('the cluster is gone');
    expect(await store.provisioning.beginShrink(seen, ids, castOf(cluster, 'shrink_cluster'), NOW)).toBe(
      'begun',
    );
    const shrinking = (await store.clusters.get(id)) ?? seen;
    await store.provisioning.finishShrink(shrinking, ids, null, NOW);
    expect((await store.clusters.get(id))?.instances).toHaveLength(1);
    expect(await store.keys.ids()).toHaveLength(1);
    expect(await store.provisioning.beginDelete(id, castOf(cluster, 'delete_cluster'), NOW)).toBe('begun');
    await store.provisioning.remove(id);
    expect(await redis.keys(`${prefix}:instance:*`)).toEqual([]);
  });

  it('creates, pages through and forgets a batch of 8,001 members in 8,001 waves', async () => {
    const { batch: plain, members, event } = newBatch(8_001);
    const [wave] = plain.waves;
    if (!wave) throw new Error('a batch has a wave');
    const batch = { ...plain, waves: Array.from({ length: 8_001 }, () => wave) };
    expect(await store.batches.create(batch, members, event, NOW)).toBe('begun');
    const page = { limit: 8_001, marker: null, state: null };
    expect((await store.batches.members(batch.id, page)).items).toHaveLength(8_001);
    const cluster_ids = members.map(({ cluster_id }) => cluster_id);
    const loaded = await store.batches.load(batch.id, { now: NOW, states: [], cluster_ids });
    expect(loaded?.members).toHaveLength(8_001);

    const changes = members.map((before) => ({ before, after: before }));
    const ended = { name: 'cancelled', started: 1, ended: 2, message: 'm' } as const;
    const hints = members.map(({ position }) => `${position}:1`);
    const commit = { batch: { ...batch, revision: 2, state: ended }, members: changes, events: [], hints };
    const last = { ...commit, load: null, max_concurrent_total: null, wake_at: null, now: NOW };
    expect(await store.batches.commit(last)).toBe('committed');
    expect(await store.batches.forget(NOW, { limit: 100, marker: null })).toMatchObject({ count: 1 });
    expect(await redis.keys(`${prefix}:batch:*`)).toEqual([]);
  });
});
