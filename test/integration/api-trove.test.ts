/**
 * Our answers beside those that the real trove-api gave (test/vectors/rest): every key that is there
 * must be here, with a value of the same type. What clients make of them is in test/interop.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../src/core/domain.ts';
import { ask, buildCluster, type Harness, startApi } from './api-harness.ts';

interface Vector {
  readonly request: string;
  readonly status: number;
  readonly content_type: string;
  readonly body: unknown;
}

const FOLDER = join(import.meta.dirname, '../vectors/rest');
const vector = (name: string) => JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as Vector;

/** What Trove has of Nova and Glance, and Coffer has not: null, or an empty text. */
const ABSENT = ['instance.server_id'];

/** Where `ours` lacks something that `theirs` has, or has it of another type. */
function lacking(theirs: unknown, ours: unknown, path = ''): string[] {
  if (theirs === null || ABSENT.includes(path)) return [];
  if (Array.isArray(theirs)) {
    if (!Array.isArray(ours)) return [`${path} is no list`];
    return ours.flatMap((one, index) => lacking(theirs[0], one, `${path}[${index}]`));
  }
  if (typeof theirs !== 'object') return typeof ours === typeof theirs ? [] : [`${path} is ${typeof ours}`];
  if (typeof ours !== 'object' || ours === null) return [`${path} is no object`];
  return Object.entries(theirs).flatMap(([key, value]) => {
    const at = path === '' ? key : `${path}.${key}`;
    return key in ours ? lacking(value, Reflect.get(ours, key), at) : [`${at} is missing`];
  });
}

let api: Harness;
let cluster: Cluster;
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
  const id = await buildCluster(api, 'cl0');
  await buildCluster(api, 'cl1');
  await buildCluster(api, 'cl2');
  cluster = (await api.store.clusters.get(id)) as Cluster;
  for (const { id: one } of cluster.instances) {
    const endpoint = { host: '10.1.0.9', port: 5432 };
    const report = {
      service_status: 'healthy',
      version: '1.0',
      role: 'member',
      sent: Date.now(),
      endpoint,
    } as const;
    await api.store.clusters.heartbeat(one, report, Date.now());
  }
});
afterAll(() => api.close());

const post = (json: unknown) => ({ method: 'POST', json });
const to = (path: string) => `${api.url}/${path}`;
const own = () => to(`clusters/${cluster.id}`);
const version = async () => (await ask(to('datastores/simulated/versions/1.1'))).body.version.id as string;

/** Each captured request, as it is asked of us. In this order: some of them change the cluster. */
const REQUESTS: readonly (readonly [string, () => Promise<Awaited<ReturnType<typeof ask>>>])[] = [
  ['clusters', () => ask(to('clusters'))],
  ['clusters-page', () => ask(to('clusters?limit=2'))],
  ['cluster', () => ask(own())],
  ['cluster-missing', () => ask(to('clusters/cl9'))],
  ['instance', () => ask(to(`instances/${cluster.instances[0]?.id}`))],
  ['flavor', () => ask(to('flavors/1'))],
  ['limits', () => ask(to('limits'))],
  ['datastores', () => ask(to('datastores'))],
  ['datastore', () => ask(to('datastores/simulated'))],
  ['versions', () => ask(to('datastores/simulated/versions'))],
  ['version', async () => ask(to(`datastores/versions/${await version()}`))],
  ['path-unknown', () => ask(to('nosuch'))],
  ['method-unknown', () => ask(own(), { method: 'PUT', json: {} })],
  ['version-documents', () => ask(`${api.origin}/`)],
  ['action-unknown', () => ask(own(), post({ bogus: {} }))],
  ['action-unsupported', () => ask(own(), post({ restart: {} }))],
  ['upgrade-incomplete', () => ask(own(), post({ upgrade: {} }))],
  ['upgrade-of-a-number', () => ask(own(), post({ upgrade: { datastore_version: 5 } }))],
  ['upgrade', () => ask(own(), post({ upgrade: { datastore_version: '1.1' } }))],
  ['upgrade-busy', () => ask(own(), post({ upgrade: { datastore_version: '1.1' } }))],
  ['reset-status', () => ask(own(), post({ 'reset-status': {} }))],
  ['delete', () => ask(own(), { method: 'DELETE' })],
];

