/**
 * A catalogue that changes while clusters are upgraded: real processes, over the SDK and the command
 * line's own client. What the api refuses is in api-catalogue.test.ts.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';

describe('a catalogue that changes', () => {
  let home: string;
  let stack: RunningStack;
  let client: CofferClient;
  beforeAll(async () => {
    home = await newHome();
    stack = await RunningStack.start(home);
    client = createClient({ endpoint: `${(await stack.file()).api_url}/v1.0/demo` });
  });
  afterAll(async () => {
    await stack?.stop();
    await removeHome(home);
  });

  const build = async (name: string, upgrade_ms = 0) => {
    await client.clusters.create({
      ...{ name, datastore: { type: 'simulated', version: '1.0' }, instances: [{}, {}, {}] },
      extended_properties: { simulated: { upgrade_ms } },
    });
    return client.clusters.waitFor(name, { intervalMs: 50, signal: AbortSignal.timeout(60_000) });
  };
  const newVersion = (name: string) =>
    client.datastores.createVersion({
      ...{ name, datastore_name: 'simulated', datastore_manager: 'simulated', active: true },
    });

  it('has a new version that simulated clusters can be upgraded to at once', async () => {
    await build('early');
    await newVersion('3.0');
    const { upgrade_id } = await client.clusters.upgrade('early', '3.0');
    const upgrade = await client.upgrades.waitFor(upgrade_id ?? '', { signal: AbortSignal.timeout(100_000) });
    expect(upgrade.state).toBe('succeeded');
    expect((await client.clusters.get('early')).instances.map(({ version }) => version)).toEqual([
      '3.0',
      '3.0',
      '3.0',
    ]);
  });

  it('stops upgrades to a version that is deactivated before their next step, and lets them go on, or back', async () => {
    const { id } = await newVersion('4.0');
    await build('doubtful', 3_000);
    const { upgrade_id = '' } = await client.clusters.upgrade('doubtful', '4.0', {
      step_timeout_seconds: 15,
    });
    const look = () => client.upgrades.get(upgrade_id ?? '');
    const state = async (name: string) => (await look()).state === name;
    await until('the first instance is at work', async () => (await look()).steps[0]?.phase === 'upgrading');
    await client.datastores.changeVersion(id, { active: false });
    await until('it waits for a person', () => state('paused'));
    const paused = await look();
    expect(paused).toMatchObject({
      ...{ reason: 'gate', progress: { done: 1, total: 3 } },
      message: expect.stringContaining('version_active: datastore version 4.0 is not active') as string,
      actions: expect.arrayContaining(['resume', 'rollback', 'cancel']) as string[],
    });
    expect(paused.steps[1]?.blocked).toMatchObject({ gate: 'version_active' });

    await client.datastores.changeVersion(id, { active: true });
    await client.upgrades.resume(upgrade_id ?? '');
    await until('the second instance is at work', async () => (await look()).steps[1]?.phase === 'upgrading');
    await client.datastores.changeVersion(id, { active: false });
    await until('it waits again', () => state('paused'));
    await client.upgrades.rollback(upgrade_id ?? '');
    await until('it is back', () => state('rolled_back'));
    const { datastore, instances } = await client.clusters.get('doubtful');
    expect([datastore.version, ...instances.map(({ version }) => version)]).toEqual([
      '1.0',
      '1.0',
      '1.0',
      '1.0',
    ]);
    await client.datastores.deleteVersion(id);
  });
});
