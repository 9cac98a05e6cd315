/** `coffer doctor`, at a real api, and at a RabbitMQ and a Redis that are as they should not be. */
import { connect } from 'amqplib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiClock, clockFinding, type Finding } from '../../cli/doctor/findings.ts';
import { inspectBroker } from '../../src/bus/inspect.ts';
import { inspectRedis } from '../../src/store/inspect.ts';
import { coffer } from '../support/cli.ts';
import { freePort } from '../support/ports.ts';
import { rabbitmqProgram, startRabbitmq } from '../support/rabbitmq.ts';
import { redisProgram, startRedis } from '../support/redis.ts';
import { testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { buildCluster, type Harness, startApi } from './api-harness.ts';

let api: Harness;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.close());

async function doctor(env: Record<string, string> = {}, endpoint = api.origin) {
  const { code, stdout, stderr } = await coffer(`doctor --json --endpoint ${endpoint}`, { env });
  const { healthy, findings } = JSON.parse(stdout) as { healthy: boolean; findings: Finding[] };
  const found = new Map(findings.map((finding) => [finding.check, finding]));
  return { code, stderr, healthy, found };
}

describe('coffer doctor', () => {
  it('asks the api, and says of each thing that is wrong what to do', async () => {
    await buildCluster(api, 'well');
    const { code, healthy, found, stderr } = await doctor();
    expect({ code, healthy, stderr }).toEqual({ code: 1, healthy: false, stderr: '' });
    expect(found.get('api')).toMatchObject({ state: 'ok' });
    expect(found.get('api.clock')).toMatchObject({ state: 'ok' });
    // Nobody serves the taskmanagers' topic here: the test itself takes its casts.
    expect(found.get('taskmanagers')).toMatchObject({
      state: 'bad',
      repair: expect.stringContaining('npx coffer-taskmanager') as string,
    });
    expect(found.get('guests')).toMatchObject({ state: 'ok' });
    expect(found.get('redis')).toMatchObject({ state: 'skipped' });
    for (const { state, repair } of found.values()) expect(repair === null).toBe(state === 'ok');
  });

  it('looks at RabbitMQ and Redis themselves where it is told them', async () => {
    const { redis_url, amqp_url } = testUrls();
    const { found } = await doctor({ COFFER_REDIS_URL: redis_url, COFFER_AMQP_URL: amqp_url });
    const seen = ['redis', 'redis.version', 'redis.eviction', 'redis.clock', 'rabbitmq', 'rabbitmq.alarms'];
    expect(seen.map((check) => found.get(check)?.state)).toEqual(seen.map(() => 'ok'));
    expect(found.get('rabbitmq.version')?.found).toMatch(/^RabbitMQ \d/);
  });

  it('shows no password of what it can not reach', async () => {
    const nobody = 'user:hunter2@127.0.0.1:1';
    const env = { COFFER_REDIS_URL: `redis://${nobody}`, COFFER_AMQP_URL: `amqp://${nobody}` };
    const { code, found } = await doctor(env);
    expect(code).toBe(1);
    expect(found.get('redis')).toMatchObject({ state: 'bad' });
    expect(found.get('rabbitmq')).toMatchObject({ state: 'bad' });
    expect(JSON.stringify([...found])).not.toContain('hunter2');
    const wrong = await doctor({ COFFER_REDIS_URL: 'localhost:6379' });
    expect(wrong.found.get('redis')?.found).toContain('must be a URL that begins with redis://');
  });

  it('tells an api that is not there, is not ours or is not ready', async () => {
    const gone = await doctor({}, 'http://127.0.0.1:1');
    expect(gone.found.get('api')).toMatchObject({
      state: 'bad',
      repair: expect.stringContaining('npm start') as string,
    });
    api.redisProxy.refuse();
    const unready = await doctor();
    api.redisProxy.allow();
    expect(unready.found.get('api')?.found).toContain('Redis cannot be reached');
  });

  it('is a table for people', async () => {
    const { stdout } = await coffer(`doctor --endpoint ${api.origin}`, { isTTY: true });
    expect(stdout).toMatch(/\| WRONG \| taskmanagers/);
    expect(stdout.trimEnd()).toMatch(/\d things are wrong\.$/);
  });
});

describe('a RabbitMQ', () => {
  it('whose queues others have declared is found, and nothing is declared by looking', async () => {
    const [ours, theirs, missing] = ['ours', 'theirs', 'missing'].map(uniqueName) as [string, string, string];
    const connection = await connect(testUrls().amqp_url);
    const channel = await connection.createChannel();
    await channel.assertQueue(ours, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await channel.assertQueue(theirs, { durable: true });
    const look = () =>
      inspectBroker({
        ...{ url: testUrls().amqp_url, tls: undefined, mode: 'coffer', exchange: missing },
        queues: [ours, theirs, missing],
      });
    const first = await look();
    expect(first.declared.map(({ state }) => state)).toEqual(['missing', 'as ours', 'different', 'missing']);
    expect(first.declared[2]?.detail).toContain('PRECONDITION_FAILED');
    expect((await look()).declared).toEqual(first.declared);
    await channel.deleteQueue(ours);
    await channel.deleteQueue(theirs);
    await connection.close();
  });

  it.skipIf(!rabbitmqProgram)(
    'with an alarm takes no messages, and is found',
    { timeout: 240_000 },
    async () => {
      const port = await freePort();
      const settings = [`listeners.tcp.other = 127.0.0.1:${port}`, 'vm_memory_high_watermark.absolute = 1MB'];
      const rabbitmq = await startRabbitmq(port, settings);
      try {
        const url = `amqp://guest:guest@127.0.0.1:${port}`;
        const facts = { url, tls: undefined, mode: 'coffer', exchange: 'trove', queues: [] } as const;
        // It measures now and then.
        const blocked = await until(
          'it has noticed',
          async () => (await inspectBroker(facts)).blocked ?? false,
        );
        expect(blocked).toMatch(/memory/);
      } finally {
        await rabbitmq.close();
      }
    },
  );
});

it.skipIf(!redisProgram)('a Redis that forgets and evicts is found', async () => {
  const redis = await startRedis(['--maxmemory-policy', 'allkeys-lru', '--appendonly', 'no']);
  const { found, code } = await doctor({ COFFER_REDIS_URL: redis.url });
  expect(code).toBe(1);
  for (const check of ['redis.persistence', 'redis.eviction']) {
    expect(found.get(check)).toMatchObject({
      state: 'bad',
      repair: expect.stringContaining('redis-cli CONFIG SET') as string,
    });
  }
  await redis.admin.call('ACL', 'SETUSER', 'plain', 'on', '>pw', '~*', '+@all', '-config');
  const facts = await inspectRedis(redis.url.replace('//', '//plain:pw@'), undefined);
  expect(facts).toMatchObject({ settings: null });
  await redis.close();
});

it('clocks are compared as exactly as they are told', () => {
  const at = Date.parse('2026-11-25T12:00:00.900Z');
  expect(apiClock('Wed, 25 Nov 2026 12:00:00 GMT', at).state).toBe('ok');
  expect(apiClock('Wed, 25 Nov 2026 11:59:55 GMT', at).state).toBe('warning');
  expect(apiClock('Wed, 25 Nov 2026 12:10:00 GMT', at)).toMatchObject({
    ...{ state: 'bad', found: 'the clock of the API is 599.6 s ahead of the one here' },
  });
  expect(apiClock(null, at).state).toBe('skipped');
  expect(clockFinding('redis.clock', 'Redis', -15_000)).toMatchObject({
    ...{ state: 'bad', found: 'the clock of Redis is 15.0 s behind the one here' },
  });
});