describe('our answer has what that of Trove has', () => {
  it('to every request that was captured', () => {
    const captured = readdirSync(FOLDER).map((name) => name.replace('.json', ''));
    expect(captured.sort()).toEqual(REQUESTS.map(([name]) => name).sort());
  });

  it.each(REQUESTS)('%s', async (name, request) => {
    const theirs = vector(name);
    const ours = await request();
    expect(ours.status).toBe(theirs.status);
    expect(ours.headers.get('content-type')?.replace(/;.*/, '')).toBe(theirs.content_type);
    expect(ours.headers.get('x-openstack-request-id')).toMatch(/^req-[0-9a-f-]{36}$/);
    expect(lacking(theirs.body, ours.body)).toEqual([]);
    if (theirs.body === null) expect(ours.body).toBe('');
    if (theirs.status >= 400) expect(Object.keys(ours.body)).toEqual(Object.keys(theirs.body as object));
  });

  it('in the same words, where clients show them', () => {
    const messageOf = (name: string) =>
      Object.values(vector(name).body as Record<string, { message: string }>)[0];
    expect(messageOf('upgrade-busy')?.message).toMatch(/^This action cannot be performed on the cluster/);
    expect(messageOf('action-unknown')?.message).toBe('Action bogus not supported');
  });

  it('and the comparison finds what is missing, or of another type', () => {
    expect(lacking({ a: { b: 1 }, c: ['x'] }, { a: {}, c: [1] })).toEqual([
      'a.b is missing',
      'c[0] is number',
    ]);
    expect(lacking([{ a: 1 }], [{ a: 1 }, {}])).toEqual(['[1].a is missing']);
    expect(lacking({ a: 1 }, { a: '1' })).toEqual(['a is string']);
  });
});

describe('instances', () => {
  const listed = async (query: string) => ask(to(`instances?${query}`));

  it('are listed cluster by cluster, page by page, each once, and only when asked for as Trove does', async () => {
    expect((await ask(to('instances'))).body).toEqual({ instances: [] });
    expect((await listed('include_clustered=False')).body.instances).toEqual([]);
    const seen: string[] = [];
    let next = 'include_clustered=True&limit=2';
    for (;;) {
      const { body } = await listed(next);
      expect(body.instances.length).toBeLessThanOrEqual(2);
      seen.push(...body.instances.map((one: { id: string }) => one.id));
      if (!body.links) break;
      next = new URL(body.links[0].href).search.slice(1);
    }
    const { items } = await api.store.clusters.list('t1', { limit: 100, marker: null });
    expect(seen).toEqual(items.flatMap(({ instances }) => instances.map((one) => one.id)));
  });

  it('are listed for their own tenant only, and after a marker that exists', async () => {
    const others = await ask(`${api.origin}/v1.0/t2/instances?include_clustered=true`);
    expect(others.body).toEqual({ instances: [] });
    const [one] = cluster.instances;
    expect((await ask(`${api.origin}/v1.0/t2/instances?include_clustered=1&marker=${one?.id}`)).status).toBe(
      400,
    );
    expect((await listed('include_clustered=maybe')).status).toBe(400);
  });

  it('are found by name, and by id', async () => {
    const id = await buildCluster(api, 'Named');
    const [first] = (await api.store.clusters.get(id))?.instances ?? [];
    for (const reference of [first?.id, first?.name, first?.id.toUpperCase()]) {
      expect((await ask(to(`instances/${reference}`))).body.instance).toMatchObject({ id: first?.id });
      expect((await ask(to(`clusters/Named/instances/${reference}`))).status).toBe(200);
    }
    expect((await ask(`${api.origin}/v1.0/t2/instances/${first?.name}`)).status).toBe(404);
    await buildCluster(api, 'Named');
    const twice = await ask(to('instances/Named-member-1'));
    expect(twice.status).toBe(409);
    expect(twice.body.conflict.message).toContain(first?.id);
  });

  it('tell who replicates from whom, and what went wrong when', async () => {
    const json = { cluster: { name: 'pg', datastore: { type: 'postgresql' }, instances: [{}, {}] } };
    const { body } = await ask(to('clusters'), { method: 'POST', json });
    const [primary, replica] = body.cluster.instances.map((one: { id: string }) => one.id);
    await api.store.provisioning.finishBuild(body.cluster.id, Date.now());
    const addresses = { primary: { host: 'db.test', port: 1 }, replica: { host: 'db.test', port: 2 } };
    let sent = Date.now();
    const say = (upstream: { host: string; port: number }) =>
      Promise.all(
        (
          [
            [primary, 'primary'],
            [replica, 'replica'],
          ] as const
        ).map(([id, role]) => {
          const report = {
            service_status: 'healthy',
            role,
            endpoint: addresses[role],
            sent: ++sent,
          } as const;
          return api.store.clusters.heartbeat(
            id,
            { ...report, upstream: role === 'replica' ? upstream : null },
            Date.now(),
          );
        }),
      );
    await say(addresses.primary);
    expect((await ask(to(`instances/${primary}`))).body.instance.replicas).toMatchObject([{ id: replica }]);
    expect((await ask(to(`instances/${replica}`))).body.instance.replica_of).toMatchObject({ id: primary });
    const { instances } = (await ask(to(`clusters/${body.cluster.id}`))).body.cluster;
    expect(instances.map((one: { replica_of?: { id: string } }) => one.replica_of?.id)).toEqual([
      undefined,
      primary,
    ]);
    // Not whom it ought to follow: what its server says.
    await say({ host: 'elsewhere.test', port: 1 });
    expect((await ask(to(`instances/${primary}`))).body.instance.replicas).toEqual([]);
    expect((await ask(to(`instances/${replica}`))).body.instance.replica_of).toBeUndefined();

    const seen = (await api.store.clusters.get(body.cluster.id)) as Cluster;
    const cast = { id: 'x', topic: '', method: '', args: {}, request_id: '', tenant_id: '' };
    await api.store.provisioning.beginShrink(seen, [replica], cast, seen.updated + 1);
    const shrinking = (await api.store.clusters.get(body.cluster.id)) as Cluster;
    await api.store.provisioning.finishShrink(shrinking, [], 'it stays', Date.now());
    await api.store.outbox.castConfirmed('x');
    expect((await ask(to(`instances/${replica}`))).body.instance.fault).toEqual({
      ...{ message: 'it stays', created: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}$/) },
    });
  });
});

