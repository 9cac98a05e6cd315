/**
 * The api as a test has it: the real HTTP server on a port of its own, real Redis under a prefix of
 * its own, real RabbitMQ under an exchange of its own; each behind a proxy that can take it away.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { connect as connectAmqp } from 'amqplib';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import type { Access } from '../../api/access/caller.ts';
import { believeEverybody } from '../../api/access/loopback.ts';
import { accessRules, defaultChecks } from '../../api/access/rules.ts';
import { buildApp } from '../../api/app.ts';
import { startRelay } from '../../api/casts.ts';
import type { Deps } from '../../api/deps.ts';
import type { Dashboard } from '../../api/http/dashboard.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { TASKMANAGER_TOPIC } from '../../src/bus/bus.ts';
import { headersOfLetter } from '../../src/bus/dead-letters.ts';
import { decodeRequest, encodeReply, type WireRequest } from '../../src/bus/envelope.ts';
import { heartbeatArgs } from '../../src/contract/rpc.ts';
import type { GuestReport } from '../../src/core/domain.ts';
import type { Step, Upgrade, UpgradeEvent, UpgradeState } from '../../src/core/record.ts';
import { MasterKey } from '../../src/master-key.ts';
import { seedCatalogue } from '../../src/store/change-catalogue.ts';
import { openRedisStore } from '../../src/store/redis.ts';
import type { Store } from '../../src/store/store.ts';
import { Batches } from '../../taskmanager/batch-engine.ts';
import { Engine } from '../../taskmanager/engine.ts';
import { Keyring } from '../../taskmanager/keyring.ts';
import { withAdopted } from '../../taskmanager/provisioner-adopted.ts';
import { externalProvisioner } from '../../taskmanager/provisioner-external.ts';
import { Provisioning } from '../../taskmanager/provisioning.ts';
import { handleConductorRequest, handleTaskmanagerRequest } from '../../taskmanager/requests.ts';
import { TcpProxy } from '../support/proxy.ts';
import { plainRedis } from '../support/redis.ts';
import { testUrls, uniqueName } from '../support/services.ts';

export type Harness = Awaited<ReturnType<typeof startApi>>;

const defaults = defaultChecks();
/** As with `COFFER_AUTH=none`. */
export const EVERYBODY: Access = {
  authenticate: believeEverybody,
  challenge: null,
  rules: accessRules(() => defaults),
  limits: null,
};

