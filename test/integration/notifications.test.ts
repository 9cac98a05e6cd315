/**
 * Notifications of a stack whose taskmanager is killed, before it has told of what is in the record and right
 * after the record was written: nothing that happened stays untold, and what is told again is known by its
 * `message_id`. What they say: test/unit/core/notification.test.ts; who hears them: test/interop/.
 */
import { type ChannelModel, connect } from 'amqplib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import { decodeBody } from '../../src/bus/envelope.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';

interface Told {
  readonly message_id: string;
  readonly event_type: string;
  readonly payload: Readonly<Record<string, string>>;
}

let home: string;
let stack: RunningStack;
let client: CofferClient;
let connection: ChannelModel;
const heard: Told[] = [];

beforeAll(async () => {
  home = await newHome();
  stack = await RunningStack.start(home, { COFFER_NOTIFICATIONS: 'on' });
  const { api_url, amqp_url } = await stack.file();
  client = createClient({ endpoint: `${api_url}/v1.0/demo` });
  connection = await connect(amqp_url);
  const channel = await connection.createChannel();
  const take = (message: { content: Buffer } | null) => {
    if (message) heard.push(decodeBody(message.content) as unknown as Told);
  };
  await channel.consume('notifications.info', take, { noAck: true });
});
afterAll(async () => {
  await connection?.close();
  await stack?.stop();
  await removeHome(home);
});

async function signalTaskmanager(signal: NodeJS.Signals): Promise<void> {
  const pid = (await stack.file()).pids['taskmanager'] ?? 0;
  expect(pid).toBeGreaterThan(0);
  process.kill(pid, signal);
}

/** What was told of a cluster's upgrade, each once: by what it is, and of which instance. */
function toldOf(cluster_id: string): readonly string[] {
  const own = heard.filter(({ payload }) => payload['cluster_id'] === cluster_id);
  const first = own.filter(
    ({ message_id }, at) => at === own.findIndex((one) => one.message_id === message_id),
  );
  return first.map(({ event_type, payload }) => `${event_type} ${payload['instance_id'] ?? ''}`.trim());
}

it('are sent for all that has happened, although the taskmanager is killed again and again', async () => {
  const names = ['told-1', 'told-2', 'told-3'];
  const datastore = { type: 'simulated', version: '1.0' };
  const clusters = await Promise.all(
    names.map((name) => client.clusters.create({ name, datastore, instances: [{}, {}] })),
  );
  const patience = { intervalMs: 100, signal: AbortSignal.timeout(60_000) };
  for (const cluster of clusters) await client.clusters.waitFor(cluster, patience);

  // It has begun, and who would tell of it is as good as dead already.
  await signalTaskmanager('SIGSTOP');
  const begun = await Promise.all(clusters.map((cluster) => client.clusters.upgrade(cluster, '1.1')));
  await signalTaskmanager('SIGKILL');
  // The end of each, as soon as the record has it.
  for (const { upgrade_id } of begun) {
    const upgrade = await client.upgrades.waitFor(upgrade_id, { signal: AbortSignal.timeout(120_000) });
    expect(upgrade.state).toBe('succeeded');
    await signalTaskmanager('SIGKILL').catch(() => undefined);
  }
  for (const { id, instances } of clusters) {
    await until('its end was told', async () => toldOf(id).includes('dbaas.cluster_upgrade.end'));
    const [a, b] = instances.map((instance) => instance.id);
    expect(toldOf(id)).toEqual([
      'dbaas.cluster_upgrade.start',
      ...[`dbaas.upgrade.start ${a}`, `dbaas.upgrade.end ${a}`],
      ...[`dbaas.upgrade.start ${b}`, `dbaas.upgrade.end ${b}`],
      'dbaas.cluster_upgrade.end',
    ]);
  }
}, 240_000);
