/**
 * A Redis that is there and can't do what it is asked: full, locked, or used by somebody else. Whatever it
 * refuses is refused as a whole. Redis away altogether: see api-outages and the chaos run.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRedisStore, type RedisStore } from '../../src/store/redis.ts';
import {
  accepted,
  begun,
  built,
  castOf,
  commitOf,
  event,
  newCluster,
  newUpgrade,
  reportOf,
  seeded,
} from '../conformance/store.ts';
import { type PrivateRedis, redisProgram, startRedis } from '../support/redis.ts';
import { silentLog } from '../support/services.ts';

const NOW = 1_800_000_000_000;
const FULL = { code: 'store_unavailable', retryable: true };

describe.skipIf(redisProgram === undefined)(
  'the store on a Redis in trouble (skipped where there is no redis-server to start)',
  () => {
    let redis: PrivateRedis;
    let store: RedisStore;
    beforeEach(async () => {
      redis = await startRedis();
      store = await seeded(await openRedisStore({ url: redis.url, prefix: 'p', log: silentLog }));
    });
    afterEach(async () => {
      await store.close();
      await redis.close();
    });

    /** Every key with its type and content. */
    const everything = async () => {
      const keys = (await redis.admin.keys('*')).sort();
      return Promise.all(
        keys.map(async (key) => [key, (await redis.admin.dumpBuffer(key))?.toString('hex')]),
      );
    };
    const fill = () => redis.admin.config('SET', 'maxmemory', '1');
    const makeRoom = () => redis.admin.config('SET', 'maxmemory', '0');

    it('takes nothing new while it is full, and nothing is half done', async () => {
      const cluster = await built(store);
      const order = { databases: [], users: [] };
      const [other, upgrade] = [newCluster(), newUpgrade(cluster)];
      const request = { tenant_id: 't', key: 'k', fingerprint: 'f', claim: 'c' };
      const before = await everything();
      await fill();
      const cast = castOf(other, 'create_cluster');
      await expect(store.createCluster(other, order, cast)).rejects.toMatchObject(FULL);
      await expect(store.begin(upgrade, accepted(upgrade), cast, NOW)).rejects.toMatchObject(FULL);
      await expect(store.beginRequest(request, NOW)).rejects.toThrow(/full/);
      expect(await everything()).toEqual(before);

      await makeRoom();
      expect(await store.begin(upgrade, accepted(upgrade), cast, NOW)).toEqual({ verdict: 'begun' });
    });

    it('lets what is under way go on while it is full', async () => {
      const { cluster, upgrade } = await begun(store);
      const idle = await built(store);
      const unfinished = newCluster();
      const order = { databases: [], users: [] };
      await store.createCluster(unfinished, order, castOf(unfinished, 'create_cluster'));
      const instance_id = cluster.instances[0]?.id ?? '';
      await fill();

      await store.heartbeat(instance_id, reportOf(NOW, '2.0'), NOW);
      expect((await store.takeDue(NOW + 60_000, 10, 1_000)).length).toBeGreaterThan(0);
      await store.defer({ kind: 'upgrade', id: upgrade.id }, NOW + 5);
      const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
      const last = { ...commitOf(upgrade, [event(2, 'succeeded')]), release, wake_at: null };
      expect(await store.commit(last)).toBe('committed');
      await store.finishBuild(unfinished.id, NOW);
      expect(await store.beginDelete(idle.id, castOf(idle, 'delete_cluster'), NOW)).toBe('begun');
      await store.removeCluster(idle.id);

      const now = await store.getCluster(cluster.id);
      expect(now).toMatchObject({ task: 'NONE', datastore_version: '2.0' });
      expect(now?.instances[0]?.report?.version).toBe('2.0');
      expect((await store.getCluster(unfinished.id))?.task).toBe('NONE');
      expect(await store.getCluster(idle.id)).toBeNull();
      expect(await store.events(upgrade.id, 0, { limit: 9, wait_ms: 0 })).toHaveLength(2);
    });

    it('does nothing at all where a key is somebody else’s', async () => {
      const { cluster, upgrade } = await begun(store);
      await redis.admin.del('p:due');
      await redis.admin.set('p:due', 'not ours');
      const before = await everything();
      await expect(store.commit(commitOf(upgrade, [event(2, 'started')]))).rejects.toThrow(/p:due.*string/);
      await expect(
        store.createCluster(newCluster(), { databases: [], users: [] }, castOf(cluster, 'create_cluster')),
      ).rejects.toThrow(/p:due.*string/);
      expect(await everything()).toEqual(before);
    });

    it('refuses a number that is none before Redis sees it', async () => {
      const { upgrade } = await begun(store);
      const before = await everything();
      await expect(store.commit({ ...commitOf(upgrade, []), wake_at: Number.NaN })).rejects.toThrow(/NaN/);
      expect(await everything()).toEqual(before);
    });

    it('says what is wrong with the password', async () => {
      const locked = await startRedis(['--requirepass', 'right']);
      try {
        for (const url of [locked.url, locked.url.replace('//', '//:wrong@')]) {
          const opening = openRedisStore({ url, log: silentLog });
          await expect(opening).rejects.toThrow(/COFFER_REDIS_URL.*password|password.*COFFER_REDIS_URL/);
        }
        const opened = await openRedisStore({
          url: locked.url.replace('//', '//:right@'),
          log: silentLog,
        });
        await opened.close();
      } finally {
        await locked.close();
      }
    });
  },
);
