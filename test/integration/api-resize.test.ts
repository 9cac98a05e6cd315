/**
 * Growing and shrinking a cluster, as the api takes the request and as a taskmanager carries it out. What
 * is not here: real guests (test/interop), the atomic steps of the store (conformance).
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster, Instance } from '../../src/core/domain.ts';
import { joinKeyId } from '../../src/store/keys.ts';
import type { BuildOrder } from '../../src/store/provisioning.ts';
import { instanceConfig } from '../../taskmanager/instance-config.ts';
import { externalProvisioner } from '../../taskmanager/provisioner-external.ts';
import { Provisioning } from '../../taskmanager/provisioning.ts';
import { silentLog } from '../support/services.ts';
import { ask, buildCluster, type Harness, startApi } from './api-harness.ts';

let api: Harness;
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
});
afterAll(() => api.close());

const act = (cluster: string, json: unknown, headers: Record<string, string> = {}) =>
  ask(`${api.url}/clusters/${cluster}`, { method: 'POST', json, headers });
const held = async (id: string) => (await api.store.clusters.get(id)) as Cluster;
const hear = (id: string, role: 'primary' | 'replica' | 'member' = 'member') =>
  api.store.clusters.heartbeat(
    id,
    {
      ...{ service_status: 'healthy', version: '1.0', role, sent: Date.now() },
      ...(role !== 'member' && { endpoint: { host: '10.0.0.1', port: 5432 } }),
    },
    Date.now(),
  );

/** Three instances of PostgreSQL, the first of them the primary. */
async function buildPostgresql(name: string): Promise<Cluster> {
  const json = {
    cluster: { name, datastore: { type: 'postgresql', version: '17.6' }, instances: [{}, {}, {}] },
  };
  const { body } = await ask(`${api.url}/clusters`, { method: 'POST', json });
  await api.store.provisioning.finishBuild(body.cluster.id, Date.now());
  const { instances } = await held(body.cluster.id);
  for (const { id } of instances) await hear(id, id === instances[0]?.id ? 'primary' : 'replica');
  return held(body.cluster.id);
}

/** A provisioner that remembers what is there. */
function newProvisioning(there = new Set<string>()) {
  const provisioner = {
    unsettled: async () => [],
    settled: async () => undefined,
    provision: async ({ instances }: Cluster) => {
      for (const { id } of instances) there.add(id);
    },
    remove: async (_cluster: Cluster, instances: readonly Instance[]) => {
      for (const { id } of instances) there.delete(id);
      return true;
    },
  };
  const deps = { store: api.store, provisioner, log: silentLog, now: Date.now };
  return { there, provisioning: new Provisioning(deps) };
}

