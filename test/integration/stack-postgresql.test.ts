/**
 * A real PostgreSQL cluster, a client that writes all the time, and a process killed at the worst
 * moments of the upgrade (G6, G7). What is not here: the calm case (demo), the driver alone (postgresql).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CofferClient, createClient, type UpgradeDocument } from '../../client/index.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';
import { account, accountRequest, type Endpoint, loadWriter } from '../support/writer.ts';

describe('an upgrade of PostgreSQL', () => {
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

  const build = async (name: string) => {
    await client.clusters.create({
      name,
      datastore: { type: 'postgresql', version: '17.6' },
      instances: [{}, {}, {}],
      ...accountRequest,
    });
    return client.clusters.waitFor(name, { intervalMs: 100, signal: AbortSignal.timeout(120_000) });
  };

  /** Kills the process as soon as the upgrade has reached `phase`: whom, by the upgrade as it is then. */
  const killAt = async (upgrade_id: string, phase: string, whom: (upgrade: UpgradeDocument) => string) => {
    const upgrade = await until(`a step reaches ${phase}`, async () => {
      const now = await client.upgrades.get(upgrade_id);
      return (
        now.steps.some(
          (step) => step.phase === phase || (step.phase === 'done' && step.kind === 'switchover'),
        ) && now
      );
    });
    const pid = (await stack.file()).pids[whom(upgrade)];
    expect(pid, `the process of ${whom(upgrade)}`).toBeGreaterThan(0);
    process.kill(pid ?? 0, 'SIGKILL');
  };
  const switchover = (upgrade: UpgradeDocument) => upgrade.steps.find((step) => step.kind === 'switchover');

  it.each([
    ['the taskmanager', 'upgrading', () => 'taskmanager'],
    ['the taskmanager', 'demoting', () => 'taskmanager'],
    [
      'the agent of the old primary',
      'demoting',
      (upgrade: UpgradeDocument) => `guest-${switchover(upgrade)?.instance_id}`,
    ],
    [
      'the agent of the successor',
      'demoting',
      (upgrade: UpgradeDocument) => `guest-${switchover(upgrade)?.successor_id}`,
    ],
  ] as const)(
    'loses nothing when %s is killed while %s',
    async (_what, phase, whom) => {
      const name = `c${Date.now()}`;
      const cluster = await build(name);
      const endpoints = cluster.instances.map((instance) => instance.endpoint as Endpoint);
      const writer = await writing.startWriter(endpoints, account);
      await until('the client writes', async () => writer.acknowledgedSoFar() > 100);

      const { upgrade_id } = await client.clusters.upgrade(name, '17.10');
      await killAt(upgrade_id, phase, whom);
      const upgrade = await client.upgrades.waitFor(upgrade_id, {
        until: 'settled',
        signal: AbortSignal.timeout(90_000),
      });
      const before = writer.acknowledgedSoFar();
      await until('the client writes again', async () => writer.acknowledgedSoFar() > before + 100);
      const written = await writer.stop();

      expect(upgrade).toMatchObject({ state: 'succeeded', batch_id: null });
      expect(upgrade.write_outage_ms).toBeGreaterThan(0);
      expect(await writing.findLost(endpoints, account, written.acknowledged)).toEqual([]);
      expect(await writing.askVersions(endpoints, account)).toEqual(['17.10', '17.10', '17.10']);
      const events = await client.upgrades.events(upgrade_id);
      expect(events.filter((event) => event.type === 'switched_over')).toHaveLength(1);
      await client.clusters.delete(name);
    },
    180_000,
  );
});
