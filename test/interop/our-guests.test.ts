/**
 * Our guest agent, as its own process, in a cloud whose services are Trove's: driven by Trove's guest API
 * in Python, its heartbeats heard where Trove's conductor would be. Nothing of ours runs beside it, so the
 * broker is one of its own: all conductors of a broker share one queue.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { InstanceConfig } from '../../src/contract/guest-config.ts';
import { freePort } from '../support/ports.ts';
import { describeInterop } from '../support/python.ts';
import { startRabbitmq } from '../support/rabbitmq.ts';
import { newHome, RunningAgent, removeHome } from '../support/stack.ts';
import { Peer } from './peer.ts';

interface Heartbeat {
  readonly service_status: string;
  readonly version?: string;
  readonly attempt?: { readonly status: string; readonly action: string } | null;
}

describeInterop('our guest agent among services of Trove', () => {
  let home: string;
  let amqp_url: string;
  let broker: Awaited<ReturnType<typeof startRabbitmq>>;
  let peer: Peer;
  let agent: RunningAgent | undefined;
  beforeAll(async () => {
    home = await newHome();
    const port = await freePort();
    const settings = [`listeners.tcp.2 = 127.0.0.1:${port}`];
    [broker, peer] = await Promise.all([startRabbitmq(port, settings), Peer.start()]);
    amqp_url = `amqp://guest:guest@127.0.0.1:${port}`;
    await peer.connect(amqp_url, 'trove');
    await peer.do('secure', { on: false });
    await peer.do('serve_conductor');
  }, 200_000);
  afterEach(async () => {
    await agent?.end('SIGTERM');
  });
  afterAll(async () => {
    await peer?.stop();
    await broker?.close();
    await removeHome(home);
  });

  /** One instance of version 1.0, and Trove's side of it. */
  const start = async (simulated: Readonly<Record<string, unknown>> = {}) => {
    const instance_id = randomUUID();
    const config: InstanceConfig = {
      ...{ instance_id, cluster_id: randomUUID(), name: 'alone', ordinal: 0, manager: 'simulated' },
      ...{ datastore_version: '1.0', role: 'member', primary: null, cluster_token: 'a secret' },
      endpoint: { host: '127.0.0.1', port: 5432 },
      extended_properties: { simulated },
      ...{ databases: [], users: [] },
    };
    const dir = join(home, instance_id);
    await mkdir(dir);
    await writeFile(join(dir, `${instance_id}.json`), JSON.stringify(config));
    agent = new RunningAgent({
      ...{ COFFER_GUEST_DIR: dir, COFFER_CACHE_DIR: join(home, 'cache'), COFFER_HEARTBEAT_MS: '200' },
      COFFER_AMQP_URL: amqp_url,
    });
    const heard = async (fits: (said: Heartbeat) => boolean) => {
      const { payload } = await peer.event('heartbeat', (event) => {
        return event['instance_id'] === instance_id && fits(event['payload'] as Heartbeat);
      });
      return payload as Heartbeat;
    };
    const ask = (method: string, args = {}) => peer.do('trove_guest', { instance_id, method, args });
    expect(await heard(({ service_status }) => service_status === 'healthy')).toMatchObject({
      version: '1.0',
    });
    return { instance_id, heard, ask };
  };

  it('is upgraded as Trove does it: asked, told, heard, asked again', async () => {
    const { heard, ask } = await start();
    const info = await ask('pre_upgrade');
    expect(info).toMatchObject({ role: 'member', reversible: true });
    const upgrade_info = { ...(info as object), datastore_version: '1.1' };
    await ask('upgrade', { upgrade_info });
    const done = await heard(({ version }) => version === '1.1');
    expect(done).toMatchObject({ service_status: 'healthy', version: '1.1' });
    const report = await heard(({ attempt }) => attempt?.status === 'succeeded');
    expect(report.attempt).toMatchObject({ action: 'upgrade', status: 'succeeded' });
    expect(await ask('post_upgrade', { upgrade_info })).toBeNull();
  });

  it('says in Trove’s words what went wrong, and in its heartbeats too', async () => {
    const fail = [
      { instance: 0, action: 'pre_upgrade', times: 1 },
      { instance: 0, action: 'upgrade', times: 1 },
    ];
    const { instance_id, heard, ask } = await start({ fail });
    // Trove's guest API makes every failure of a call a GuestError, with the guest's own words.
    await expect(ask('pre_upgrade')).rejects.toMatchObject({
      remote_class: 'GuestError',
      message: expect.stringContaining('simulated'),
    });
    expect(await ask('pre_upgrade')).toMatchObject({ role: 'member' });
    await ask('upgrade', { upgrade_info: { datastore_version: '1.1' } });
    const failed = await heard(({ attempt }) => attempt?.status === 'failed');
    expect(failed).toMatchObject({ service_status: 'healthy', version: '1.0' });
    await ask('upgrade', { upgrade_info: { datastore_version: '1.1' } });
    await heard(({ version }) => version === '1.1');

    const topic = `guestagent.${instance_id}`;
    await expect(ask('restart')).rejects.toMatchObject({ remote_class: 'GuestError' });
    const call = (method: string, args = {}, extra = {}) =>
      peer.do('call', { topic, method, args, ...extra });
    await expect(call('restart')).rejects.toMatchObject({ remote_class: 'NoSuchMethod' });
    await expect(call('pre_upgrade', {}, { version: '2.0' })).rejects.toMatchObject({
      remote_class: 'UnsupportedVersion',
    });
    await expect(call('post_upgrade', { upgrade_info: 'none' })).rejects.toMatchObject({
      remote_class: 'TypeError',
    });
  });
});