describe('the upgrade of one instance', () => {
  const patch = (reference: string | undefined, json: unknown) =>
    ask(to(`instances/${reference}`), { method: 'PATCH', json });

  it('is accepted as Trove accepts it, and begins an upgrade with that scope', async () => {
    const id = await buildCluster(api, 'single');
    const [first] = (await api.store.clusters.get(id))?.instances ?? [];
    const plan = await patch(first?.name, { instance: { datastore_version: '1.1', dry_run: true } });
    expect(plan.body.plan).toMatchObject({ steps: [{ instance_id: first?.id }], gates: [] });
    expect((await api.store.clusters.get(id))?.task).toBe('NONE');

    const { status, body, headers } = await patch(first?.id, { instance: { datastore_version: '1.1' } });
    expect([status, body]).toEqual([202, '']);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    const { upgrade } = (await ask(headers.get('location') ?? '')).body;
    expect(upgrade).toMatchObject({ cluster_id: id, instance_id: first?.id, to: { name: '1.1' } });
    await expect
      .poll(() => api.casts.at(-1))
      .toMatchObject({
        method: 'upgrade',
        args: { instance_id: first?.id, upgrade_id: upgrade.id },
      });
    expect((await patch(first?.id, { instance: { datastore_version: '1.1' } })).status).toBe(422);
  });

  it.each([
    ['another change than of the version', { instance: { name: 'other' } }, 400],
    ['nothing', {}, 400],
    ['a version that there is none of', { instance: { datastore_version: '9.9' } }, 404],
    ['the version that it runs', { instance: { datastore_version: '1.0' } }, 422],
  ])('is refused for %s, and changes nothing', async (_title, json, status) => {
    const before = (await api.store.clusters.find('t1', 'cl1'))[0] ?? '';
    const held = await api.store.clusters.get(before);
    expect((await patch('cl1-member-2', json)).status).toBe(status);
    expect(await api.store.clusters.get(before)).toEqual(held);
  });

  it('is for the own tenant only', async () => {
    const json = { instance: { datastore_version: '1.1' } };
    const id = (await api.store.clusters.get((await api.store.clusters.find('t1', 'cl1'))[0] ?? ''))
      ?.instances[0]?.id;
    expect((await ask(`${api.origin}/v1.0/t2/instances/${id}`, { method: 'PATCH', json })).status).toBe(404);
  });
});

describe('flavors and limits', () => {
  it('find any label, since Coffer chooses no hosts', async () => {
    expect((await ask(to('flavors/m1.large'))).body.flavor).toMatchObject({ id: null, str_id: 'm1.large' });
    expect((await ask(to('flavors'))).body.flavors).toMatchObject([{ id: 1, name: '1' }]);
  });

  it('say that there are none where there are none', async () => {
    expect((await ask(to('limits'))).body.limits).toEqual([
      {
        verb: 'ABSOLUTE',
        ...{ max_instances: -1, max_ram: -1, max_volumes: -1, max_backups: 0, max_clusters: -1 },
      },
    ]);
  });
});
