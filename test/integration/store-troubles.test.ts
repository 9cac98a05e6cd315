/**
 * A Redis that is there and can't do what it is asked: full, locked, or used by somebody else. Whatever it
 * refuses is refused as a whole. Redis away altogether: see api-outages and the chaos run.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ReplyError } from 'ioredis';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { redisFindings } from '../../cli/doctor/findings.ts';
import { inspectRedis } from '../../src/store/inspect.ts';
import { openRedisStore, type RedisStore } from '../../src/store/redis.ts';
import { toStoreError } from '../../src/store/refusals.ts';
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
import { until } from '../support/stack.ts';

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

    /** The content of a key. DUMP would show the order of a hash's fields, which reading may change. */
    const contentOf = async (key: string): Promise<unknown> => {
      const type = await redis.admin.type(key);
      switch (type) {
        case 'hash':
          return redis.admin.hgetall(key);
        case 'zset':
          return redis.admin.zrange(key, '0', '-1', 'WITHSCORES');
        case 'stream':
          return redis.admin.xrange(key, '-', '+');
        case 'set':
          return (await redis.admin.smembers(key)).sort();
        case 'string':
          return redis.admin.get(key);
        default:
          throw new Error(`${key} is a ${type}`);
      }
    };
    /** Every key with its content. */
    const everything = async () => {
      const keys = (await redis.admin.keys('*')).sort();
      return Promise.all(keys.map(async (key) => [key, await contentOf(key)]));
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
      await expect(store.provisioning.create(other, order, cast)).rejects.toMatchObject(FULL);
      await expect(store.upgrades.begin(upgrade, accepted(upgrade), cast, NOW)).rejects.toMatchObject(FULL);
      await expect(store.requests.begin(request, NOW)).rejects.toThrow(/full/);
      expect(await everything()).toEqual(before);

      await makeRoom();
      expect(await store.upgrades.begin(upgrade, accepted(upgrade), cast, NOW)).toEqual({ verdict: 'begun' });
    });

    it('lets what is under way go on while it is full', async () => {
      const { cluster, upgrade } = await begun(store);
      const idle = await built(store);
      const unfinished = newCluster();
      const order = { databases: [], users: [] };
      await store.provisioning.create(unfinished, order, castOf(unfinished, 'create_cluster'));
      const instance_id = cluster.instances[0]?.id ?? '';
      await fill();

      await store.clusters.heartbeat(instance_id, reportOf(NOW, '2.0'), NOW);
      expect((await store.due.take(NOW + 60_000, 10, 1_000)).length).toBeGreaterThan(0);
      await store.due.defer({ kind: 'upgrade', id: upgrade.id }, NOW + 5);
      const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
      const last = { ...commitOf(upgrade, [event(2, 'succeeded')]), release, wake_at: null };
      expect(await store.upgrades.commit(last)).toBe('committed');
      await store.provisioning.finishBuild(unfinished.id, NOW);
      expect(await store.provisioning.beginDelete(idle.id, castOf(idle, 'delete_cluster'), NOW)).toBe(
        'begun',
      );
      await store.provisioning.remove(idle.id);

      const now = await store.clusters.get(cluster.id);
      expect(now).toMatchObject({ task: 'NONE', datastore_version: '2.0' });
      expect(now?.instances[0]?.report?.version).toBe('2.0');
      expect((await store.clusters.get(unfinished.id))?.task).toBe('NONE');
      expect(await store.clusters.get(idle.id)).toBeNull();
      expect(await store.upgrades.events(upgrade.id, 0, { limit: 9, wait_ms: 0 })).toHaveLength(2);
    });

    it.each(['events', 'cluster', 'upgrade'])(
      'commits nothing where the key of the %s is somebody else’s',
      async (kind) => {
        const { cluster, upgrade } = await begun(store);
        const keys = {
          events: `upgrade:${upgrade.id}:events`,
          cluster: `cluster:${cluster.id}`,
          upgrade: `upgrade:${upgrade.id}`,
        };
        const key = `p:${keys[kind as keyof typeof keys]}`;
        await redis.admin.del(key);
        await redis.admin.set(key, 'not ours');
        const before = await everything();
        await expect(store.upgrades.commit(commitOf(upgrade, [event(2, 'started')]))).rejects.toThrow(
          'WRONGTYPE',
        );
        expect(await everything()).toEqual(before);
        await redis.admin.del(key);
      },
    );

    it('does nothing at all where a key is somebody else’s', async () => {
      const { cluster, upgrade } = await begun(store);
      await redis.admin.del('p:due');
      await redis.admin.set('p:due', 'not ours');
      const before = await everything();
      await expect(store.upgrades.commit(commitOf(upgrade, [event(2, 'started')]))).rejects.toThrow(
        /p:due.*string/,
      );
      await expect(
        store.provisioning.create(
          newCluster(),
          { databases: [], users: [] },
          castOf(cluster, 'create_cluster'),
        ),
      ).rejects.toThrow(/p:due.*string/);
      expect(await everything()).toEqual(before);
    });

    it('refuses a number that is none before Redis sees it', async () => {
      const { upgrade } = await begun(store);
      const before = await everything();
      await expect(store.upgrades.commit({ ...commitOf(upgrade, []), wake_at: Number.NaN })).rejects.toThrow(
        /NaN/,
      );
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

describe.skipIf(redisProgram === undefined)(
  'a Redis that answers and takes no writes (skipped where there is no redis-server to start)',
  () => {
    let redis: PrivateRedis;
    let primary: PrivateRedis;
    const said: string[] = [];
    const log = pino({ level: 'error' }, { write: (line: string) => void said.push(line) });
    beforeEach(async () => {
      said.length = 0;
      primary = await startRedis();
      redis = await startRedis();
    });
    afterEach(async () => {
      await redis.close();
      await primary.close();
    });
    const config = (name: string, value: string) => redis.admin.config('SET', name, value);

    const TROUBLES: readonly {
      readonly name: string;
      readonly words: RegExp;
      readonly begin: () => Promise<unknown>;
      readonly end: () => Promise<unknown>;
    }[] = [
      {
        name: 'a replica',
        words: /is a replica, which takes no writes: point COFFER_REDIS_URL at the primary/,
        begin: async () => {
          await redis.admin.replicaof('127.0.0.1', Number(new URL(primary.url).port));
          await until('it follows', async () => (await redis.admin.info()).includes('master_link_status:up'));
        },
        end: () => redis.admin.replicaof('NO', 'ONE'),
      },
      {
        name: 'a replica that has lost its primary',
        words: /is a replica/,
        begin: async () => {
          await config('replica-serve-stale-data', 'no');
          await redis.admin.replicaof('127.0.0.1', 1);
        },
        end: () => redis.admin.replicaof('NO', 'ONE'),
      },
      {
        name: 'one that lacks replicas',
        words: /min-replicas-to-write asks for: bring the replicas back/,
        begin: () => config('min-replicas-to-write', '1'),
        end: () => config('min-replicas-to-write', '0'),
      },
      {
        name: 'one that is full',
        words: /is full: raise its maxmemory/,
        begin: () => config('maxmemory', '1'),
        end: () => config('maxmemory', '0'),
      },
      {
        name: 'one whose disk is full',
        words: /can not write to its disk: make room/,
        begin: async () => {
          await config('save', '3600 1000000');
          // A folder has the name of the snapshot: it can not be put there.
          await mkdir(join(redis.dir, 'dump.rdb'));
          await redis.admin.bgsave();
          await until('it has failed', async () =>
            (await redis.admin.info()).includes('rdb_last_bgsave_status:err'),
          );
        },
        end: () => config('stop-writes-on-bgsave-error', 'no'),
      },
    ];

    it.each(TROUBLES)('is found unfit, and named: $name', async ({ words, begin, end }) => {
      const store = await openRedisStore({ url: redis.url, prefix: 'p', log });
      expect(await store.health()).toEqual({ status: 'ok' });
      await begin();
      const keys = await redis.admin.dbsize().catch(() => 0);
      await until('it is found', async () => (await store.health()).status === 'refuses_writes');
      expect(await store.health()).toMatchObject({ reason: expect.stringMatching(words) as string });
      // A new connection may be under way just now.
      const outcome = await until('it is refused', async () => {
        const err: unknown = await store.duties.hold('d', 'h', 1_000).catch((why: unknown) => why);
        return words.test(String(err)) && (err as Error);
      });
      expect(outcome).toMatchObject({ code: 'store_unavailable', retryable: true });
      const facts = await inspectRedis(redis.url, undefined, 'p');
      const finding = redisFindings(facts).find(({ check }) => check === 'redis.writes');
      expect(finding).toMatchObject({ state: 'bad' });
      expect(`${finding?.found}: ${finding?.repair}`).toMatch(/^Redis .*: [A-Z]/);
      expect(said.join('')).toMatch(words);

      await end();
      await until('it takes writes', async () => (await store.health()).status === 'ok');
      // To ask whether a write would be taken has written nothing.
      expect(await redis.admin.dbsize()).toBe(keys);
      await store.close();
    });
  },
);

describe('an answer of Redis', () => {
  const CODES = ['READONLY', 'NOREPLICAS', 'LOADING', 'MASTERDOWN', 'CLUSTERDOWN', 'MISCONF', 'OOM', 'BUSY'];

  it.each(CODES)('%s is a passing trouble, also out of a script of Redis 6', (code) => {
    const old = `ERR Error running script (call to f_1f0c): @user_script:14: @user_script: 14: -${code} no`;
    for (const text of [`${code} no`, old]) {
      expect(toStoreError(new ReplyError(text))).toMatchObject({
        ...{ code: 'store_unavailable', retryable: true, status: 503 },
      });
    }
  });

  it('that blames the command is our mistake', () => {
    for (const text of ['ERR syntax error', 'WRONGTYPE Operation', 'ERR no OOM here'])
      expect(toStoreError(new ReplyError(text))).toMatchObject({ code: 'internal' });
  });
});