describe('growing', () => {
  it('adds instances in task BUILDING, and tells a taskmanager', async () => {
    const id = await buildCluster(api, 'grows');
    const { status, body } = await act(id, { grow: [{ flavorRef: '1', volume: { size: '2' } }, {}] });
    expect(status).toBe(202);
    expect(body.cluster.task).toEqual({
      ...{ id: 5, name: 'GROWING_CLUSTER', description: 'Increasing the size of the cluster.' },
    });
    const names = body.cluster.instances.map((one: Instance) => one.name);
    expect(names.slice(3)).toEqual(['grows-member-4', 'grows-member-5']);
    expect(body.cluster.instances[3]).toMatchObject({ status: 'BUILD', volume: { size: 2 } });
    await expect
      .poll(() => api.casts.at(-1))
      .toMatchObject({ method: 'grow_cluster', args: { cluster_id: id } });
  });

  it('ends when the new instances are healthy, and lets nothing else begin before', async () => {
    const id = await buildCluster(api, 'waits');
    await act(id, { grow: [{}] });
    const { there, provisioning } = newProvisioning();
    await provisioning.grow(id);
    await provisioning.grow(id);
    const { instances } = await held(id);
    expect([...there]).toEqual(instances.map((one) => one.id));
    for (const body of [{ grow: [{}] }, { upgrade: { datastore_version: '1.1' } }]) {
      const refused = await act(id, body);
      expect(refused.status).toBe(422);
      expect(refused.body.unprocessableEntity.message).toContain("'GROWING_CLUSTER'");
    }
    const added = instances.at(-1)?.id ?? '';
    expect((await ask(`${api.url}/instances/${added}`)).body.instance.status).toBe('BUILD');
    await hear(added);
    await api.store.provisioning.finishBuild(id, Date.now(), (await held(id)).updated);
    expect(await held(id)).toMatchObject({ task: 'NONE' });
  });

  it('begins once under one idempotency key', async () => {
    const id = await buildCluster(api, 'once');
    const key = { 'idempotency-key': 'grow-once' };
    await act(id, { grow: [{}] }, key);
    await act(id, { grow: [{}] }, key);
    expect((await held(id)).instances).toHaveLength(4);
  });

  it('that failed can be undone: reset its status, and remove what was added', async () => {
    const id = await buildCluster(api, 'undone');
    await act(id, { grow: [{}] });
    const { there, provisioning } = newProvisioning();
    await provisioning.grow(id);
    const added = (await held(id)).instances.at(-1);
    expect((await act(id, { shrink: [{ id: added?.id }] })).status, 'not while it grows').toBe(422);
    const reset = await act(id, { 'reset-status': {} });
    expect(reset.body.cluster.task.name).toBe('NONE');
    expect((await act(id, { shrink: [{ id: added?.name }] })).status).toBe(202);
    await provisioning.shrink(id);
    expect((await held(id)).instances).toHaveLength(3);
    expect(there.has(added?.id ?? '')).toBe(false);
  });

  it.each([
    ['no instance', { grow: [] }, 400],
    ['more instances than a cluster may have', { grow: Array.from({ length: 98 }, () => ({})) }, 400],
    ['a name that is taken', { grow: [{ name: 'refused-member-1' }] }, 400],
    ['the same name twice', { grow: [{ name: 'a' }, { name: 'a' }] }, 400],
    ['a volume of nothing', { grow: [{ volume: { size: 0 } }] }, 400],
    ['modules, which there are none of', { grow: [{ modules: [{ id: 'x' }] }] }, 400],
  ])('is refused with %s, and changes nothing', async (_title, json, status) => {
    const id = await buildCluster(api, 'refused');
    const before = await held(id);
    expect((await act(id, json)).status).toBe(status);
    expect(await held(id)).toEqual(before);
    await api.store.provisioning.beginDelete(
      id,
      { id, topic: '', method: '', args: {}, request_id: '', tenant_id: '' },
      0,
    );
    await api.store.provisioning.remove(id);
  });

  it('copies the present primary, whichever instance that is by now', async () => {
    const { id, instances } = await buildPostgresql('moved');
    const [old, now] = instances;
    await hear(old?.id ?? '', 'replica');
    await hear(now?.id ?? '', 'primary');
    await act(id, { grow: [{}] });
    const cluster = await held(id);
    const added = cluster.instances.at(-1) as Instance;
    const endpoints = new Map([[now?.id ?? '', { host: '10.0.0.2', port: 6000 }]]);
    const order: BuildOrder = { databases: [], users: [] };
    expect(instanceConfig(cluster, added, order, endpoints)).toMatchObject({
      ...{ role: 'replica', ordinal: 3, primary: { host: '10.0.0.2', port: 6000 }, databases: [] },
    });
    expect(instanceConfig(cluster, added, order, new Map()).primary, 'as it reports it').toEqual({
      ...{ host: '10.0.0.1', port: 5432 },
    });
  });

  it('is refused where nobody reports to be the primary', async () => {
    const { id, instances } = await buildPostgresql('headless');
    await hear(instances[0]?.id ?? '', 'replica');
    const { status, body } = await act(id, { grow: [{}] });
    expect(status).toBe(422);
    expect(body.unprocessableEntity).toMatchObject({ error: 'gate_blocked' });
  });
});

