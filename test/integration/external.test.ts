/**
 * A cluster whose guest agents an operator starts: real processes, which join with the token that the
 * creation of the cluster answered. Not covered: PostgreSQL instances built this way.
 */
import { randomUUID } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CofferClient, type CreatedClusterDocument, createClient } from '../../client/index.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { type Bus, TASKMANAGER_TOPIC } from '../../src/bus/bus.ts';
import type { InstanceConfig } from '../../src/contract/guest-config.ts';
import { silentLog } from '../support/services.ts';
import { newHome, RunningAgent, RunningStack, removeHome, type StackFile, until } from '../support/stack.ts';

let home: string;
let stack: RunningStack;
let file: StackFile;
let client: CofferClient;
let bus: Bus;
const agents: RunningAgent[] = [];

beforeAll(async () => {
  home = await newHome();
  stack = await RunningStack.start(home, { COFFER_PROVISIONER: 'external' });
  file = await stack.file();
  client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
  bus = await openAmqpBus({ url: file.amqp_url, name: 'test', log: silentLog, control_exchange: 'trove' });
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.end('SIGTERM')));
});
afterAll(async () => {
  await bus?.close();
  await stack?.stop();
  await removeHome(home);
});

const create = (name: string) =>
  client.clusters.create({ name, datastore: { type: 'simulated', version: '1.0' }, instances: [{}, {}] });

let ports = 6000;
function start(folder: string, token: string): RunningAgent {
  ports += 1;
  const agent = new RunningAgent({
    COFFER_JOIN_TOKEN: token,
    COFFER_ADVERTISE: `127.0.0.1:${ports}`,
    COFFER_GUEST_DIR: join(home, folder),
    COFFER_CACHE_DIR: join(home, 'cache'),
    COFFER_AMQP_URL: file.amqp_url,
    COFFER_HEARTBEAT_MS: '200',
  });
  agents.push(agent);
  return agent;
}

const tokenOf = ({ join_token = '' }: CreatedClusterDocument) => join_token;
/** Of the right form, and nobody's. */
const forged = ({ id }: CreatedClusterDocument) => `${id}.${'x'.repeat(43)}`;

const filesIn = async (folder: string) =>
  (await readdir(join(home, folder)).catch(() => [])).filter((name) => name.endsWith('.json'));
/** The file that says which instance the agent of this folder has. */
const instanceFile = (folder: string) =>
  until(`the agent of ${folder} has joined`, async () => (await filesIn(folder))[0]);

