/**
 * The clients of Redis over connections that break in mid-flight, many times and under load: by C1 no command
 * is carried out twice, by C2 every promise settles. Not covered: what the api answers meanwhile, see api-outages.
 */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker as Thread } from 'node:worker_threads';
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openWakes, requestQueueName, serveRequests, serveWakes } from '../../src/queue.ts';
import { openRedisClient, reconnectIfSilent } from '../../src/redis-client.ts';
import { openRedisStore } from '../../src/store/redis.ts';
import { begun, commitOf, event, seeded } from '../conformance/store.ts';
import { TcpProxy } from '../support/proxy.ts';
import { openQueue, plainRedis } from '../support/redis.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';

const { redis_url } = testUrls();
let proxy: TcpProxy;
let admin: Redis;
beforeEach(async () => {
  proxy = await TcpProxy.inFrontOf(redis_url);
  admin = plainRedis(redis_url);
});
afterEach(async () => {
  admin.disconnect();
  await proxy.close();
});

/**
 * Breaks connections `times` times, each time after what `done` counts has gone on. Every other time Redis has
 * carried out what its client hears nothing of.
 */
async function breakOften(times: number, done: () => number, isOver = () => false): Promise<void> {
  for (let round = 0; round < times && !isOver(); round++) {
    const before = done();
    while (done() === before && !isOver()) await pause(1);
    if (round % 2 === 1) {
      proxy.loseAnswers();
      await pause(5);
    }
    proxy.cut();
  }
}

/** A thread that asks Redis once signal 0 is set, and sets signal 1 with the answer. */
async function witnessOf(url: string, signals: Int32Array): Promise<Thread> {
  const { hostname, port } = new URL(url);
  const source = `
const { workerData, parentPort } = require('node:worker_threads');
const { signals, hostname, port } = workerData;
const socket = require('node:net').connect(port, hostname, () => {
  parentPort.postMessage('connected');
  Atomics.wait(signals, 0, 0);
  socket.write('PING\\r\\n');
});
socket.once('data', () => {
  Atomics.store(signals, 1, 1);
  Atomics.notify(signals, 1);
});`;
  const worker = new Thread(source, { eval: true, workerData: { signals, hostname, port: Number(port) } });
  await once(worker, 'message');
  return worker;
}

describe('a client for commands', () => {
  /** Counts each command, and those that it sees a second time. */
  const COUNT = `
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then redis.call('INCR', KEYS[1] .. ':twice') end
return redis.call('INCR', KEYS[1] .. ':count')`;
  type Counting = Redis & { count(key: string, id: number): Promise<number> };
  const COMMANDS = 30_000;
  const IN_FLIGHT = 200;

  it(`has none of ${COMMANDS} scripts carried out twice, and hears of each, while its connection breaks 60 times`, async () => {
    const client = openRedisClient({ url: proxy.urlFor(redis_url) }, { connectionName: 'test' }) as Counting;
    client.defineCommand('count', { numberOfKeys: 1, lua: COUNT });
    const key = uniqueName('once');
    const outcomes = { done: 0, unknown: 0 };
    let [next, isBreaking] = [0, true];
    const caller = async () => {
      while (next < COMMANDS || isBreaking) {
        const outcome = await client.count(key, next++).then(
          () => 'done' as const,
          () => 'unknown' as const,
        );
        outcomes[outcome] += 1;
        // Whoever is refused at once would count up while there is no connection.
        if (outcome === 'unknown') await pause(1);
      }
    };
    const breaking = breakOften(60, () => outcomes.done).finally(() => {
      isBreaking = false;
    });
    await Promise.all([breaking, ...Array.from({ length: IN_FLIGHT }, caller)]);
    client.disconnect();

    const [count, twice] = (await admin.mget(`${key}:count`, `${key}:twice`)).map(Number);
    expect(twice).toBe(0);
    expect(outcomes.done + outcomes.unknown).toBe(next);
    // Redis has carried out some of which its client knows nothing: those that ioredis would have sent again.
    expect(count).toBeGreaterThan(outcomes.done);
    expect(count).toBeLessThanOrEqual(next);
  });

  it('settles what is under way when its connection breaks, without waiting for a timeout', async () => {
    const options = { connectionName: 'test', commandTimeout: 600_000 };
    const client = openRedisClient({ url: proxy.urlFor(redis_url) }, options);
    await expect.poll(() => client.ping().catch(() => 'away')).toBe('PONG');
    proxy.loseAnswers();
    const asked = Promise.allSettled(Array.from({ length: 50 }, () => client.ping()));
    proxy.cut();
    expect((await asked).map(({ status }) => status)).toEqual(Array(50).fill('rejected'));
    client.disconnect();
  });

  it('keeps its connection when its process was held up for longer than a command may take', async () => {
    const client = openRedisClient({ url: redis_url }, { connectionName: 'test', commandTimeout: 200 });
    await expect.poll(() => client.client('ID').catch(() => 0)).toBeGreaterThan(0);
    const id = await client.client('ID');
    const signals = new Int32Array(new SharedArrayBuffer(8));
    const witness = await witnessOf(redis_url, signals);
    const asked = client.ping().catch((err: unknown) => err);
    await new Promise(process.nextTick);
    // The answer is there once Redis has answered a later command of another connection.
    Atomics.store(signals, 0, 1);
    Atomics.notify(signals, 0);
    Atomics.wait(signals, 1, 0);
    Atomics.wait(signals, 1, 1, 300);
    const err = await asked;
    expect(err).toMatchObject({ message: 'Command timed out' });
    reconnectIfSilent(client, err);
    // Longer than a silent connection would be kept.
    await pause(500);
    expect(client.status).toBe('ready');
    expect(await client.client('ID')).toBe(id);
    client.disconnect();
    await witness.terminate();
  });
});