describe('shrinking', () => {
  it('removes a replica, and forgets it', async () => {
    const { id, instances } = await buildPostgresql('shrinks');
    const gone = instances[1]?.id ?? '';
    const { there, provisioning } = newProvisioning(new Set(instances.map((one) => one.id)));
    const { status, body } = await act(id, { shrink: [{ id: gone }] });
    expect(status).toBe(202);
    expect(body.cluster.task).toMatchObject({ id: 6, name: 'SHRINKING_CLUSTER' });
    expect(body.cluster.instances[1].status).toBe('SHUTDOWN');
    await expect
      .poll(() => api.casts.at(-1))
      .toMatchObject({ method: 'shrink_cluster', args: { cluster_id: id } });
    expect((await act(id, { shrink: [{ id: gone }] })).status, 'asked for twice').toBe(202);
    await provisioning.shrink(id);
    expect(await held(id)).toMatchObject({ task: 'NONE', instances: [{}, {}] });
    expect(there.has(gone)).toBe(false);
    expect((await ask(`${api.url}/instances/${gone}`)).status).toBe(404);
    await act(id, { grow: [{}] });
    expect((await held(id)).instances.map((one) => one.name)).toEqual([
      ...['shrinks-member-1', 'shrinks-member-3', 'shrinks-member-4'],
    ]);
  });

  it('never takes the primary', async () => {
    const { id, instances } = await buildPostgresql('keeps');
    const before = await held(id);
    const { status, body } = await act(id, { shrink: [{ id: instances[0]?.id }] });
    expect(status).toBe(422);
    expect(body.unprocessableEntity.message).toMatch(/keeps-member-1 is the primary/);
    expect(await held(id)).toEqual(before);
  });

  it('takes one of two primaries, named by somebody, while the other is healthy, and none before one is named', async () => {
    const { id, instances } = await buildPostgresql('twofold');
    const [first = '', second = '', third = ''] = instances.map((one) => one.id);
    await hear(second, 'primary');
    const shown = (await ask(`${api.url}/clusters/${id}`)).body.cluster.problems;
    expect(shown).toEqual([
      {
        gate: 'one_primary',
        reason: expect.stringMatching(/twofold-member-1 .* and twofold-member-2 .* both primary/),
      },
    ]);
    for (const named of [[third], [first, second]]) {
      const { status, body } = await act(id, { shrink: named.map((each) => ({ id: each })) });
      expect([status, body.unprocessableEntity.message]).toEqual([
        422,
        expect.stringMatching(/are primaries: name all but the one that is to go on/),
      ]);
    }
    const { provisioning } = newProvisioning(new Set([first, second, third]));
    expect((await act(id, { shrink: [{ id: second }] })).status).toBe(202);
    await provisioning.shrink(id);
    expect((await held(id)).instances.map((one) => [one.id, one.fault])).toEqual([
      [first, null],
      [third, null],
    ]);
    expect((await ask(`${api.url}/clusters/${id}`)).body.cluster.problems).toEqual([]);
  });

  it('spares an instance that has become the primary since', async () => {
    const { id, instances } = await buildPostgresql('late');
    const [primary, promoted] = instances.map((one) => one.id);
    const { there, provisioning } = newProvisioning(new Set(instances.map((one) => one.id)));
    await act(id, { shrink: [{ id: promoted }] });
    await hear(primary ?? '', 'replica');
    await hear(promoted ?? '', 'primary');
    await provisioning.shrink(id);
    expect(there.size).toBe(3);
    const cluster = await held(id);
    expect(cluster.task).toBe('NONE');
    expect(cluster.instances[1]?.fault).toMatch(/has become the primary/);
    await act(id, { 'reset-status': {} });
    expect((await held(id)).instances).toHaveLength(3);
  });

  it('ends at once when its status is reset', async () => {
    const id = await buildCluster(api, 'resets');
    const [, gone] = (await held(id)).instances;
    await act(id, { shrink: [{ id: gone?.id }] });
    const { body } = await act(id, { 'reset-status': {} });
    expect(body.cluster).toMatchObject({ task: { name: 'NONE' }, instances: [{}, {}] });
  });

  it.each([
    ['of all instances', (all: readonly string[]) => all, 422],
    ['of one that is not in it', () => ['nobody'], 404],
    ['of none', () => [], 400],
  ])('is refused %s, and changes nothing', async (_title, choose, status) => {
    const id = await buildCluster(api, `whole-${status}`);
    const before = await held(id);
    const all = before.instances.map((one) => one.id);
    const refused = await act(id, { shrink: choose(all).map((one) => ({ id: one })) });
    expect(refused.status).toBe(status);
    expect(await held(id)).toEqual(before);
  });
});

describe('a cluster whose servers their operator makes', () => {
  const create = (name: string, more: object = {}) => {
    const datastore = { type: 'kv', version: '1.0' };
    return ask(`${api.url}/clusters`, {
      method: 'POST',
      json: { cluster: { name, datastore, instances: [{}, {}], ...more } },
    });
  };
  beforeAll(async () => {
    const version = { name: '1.0', datastore_name: 'kv', datastore_manager: 'kv', active: true };
    const made = await ask(`${api.url}/mgmt/datastore-versions`, { method: 'POST', json: { version } });
    expect(made.status).toBe(202);
  });

  it('neither grows nor shrinks here, and whoever tries hears what to do', async () => {
    const { id, instances } = (await create('notes')).body.cluster;
    await api.store.provisioning.finishBuild(id, Date.now());
    const [before, casts] = [await held(id), api.casts.length];
    for (const body of [{ grow: [{}] }, { shrink: [{ id: instances[1].id }] }]) {
      expect(await act(id, body)).toMatchObject({
        status: 422,
        body: {
          unprocessableEntity: {
            error: 'action_refused',
            message: expect.stringMatching(/made by their operator: datastore kv has hooks.*create it again/),
          },
        },
      });
    }
    expect(await held(id)).toEqual(before);
    expect(api.casts).toHaveLength(casts);
  });

  it.each([
    ['databases', { databases: [{ name: 'shop' }] }],
    ['users', { users: [{ name: 'app', password: 'secret' }] }],
  ])('is not made with %s, which nobody would make', async (asked, more) => {
    const refused = await create(`with-${asked}`, more);
    expect(refused).toMatchObject({ status: 400, body: { badRequest: { error: 'invalid_request' } } });
    expect(refused.body.badRequest.message).toContain(
      `cluster['${asked}'] would not be made: these servers of datastore 'kv' are their operator's.`,
    );
    expect(await api.store.clusters.find('t1', `with-${asked}`)).toEqual([]);
  });
});

