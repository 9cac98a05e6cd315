/**
 * Clusters whose instances Trove's own guest agents speak for: Python programs with Trove's serializers
 * and its conductor API, which know `pre_upgrade`, `upgrade` and perhaps `post_upgrade`. Upgrades are
 * asked for by Trove's taskmanager API and by a plain oslo.messaging client, and run by the real stack.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CofferClient, createClient, type PolicyRequest } from '../../client/index.ts';
import { describeInterop } from '../support/python.ts';
import { newHome, RunningStack, removeHome, type StackFile, until } from '../support/stack.ts';
import { Peer, type PeerEvent } from './peer.ts';

describeInterop('guest agents of Trove', () => {
  let home: string;
  let stack: RunningStack;
  let file: StackFile;
  let client: CofferClient;
  let peer: Peer;

  beforeAll(async () => {
    home = await newHome();
    [stack, peer] = await Promise.all([
      RunningStack.start(home, { COFFER_PROVISIONER: 'external', COFFER_NOTIFICATIONS: 'on' }),
      Peer.start(),
    ]);
    file = await stack.file();
    client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
    await peer.connect(file.amqp_url, 'trove');
    await peer.do('secure', { on: false });
    await peer.do('listen');
  }, 120_000);
  afterAll(async () => {
    await peer?.stop();
    await stack?.stop();
    await removeHome(home);
  });

  /** Serves guests, registers them as a cluster, and waits until it has heard of all. */
  const register = async (name: string, guests: readonly Readonly<Record<string, unknown>>[]) => {
    const ids: string[] = guests.map(() => randomUUID());
    for (const [index, guest] of guests.entries()) {
      await peer.do('serve_guest', { instance_id: ids[index], ...guest });
    }
    const instances = ids.map((id, index) => {
      const key = guests[index]?.['key'];
      return { id, ...(typeof key === 'string' && { rpc_secret: key }) };
    });
    const datastore = { type: 'simulated', version: '1.0' };
    const cluster = await client.clusters.create({ name, datastore, instances });
    expect(cluster.join_token).toBeUndefined();
    await until('every guest was heard', async () => {
      const { task } = await client.clusters.get(cluster.id);
      return task.name === 'NONE';
    });
    const versions = (await client.datastores.versions('simulated')).filter(({ name: of }) => of === '2.0');
    return { id: cluster.id, ids, to: versions[0]?.id ?? '' };
  };

  const upgraded = (id: string) =>
    until('the upgrade has ended', async () => {
      const { task, datastore } = await client.clusters.get(id);
      return task.name === 'NONE' && datastore.version === '2.0';
    });

  /** Notifications of a cluster's upgrade, as a listener of oslo.messaging gets them. */
  const toldOf = (id: string) =>
    peer.events.filter(({ event, payload }) => {
      return event === 'notification' && (payload as Record<string, unknown>)['cluster_id'] === id;
    });

  const checkTold = async (id: string, ids: readonly string[], request_id: unknown) => {
    await until('the end was told', async () => {
      return toldOf(id).some(({ event_type }) => event_type === 'dbaas.cluster_upgrade.end');
    });
    const told = toldOf(id);
    expect(told.map(({ event_type }) => event_type)).toEqual([
      'dbaas.cluster_upgrade.start',
      ...ids.flatMap(() => ['dbaas.upgrade.start', 'dbaas.upgrade.end']),
      'dbaas.cluster_upgrade.end',
    ]);
    const [first, second] = told;
    const cluster = { server_type: 'api', client_ip: '127.0.0.1', server_ip: '127.0.0.1:8779' };
    expect(first?.['payload']).toMatchObject({ ...cluster, request_id, cluster_id: id });
    expect(second?.['payload']).toMatchObject({ ...cluster, instance_id: ids[0] });
    expect(first?.['context']).toMatchObject({ request_id, auth_token: null, is_admin: false });
    expect(String(first?.['publisher_id'])).toMatch(/^api\./);
  };

  const eventsOf = (ids: readonly string[]) =>
    peer.events.filter(({ event, instance_id }) => event === 'guest' && ids.includes(String(instance_id)));
  /** What was said to them. */
  const heard = (ids: readonly string[]) => eventsOf(ids).filter(({ method }) => method !== 'is up');

  /** Begins an upgrade, and waits until it waits for a person. */
  const pausedUpgrade = async (id: string, policy: PolicyRequest) => {
    const { upgrade_id } = await client.clusters.upgrade(id, '2.0', policy);
    return until('it waits for a person', async () => {
      const upgrade = await client.upgrades.get(upgrade_id);
      return upgrade.state === 'paused' && upgrade;
    });
  };

  it('are driven by a cast of Trove’s own taskmanager API, one after the other', async () => {
    const { id, ids, to } = await register('trove-cast', [{}, {}, { post_upgrade: false }]);
    const request_id = await peer.do('trove_upgrade_cluster', { cluster_id: id, version_id: to });
    await upgraded(id);
    const said = heard(ids);
    const told = said.map(({ instance_id, method }: PeerEvent) => [ids.indexOf(String(instance_id)), method]);
    expect(told).toEqual([
      [0, 'pre_upgrade'],
      [0, 'upgrade'],
      [0, 'post_upgrade'],
      [1, 'pre_upgrade'],
      [1, 'upgrade'],
      [1, 'post_upgrade'],
      [2, 'pre_upgrade'],
      [2, 'upgrade'],
    ]);
    const [asked, ordered] = said;
    expect(ordered?.['upgrade_info']).toEqual({ device: '/dev/vdb', datastore_version: '2.0' });
    expect(asked?.['user']).toBe('user-1');
    expect(asked?.['notification']).toMatchObject({
      request_id,
      server_type: 'api',
      client_ip: '127.0.0.1',
      cluster_id: id,
      instance_id: ids[0],
      datastore_version_id: to,
    });
    expect(ordered?.['notification']).toMatchObject({ server_type: 'guest' });
    const { instances } = await client.clusters.get(id);
    expect(instances.map(({ version }) => version)).toEqual(['2.0', '2.0', '2.0']);
    await checkTold(id, ids, request_id);
    const { value: upgrade } = await client.upgrades.list(id).next();
    expect(upgrade?.requested_by).toMatchObject({ user: 'user-1', request_id, via: 'rpc' });
  });

  it('are driven by a cast of any program with oslo.messaging; failing ones get another try', async () => {
    const { id, ids, to } = await register('oslo-cast', [
      { answer: null, heartbeat_s: 3 },
      { failures: ['disk full'] },
    ]);
    const args = { cluster_id: id, datastore_version_id: to };
    await peer.do('cast', { topic: 'taskmanager', method: 'upgrade_cluster', args });
    await upgraded(id);
    const [first] = heard([ids[0] ?? '']).filter(({ method }) => method === 'upgrade');
    expect(first?.['upgrade_info']).toEqual({ datastore_version: '2.0' });
    const tries = heard([ids[1] ?? '']).filter(({ method }) => method === 'pre_upgrade');
    expect(tries).toHaveLength(2);
  });

  it('that stay `running` for a while go one after the other: none is done before it is healthy (G2)', async () => {
    const slow = { down_status: 'running', down_s: 3 };
    const { id, ids, to } = await register('running', [slow, slow, slow]);
    await peer.do('trove_upgrade_cluster', { cluster_id: id, version_id: to });
    await upgraded(id);
    const said = eventsOf(ids).filter(({ method }) => method === 'upgrade' || method === 'is up');
    expect(said.map(({ instance_id, method }) => [ids.indexOf(String(instance_id)), method])).toEqual(
      [0, 1, 2].flatMap((index) => [
        [index, 'upgrade'],
        [index, 'is up'],
      ]),
    );
  });

  it('that refuse are heard, though Trove casts the order: in their own words, and no other is told', async () => {
    const { id, ids } = await register('refusing', [{ refusal: '5.7 to 8.0 is not supported' }, {}]);
    const { id: upgrade_id, message, actions } = await pausedUpgrade(id, { retries: 0 });
    expect(message).toContain('5.7 to 8.0 is not supported');
    expect(actions).not.toContain('confirm');
    expect(heard([ids[1] ?? ''])).toEqual([]);
    const { instances, datastore } = await client.clusters.get(id);
    expect([datastore.version, ...instances.map(({ version }) => version)]).toEqual(['1.0', null, '1.0']);
    await client.upgrades.cancel(upgrade_id);
  });

  it('of which nobody can tell whether they are done wait for a person, who confirms it (G5)', async () => {
    const { id, ids } = await register('unseen', [{ is_silent: true }, {}]);
    const paused = await pausedUpgrade(id, { step_timeout_seconds: 5 });
    expect(paused.message).toContain('nobody can tell whether it carried the order out');
    expect(paused.actions).toContain('confirm');
    expect(heard([ids[1] ?? ''])).toEqual([]);
    expect((await client.clusters.get(id)).datastore.version).toBe('1.0');
    await client.upgrades.confirm(paused.id);
    await upgraded(id);
    expect(heard([ids[0] ?? '']).filter(({ method }) => method === 'upgrade')).toHaveLength(1);
  });

  it('are upgraded one by one, where Trove’s api asks for one instance', async () => {
    const { id, ids, to } = await register('one-by-one', [{}, {}]);
    await peer.do('trove_upgrade_instance', { instance_id: ids[1], version_id: to });
    await until('the one is upgraded', async () => {
      const { task, instances } = await client.clusters.get(id);
      return task.name === 'NONE' && instances[1]?.version === '2.0';
    });
    const { datastore, instances } = await client.clusters.get(id);
    expect([datastore.version, instances[0]?.version]).toEqual(['1.0', '1.0']);
    await until('its end was told', async () => {
      return toldOf(id).some(({ event_type }) => event_type === 'dbaas.upgrade.end');
    });
    expect(toldOf(id).map(({ event_type }) => event_type)).toEqual([
      'dbaas.upgrade.start',
      'dbaas.upgrade.end',
    ]);
    expect(heard([ids[0] ?? ''])).toEqual([]);
  });

  it('are driven in Trove’s secure mode, each under its own key; in clear they are not heard', async () => {
    const key = '5d3dc65cc19bb84945a18ad6a168f0f5';
    const { id, ids, to } = await register('secure', [{ key }, { key: 'dfe94eb2f1afe849684696473bd22cbd' }]);
    await peer.do('secure', { on: true });
    try {
      await peer.do('trove_upgrade_cluster', { cluster_id: id, version_id: to });
      await upgraded(id);
    } finally {
      await peer.do('secure', { on: false });
    }
    const [, ordered] = heard(ids);
    expect(ordered?.['upgrade_info']).toEqual({ device: '/dev/vdb', datastore_version: '2.0' });
    expect(ordered?.['notification']).toMatchObject({ cluster_id: id, instance_id: ids[0] });
    const args = { instance_id: ids[0], sent: Date.now() / 1000 + 5, payload: { service_status: 'failed' } };
    await peer.do('cast', { topic: 'trove-conductor', method: 'heartbeat', args });
    const { instances } = await client.clusters.get(id);
    expect(instances.map(({ service_status }) => service_status)).toEqual(['healthy', 'healthy']);
  });

  it('hear nothing of a cast that can’t be: it is kept as a dead letter, and nothing has changed', async () => {
    const { id, ids, to } = await register('invalid', [{}]);
    const before = await client.clusters.get(id);
    const cast = (args: Readonly<Record<string, unknown>>) =>
      peer.do('cast', { topic: 'taskmanager', method: 'upgrade_cluster', args });
    await cast({ cluster_id: randomUUID(), datastore_version_id: to });
    await cast({ cluster_id: id, datastore_version_id: 'no-such-version' });
    await cast({ cluster_id: id });
    await peer.do('cast', { topic: 'taskmanager', method: 'restart_cluster', args: { cluster_id: id } });
    // Trove's conductor knows more than heartbeats.
    const told = { instance_id: ids[0], backup_id: randomUUID(), sent: Date.now() / 1000 };
    await peer.do('cast', { topic: 'trove-conductor', method: 'update_backup', args: told });
    const letters = await until('all five are dead letters', async () => {
      const { dead_letters } = await client.deadLetters.list();
      return dead_letters.length >= 5 && dead_letters;
    });
    expect(letters.map(({ reason }) => reason?.slice(0, 35)).sort()).toEqual([
      expect.stringMatching(/^Cluster '/),
      expect.stringMatching(/^Datastore version 'no-such-version'/),
      expect.stringMatching(/^Endpoint does not support RPC meth/),
      expect.stringMatching(/^Endpoint does not support RPC meth/),
      expect.stringMatching(/^Validation error: upgrade_cluster/),
    ]);
    const refusals = await until('the refusals were told', async () => {
      const told = peer.events.filter(({ event_type }) => event_type === 'dbaas.cluster_upgrade.error');
      return told.length >= 3 && told;
    });
    const exceptions = refusals.map(({ payload }) => String((payload as { exception?: string }).exception));
    expect(exceptions.filter((text) => text.startsWith('Cluster '))).toHaveLength(1);
    expect(await client.clusters.get(id)).toMatchObject({ task: before.task, datastore: before.datastore });
    expect(heard(ids)).toEqual([]);
  });

  it('hear nothing of a cast for a busy cluster: the upgrade that holds it goes on as it was', async () => {
    const { id, ids, to } = await register('busy', [{ down_s: 3_600 }]);
    const { upgrade_id } = await client.clusters.upgrade(id, '2.0');
    await until('the guest is at work', async () => heard(ids).some(({ method }) => method === 'upgrade'));
    const [cluster, upgrade] = [await client.clusters.get(id), await client.upgrades.get(upgrade_id)];
    const known = (await client.deadLetters.list()).dead_letters.length;
    const args = { cluster_id: id, datastore_version_id: to };
    await peer.do('cast', { topic: 'taskmanager', method: 'upgrade_cluster', args });
    const one = { instance_id: ids[0], datastore_version_id: to };
    await peer.do('cast', { topic: 'taskmanager', method: 'upgrade', args: one });
    const about = (text: string) =>
      peer.events.filter(({ event_type, payload }) => {
        const { exception = '' } = (payload ?? {}) as { exception?: string };
        return String(event_type).endsWith('upgrade.error') && exception.includes(text);
      });
    await until('both refusals were told', async () => about(upgrade_id).length >= 2);
    const letters = await until('both are dead letters', async () => {
      const { dead_letters } = await client.deadLetters.list();
      return dead_letters.length >= known + 2 && dead_letters;
    });
    const reasons = letters.slice(known).map(({ method, reason }) => `${method}: ${reason}`);
    expect(reasons.sort()).toEqual([
      expect.stringMatching(`^upgrade: .*${upgrade_id}`),
      expect.stringMatching(`^upgrade_cluster: .*${upgrade_id}`),
    ]);
    // Later ones have their turn, and these two do not come again.
    await peer.do('cast', { topic: 'taskmanager', method: 'no_such_method', args: {} });
    await until('the next is a dead letter', async () => {
      return (await client.deadLetters.list()).dead_letters.length === known + 3;
    });
    const told = about(upgrade_id).map(({ event_type }) => event_type);
    expect(told.sort()).toEqual(['dbaas.cluster_upgrade.error', 'dbaas.upgrade.error']);
    expect(await client.clusters.get(id)).toMatchObject({ task: cluster.task, upgrade_id });
    const { steps, state } = await client.upgrades.get(upgrade_id);
    expect({ steps, state }).toEqual({ steps: upgrade.steps, state: upgrade.state });
    const { value: latest } = await client.upgrades.list(id).next();
    expect(latest?.id, 'nothing else was begun').toBe(upgrade_id);
    await client.clusters.resetStatus(id);
  });

  it('are registered by their ids, each for one cluster', async () => {
    const { ids } = await register('once', [{}]);
    const create = (instances: readonly { id?: string }[]) =>
      client.clusters.create({ name: 'twice', datastore: { type: 'simulated' }, instances: [...instances] });
    await expect(create([{ id: ids[0] ?? '' }])).rejects.toMatchObject({ status: 409 });
    await expect(create([{ id: randomUUID() }, {}])).rejects.toMatchObject({ status: 400 });
    const id = randomUUID();
    await expect(create([{ id }, { id }])).rejects.toMatchObject({ status: 400 });
  });
});