describe('who waits for events', () => {
  it('hears of them over a new connection after the old one has broken or vanished', async () => {
    const prefix = uniqueName('events');
    const store = await openRedisStore({ url: proxy.urlFor(redis_url), prefix, log: silentLog });
    const beside = await seeded(await openRedisStore({ url: redis_url, prefix, log: silentLog }));
    let { upgrade } = await begun(beside);
    for (let round = 0; round < 6; round++) {
      const waiting = (async () => {
        for (;;) {
          // Far longer than the test may take: a change that goes unheard shows.
          const reading = store.upgrades.events(upgrade.id, round + 1, { limit: 9, wait_ms: 600_000 });
          const events = await reading.catch(() => []);
          if (events.length > 0) return events.map(({ seq }) => seq);
          await pause(10);
        }
      })();
      await expect.poll(() => admin.pubsub('CHANNELS', `${prefix}:*`)).toHaveLength(1);
      if (round % 2 === 0) proxy.cut();
      else proxy.strand();
      const next = commitOf(upgrade, [event(round + 2, 'started')]);
      expect(await beside.upgrades.commit(next)).toBe('committed');
      upgrade = next.upgrade;
      // Of a connection that has vanished the store learns when it asks for something.
      await expect.poll(() => store.health()).toEqual({ status: 'ok' });
      expect(await waiting).toEqual([round + 2]);
    }
    await store.close();
    await beside.close();
  });
});

describe('the queue', () => {
  const JOBS = 400;

  it(`loses none of ${JOBS} requests, each of which begins once, while connections break 40 times`, async () => {
    const prefix = uniqueName('queue');
    const queue = openQueue(requestQueueName(prefix), redis_url);
    await queue.addBulk(
      Array.from({ length: JOBS }, (_, index) => ({
        name: 'upgrade',
        data: {},
        opts: { jobId: `job-${index}` },
      })),
    );
    const seen = new Set<string>();
    const worker = serveRequests(
      { url: proxy.urlFor(redis_url), prefix, log: silentLog },
      async ({ name }) => {
        seen.add(name);
        await pause(2);
        return { batch_id: name };
      },
    );
    await breakOften(
      40,
      () => seen.size,
      () => seen.size === JOBS,
    );
    await expect.poll(() => queue.getCompletedCount(), { interval: 200 }).toBe(JOBS);
    expect(await queue.getFailedCount()).toBe(0);
    expect(seen.size).toBe(JOBS);
    const jobs = await queue.getCompleted(0, JOBS);
    expect(jobs.every(({ id, returnvalue }) => returnvalue.batch_id === id)).toBe(true);
    await worker.stop();
    await queue.close();
  });

  it('wakes batches again whenever its connection broke, also at its very start', async () => {
    const prefix = uniqueName('wakes');
    const url = proxy.urlFor(redis_url);
    let looked = new Set<string>();
    const serving = serveWakes({ url: redis_url, prefix, log: silentLog }, async (id) => void looked.add(id));
    for (let round = 0; round < 30; round++) {
      const wakes = openWakes({ url, prefix, log: silentLog });
      // Each round a little later: in one of them the first question to Redis is under way.
      for (let wait = 0; wait < round; wait++) await new Promise((done) => setImmediate(done));
      proxy.cut();
      looked = new Set();
      const id = `batch-${round}`;
      await expect.poll(() => wakes.wake(id) ?? looked.has(id), { interval: 50 }).toBe(true);
      await wakes.stop();
    }
    await serving.stop();
  });
});
