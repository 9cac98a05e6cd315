import Fastify from 'fastify';
import { serializerCompiler } from 'fastify-type-provider-zod';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { App, Deps } from '../../api/deps.ts';
import { healthRoutes } from '../../api/health/probes.ts';
import { openRedisStore } from '../../src/store/redis.ts';
import { redisProgram, startRedis } from '../support/redis.ts';
import { silentLog, testUrls } from '../support/services.ts';
import { ask, buildCluster, type Harness, startApi } from './api-harness.ts';

/** What the api does while Redis or RabbitMQ is away. Not covered: what taskmanagers do then. */
let api: Harness;
const patch = { method: 'PATCH', json: { datastore_version: '1.1' } };

beforeAll(async () => {
  api = await startApi();
});
afterEach(async () => {
  api.redisProxy.allow();
  api.amqpProxy.allow();
  await vi.waitFor(async () => expect((await ask(`${api.origin}/health/ready`)).status).toBe(200), {
    timeout: 15_000,
  });
});
afterAll(() => api.close());

const timed = async <T>(work: Promise<T>) => {
  const begun = Date.now();
  return { ...(await work), ms: Date.now() - begun };
};

describe('with everything there', () => {
  it('is live and ready', async () => {
    expect((await ask(`${api.origin}/health/live`)).body).toEqual({ status: 'live' });
    const ready = await ask(`${api.origin}/health/ready`);
    expect(ready.body).toEqual({ status: 'ready', checks: { redis: 'ok', rabbitmq: 'ok' } });
  });
});

describe('with RabbitMQ away', () => {
  it('accepts an upgrade all the same, and sends its cast when RabbitMQ is back', async () => {
    const id = await buildCluster(api, 'patient');
    const sent = api.casts.length;
    api.amqpProxy.refuse();
    await vi.waitFor(() => expect(api.bus.isConnected()).toBe(false));

    const answer = await timed(ask(`${api.url}/clusters/${id}`, patch));
    expect(answer.status).toBe(202);
    expect(answer.ms).toBeLessThan(2000);
    const ready = await ask(`${api.origin}/health/ready`);
    expect(ready.status).toBe(503);
    expect(ready.body.checks).toEqual({ redis: 'ok', rabbitmq: 'unreachable' });
    expect(ready.body.message).toContain('kept safe in Redis');
    expect((await ask(`${api.origin}/health/live`)).status).toBe(200);
    expect(api.casts.length).toBe(sent);

    api.amqpProxy.allow();
    await vi.waitFor(
      () => expect(api.casts.at(-1)).toMatchObject({ method: 'upgrade_cluster', args: { cluster_id: id } }),
      {
        timeout: 15_000,
      },
    );
    await vi.waitFor(async () => expect(await api.store.outbox.pendingCasts(Date.now(), 10)).toEqual([]));
    expect(api.casts.length).toBe(sent + 1);
  });

  it('answers in time also when RabbitMQ hangs', async () => {
    const id = await buildCluster(api, 'hanging');
    api.amqpProxy.hang();
    const answer = await timed(ask(`${api.url}/clusters/${id}`, patch));
    expect(answer.status).toBe(202);
    expect(answer.ms).toBeLessThan(2000);
  });
});

describe.each(['refuse', 'hang'] as const)('with a Redis that would %s', (mode) => {
  it('answers 503 with Retry-After, within seconds, and nothing has changed', async () => {
    const id = await buildCluster(api, `away-${mode}`);
    await vi.waitFor(async () => expect(await api.store.outbox.pendingCasts(Date.now(), 10)).toEqual([]));
    const before = await api.keyspace();
    api.redisProxy[mode]();

    const requests = [
      ask(`${api.url}/clusters/${id}`, patch),
      ask(`${api.url}/clusters/${id}`, { method: 'DELETE' }),
      ask(`${api.url}/clusters`),
      ask(`${api.url}/upgrades/${id}/events`),
      ask(`${api.url}/datastores`),
    ];
    for (const answer of await Promise.all(requests.map(timed))) {
      expect(answer.status).toBe(503);
      expect(answer.headers.get('retry-after')).toBe('2');
      expect(answer.body.serviceUnavailable).toMatchObject({ code: 503, error: 'store_unavailable' });
      expect(answer.ms).toBeLessThan(3000);
    }
    // python-troveclient shows no answer but a 413 that has it.
    const agent = { 'user-agent': 'openstacksdk/4.4.0 keystoneauth1/5.9.0 python-requests/2.32.3' };
    const theirs = await ask(`${api.url}/clusters`, { headers: agent });
    expect([theirs.status, theirs.headers.get('retry-after')]).toEqual([503, null]);
    const ready = await timed(ask(`${api.origin}/health/ready`));
    expect(ready.status).toBe(503);
    expect(ready.body.checks.redis).toBe('unreachable');
    expect(ready.ms).toBeLessThan(2000);

    api.redisProxy.allow();
    expect(await api.keyspace()).toEqual(before);
    await vi.waitFor(async () => expect((await ask(`${api.url}/clusters/${id}`)).status).toBe(200), {
      timeout: 15_000,
    });
  });
});

it.skipIf(!redisProgram)(
  'is not ready on a Redis that is a replica, and says what to do (skipped without redis-server)',
  async () => {
    const replica = await startRedis();
    const store = await openRedisStore({ url: replica.url, prefix: 'p', log: silentLog });
    await replica.admin.replicaof('127.0.0.1', Number(new URL(testUrls().redis_url).port));
    const app = Fastify() as unknown as App;
    app.setSerializerCompiler(serializerCompiler);
    healthRoutes(app, { store, bus: api.bus } as unknown as Deps);
    await expect.poll(async () => (await store.health()).status).toBe('refuses_writes');
    const ready = await app.inject({ url: '/health/ready' });
    expect(ready.statusCode).toBe(503);
    expect(ready.headers['retry-after']).toBe('2');
    expect(ready.json()).toMatchObject({
      ...{ status: 'unavailable', checks: { redis: 'refuses_writes', rabbitmq: 'ok' } },
      message: expect.stringMatching(/replica.*point COFFER_REDIS_URL at the primary/) as string,
    });
    await store.close();
    await app.close();
    await replica.close();
  },
);
