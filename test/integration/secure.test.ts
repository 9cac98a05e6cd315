/**
 * A stack as `npm start` brings it up: every instance has a key, so that nobody else on the broker
 * speaks for a guest or to one (G10), and keys are rotated while the stack runs.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { type Bus, CONDUCTOR_TOPIC, guestTopic } from '../../src/bus/bus.ts';
import { sealedProtection } from '../../src/bus/sealed.ts';
import { silentLog } from '../support/services.ts';
import { newHome, RunningStack, removeHome, runWith, type StackFile, until } from '../support/stack.ts';

describe('a stack with keys', () => {
  let home: string;
  let stack: RunningStack;
  let file: StackFile;
  let client: CofferClient;
  let bus: Bus;
  let cluster: string;
  let ids: readonly string[];

  beforeAll(async () => {
    home = await newHome();
    stack = await RunningStack.start(home);
    file = await stack.file();
    client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
    bus = await openAmqpBus({
      ...{ url: file.amqp_url, name: 'somebody', log: silentLog, control_exchange: 'trove' },
    });
    const datastore = { type: 'simulated', version: '1.0' };
    const created = await client.clusters.create({ name: 'keys', datastore, instances: [{}, {}] });
    cluster = created.id;
    ids = created.instances.map(({ id }) => id);
    await until(
      'the cluster is built',
      async () => (await client.clusters.get(cluster)).task.name === 'NONE',
    );
  }, 120_000);
  afterAll(async () => {
    await bus?.close();
    await stack?.stop();
    await removeHome(home);
  });

  const keyOf = async (id: string) => {
    const text = await readFile(join(home, 'guests', 'simulated', `${id}.json`), 'utf8');
    return (JSON.parse(text) as { rpc_key: string }).rpc_key;
  };
  const statuses = async () =>
    (await client.clusters.get(cluster)).instances.map(({ service_status }) => service_status);
  const forged = (instance_id = '') => ({
    instance_id,
    sent: Date.now() / 1000 + 5,
    payload: { service_status: 'failed', version: '9.9', agent: 'coffer/forged' },
  });

  it('hears nobody who speaks for a guest without its key', async () => {
    const [mine = '', other = ''] = ids;
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', forged(mine));
    const secret = await keyOf(other);
    const protection = sealedProtection({ instance_id: other, secret, now: Date.now });
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', forged(mine), { protection });
    const pretended = sealedProtection({ instance_id: mine, secret, now: Date.now });
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', forged(mine), { protection: pretended });
    // What counts comes after them in the same queue, and is heard.
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', forged(other), { protection });
    await until('the one in its own name is heard', async () => (await statuses())[1] === 'failed');
    expect((await statuses())[0]).toBe('healthy');
    await until('the guest itself is heard again', async () => (await statuses())[1] === 'healthy');
  });

  it('has guests that obey nobody without their key', async () => {
    const [mine = ''] = ids;
    const call = bus.call(guestTopic(mine), 'pre_upgrade', {}, { timeout_ms: 1_500 });
    await expect(call).rejects.toMatchObject({ code: 'bus_unavailable' });
    const secret = await keyOf(mine);
    const protection = sealedProtection({ instance_id: mine, secret, now: Date.now });
    const info = { upgrade_info: { datastore_version: '2.0' } };
    const options = { timeout_ms: 30_000, protection };
    expect(await bus.call(guestTopic(mine), 'pre_upgrade', info, options)).toMatchObject({
      role: 'member',
    });
  });

  it('goes on when an instance gets a new key and keys get a new master, and upgrades', async () => {
    const [mine = ''] = ids;
    const before = await keyOf(mine);
    const master = (await readFile(join(home, 'master-key'), 'utf8')).trim();
    const env = { COFFER_AMQP_URL: file.amqp_url, COFFER_REDIS_URL: file.redis_url };
    const guests = { COFFER_GUESTS_DIR: join(home, 'guests') };
    const rekey = (args: readonly string[], more: NodeJS.ProcessEnv) =>
      runWith(['dist/taskmanager/rekey.js', ...args], { ...env, ...guests, ...more });
    const given = await rekey(['--instance', mine], { COFFER_MASTER_KEY: master });
    expect(given).toMatchObject({ code: 0, stdout: `instance ${mine} has a new key\n` });
    expect(await keyOf(mine)).not.toBe(before);
    const next = randomBytes(32).toString('base64');
    const keys = { COFFER_MASTER_KEY: next, COFFER_MASTER_KEY_PREVIOUS: master };
    expect((await rekey([], keys)).stdout).toMatch(/^2 keys are encrypted under COFFER_MASTER_KEY now/);
    const back = { COFFER_MASTER_KEY: master, COFFER_MASTER_KEY_PREVIOUS: next };
    expect((await rekey([], back)).code).toBe(0);
    const lost = await rekey([], { COFFER_MASTER_KEY: next });
    expect(lost.code).toBe(1);
    expect(lost.stderr).toContain('which is not among those given');
    const { upgrade_id } = await client.clusters.upgrade(cluster, '2.0');
    await until('it is upgraded', async () => (await client.upgrades.get(upgrade_id)).state === 'succeeded');
  });
});
