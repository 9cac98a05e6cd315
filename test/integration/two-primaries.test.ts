/**
 * Somebody promotes a replica of a real PostgreSQL cluster by hand, as `select pg_promote()` does: no upgrade begins or
 * goes on, and the way out that every message names is walked to its end. Not covered: which of the two has the writes that
 * clients want to keep, which is a person's to know.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ClusterDocument, type CofferClient, createClient } from '../../client/index.ts';
import type { InstanceConfig } from '../../guestagent/driver.ts';
import { derivePassword, SUPERUSER } from '../../guestagent/drivers/postgresql/settings.ts';
import { newHome, RunningStack, removeHome, run, until } from '../support/stack.ts';
import { account, accountRequest, loadWriter } from '../support/writer.ts';
import { ask } from './api-harness.ts';

let home: string;
let stack: RunningStack;
let client: CofferClient;
let api_url: string;
let writing: Awaited<ReturnType<typeof loadWriter>>;

beforeAll(async () => {
  writing = await loadWriter();
  home = await newHome();
  stack = await RunningStack.start(home);
  ({ api_url } = await stack.file());
  client = createClient({ endpoint: `${api_url}/v1.0/demo` });
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  await removeHome(home);
});

const isBuilt = (name: string) =>
  client.clusters.waitFor(name, { intervalMs: 200, signal: AbortSignal.timeout(240_000) });

async function build(name: string, instances: number): Promise<ClusterDocument> {
  await client.clusters.create({
    ...{ name, datastore: { type: 'postgresql', version: '17.6' }, ...accountRequest },
    instances: Array.from({ length: instances }, () => ({})),
  });
  return isBuilt(name);
}

/** What the agent of an instance was given: it derives its superuser's password from that. */
async function configOf(instance_id: string): Promise<InstanceConfig> {
  const { guests } = JSON.parse(await readFile(join(home, 'guests.json'), 'utf8')) as { guests: string };
  const names = await readdir(guests, { recursive: true });
  const name = names.find((each) => each.endsWith(`${instance_id}.json`)) ?? '';
  return JSON.parse(await readFile(join(guests, name), 'utf8')) as InstanceConfig;
}

async function promoteByHand({ id, endpoint }: ClusterDocument['instances'][number]): Promise<void> {
  const password = derivePassword(await configOf(id), SUPERUSER);
  const server = new Client({ ...endpoint, user: SUPERUSER, password, database: 'postgres' });
  await server.connect();
  await server.query('SELECT pg_promote()');
  await server.end();
}

const named = (cluster: ClusterDocument, number: number) => {
  const found = cluster.instances.find(({ name }) => name === `${cluster.name}-member-${number}`);
  if (!found) throw new Error(`no member ${number}`);
  return found;
};

/** Both name both, with what to do. */
async function expectTold(name: string, one: string, other: string): Promise<void> {
  const cluster = await until('two primaries are reported', async () => {
    const now = await client.clusters.get(name);
    return now.problems.length > 0 && now;
  });
  const reason = expect.stringMatching(
    new RegExp(
      `${one} .* and ${other} .* are both primary.*coffer cluster-shrink ${name} <the other>, then coffer cluster-grow ${name}`,
    ),
  );
  expect(cluster.problems).toEqual([{ gate: 'one_primary', reason }]);
  const { body } = await until('the health report has counted again', async () => {
    const answer = await ask(`${api_url}/v1.0/demo/health`);
    return answer.body.health.guests.problems.length > 0 && answer;
  });
  expect(body.health.guests.problems).toEqual([expect.objectContaining({ cluster_name: name, reason })]);
  const doctor = await run(['dist/cli/main.js', 'doctor', '--json', '--endpoint', api_url], home);
  const { findings } = JSON.parse(doctor.stdout) as {
    findings: { check: string; state: string; found: string }[];
  };
  expect(findings.find(({ check }) => check === 'primaries')).toMatchObject({
    state: 'bad',
    found: expect.stringContaining(one),
  });
  expect(doctor.code).toBe(1);
}

/** As the messages say: the one that is not kept goes, and a new one comes. */
async function mend(name: string, gone: readonly string[]): Promise<void> {
  await client.clusters.shrink(name, gone);
  await isBuilt(name);
  await client.clusters.grow(
    name,
    gone.map(() => ({})),
  );
  expect((await isBuilt(name)).problems).toEqual([]);
}

async function upgradeAll(name: string): Promise<void> {
  const { upgrade_id } = await client.clusters.upgrade(name, '17.10');
  const ended = await client.upgrades.waitFor(upgrade_id, { signal: AbortSignal.timeout(180_000) });
  expect(ended).toMatchObject({ state: 'succeeded' });
  const { instances } = await client.clusters.get(name);
  expect(instances.filter(({ role }) => role === 'primary')).toHaveLength(1);
  const endpoints = instances.flatMap(({ endpoint }) => endpoint ?? []);
  expect(new Set(await writing.askVersions(endpoints, account))).toEqual(new Set(['17.10']));
}

describe('a PostgreSQL cluster in which a replica is promoted by hand', () => {
  it('of two instances is not upgraded until one of the two is gone', { timeout: 600_000 }, async () => {
    const cluster = await build('pair', 2);
    await promoteByHand(named(cluster, 2));
    await expectTold('pair', 'pair-member-1', 'pair-member-2');
    const { gates } = await client.clusters.plan('pair', '17.10');
    expect(gates).toEqual([expect.objectContaining({ gate: 'one_primary' })]);
    await expect(client.clusters.upgrade('pair', '17.10')).rejects.toMatchObject({ code: 'gate_blocked' });
    expect((await client.clusters.get('pair')).task.name).toBe('NONE');
    await mend('pair', ['pair-member-2']);
    await upgradeAll('pair');
  });

  it('of three, in mid-upgrade, takes nobody further down', { timeout: 600_000 }, async () => {
    const cluster = await build('trio', 3);
    const { upgrade_id } = await client.clusters.upgrade('trio', '17.10', {
      canary: 1,
      step_timeout_seconds: 30,
    });
    const paused = await client.upgrades.waitFor(upgrade_id, { until: 'settled' });
    const done = paused.steps.find(({ phase }) => phase === 'done')?.instance_name;
    const other = done === 'trio-member-2' ? 3 : 2;
    await promoteByHand(named(cluster, other));
    await expectTold('trio', 'trio-member-1', `trio-member-${other}`);
    await client.upgrades.approve(upgrade_id);
    const held = await client.upgrades.waitFor(upgrade_id, {
      until: 'settled',
      signal: AbortSignal.timeout(120_000),
    });
    expect(held).toMatchObject({
      state: 'paused',
      reason: 'gate',
      message: expect.stringContaining('one_primary'),
    });
    const versions = (await client.clusters.get('trio')).instances.map(({ version }) => version);
    expect(versions.toSorted()).toEqual(['17.10', '17.6', '17.6']);
    await client.upgrades.cancel(upgrade_id);
    expect(await client.upgrades.waitFor(upgrade_id)).toMatchObject({ state: 'cancelled' });
    await mend('trio', [`trio-member-${other}`]);
    await upgradeAll('trio');
  });
});
