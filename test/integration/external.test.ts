/**
 * A cluster whose guest agents an operator starts: real processes, which join with the token that the
 * creation of the cluster answered, and are given a key each; and what somebody else can do who is on the
 * same broker, with and without the token. PostgreSQL built this way: external-postgresql.test.ts.
 */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectAmqp } from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  type ClusterDocument,
  type CofferClient,
  type CreatedClusterDocument,
  createClient,
} from '../../client/index.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { type Bus, CONDUCTOR_TOPIC, guestTopic, TASKMANAGER_TOPIC } from '../../src/bus/bus.ts';
import { decodeRequest, type WireRequest } from '../../src/bus/envelope.ts';
import {
  type HandedOver,
  type JoinQuestion,
  joinKeyOf,
  newAgentKey,
  newQuestion,
  type Wish,
} from '../../src/bus/joining.ts';
import { sealedProtection } from '../../src/bus/sealed.ts';
import type { InstanceConfig } from '../../src/contract/guest-config.ts';
import { plainRedis } from '../support/redis.ts';
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

/** What an agent would ask who has this key and the token of the cluster. */
const asking = (created: CreatedClusterDocument, agent_key: string, wish: Partial<Wish> = {}) =>
  newQuestion(
    { join_key: joinKeyOf(tokenOf(created)), agent_key },
    { cluster_id: created.id, endpoint: { host: '127.0.0.1', port: 7000 }, sent: Date.now(), ...wish },
  );
/** Asks as any program on the broker can; answers what was sealed. Rejects if it was refused. */
async function ask(question: JoinQuestion): Promise<HandedOver> {
  const call = bus.call(TASKMANAGER_TOPIC, 'join', { ...question }, { timeout_ms: 30_000 });
  const { verdict, reason, sealed } = (await call) as Record<string, unknown>;
  if (verdict !== 'joined') throw new Error(String(reason));
  return sealed as HandedOver;
}

const tokenOf = ({ join_token = '' }: CreatedClusterDocument) => join_token;
/** Of the right form, and nobody's. */
const forged = ({ id }: CreatedClusterDocument) => `${id}.${'x'.repeat(43)}`;

const filesIn = async (folder: string) =>
  (await readdir(join(home, folder)).catch(() => [])).filter((name) => name.endsWith('.json'));
/** The file that says which instance the agent of this folder has. */
const instanceFile = (folder: string) =>
  until(`the agent of ${folder} has joined`, async () => (await filesIn(folder))[0]);
const configIn = async (folder: string) => {
  const text = await readFile(join(home, folder, await instanceFile(folder)), 'utf8');
  return JSON.parse(text) as Required<InstanceConfig>;
};
const logged = async (text: string) => {
  const names = await readdir(join(home, 'logs'));
  const logs = await Promise.all(names.map((name) => readFile(join(home, 'logs', name), 'utf8')));
  return logs.some((log) => log.includes(text));
};
const ready = (cluster: CreatedClusterDocument | ClusterDocument) =>
  client.clusters.waitFor(cluster, { intervalMs: 50, signal: AbortSignal.timeout(60_000) });

