/**
 * No secret in a log, an error or a record: a whole stack with passwords everywhere runs at trace level,
 * builds and upgrades a cluster, refuses much, loses RabbitMQ and Redis; then everything that it wrote is
 * searched for every secret that it used.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import { joinKeyOf } from '../../src/bus/joining.ts';
import { freePort } from '../support/ports.ts';
import { rabbitmqProgram, startRabbitmq } from '../support/rabbitmq.ts';
import { type PrivateRedis, redisProgram, startRedis } from '../support/redis.ts';
import { newHome, RunningAgent, RunningStack, removeHome, until } from '../support/stack.ts';
import { ask, dump } from './api-harness.ts';

const secret = (what: string) => `${what}-${randomBytes(12).toString('hex')}`;
const SECRETS = {
  redis: secret('redis'),
  amqp: secret('amqp'),
  ann: secret('anns-token'),
  root: secret('roots-token'),
  wrong: secret('wrong-token'),
  user: secret('database-user'),
  refused: secret('refused-password'),
};

describe.skipIf(!redisProgram || !rabbitmqProgram)('a secret', () => {
  let home: string;
  let redis: PrivateRedis;
  let broker: Awaited<ReturnType<typeof startRabbitmq>>;
  let stack: RunningStack;
  let amqp_url: string;

  beforeAll(async () => {
    home = await newHome();
    const port = await freePort();
    redis = await startRedis(['--requirepass', SECRETS.redis, '--appendonly', 'yes']);
    const account = ['default_user = coffer', `default_pass = ${SECRETS.amqp}`];
    broker = await startRabbitmq(port, [`listeners.tcp.2 = 127.0.0.1:${port}`, ...account]);
    amqp_url = `amqp://coffer:${SECRETS.amqp}@127.0.0.1:${port}`;
    const tokens = join(home, 'tokens.yaml');
    const entries = [
      { user: 'ann', tenant: 'shop', roles: ['member'], token: SECRETS.ann },
      { user: 'root', tenant: 'ops', roles: ['admin'], token: SECRETS.root },
    ];
    await writeFile(tokens, JSON.stringify({ tokens: entries }), { mode: 0o600 });
    stack = await RunningStack.start(home, {
      COFFER_LOG_LEVEL: 'trace',
      COFFER_PROVISIONER: 'external',
      COFFER_AUTH: 'token',
      COFFER_TOKENS_FILE: tokens,
      COFFER_AMQP_URL: amqp_url,
      COFFER_REDIS_URL: redis.url.replace('redis://', `redis://:${SECRETS.redis}@`),
    });
  }, 300_000);

  afterAll(async () => {
    await stack?.stop();
    await broker?.close();
    await redis?.close();
    await removeHome(home);
  });

  it('is in no log, no error and no record', async () => {
    const { api_url } = await stack.file();
    const url = `${api_url}/v1.0/shop`;
    const client = createClient({ endpoint: url, token: SECRETS.ann });
    const created = await client.clusters.create({
      name: 'kept',
      datastore: { type: 'simulated', version: '1.0' },
      instances: [{}],
      databases: [{ name: 'shop' }],
      users: [{ name: 'app', password: SECRETS.user, databases: [{ name: 'shop' }] }],
    });
    const { join_token = '' } = created;
    expect(join_token.length).toBeGreaterThan(40);
    await mkdir(join(home, 'agent'));
    const agent = new RunningAgent({
      COFFER_JOIN_TOKEN: join_token,
      COFFER_ADVERTISE: '127.0.0.1:6543',
      COFFER_GUEST_DIR: join(home, 'agent'),
      COFFER_CACHE_DIR: join(home, 'cache'),
      COFFER_AMQP_URL: amqp_url,
      COFFER_LOG_LEVEL: 'trace',
    });
    await client.clusters.waitFor(created, { intervalMs: 100 });
    const agentFile = join(home, 'agent', `${created.instances[0]?.id}.json`);
    const { rpc_key } = JSON.parse(await readFile(agentFile, 'utf8')) as { rpc_key: string };
    const agentKey = await readFile(join(home, 'agent', '.agent-key'), 'utf8');
    const { upgrade_id } = await client.clusters.upgrade('kept', '1.1');
    expect((await client.upgrades.waitFor(upgrade_id)).state).toBe('succeeded');
    const errors = await refusals(url);
    const records = JSON.stringify(await dump(redis.admin, 'coffer'));
    expect(records).toContain('cluster-name:shop:kept');
    await broker.close();
    await redis.close();
    await until('the outages are logged', async () => {
      const log = await logs(home);
      return /RabbitMQ: connection lost/.test(log) && /ECONNREFUSED|ECONNRESET/.test(log);
    });
    await agent.end('SIGTERM');
    await stack.stop();

    const log = (await logs(home)) + stack.output + agent.output;
    expect(log.split('\n').filter((line) => line.includes('"level":20')).length).toBeGreaterThan(20);
    const secrets = {
      ...SECRETS,
      join: join_token,
      joinSecret: join_token.slice(join_token.indexOf('.') + 1),
      joinKey: joinKeyOf(join_token),
      rpcKey: rpc_key,
      agentKey: agentKey.split('\n')[1] ?? 'none',
      masterKey: (await readFile(join(home, 'master-key'), 'utf8')).trim(),
    };
    const told = Object.entries(secrets).flatMap(([name, text]) =>
      Object.entries({ log, errors, records }).flatMap(([where, all]) =>
        all.includes(text) ? [`${name} in ${where}: ${around(all, text)}`] : [],
      ),
    );
    expect(told).toEqual([]);
  });
});

/** Answers to requests that hold secrets and are refused, in one text. */
async function refusals(url: string): Promise<string> {
  const headers = { 'x-auth-token': SECRETS.ann };
  const users = [{ name: 'app', password: `${SECRETS.refused}\u00e9` }];
  const cluster = { name: 'x', datastore: { type: 'simulated' }, instances: [{}], users };
  const answers = await Promise.all([
    ask(`${url}/clusters`, { headers: { 'x-auth-token': SECRETS.wrong } }),
    ask(`${url}/clusters`, { headers: { 'x-auth-token': `${SECRETS.wrong} ${SECRETS.ann}` } }),
    ask(url.replace('/shop', '/other'), { headers }),
    ask(`${url.replace('/shop', '/other')}/clusters`, { headers }),
    ask(`${url}/dead-letters`, { headers }),
    ask(`${url}/clusters`, { method: 'POST', headers, json: { cluster } }),
    ask(`${url}/clusters`, {
      method: 'POST',
      headers,
      json: { cluster: { ...cluster, users: SECRETS.refused, token: SECRETS.refused } },
    }),
    ask(`${url}/clusters`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: `{"password": "${SECRETS.refused}`,
    }),
  ]);
  expect(answers.map(({ status }) => status)).toEqual([401, 401, 404, 403, 403, 400, 400, 400]);
  return JSON.stringify(answers.map(({ body, headers: sent }) => [body, [...sent]]));
}

async function logs(home: string): Promise<string> {
  const files = (await readdir(join(home, 'logs'), { recursive: true, withFileTypes: true })).filter(
    (entry) => entry.isFile(),
  );
  const texts = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8')),
  );
  return texts.join('\n');
}

function around(all: string, text: string): string {
  const at = all.indexOf(text);
  return all.slice(Math.max(0, at - 120), at + text.length + 20);
}