describe('a cluster with external agents', () => {
  it('is built once they have joined, and upgraded', async () => {
    const created = await create('brought');
    start('brought-1', tokenOf(created));
    start('brought-2', tokenOf(created));
    const options = { intervalMs: 50, signal: AbortSignal.timeout(30_000) };
    const cluster = await client.clusters.waitFor(created, options);
    expect(cluster.instances.map(({ version }) => version)).toEqual(['1.0', '1.0']);
    const { upgrade_id } = await client.clusters.upgrade(cluster, '1.1', { canary: 1 });
    const signal = AbortSignal.timeout(30_000);
    const canary = await client.upgrades.waitFor(upgrade_id, { until: 'settled', signal });
    expect(canary).toMatchObject({ reason: 'canary', actions: ['approve', 'cancel', 'rollback'] });
    expect((await client.upgrades.approve(upgrade_id)).state).toBe('running');
    const upgrade = await client.upgrades.waitFor(upgrade_id, { signal });
    expect(upgrade).toMatchObject({ state: 'succeeded', progress: { done: 2, total: 2 } });

    const late = start('brought-3', tokenOf(created));
    expect(await late.ended).toBe(1);
    expect(late.output).toContain('none other takes an agent');
  });

  it('gets no further with a wrong token, and can be deleted', async () => {
    const created = await create('besieged');
    const agent = start('besieged-1', forged(created));
    expect(await agent.ended).toBe(1);
    expect(agent.output).toContain('the join token fits no cluster that is being built');
    expect(await filesIn('besieged-1')).toEqual([]);
    expect((await client.clusters.get(created)).task.name).toBe('BUILDING');

    const crooked = start('besieged-2', 'not-a-token');
    expect(await crooked.ended).toBe(2);
    expect(crooked.output).toMatch(/COFFER_JOIN_TOKEN: must be the whole join_token/);

    await client.clusters.delete(created);
    await client.clusters.waitUntilGone(created, { intervalMs: 50, signal: AbortSignal.timeout(30_000) });
  });

  it('gives an agent that is started again its instance again', async () => {
    const created = await create('restarted');
    const first = start('restarted-1', tokenOf(created));
    const name = await instanceFile('restarted-1');
    await first.end('SIGKILL');

    const second = start('restarted-1', tokenOf(created));
    await until('it says so', async () => second.output.includes('has its instance already'));
    await second.end('SIGKILL');
    expect(await filesIn('restarted-1')).toEqual([name]);

    // Died between the answer and the file: the place is the agent's all the same.
    await rm(join(home, 'restarted-1', name));
    start('restarted-1', tokenOf(created));
    expect(await instanceFile('restarted-1')).toBe(name);

    start('restarted-2', tokenOf(created));
    expect(await instanceFile('restarted-2')).not.toBe(name);
    await client.clusters.waitFor(created, { intervalMs: 50, signal: AbortSignal.timeout(30_000) });
  });

  it('tells one agent too many that all places are taken', async () => {
    const created = await create('crowded');
    const token_sha256 = await crypto.subtle
      .digest('SHA-256', new TextEncoder().encode(tokenOf(created)))
      .then((hash) => Buffer.from(hash).toString('hex'));
    // Two agents that have joined and are not up yet, as it were.
    for (const port of [7001, 7002]) {
      const endpoint = { host: '127.0.0.1', port };
      const args = { cluster_id: created.id, token_sha256, agent_id: randomUUID(), endpoint };
      const answer = await bus.call(TASKMANAGER_TOPIC, 'join', args, { timeout_ms: 10_000 });
      expect(answer).toMatchObject({ verdict: 'joined', instance: { endpoint } });
    }
    const third = start('crowded-3', tokenOf(created));
    expect(await third.ended).toBe(1);
    expect(third.output).toContain('all 2 places of the cluster are taken by other agents');
    expect(await filesIn('crowded-3')).toEqual([]);
  });

  it('leaves alone an agent that has an instance of another cluster', async () => {
    const [mine, other] = [await create('mine'), await create('other')];
    start('mine-1', tokenOf(mine));
    const name = await instanceFile('mine-1');
    await Promise.all(agents.splice(0).map((agent) => agent.end('SIGTERM')));
    const agent = start('mine-1', tokenOf(other));
    await until('it says so', async () => agent.output.includes('holds an instance of another cluster'));
    await sleep(500);
    expect(await filesIn('mine-1')).toEqual([name]);
  });

  it('shows the token once, and keeps it nowhere but with its agents', async () => {
    const created = await create('secret');
    const token = tokenOf(created);
    expect(token).toMatch(new RegExp(`^${created.id}\\.[A-Za-z0-9_-]{43}$`));
    expect(await client.clusters.get(created)).not.toHaveProperty('join_token');
    const agent = start('secret-1', token);
    const name = await instanceFile('secret-1');
    const config = JSON.parse(await readFile(join(home, 'secret-1', name), 'utf8')) as InstanceConfig;
    expect(config.cluster_token).toBe(token);

    const redis = new Redis(file.redis_url);
    const order = await redis.get(`coffer:build:${created.id}`);
    const doc = JSON.stringify(await redis.hgetall(`coffer:cluster:${created.id}`));
    redis.disconnect();
    expect(JSON.parse(order ?? '{}').join_token_sha256).toMatch(/^[0-9a-f]{64}$/);
    const logs = await Promise.all(
      (await readdir(join(home, 'logs'))).map((log) => readFile(join(home, 'logs', log), 'utf8')),
    );
    const secret = token.slice(token.indexOf('.') + 1);
    for (const text of [order ?? '', doc, agent.output, stack.output, ...logs]) {
      expect(text).not.toContain(secret);
    }
  });
});