/** Starts an api; `close` takes everything away again. */
export async function startApi({
  provisioner = 'local',
  max_clusters = null,
  dashboard = null,
  batchRequests,
  now = Date.now,
  ...access
}: Partial<
  Access &
    Pick<Deps, 'provisioner' | 'max_clusters' | 'now' | 'batchRequests'> & {
      readonly dashboard: Dashboard | null;
    }
> = {}) {
  const { redis_url, amqp_url } = testUrls();
  const name = uniqueName('api');
  const redisProxy = await TcpProxy.inFrontOf(redis_url);
  const amqpProxy = await TcpProxy.inFrontOf(amqp_url);
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) });
  const store = await openRedisStore({ url: redisProxy.urlFor(redis_url), prefix: name, log });
  const bus = await openAmqpBus({
    ...{ url: amqpProxy.urlFor(amqp_url), name, log },
    ...{ control_exchange: name, dead_letters: `${name}.dead-letters` },
  });
  await seedCatalogue(store.catalogue);
  const casts = await interceptCasts(amqp_url, name);
  const common = { store, bus, log, now, newId: randomUUID, wakeBatch: () => undefined };
  const masterKey = new MasterKey(randomBytes(32));
  const own = { provisioner, max_clusters, masterKey, ...(batchRequests && { batchRequests }) };
  const deps: Deps = { ...common, ...own, access: { ...EVERYBODY, ...access } };
  const relay = startRelay(deps);
  const app = await buildApp(deps, { dashboard });
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  const redis = plainRedis(redis_url);

  return {
    origin,
    url: `${origin}/v1.0/t1`,
    app,
    store,
    bus,
    masterKey,
    redisProxy,
    amqpProxy,
    /** What went out to the taskmanagers. */
    casts: casts.received,
    /** Puts a message among the dead letters; answers its id there. */
    bury: casts.bury,
    /** From now on calls are answered by a taskmanager's real handlers; casts stay with the test. */
    answerCalls() {
      casts.answerWith(this.taskmanager());
    },
    /** A taskmanager's real handlers, on the same store and bus. */
    taskmanager() {
      const keyring = new Keyring({ ...common, master: masterKey });
      const engine = new Engine({ ...common, keyring });
      const provisioner = withAdopted(externalProvisioner, { ...common, keyring });
      const provisioning = new Provisioning({ ...common, provisioner });
      const batches = new Batches({ ...common, engine, max_concurrent_total: 100, wake: () => undefined });
      const own = { ...common, keyring, engine, provisioning, batches };
      return ({
        method,
        args,
        context,
        unique_id,
      }: Pick<WireRequest, 'method' | 'args' | 'context' | 'unique_id'>) => {
        const request = { method, args, context, unique_id, redelivered: false };
        return method === 'heartbeat'
          ? handleConductorRequest(own, request)
          : handleTaskmanagerRequest(own, request);
      };
    },
    /** Has a taskmanager hear a heartbeat. */
    async hear(instance_id: string, report: GuestReport) {
      const context = { request_id: 'req-1', tenant_id: null, user: null, is_admin: true };
      const args = { ...heartbeatArgs(instance_id, report) };
      await this.taskmanager()({ method: 'heartbeat', args, context, unique_id: randomUUID() });
    },
    /** The log, line by line. */
    lines,
    /** Takes fields of a hash away. */
    forget: (key: string, fields: readonly string[]) => redis.hdel(key, ...fields),
    /** Everything that Redis holds of this api. */
    keyspace: () => dump(redis, name),
    /** Notes what Redis holds; answers how to have it hold that again, as after a failover to a replica that lagged. */
    remember: () => remember(redis, name),
    async close() {
      redisProxy.allow();
      amqpProxy.allow();
      await app.close();
      await relay.stop();
      await bus.close();
      await store.close();
      await casts.close();
      for (const key of await redis.keys(`${name}:*`)) await redis.del(key);
      redis.disconnect();
      await Promise.all([redisProxy.close(), amqpProxy.close()]);
    },
  };
}

