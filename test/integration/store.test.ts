import { describe, expect, it } from 'vitest';
import { openRedisStore } from '../../src/store/redis.ts';
import { newBatch } from '../conformance/batches.ts';
import { accepted, begun, commitOf, describeStore, event, newUpgrade, seeded } from '../conformance/store.ts';
import { plainRedis } from '../support/redis.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';

describeStore('Redis', async () => {
  const store = await openRedisStore({
    url: testUrls().redis_url,
    prefix: uniqueName('store'),
    log: silentLog,
    notifies: true,
  });
  return { store, close: () => store.close() };
});

describe('the store on Redis', () => {
  it('says so when Redis is not there', async () => {
    const opening = openRedisStore({ url: 'redis://127.0.0.1:1', log: silentLog });
    await expect(opening).rejects.toMatchObject({ code: 'store_unavailable', retryable: true });
  });

  it('listens to an upgrade while somebody waits for it, and no longer', async () => {
    const [url, prefix] = [testUrls().redis_url, uniqueName('listen')];
    const store = await seeded(await openRedisStore({ url, prefix, log: silentLog }));
    const redis = plainRedis(url);
    const { upgrade } = await begun(store);
    const channels = () => redis.pubsub('CHANNELS', `${prefix}:*`);
    expect(await channels()).toEqual([]);
    const wait = () => store.upgrades.events(upgrade.id, 1, { limit: 9, wait_ms: 20_000 });
    const waiting = Promise.all([wait(), wait()]);
    await expect.poll(channels).toEqual([`${prefix}:changes:${upgrade.id}`]);

    await store.upgrades.commit(commitOf(upgrade, [event(2, 'started')]));
    expect((await waiting).map((events) => events.map(({ seq }) => seq))).toEqual([[2], [2]]);
    await expect.poll(channels).toEqual([]);
    redis.disconnect();
    await store.close();
  });

  it('leaves no key of what it forgets', async () => {
    const [url, prefix] = [testUrls().redis_url, uniqueName('forget')];
    const store = await seeded(await openRedisStore({ url, prefix, log: silentLog }));
    const redis = plainRedis(url);
    const { batch, members, event: first } = newBatch(4);
    await store.batches.create(batch, members, first, 1);
    const { cluster, upgrade } = await begun(store);
    const keysOf = async (id: string) => (await redis.keys(`${prefix}:*`)).filter((key) => key.includes(id));
    expect((await keysOf(batch.id)).length).toBeGreaterThan(5);
    expect(await keysOf(upgrade.id)).toHaveLength(2);

    const ended = { name: 'cancelled', started: 1, ended: 2, message: 'm' } as const;
    const change = { ...commitOf(upgrade, [event(2, 'cancelled')]), wake_at: null };
    const release = { datastore_version_id: 'v1', datastore_version: '1.0' };
    await store.upgrades.commit({ ...change, upgrade: { ...change.upgrade, state: ended }, release });
    const later = { ...newUpgrade(cluster), created: upgrade.created + 1 };
    await store.upgrades.begin(later, accepted(later), null, 1);
    await store.batches.commit({
      ...{ batch: { ...batch, revision: 2, state: ended }, members: [], events: [], hints: [], load: null },
      ...{ max_concurrent_total: null, wake_at: null, now: 2 },
    });
    const all = { limit: 100, marker: null };
    const soon = upgrade.created + 5;
    expect(await store.batches.forget(soon, all)).toEqual({ count: 1, next_marker: null });
    expect(await store.upgrades.forget(soon, all)).toEqual({ count: 1, next_marker: null });
    expect(await keysOf(batch.id)).toEqual([]);
    expect(await keysOf(upgrade.id)).toEqual([]);
    expect(await redis.zcard(`${prefix}:batches`)).toBe(0);
    expect(await redis.zcard(`${prefix}:batches:${batch.tenant_id}`)).toBe(0);
    expect(await redis.zrange(`${prefix}:upgrades:${cluster.id}`, '0', '-1')).toEqual([later.id]);
    redis.disconnect();
    await store.close();
  });
});