describe('where others make the instances', () => {
  let theirs: Harness;
  beforeAll(async () => {
    theirs = await startApi({ provisioner: 'external' });
  });
  afterAll(() => theirs.close());

  const create = async (name: string, instances: readonly object[]) => {
    const json = { cluster: { name, datastore: { type: 'simulated', version: '1.0' }, instances } };
    const { status, body } = await ask(`${theirs.url}/clusters`, { method: 'POST', json });
    expect([status, body]).toMatchObject([200, { cluster: { name } }]);
    const id: string = body.cluster.id;
    await theirs.store.provisioning.finishBuild(id, Date.now());
    return { id, ids: (body.cluster.instances as Instance[]).map((one) => one.id) };
  };
  /** As a guest of Trove speaks: of its server's health, and of nothing else. */
  const speak = (id: string) =>
    theirs.store.clusters.heartbeat(id, { service_status: 'healthy', sent: Date.now() }, Date.now());
  const refusal = async (id: string, json: object) => {
    const answer = await ask(`${theirs.url}/clusters/${id}`, { method: 'POST', json });
    return [answer.status, answer.body.unprocessableEntity] as const;
  };

  it('instances that were registered are neither added to nor removed, and whoever tries hears what to do', async () => {
    const { id, ids } = await create('registered', [{ id: randomUUID() }, { id: randomUUID() }]);
    for (const each of ids) await speak(each);
    const [before, casts] = [await theirs.store.clusters.get(id), theirs.casts.length];
    const because = 'The instances of cluster registered were registered by their ids: whoever made them';
    expect(await refusal(id, { grow: [{}] })).toMatchObject([
      ...[422, { error: 'action_refused', message: expect.stringContaining(because) }],
    ]);
    expect(await refusal(id, { shrink: [{ id: ids[1] }] })).toMatchObject([
      ...[422, { error: 'action_refused', message: expect.stringContaining(because) }],
    ]);
    const deleted = await ask(`${theirs.url}/instances/${ids[1]}`, { method: 'DELETE' });
    expect([deleted.status, deleted.body.itemNotFound?.code]).toEqual([404, 404]);
    expect(await theirs.store.clusters.get(id)).toEqual(before);
    expect(theirs.casts).toHaveLength(casts);
  });

  it('no databases or users are made in instances that are registered', async () => {
    const cluster = {
      ...{ name: 'contents', datastore: { type: 'postgresql', version: '17.6' } },
      ...{ instances: [{ id: randomUUID() }], databases: [{ name: 'shop' }] },
    };
    const refused = await ask(`${theirs.url}/clusters`, { method: 'POST', json: { cluster } });
    expect([refused.status, refused.body.badRequest?.message]).toEqual([
      400,
      expect.stringContaining("these servers of datastore 'postgresql' are their operator's"),
    ]);
  });

  it('a registered cluster that is deleted is forgotten, and may be registered with others then', async () => {
    const { id, ids } = await create('forgotten', [{ id: randomUUID() }, { id: randomUUID() }]);
    for (const each of ids) await speak(each);
    expect((await ask(`${theirs.url}/clusters/${id}`, { method: 'DELETE' })).status).toBe(202);
    const deps = { store: theirs.store, provisioner: externalProvisioner, log: silentLog, now: Date.now };
    await new Provisioning(deps).remove(id);
    expect(await theirs.store.clusters.get(id)).toBeNull();
    const again = await create(
      'forgotten',
      [...ids, randomUUID()].map((one) => ({ id: one })),
    );
    expect(again.ids.slice(0, 2)).toEqual(ids);
  });

  it('a cluster whose join key is lost is not added to: no agent could join it', async () => {
    const { id } = await create('keyless', [{}]);
    expect((await ask(`${theirs.url}/clusters/${id}`, { method: 'POST', json: { grow: [{}] } })).status).toBe(
      202,
    );
    await theirs.store.provisioning.finishBuild(id, Date.now());
    const keys = Object.keys(await theirs.keyspace()).find((name) => name.endsWith(':keys')) ?? '';
    await theirs.forget(keys, [joinKeyId(id)]);
    expect(await refusal(id, { grow: [{}] })).toMatchObject([
      ...[422, { message: expect.stringContaining('is not kept any more') }],
    ]);
  });
});