/** A queue in place of the taskmanagers' own, on this test's exchange: sees what is published there. */
async function interceptCasts(amqp_url: string, exchange: string) {
  const connection = await connectAmqp(amqp_url);
  const channel = await connection.createChannel();
  await channel.assertExchange(exchange, 'topic', { durable: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchange, TASKMANAGER_TOPIC);
  const deadLetters = `${exchange}.dead-letters`;
  const received: WireRequest[] = [];
  let answer: ((request: WireRequest) => Promise<unknown>) | undefined;
  const take = async (request: WireRequest) => {
    const { reply_to } = request;
    if (!reply_to) return void received.push(request);
    const result = await answer?.(request);
    if (answer) channel.sendToQueue(reply_to.queue, encodeReply(reply_to.msg_id, result, null));
  };
  await channel.consume(queue, (message) => message && void take(decodeRequest(message.content)), {
    noAck: true,
  });
  return {
    received,
    answerWith(handler: (request: WireRequest) => Promise<unknown>) {
      answer = handler;
    },
    bury(content: string): string {
      const headers = headersOfLetter(TASKMANAGER_TOPIC, 'buried by the test');
      channel.sendToQueue(deadLetters, Buffer.from(content), { headers, persistent: true });
      return String(headers['coffer-id']);
    },
    async close() {
      await channel.deleteExchange(exchange);
      await channel.deleteQueue(deadLetters);
      await connection.close();
    },
  };
}

async function remember(redis: Redis, prefix: string): Promise<() => Promise<void>> {
  const keys = await redis.keys(`${prefix}:*`);
  const values = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
  return async () => {
    for (const key of await redis.keys(`${prefix}:*`)) await redis.del(key);
    for (const [index, key] of keys.entries()) {
      const value = values[index];
      if (value) await redis.restore(key, 0, value);
    }
  };
}

/** All that is under a prefix. */
export async function dump(redis: Redis, prefix: string): Promise<Readonly<Record<string, unknown>>> {
  const keys = (await redis.keys(`${prefix}:*`)).sort();
  const values = await Promise.all(keys.map((key) => read(redis, key)));
  return Object.fromEntries(keys.map((key, index) => [key, values[index]]));
}

async function read(redis: Redis, key: string): Promise<unknown> {
  switch (await redis.type(key)) {
    case 'hash':
      return redis.hgetall(key);
    case 'zset':
      return redis.zrange(key, '0', '-1', 'WITHSCORES');
    case 'list':
      return redis.lrange(key, 0, -1);
    case 'set':
      return (await redis.smembers(key)).sort();
    case 'stream':
      return redis.xrange(key, '-', '+');
    default:
      return redis.get(key);
  }
}

/** What a request yields, whatever it is. */
export async function ask(url: string, init: RequestInit & { readonly json?: unknown } = {}) {
  const { json, ...rest } = init;
  const response = await fetch(url, {
    ...rest,
    ...(json !== undefined && { body: JSON.stringify(json) }),
    headers: { ...(json !== undefined && { 'content-type': 'application/json' }), ...rest.headers },
  });
  const text = await response.text();
  // biome-ignore lint/suspicious/noExplicitAny: a test looks at any answer
  const body: any = text.startsWith('{') ? JSON.parse(text) : text;
  return { status: response.status, headers: response.headers, body };
}

/** A cluster of three simulated instances that is built and idle, its guests healthy. */
export async function buildCluster(
  api: Harness,
  name: string,
  tenant = 't1',
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  const json = {
    cluster: { name, datastore: { type: 'simulated', version: '1.0' }, instances: [{}, {}, {}] },
  };
  const { body } = await ask(`${api.origin}/v1.0/${tenant}/clusters`, { method: 'POST', json, headers });
  if (!body.cluster) throw new Error(`no cluster was made: ${JSON.stringify(body)}`);
  const id: string = body.cluster.id;
  await api.store.provisioning.finishBuild(id, Date.now());
  for (const instance of body.cluster.instances) {
    const report = { service_status: 'healthy', version: '1.0', role: 'member', sent: Date.now() } as const;
    await api.store.clusters.heartbeat(instance.id, report, Date.now());
  }
  return id;
}

/** Asks for an upgrade to 1.1; answers its id. */
export async function beginUpgrade(
  api: Harness,
  cluster: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  const json = { upgrade: { datastore_version: '1.1' } };
  const { body } = await ask(`${api.url}/clusters/${cluster}`, { method: 'POST', json, headers });
  return body.cluster.upgrade_id;
}

/** Plays the taskmanager: commits one more event, and the state and steps that go with it. */
export async function happen(
  store: Store,
  upgrade_id: string,
  type: UpgradeEvent['type'],
  state?: UpgradeState,
  steps?: readonly Step[],
  more: Partial<Upgrade> = {},
): Promise<void> {
  const loaded = await store.upgrades.load(upgrade_id);
  if (!loaded) throw new Error(`no upgrade ${upgrade_id}`);
  const { upgrade } = loaded;
  const seq = upgrade.seq + 1;
  const hasEnded = state !== undefined && 'ended' in state;
  await store.upgrades.commit({
    upgrade: {
      ...upgrade,
      revision: upgrade.revision + 1,
      seq,
      state: state ?? upgrade.state,
      // A started upgrade has its plan.
      planned_round: 0,
      steps: steps ?? upgrade.steps,
      ...more,
    },
    events: [{ seq, at: Date.now(), type, message: `${type} ${seq}` }],
    instance_tasks: [],
    measured: [],
    release: hasEnded
      ? { datastore_version_id: upgrade.to_version_id, datastore_version: upgrade.to_version }
      : null,
    moves_batch: false,
    wake_at: hasEnded ? null : Date.now() + 60_000,
    now: Date.now(),
  });
}
