/**
 * PostgreSQL whose guest agents somebody else runs: they join with the token, each at the address that it
 * was given, build the cluster among themselves, and upgrade it while a client writes. Whoever runs them
 * starts one again that was killed, brings one more, and takes one away. Not covered: who may join
 * (external.test.ts).
 */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CofferClient, type CreatedClusterDocument, createClient } from '../../client/index.ts';
import { freePort } from '../support/ports.ts';
import { newHome, RunningAgent, RunningStack, removeHome, type StackFile, until } from '../support/stack.ts';
import { account, accountRequest, type Endpoint, loadWriter } from '../support/writer.ts';
import { CACHE } from './postgresql-nodes.ts';

let home: string;
let stack: RunningStack;
let file: StackFile;
let client: CofferClient;
let created: CreatedClusterDocument;
let writing: Awaited<ReturnType<typeof loadWriter>>;
/** By the port of its server. */
const agents = new Map<number, RunningAgent>();

const folderOf = (port: number) => join(home, `agent-${port}`);

function start(port: number): void {
  const agent = new RunningAgent({
    COFFER_JOIN_TOKEN: created.join_token ?? '',
    COFFER_ADVERTISE: `127.0.0.1:${port}`,
    COFFER_GUEST_DIR: folderOf(port),
    COFFER_CACHE_DIR: CACHE,
    COFFER_AMQP_URL: file.amqp_url,
    COFFER_HEARTBEAT_MS: '200',
  });
  agents.set(port, agent);
}

/** As an operator takes an instance off a host: its file goes, the agent removes what was the instance's, and ends. */
async function takeAway(port: number): Promise<void> {
  const names = await readdir(folderOf(port)).catch(() => []);
  for (const name of names.filter((each) => each.endsWith('.json'))) await rm(join(folderOf(port), name));
  await until('nothing of it is left', async () => !existsSync(join(folderOf(port), 'state')));
  await agents.get(port)?.end('SIGTERM');
  agents.delete(port);
}

const ready = () =>
  client.clusters.waitFor(created.id, { intervalMs: 100, signal: AbortSignal.timeout(240_000) });

const servers = async () =>
  (await client.clusters.get(created.id)).instances.map(({ endpoint }) => endpoint as Endpoint);

beforeAll(async () => {
  writing = await loadWriter();
  home = await newHome();
  stack = await RunningStack.start(home, { COFFER_PROVISIONER: 'external' });
  file = await stack.file();
  client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
  created = await client.clusters.create({
    ...{ name: 'theirs', datastore: { type: 'postgresql', version: '17.6' }, instances: [{}, {}, {}] },
    ...accountRequest,
  });
}, 300_000);

afterAll(async () => {
  for (const port of [...agents.keys()]) await takeAway(port);
  await stack?.stop();
  await removeHome(home);
}, 300_000);

it('is built by agents that join, and upgraded without a lost write, one of them killed meanwhile', async () => {
  const ports = [await freePort(), await freePort(), await freePort()];
  for (const port of ports) start(port);
  const cluster = await ready();
  const endpoints = cluster.instances.map(({ endpoint }) => endpoint as Endpoint);
  expect(endpoints.map(({ port }) => port).toSorted()).toEqual(ports.toSorted());
  expect(cluster.instances.map(({ role }) => role)).toEqual(['primary', 'replica', 'replica']);
  const writer = await writing.startWriter(endpoints, account);
  await until('the client writes', async () => writer.acknowledgedSoFar() > 100);

  const { upgrade_id } = await client.clusters.upgrade(cluster, '17.10');
  const at = await until('the first replica is at work', async () => {
    const { steps } = await client.upgrades.get(upgrade_id);
    const working = steps.find(({ phase }) => phase === 'upgrading' || phase === 'done');
    return working && cluster.instances.find(({ id }) => id === working.instance_id)?.endpoint?.port;
  });
  await agents.get(at)?.end('SIGKILL');
  start(at);
  const signal = AbortSignal.timeout(240_000);
  const upgrade = await client.upgrades.waitFor(upgrade_id, { until: 'settled', signal });
  const before = writer.acknowledgedSoFar();
  await until('the client writes again', async () => writer.acknowledgedSoFar() > before + 100);
  const { acknowledged } = await writer.stop();

  expect(upgrade).toMatchObject({ state: 'succeeded', progress: { done: 4, total: 4 } });
  expect(await writing.findLost(endpoints, account, acknowledged)).toEqual([]);
  expect(await writing.askVersions(endpoints, account)).toEqual(['17.10', '17.10', '17.10']);
  const after = await client.clusters.get(cluster.id);
  expect(after.datastore.version).toBe('17.10');
  expect(after.instances.map(({ version }) => version)).toEqual(['17.10', '17.10', '17.10']);
  expect(after.instances.filter(({ role }) => role === 'primary')).toHaveLength(1);
  expect(after.instances[0]?.role, 'the old primary follows').toBe('replica');
}, 600_000);

it('grows by an agent that copies the primary of now, and shrinks by one that its operator takes away', async () => {
  const port = await freePort();
  await client.clusters.grow(created.id, [{}]);
  start(port);
  const grown = await ready();
  const added = grown.instances[3];
  expect(added).toMatchObject({ role: 'replica', version: '17.10', endpoint: { port } });
  expect(await writing.askVersions([added?.endpoint as Endpoint], account)).toEqual(['17.10']);

  const primary = grown.instances.find(({ role }) => role === 'primary');
  await expect(client.clusters.shrink(created.id, [primary?.id ?? ''])).rejects.toMatchObject({
    status: 422,
  });
  await client.clusters.shrink(created.id, [added?.id ?? '']);
  const shrunk = await ready();
  expect(shrunk.instances).toHaveLength(3);
  // What an operator started, an operator takes away: until then its server goes on, and nobody asks it anything.
  expect(await writing.askVersions([added?.endpoint as Endpoint], account)).toEqual(['17.10']);
  await takeAway(port);
  expect(await writing.askVersions(await servers(), account)).toEqual(['17.10', '17.10', '17.10']);
}, 600_000);
