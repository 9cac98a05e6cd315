import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { CofferApiError, createClient } from '../../client/index.ts';
import {
  DatastoreAnswer,
  DatastoresAnswer,
  VersionAnswer,
  VersionsAnswer,
} from '../../src/contract/catalogue.ts';
import { ClusterAnswer, ClustersAnswer, InstanceAnswer } from '../../src/contract/documents.ts';
import { EventsAnswer, UpgradeAnswer, UpgradesAnswer } from '../../src/contract/upgrade-documents.ts';
import { ask, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

/** The client and the contract against the real api. Broken connections: test/unit/client.test.ts. */
let api: Harness;
let cluster: string;
beforeAll(async () => {
  api = await startApi();
  cluster = await buildCluster(api, 'shop');
});
afterAll(() => api.close());

const clientOf = ({ url }: Harness) => createClient({ endpoint: url });

describe('the client', () => {
  it('upgrades a cluster, watches and waits', async () => {
    const client = clientOf(api);
    const version = await client.datastores.version('simulated', '1.1');
    const { upgrade_id, task } = await client.clusters.upgrade('shop', version, { retries: 0 });
    expect(task.name).toBe('UPGRADING_CLUSTER');
    await happen(api.store, upgrade_id, 'started', { name: 'running', started: Date.now() });
    const waiting = client.upgrades.waitFor(upgrade_id);
    await happen(api.store, upgrade_id, 'succeeded', {
      name: 'succeeded',
      started: Date.now(),
      ended: Date.now(),
    });
    expect(await waiting).toMatchObject({
      id: upgrade_id,
      state: 'succeeded',
      to: { id: version.id, name: '1.1' },
    });
    expect(await client.clusters.waitFor(cluster)).toMatchObject({ datastore: { version: '1.1' } });
    expect((await client.upgrades.events(upgrade_id, 1)).map(({ type }) => type)).toEqual([
      'started',
      'succeeded',
    ]);
    for await (const upgrade of client.upgrades.list('shop')) expect(upgrade.id).toBe(upgrade_id);
  });

  it('upgrades one instance of a cluster, and shows its plan before', async () => {
    const client = clientOf(api);
    const id = await buildCluster(api, 'by-one');
    const instance = await client.instances.get('by-one-member-2');
    expect(instance).toMatchObject({ cluster_id: id, name: 'by-one-member-2' });
    const plan = await client.instances.plan(instance, '1.1');
    expect(plan.steps.map((step) => step.instance_id)).toEqual([instance.id]);
    const other = client.instances.upgrade(instance, '1.1', {}, { planHash: '0123456789abcdef' });
    await expect(other).rejects.toMatchObject({ code: 'conflict' });
    const planHash = plan.hash;
    const { upgrade_id } = await client.instances.upgrade(instance, '1.1', { retries: 0 }, { planHash });
    expect((await client.clusters.get(id)).upgrade_id).toBe(upgrade_id);
    expect(await client.upgrades.get(upgrade_id)).toMatchObject({ policy: { retries: 0 } });
    await expect(client.instances.get('nope')).rejects.toMatchObject({ code: 'instance_not_found' });
  });

  it('lists more clusters than fit on a page', async () => {
    const client = createClient({ endpoint: `${api.origin}/v1/many` });
    const input = { datastore: { type: 'simulated' }, instances: [{}] };
    const names = Array.from({ length: 103 }, (_, index) => `c${index}`);
    await Promise.all(names.map((name) => client.clusters.create({ ...input, name })));
    const seen: string[] = [];
    for await (const { name } of client.clusters.list()) seen.push(name);
    expect(seen.toSorted()).toEqual(names.toSorted());
  });

  it('rejects with a code that is stable', async () => {
    const error = await clientOf(api)
      .clusters.upgrade('nope', '1.1')
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CofferApiError);
    expect(error).toMatchObject({ code: 'cluster_not_found', status: 404, isTemporary: false });
  });
});

describe('every answer', () => {
  const SHAPES: readonly (readonly [path: string, schema: z.ZodType])[] = [
    ['/clusters', ClustersAnswer],
    ['/clusters/shop', ClusterAnswer],
    ['/clusters/shop/upgrades', UpgradesAnswer],
    ['/instances/INSTANCE', InstanceAnswer],
    ['/upgrades/UPGRADE', UpgradeAnswer],
    ['/upgrades/UPGRADE/events', EventsAnswer],
    ['/datastores', DatastoresAnswer],
    ['/datastores/postgresql', DatastoreAnswer],
    ['/datastores/postgresql/versions', VersionsAnswer],
    ['/datastores/postgresql/versions/17.10', VersionAnswer],
  ];

  it.each(SHAPES)('of %s fits the contract, to the last key', async (path, schema) => {
    const { instances, upgrade_id } = await clientOf(api).clusters.get(cluster);
    const url = path.replace('INSTANCE', instances[0]?.id ?? '').replace('UPGRADE', upgrade_id ?? '');
    const { status, body } = await ask(`${api.url}${url}`, { headers: { accept: 'application/json' } });
    expect(status).toBe(200);
    expect(schema.parse(body)).toEqual(body);
  });
});