describe('a cluster with external agents', () => {
  it('is built once they have joined, and upgraded', async () => {
    const created = await create('brought');
    start('brought-1', tokenOf(created));
    start('brought-2', tokenOf(created));
    const cluster = await ready(created);
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
    const before = await configIn('restarted-1');
    await first.end('SIGKILL');

    const second = start('restarted-1', tokenOf(created));
    await until('it says so', async () => second.output.includes('has its instance already'));
    await second.end('SIGKILL');
    expect(await filesIn('restarted-1')).toEqual([name]);

    // Died between the answer and the file: the place is the agent's all the same.
    await rm(join(home, 'restarted-1', name));
    start('restarted-1', tokenOf(created));
    expect(await instanceFile('restarted-1')).toBe(name);
    expect((await configIn('restarted-1')).rpc_key).toBe(before.rpc_key);

    start('restarted-2', tokenOf(created));
    expect(await instanceFile('restarted-2')).not.toBe(name);
    // Both are heard, so both speak under the keys that they have.
    await ready(created);
  });

  it('tells one agent too many that all places are taken', async () => {
    const created = await create('crowded');
    // Two agents that have joined and are not up yet, as it were.
    for (const port of [7001, 7002]) {
      const endpoint = { host: '127.0.0.1', port };
      const { question, open } = asking(created, newAgentKey(), { endpoint });
      expect(open(await ask(question))).toMatchObject({ endpoint, rpc_key: expect.any(String) });
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

    const redis = plainRedis(file.redis_url);
    const order = await redis.get(`coffer:build:${created.id}`);
    const doc = JSON.stringify(await redis.hgetall(`coffer:cluster:${created.id}`));
    const keys = await redis.hgetall('coffer:keys');
    redis.disconnect();
    // Encrypted under the master key, like all others.
    expect(keys[`join:${created.id}`]).toMatch(/^1\.[0-9a-f]{8}\./);
    expect(JSON.stringify(keys)).not.toContain(joinKeyOf(token));
    const logs = await Promise.all(
      (await readdir(join(home, 'logs'))).map((log) => readFile(join(home, 'logs', log), 'utf8')),
    );
    const secret = token.slice(token.indexOf('.') + 1);
    for (const text of [order ?? '', doc, agent.output, stack.output, ...logs]) {
      expect(text).not.toContain(secret);
    }
  });
});

describe('others on the broker', () => {
  const forged = (instance_id: string, service_status = 'failed') => ({
    instance_id,
    sent: Date.now() / 1000 + 5,
    payload: { service_status, version: '9.9', agent: 'coffer/forged' },
  });
  const statuses = async (cluster: ClusterDocument) =>
    (await client.clusters.get(cluster)).instances.map(({ service_status }) => service_status);

  /** Everything that is said to the taskmanagers from now on, as a queue beside theirs gets it. */
  async function listen() {
    const connection = await connectAmqp(file.amqp_url);
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'trove', TASKMANAGER_TOPIC);
    const heard: WireRequest[] = [];
    const take = (message: { content: Buffer } | null) => {
      if (message) heard.push(decodeRequest(message.content));
    };
    await channel.consume(queue, take, { noAck: true });
    return { heard, close: () => connection.close() };
  }

  it('get no key out of a join that they hear, not even with the token', async () => {
    const created = await create('overheard');
    const onlooker = await listen();
    const agent = start('overheard-1', tokenOf(created));
    const { instance_id, endpoint, rpc_key } = await configIn('overheard-1');
    await agent.end('SIGTERM');
    await onlooker.close();
    const joins = onlooker.heard.filter(({ method, args }) => {
      return method === 'join' && args['cluster_id'] === created.id;
    });
    const asked = joins.at(-1)?.args as unknown as JoinQuestion;
    expect(asked.endpoint).toEqual(endpoint);
    expect(JSON.stringify(joins)).not.toContain(rpc_key);
    expect(JSON.stringify(joins)).not.toContain(tokenOf(created).split('.')[1]);

    // In another's name, or with another endpoint: it would need the agent's own key.
    const elsewhere = { host: '127.0.0.1', port: 9 };
    await expect(ask({ ...asked, endpoint: elsewhere })).rejects.toThrow('the join token fits no cluster');
    const posing = asking(created, newAgentKey(), { endpoint: elsewhere }).question;
    await expect(ask({ ...posing, agent_key: asked.agent_key })).rejects.toThrow('fits no cluster');
    // With the token it gets a place of its own, and no other.
    const sibling = asking(created, newAgentKey());
    const own = sibling.open(await ask(sibling.question)) as Required<InstanceConfig>;
    expect(own.instance_id).not.toBe(instance_id);
    expect(own.rpc_key).not.toBe(rpc_key);
    expect((await configIn('overheard-1')).endpoint).toEqual(endpoint);
  });

  it('get nothing by asking what was asked before; later, or by a wrong clock, they are refused', async () => {
    const created = await create('replayed');
    const key = newAgentKey();
    const sent = Date.now();
    const early = asking(created, key, { sent: sent - 1_000 }).question;
    const { question, open } = asking(created, key, { sent });
    const instance = open(await ask(question));
    const again = await ask(question);
    expect(open(again), 'the agent itself may not have got the first answer').toEqual(instance);
    expect(() => asking(created, newAgentKey()).open(again)).toThrow('it is no answer');
    await expect(ask(early)).rejects.toThrow('it is a replay');
    for (const off_ms of [-60_000, 60_000]) {
      const late = asking(created, key, { sent: Date.now() + off_ms }).question;
      await expect(ask(late)).rejects.toThrow(/set the clocks of both hosts \(NTP\)/);
    }
  });

  it('are not heard for an instance, neither before its agent has joined nor after', async () => {
    const created = await create('claimed');
    const [first = '', second = ''] = created.instances.map(({ id }) => id);
    for (const id of [first, second]) await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', forged(id, 'healthy'));
    await until('both were refused', async () => {
      const refusals = await Promise.all([first, second].map((id) => logged(`instance ${id} has a key`)));
      return refusals.every(Boolean);
    });
    expect((await client.clusters.get(created)).task.name).toBe('BUILDING');

    start('claimed-1', tokenOf(created));
    await instanceFile('claimed-1');
    start('claimed-2', tokenOf(created));
    const cluster = await ready(created);
    const [one, two] = [await configIn('claimed-1'), await configIn('claimed-2')];
    expect(one.rpc_key).not.toBe(two.rpc_key);
    for (const name of [`${one.instance_id}.json`, '.agent-key']) {
      const { mode } = await stat(join(home, 'claimed-1', name));
      expect(mode & 0o777).toBe(0o600);
    }
    // With the key of the second: for the first it is refused, in its own name it is heard.
    const under = (instance_id: string) =>
      sealedProtection({ instance_id, secret: two.rpc_key, now: Date.now });
    for (const protection of [under(two.instance_id), under(one.instance_id)])
      await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', forged(one.instance_id), { protection });
    const honest = { protection: under(two.instance_id) };
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', forged(two.instance_id), honest);
    await until('the one in its own name is heard', async () => (await statuses(cluster))[1] === 'failed');
    expect((await statuses(cluster))[0]).toBe('healthy');
  });

  it('are not obeyed by an agent that has joined', async () => {
    const created = await create('obedient');
    start('obedient-1', tokenOf(created));
    start('obedient-2', tokenOf(created));
    await ready(created);
    const { instance_id, rpc_key: secret } = await configIn('obedient-1');
    const call = (options: object) =>
      bus.call(guestTopic(instance_id), 'pre_upgrade', {}, { timeout_ms: 30_000, ...options });
    await expect(call({ timeout_ms: 1_500 })).rejects.toMatchObject({ code: 'bus_unavailable' });
    const sibling = await configIn('obedient-2');
    const stranger = sealedProtection({ instance_id, secret: sibling.rpc_key, now: Date.now });
    await expect(call({ timeout_ms: 1_500, protection: stranger })).rejects.toMatchObject({
      code: 'bus_unavailable',
    });
    const protection = sealedProtection({ instance_id, secret, now: Date.now });
    expect(await call({ protection })).toMatchObject({ role: 'member' });
  });
});

describe('a cluster with external agents that grows', () => {
  it('takes agents with the same token, and gives them keys too', async () => {
    const created = await create('growing');
    start('growing-1', tokenOf(created));
    start('growing-2', tokenOf(created));
    const built = await ready(created);
    const growing = await client.clusters.grow(built, [{}]);
    const added = growing.instances[2]?.id ?? '';
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', {
      ...{ instance_id: added, sent: Date.now() / 1000 },
      payload: { service_status: 'healthy', agent: 'coffer/forged' },
    });
    await until('it was refused', async () => logged(`instance ${added} has a key, and this came without`));
    expect((await client.clusters.get(built)).task.name).toBe('GROWING_CLUSTER');
    start('growing-3', tokenOf(created));
    await ready(built);
    const third = await configIn('growing-3');
    expect(third.instance_id).toBe(added);
    expect(third.rpc_key).not.toBe((await configIn('growing-1')).rpc_key);
    const { upgrade_id } = await client.clusters.upgrade(built, '1.1');
    const upgrade = await client.upgrades.waitFor(upgrade_id, { signal: AbortSignal.timeout(60_000) });
    expect(upgrade.state).toBe('succeeded');
  });
});
