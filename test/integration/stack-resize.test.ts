/**
 * A real PostgreSQL cluster grows and shrinks while a client writes, and the taskmanager is killed in
 * the middle of both (G7). What is not here: what the api refuses (api-resize).
 */
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ClusterDocument, type CofferClient, createClient } from '../../client/index.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';
import { account, accountRequest, type Endpoint, loadWriter } from '../support/writer.ts';

/** What one server has of the client's rows; standbys answer too. */
async function countWrites(endpoint: Endpoint): Promise<number> {
  const client = new Client({ ...endpoint, ...account });
  await client.connect();
  const { rows } = await client.query('SELECT count(*)::int AS writes FROM writes');
  await client.end();
  return rows[0].writes;
}

describe('a PostgreSQL cluster', () => {
  let home: string;
  let stack: RunningStack;
  let client: CofferClient;
  let writing: Awaited<ReturnType<typeof loadWriter>>;

  beforeAll(async () => {
    writing = await loadWriter();
    home = await newHome();
    stack = await RunningStack.start(home);
    client = createClient({ endpoint: `${(await stack.file()).api_url}/v1.0/demo` });
  });
  afterAll(async () => {
    await stack?.stop();
    await removeHome(home);
  });

  const idle = (name: string) =>
    client.clusters.waitFor(name, { intervalMs: 100, signal: AbortSignal.timeout(120_000) });
  const killTaskmanager = async () => {
    const pid = (await stack.file()).pids['taskmanager'] ?? 0;
    expect(pid).toBeGreaterThan(0);
    process.kill(pid, 'SIGKILL');
  };
  const endpointsOf = ({ instances }: ClusterDocument) => instances.map((one) => one.endpoint as Endpoint);
  const rolesOf = ({ instances }: ClusterDocument) => instances.map(({ role }) => role);

  it('grows and shrinks while a client writes, whoever dies', async () => {
    await client.clusters.create({
      name: 'shop',
      datastore: { type: 'postgresql', version: '17.6' },
      instances: [{}, {}],
      ...accountRequest,
    });
    const built = await idle('shop');
    const writer = await writing.startWriter(endpointsOf(built), account);
    await until('the client writes', async () => writer.acknowledgedSoFar() > 100);

    const growing = await client.clusters.grow('shop', [{}]);
    expect(growing).toMatchObject({
      task: { name: 'GROWING_CLUSTER' },
      instances: [{}, {}, { status: 'BUILD' }],
    });
    await killTaskmanager();
    const grown = await idle('shop');
    expect(rolesOf(grown)).toEqual(['primary', 'replica', 'replica']);
    expect(grown.instances[2]).toMatchObject({ status: 'ACTIVE', version: '17.6', name: 'shop-member-3' });
    const [, , added] = endpointsOf(grown) as [Endpoint, Endpoint, Endpoint];
    const seen = writer.acknowledgedSoFar();
    await until('the new replica has what was written before', async () => {
      return (await countWrites(added)) >= seen;
    });

    const gone = grown.instances[1]?.id ?? '';
    const pid = (await stack.file()).pids[`guest-${gone}`];
    expect(pid).toBeGreaterThan(0);
    await client.clusters.shrink('shop', [gone]);
    await killTaskmanager();
    const shrunk = await idle('shop');
    expect(shrunk.instances.map(({ name }) => name)).toEqual(['shop-member-1', 'shop-member-3']);
    await until(
      'its guest agent has gone',
      async () => (await stack.file()).pids[`guest-${gone}`] === undefined,
    );

    await expect(client.clusters.shrink('shop', ['shop-member-1'])).rejects.toMatchObject({
      code: 'action_refused',
    });
    // It knows the first instances only: none of them is the primary after an upgrade.
    const written = await writer.stop();
    const { upgrade_id } = await client.clusters.upgrade('shop', '17.10');
    const upgrade = await client.upgrades.waitFor(upgrade_id, { signal: AbortSignal.timeout(120_000) });
    expect(upgrade.state).toBe('succeeded');
    const upgraded = await client.clusters.get('shop');
    expect(rolesOf(upgraded), 'the replica that came later has taken over').toEqual(['replica', 'primary']);
    expect(await writing.findLost(endpointsOf(upgraded), account, written.acknowledged)).toEqual([]);
  }, 300_000);
});
