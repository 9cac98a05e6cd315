/** The rules that every store must keep: run on Redis (and on any other implementation of the store). */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Catalogue, EMPTY_CATALOGUE } from '../../src/core/catalogue.ts';
import type { Cluster, GuestReport, Instance } from '../../src/core/domain.ts';
import { expectedTimes, MEASURED_STEPS, NOTHING_MEASURED } from '../../src/core/history.ts';
import { DEFAULT_POLICY } from '../../src/core/policy.ts';
import type { Upgrade, UpgradeEvent } from '../../src/core/record.ts';
import { joinKeyId } from '../../src/store/keys.ts';
import type { PendingCast } from '../../src/store/outbox.ts';
import type { BuildOrder } from '../../src/store/provisioning.ts';
import type { KeyedRequest } from '../../src/store/requests.ts';
import type { Store } from '../../src/store/store.ts';
import { type Commit, FORGET_AT_ONCE } from '../../src/store/upgrades.ts';
import { describeBatches, newBatch } from './batches.ts';

const NOW = 1_800_000_000_000;
const ENDPOINT = { host: '127.0.0.1', port: 5432 };
const NO_ORDER: BuildOrder = { databases: [], users: [] };

export function describeStore(
  name: string,
  open: () => Promise<{ store: Store; close: () => Promise<void> }>,
): void {
  describe(`${name} as a store`, () => {
    let store: Store;
    let close: () => Promise<void>;
    beforeAll(async () => {
      ({ store, close } = await open());
      await seeded(store);
    });
    afterAll(() => close());

    describeBatches(name, () => store);

    it('has the id of its installation from whoever asks first', async () => {
      const first = await store.installation('one');
      expect(await store.installation('another')).toBe(first);
    });

    describe('clusters', () => {
      it('gives back what was created, once', async () => {
        const cluster = newCluster();
        expect(await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'))).toBe(
          'created',
        );
        expect(await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'))).toBe(
          'taken',
        );
        expect(await store.clusters.get(cluster.id)).toEqual(cluster);
        expect(await store.clusters.get(randomUUID())).toBeNull();
        expect(await store.clusters.ofInstance(cluster.instances[0]?.id ?? '')).toBe(cluster.id);
      });

      it('shows a cluster together with the catalogue', async () => {
        const { id } = await built(store);
        const cluster = await store.clusters.get(id);
        const catalogue = await store.catalogue.get();
        expect(await store.clusters.see(id)).toEqual({ cluster, catalogue });
        expect(await store.clusters.see(randomUUID())).toBeNull();
        await store.catalogue.put({ ...catalogue, revision: catalogue.revision + 1 }, []);
        expect((await store.clusters.see(id))?.catalogue.revision).toBe(catalogue.revision + 1);
      });

      it('gives back text of any kind as it was, and many clusters in the order asked for', async () => {
        const odd = `"'\\/ \n\u0000 ü 🐘`;
        const many = Array.from({ length: 45 }, () => newCluster({ name: odd, datastore_version: odd }));
        for (const one of many) await store.provisioning.create(one, NO_ORDER, castOf(one, 'create_cluster'));
        const ids = many.map(({ id }) => id);
        expect(await store.clusters.getMany([randomUUID(), ...ids])).toEqual(many);
        expect(await store.clusters.getMany([])).toEqual([]);
      });

      it('takes no more clusters of a tenant than it may have, however many come at once', async () => {
        const tenant_id = randomUUID();
        const create = (tenant: string, max: number | null) => {
          const cluster = newCluster({ tenant_id: tenant });
          return store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'), {
            max_clusters: max,
          });
        };
        const outcomes = await Promise.all(Array.from({ length: 8 }, () => create(tenant_id, 3)));
        expect(outcomes.sort()).toEqual([...Array(3).fill('created'), ...Array(5).fill('full')]);
        expect((await store.clusters.list(tenant_id, { limit: 10, marker: null })).items).toHaveLength(3);
        expect(await create(randomUUID(), 3)).toBe('created');
        expect(await create(tenant_id, null)).toBe('created');
        expect(await create(randomUUID(), 0)).toBe('full');
      });

      it('finds by name, oldest first, within a tenant', async () => {
        const tenant_id = randomUUID();
        const [older, newer] = [
          newCluster({ tenant_id, name: 'twin' }),
          newCluster({ tenant_id, name: 'twin', created: NOW + 5 }),
        ];
        for (const one of [newer, older])
          await store.provisioning.create(one, NO_ORDER, castOf(one, 'create_cluster'));
        expect(await store.clusters.find(tenant_id, 'twin')).toEqual([older.id, newer.id]);
        expect(await store.clusters.find(randomUUID(), 'twin')).toEqual([]);
      });

      it('lists page by page, each cluster once, no matter what comes in between', async () => {
        const tenant_id = randomUUID();
        const ids = new Set<string>();
        for (let i = 0; i < 7; i++) {
          const cluster = newCluster({ tenant_id });
          ids.add(cluster.id);
          await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'));
        }
        const seen: string[] = [];
        let marker: string | null = null;
        do {
          const page = await store.clusters.list(tenant_id, { limit: 3, marker });
          expect(page.items.length).toBeLessThanOrEqual(3);
          seen.push(...page.items.map((one) => one.id));
          marker = page.next_marker;
        } while (marker !== null);
        expect(seen).toEqual([...ids].sort());
        expect(await store.clusters.list(randomUUID(), { limit: 3, marker: null })).toEqual({
          items: [],
          next_marker: null,
        });
      });

      it('ends a build once, and drops the build order', async () => {
        const order: BuildOrder = { ...NO_ORDER, databases: ['app'] };
        const cluster = newCluster();
        await store.provisioning.create(cluster, order, castOf(cluster, 'create_cluster'));
        expect(await store.provisioning.getOrder(cluster.id)).toEqual(order);
        await store.provisioning.finishBuild(cluster.id, NOW + 1);
        await store.provisioning.finishBuild(cluster.id, NOW + 2);
        const built = await store.clusters.get(cluster.id);
        expect(built?.task).toBe('NONE');
        expect(built?.updated).toBe(NOW + 1);
        expect(built?.instances.map((one) => one.task)).toEqual(['NONE', 'NONE']);
        expect(await store.provisioning.getOrder(cluster.id)).toBeNull();
      });

      it('deletes what is idle, and leaves nothing', async () => {
        const cluster = await built(store);
        const cast = castOf(cluster, 'delete_cluster');
        await store.provisioning.remove(cluster.id);
        expect(await store.clusters.get(cluster.id), 'not removed while it is not DELETING').not.toBeNull();
        expect(await store.provisioning.beginDelete(cluster.id, cast, NOW)).toBe('begun');
        expect(await store.provisioning.beginDelete(cluster.id, cast, NOW)).toBe('DELETING');
        await store.provisioning.remove(cluster.id);
        expect(await store.clusters.get(cluster.id)).toBeNull();
        expect(await store.clusters.ofInstance(cluster.instances[0]?.id ?? '')).toBeNull();
        expect(await store.clusters.find(cluster.tenant_id, cluster.name)).toEqual([]);
        expect(await store.provisioning.beginDelete(cluster.id, cast, NOW)).toBeNull();
      });

      it('deletes what is being built: it may never be', async () => {
        const cluster = newCluster();
        await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'));
        expect(await store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), NOW)).toBe(
          'begun',
        );
        await store.provisioning.finishBuild(cluster.id, NOW);
        expect((await store.clusters.get(cluster.id))?.task, 'a late heartbeat ends no build').toBe(
          'DELETING',
        );
        const agent = { id: randomUUID(), endpoint: ENDPOINT, sent: NOW };
        expect(await store.provisioning.join(cluster.id, agent)).toBe('full');
        await store.provisioning.remove(cluster.id);
        expect(await store.clusters.get(cluster.id)).toBeNull();
        expect(await store.provisioning.getOrder(cluster.id)).toBeNull();
      });

      it('does not delete what is being upgraded', async () => {
        const { cluster } = await begun(store);
        const cast = castOf(cluster, 'delete_cluster');
        expect(await store.provisioning.beginDelete(cluster.id, cast, NOW)).toBe('UPGRADING_CLUSTER');
        expect((await store.clusters.get(cluster.id))?.task).toBe('UPGRADING_CLUSTER');
      });

      it('gives each agent that joins a place of its own, and the same one again', async () => {
        const cluster = newCluster();
        await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'));
        const [first, second] = cluster.instances.map(({ id }) => id);
        let sent = NOW;
        const join = (id: string, port: number) => {
          sent += 1;
          return store.provisioning.join(cluster.id, { id, endpoint: { host: 'h', port }, sent });
        };
        expect(await join('agent-1', 1)).toEqual({ instance_id: first, first: { host: 'h', port: 1 } });
        expect(await join('agent-2', 2)).toEqual({ instance_id: second, first: { host: 'h', port: 1 } });
        expect(await join('agent-3', 3)).toBe('full');
        expect(await join('agent-1', 4), 'it has moved').toMatchObject({ instance_id: first });
        expect(await join('agent-2', 2)).toEqual({ instance_id: second, first: { host: 'h', port: 4 } });
        await store.provisioning.finishBuild(cluster.id, NOW);
        expect(await join('agent-1', 4), 'nobody joins what is built').toBe('full');
      });

      it('takes no older word of an agent that has joined; the same again changes nothing', async () => {
        const cluster = newCluster();
        await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'));
        const [first] = cluster.instances.map(({ id }) => id);
        const join = (sent: number, port: number) =>
          store.provisioning.join(cluster.id, { id: 'agent-1', endpoint: { host: 'h', port }, sent });
        const told = { instance_id: first, first: { host: 'h', port: 2 } };
        await join(NOW + 1, 1);
        expect(await join(NOW + 2, 2)).toEqual(told);
        expect(await join(NOW + 1, 1)).toBe('stale');
        expect(await join(NOW + 2, 2)).toEqual(told);
      });

      it('keeps the keys of its instances, and forgets them with it', async () => {
        const cluster = newCluster();
        const [a = '', b = ''] = cluster.instances.map(({ id }) => id);
        const keys = new Map([
          [a, 'key of a'],
          [b, 'key of b'],
          [joinKeyId(cluster.id), 'join key'],
        ]);
        const cast = castOf(cluster, 'create_cluster');
        await store.provisioning.create(cluster, NO_ORDER, cast, { keys });
        const other = new Map([[a, 'another key']]);
        expect(await store.provisioning.create(cluster, NO_ORDER, cast, { keys: other })).toBe('taken');
        expect(await store.keys.get(a)).toBe('key of a');
        expect(await store.keys.replace(a, 'new key of a')).toBe(true);
        expect(await store.keys.get(a)).toBe('new key of a');
        expect(await store.keys.ids()).toEqual(expect.arrayContaining([...keys.keys()]));
        await store.provisioning.finishBuild(cluster.id, NOW);
        await store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), NOW);
        await store.provisioning.remove(cluster.id);
        for (const id of keys.keys()) expect(await store.keys.get(id)).toBeNull();
        expect(await store.keys.replace(a, 'too late')).toBe(false);
        expect(await store.keys.get(a)).toBeNull();
      });
    });

    describe('adopted clusters', () => {
      const at = (port: number) => ({ host: randomUUID(), port });
      const adoption = (given: Partial<Cluster> = {}) => {
        const cluster = newCluster({
          ...given,
          adopted: true,
          datastore_version_id: '',
          datastore_version: '',
        });
        const [one, two] = [at(5432), at(5433)];
        const [first, second] = cluster.instances.map((each, index) => ({
          ...each,
          address: index === 0 ? one : two,
        }));
        return { ...cluster, instances: [first, second] as Instance[] };
      };
      const create = (cluster: Cluster) =>
        store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'));
      const held = async ({ id }: Cluster) => (await store.clusters.get(id)) as Cluster;
      const found = (system_identifier: string, name = 'v1') => ({
        ...{ version: { id: name, name }, system_identifier },
      });
      const system = () => `7${Math.random().toString().slice(2, 12)}`;

      it('have no version at first, and then what their servers say, together with the task NONE', async () => {
        const cluster = adoption();
        expect(await create(cluster)).toBe('created');
        expect(await held(cluster)).toEqual(cluster);
        const settlement = found(system());
        expect(await store.adoption.settle({ ...cluster, updated: NOW - 1 }, settlement, NOW)).toBe(
          'changed',
        );
        const unknown = { ...settlement, version: { id: randomUUID(), name: '9.9' } };
        expect(await store.adoption.settle(cluster, unknown, NOW)).toBe('no_version');
        expect(await held(cluster), 'nothing is half done').toEqual(cluster);
        expect(await store.adoption.settle(cluster, settlement, NOW + 1)).toBe('settled');
        const settled = await held(cluster);
        expect(settled).toMatchObject({
          ...{ task: 'NONE', datastore_version: 'v1', updated: NOW + 1 },
          system_identifier: settlement.system_identifier,
        });
        expect(settled.instances.map(({ task }) => task)).toEqual(['NONE', 'NONE']);
        expect(await store.provisioning.getOrder(cluster.id)).toBeNull();
        const report = { service_status: 'healthy', sent: NOW } as const;
        const { id = '' } = cluster.instances[0] ?? {};
        expect(await store.clusters.heartbeat(id, report, NOW)).toMatchObject({ adopted_version: 'v1' });
        expect(await store.adoption.settle(settled, found(settlement.system_identifier, 'v2'), NOW + 2)).toBe(
          'settled',
        );
        expect(await held(cluster)).toMatchObject({ task: 'NONE', datastore_version: 'v2' });
      });

      it('share no server: neither by its address nor by its data', async () => {
        const cluster = adoption();
        await create(cluster);
        const twin = { ...adoption({ tenant_id: cluster.tenant_id }) };
        const same = { ...twin, instances: [twin.instances[0], cluster.instances[1]] as Instance[] };
        const { host, port } = cluster.instances[1]?.address ?? ENDPOINT;
        const claim = `at:${cluster.tenant_id}:${host}:${port}`;
        expect(await create(same)).toEqual({ claim, claimed_by: cluster.id });
        expect(await store.clusters.get(same.id)).toBeNull();
        expect(await create({ ...same, tenant_id: randomUUID() }), 'a private network').toBe('created');

        const other = adoption();
        await create(other);
        const settlement = found(system());
        expect(await store.adoption.settle(cluster, settlement, NOW + 1)).toBe('settled');
        const verdict = await store.adoption.settle(other, settlement, NOW + 1);
        expect(verdict).toEqual({ claim: `system:${settlement.system_identifier}`, claimed_by: cluster.id });
        expect(await held(other)).toEqual(other);
        await store.adoption.blame({ ...other, updated: NOW - 1 }, 'too late');
        await store.adoption.blame(other, 'in another cluster');
        expect((await held(other)).instances.map(({ task, fault }) => [task, fault])).toEqual([
          ['BUILDING', 'in another cluster'],
          ['BUILDING', 'in another cluster'],
        ]);

        await store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), NOW + 2);
        await store.provisioning.remove(cluster.id);
        expect(await store.adoption.settle(other, settlement, NOW + 3), 'it was let go').toBe('settled');
        await store.adoption.blame(await held(other), 'too late');
        expect((await held(other)).instances.map(({ fault }) => fault)).toEqual([null, null]);
        expect(await create({ ...same, id: randomUUID() })).toBe('created');
      });

      it('give a place to the agent of its host only, and keep a join key for each', async () => {
        const cluster = adoption();
        const [first = '', second = ''] = cluster.instances.map(({ id }) => id);
        const keys = new Map([
          [joinKeyId(first), 'one'],
          [joinKeyId(second), 'two'],
        ]);
        await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'), { keys });
        const join = (id: string, instance_id: string) =>
          store.provisioning.join(cluster.id, { id, instance_id, endpoint: ENDPOINT, sent: NOW });
        expect(await join('agent-2', second)).toMatchObject({ instance_id: second });
        expect(await join('another', second)).toBe('full');
        expect(await join('agent-2', second)).toMatchObject({ instance_id: second });
        expect(await join('agent-1', first)).toMatchObject({ instance_id: first });
        await store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), NOW + 2);
        await store.provisioning.remove(cluster.id);
        expect(await store.keys.get(joinKeyId(second))).toBeNull();
      });
    });

    describe('clusters that grow and shrink', () => {
      const grow = async (cluster: Cluster, added: readonly Instance[], now = NOW + 10) =>
        store.provisioning.beginGrow(cluster, added, castOf(cluster, 'grow_cluster'), now);
      const shrink = async (cluster: Cluster, ids: readonly string[], now = NOW + 10) =>
        store.provisioning.beginShrink(cluster, ids, castOf(cluster, 'shrink_cluster'), now);
      const idle = async () => {
        const { id } = await built(store);
        return (await store.clusters.get(id)) as Cluster;
      };
      const ids = ({ instances }: Cluster) => instances.map((one) => one.id);

      it('hold new instances at the end, in task BUILDING, until they are built', async () => {
        const cluster = await idle();
        const added = newInstance(cluster.id, 2);
        await store.clusters.heartbeat(ids(cluster)[0] ?? '', reportOf(5, '1.0'), NOW);
        expect(await grow(cluster, [added])).toBe('begun');
        const growing = (await store.clusters.get(cluster.id)) as Cluster;
        expect(growing).toMatchObject({ task: 'GROWING_CLUSTER', updated: NOW + 10 });
        expect(ids(growing)).toEqual([...ids(cluster), added.id]);
        expect(growing.instances.map((one) => one.task)).toEqual(['NONE', 'NONE', 'BUILDING']);
        expect(growing.instances[0]?.report, 'what guests said is kept').not.toBeNull();
        expect(await store.clusters.ofInstance(added.id)).toBe(cluster.id);
        expect(await store.provisioning.getOrder(cluster.id)).toEqual(NO_ORDER);
        const due = await store.due.list();
        expect(due).toContainEqual({ kind: 'cluster', id: cluster.id });
        expect((await store.outbox.pendingCasts(NOW + 10, 100_000)).map((cast) => cast.id)).toContain(
          `${cluster.id}:grow_cluster`,
        );

        await store.provisioning.finishBuild(cluster.id, NOW + 20, growing.updated);
        const grown = (await store.clusters.get(cluster.id)) as Cluster;
        expect(grown).toMatchObject({ task: 'NONE', updated: NOW + 20 });
        expect(grown.instances.map((one) => one.task)).toEqual(['NONE', 'NONE', 'NONE']);
        expect(await store.provisioning.getOrder(cluster.id)).toBeNull();
        expect(await store.due.list()).not.toContainEqual({ kind: 'cluster', id: cluster.id });
      });

      it('begin nothing on a cluster that is busy, has changed, or is none', async () => {
        const { cluster } = await begun(store);
        const upgrading = (await store.clusters.get(cluster.id)) as Cluster;
        expect(await grow(upgrading, [newInstance(cluster.id, 2)])).toBe('UPGRADING_CLUSTER');
        expect(await shrink(upgrading, [ids(cluster)[1] ?? ''])).toBe('UPGRADING_CLUSTER');
        expect(await store.clusters.get(cluster.id)).toEqual(upgrading);

        const other = await idle();
        await grow(other, [newInstance(other.id, 2)]);
        await store.provisioning.finishBuild(other.id, NOW + 20);
        expect(await grow(other, [newInstance(other.id, 2)]), 'it has three instances by now').toBe(
          'changed',
        );
        expect(await shrink(other, ids(other)), 'all of two were none of three').toBe('changed');
        expect(await grow(newCluster(), [])).toBeNull();
        expect(await shrink(newCluster(), [])).toBeNull();
      });

      it('let nobody begin an upgrade, or another change, meanwhile', async () => {
        const cluster = await idle();
        await grow(cluster, [newInstance(cluster.id, 2)]);
        const upgrade = newUpgrade(cluster);
        expect(await store.upgrades.begin(upgrade, accepted(upgrade), null, NOW)).toEqual({
          ...{ verdict: 'busy', task: 'GROWING_CLUSTER', upgrade_id: null },
        });
        const growing = (await store.clusters.get(cluster.id)) as Cluster;
        expect(await shrink(growing, ids(cluster))).toBe('GROWING_CLUSTER');
        expect(await store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), NOW)).toBe(
          'GROWING_CLUSTER',
        );
      });

      it('do not take the end of an earlier task for their own', async () => {
        const cluster = await idle();
        await grow(cluster, [newInstance(cluster.id, 2)], NOW + 10);
        const first = (await store.clusters.get(cluster.id)) as Cluster;
        await store.provisioning.finishBuild(cluster.id, NOW + 20);
        await grow((await store.clusters.get(cluster.id)) as Cluster, [newInstance(cluster.id, 3)], NOW + 30);
        await store.provisioning.finishBuild(cluster.id, NOW + 40, first.updated);
        expect((await store.clusters.get(cluster.id))?.task).toBe('GROWING_CLUSTER');
      });

      it('give new instances only to agents that join, with a key each', async () => {
        const cluster = await idle();
        const added = newInstance(cluster.id, 2);
        const keys = new Map([[added.id, 'its key']]);
        const cast = castOf(cluster, 'grow_cluster');
        expect(await store.provisioning.beginGrow(cluster, [added], cast, NOW + 10, keys)).toBe('begun');
        expect(await store.keys.get(added.id)).toBe('its key');
        const join = (id: string) =>
          store.provisioning.join(cluster.id, { id, endpoint: ENDPOINT, sent: NOW });
        expect(await join('agent-3')).toMatchObject({ instance_id: added.id });
        expect(await join('agent-4')).toBe('full');
        await store.provisioning.finishBuild(cluster.id, NOW + 20);
        const grown = (await store.clusters.get(cluster.id)) as Cluster;
        await shrink(grown, [added.id], NOW + 30);
        const shrinking = (await store.clusters.get(cluster.id)) as Cluster;
        await store.provisioning.finishShrink(shrinking, [added.id], null, NOW + 40);
        expect(await store.keys.get(added.id), 'gone with it').toBeNull();
      });

      it('forget what was removed, and nothing else', async () => {
        const cluster = await idle();
        const [kept = '', gone = ''] = ids(cluster);
        await store.clusters.heartbeat(gone, reportOf(5, '1.0'), NOW);
        expect(await shrink(cluster, [gone])).toBe('begun');
        const shrinking = (await store.clusters.get(cluster.id)) as Cluster;
        expect(shrinking.task).toBe('SHRINKING_CLUSTER');
        expect(shrinking.instances.map((one) => one.task)).toEqual(['NONE', 'DELETING']);

        await store.provisioning.finishShrink(shrinking, [gone], null, NOW + 20);
        const shrunk = (await store.clusters.get(cluster.id)) as Cluster;
        expect(shrunk).toMatchObject({ task: 'NONE', updated: NOW + 20 });
        expect(ids(shrunk)).toEqual([kept]);
        expect(await store.clusters.ofInstance(gone)).toBeNull();
        expect(await store.clusters.heartbeat(gone, reportOf(9, '1.0'), NOW)).toBeNull();
        expect(await store.clusters.ofInstance(kept)).toBe(cluster.id);
        expect(await store.due.list()).not.toContainEqual({ kind: 'cluster', id: cluster.id });

        await store.provisioning.finishShrink(shrinking, [kept], null, NOW + 30);
        expect(ids((await store.clusters.get(cluster.id)) as Cluster), 'only once').toEqual([kept]);
      });

      it('spare what was to go, and say why', async () => {
        const cluster = await idle();
        await shrink(cluster, [ids(cluster)[1] ?? '']);
        const shrinking = (await store.clusters.get(cluster.id)) as Cluster;
        await store.provisioning.finishShrink(shrinking, [], 'it became the primary', NOW + 20);
        const spared = await store.clusters.get(cluster.id);
        expect(spared?.task).toBe('NONE');
        expect(spared?.instances.map(({ task, fault }) => [task, fault])).toEqual([
          ['NONE', null],
          ['NONE', 'it became the primary'],
        ]);
      });
    });

    describe('the catalogue', () => {
      const add = (version_id: string) => async (own: Store) => {
        const held = await own.catalogue.get();
        return own.catalogue.put(withVersion(held, version_id), []);
      };
      const without = (held: Catalogue, version_id: string): Catalogue => ({
        ...{ ...held, revision: held.revision + 1 },
        versions: held.versions.filter(({ id }) => id !== version_id),
      });

      it('is empty at first, and then what was put', async () => {
        const { store: own, close: closeOwn } = await open();
        expect(await own.catalogue.get()).toEqual(EMPTY_CATALOGUE);
        const catalogue = newCatalogue(['v1', 'v2']);
        expect(await own.catalogue.put(catalogue, [])).toEqual({ verdict: 'put' });
        expect(await own.catalogue.get()).toEqual(catalogue);
        await closeOwn();
      });

      it('is put by one of several who have read the same', async () => {
        const held = await store.catalogue.get();
        const outcomes = await Promise.all(
          ['a', 'b', 'c'].map((id) => store.catalogue.put(withVersion(held, id), [])),
        );
        expect(outcomes.map(({ verdict }) => verdict).sort()).toEqual(['conflict', 'conflict', 'put']);
        expect((await store.catalogue.get()).revision).toBe(held.revision + 1);
        expect(await store.catalogue.put(held, []), 'an old one').toEqual({ verdict: 'conflict' });
      });

      it('keeps what a cluster has, and lets go of it with the cluster', async () => {
        const version_id = randomUUID();
        await add(version_id)(store);
        const cluster = newCluster({ datastore_version_id: version_id });
        await store.provisioning.create(cluster, NO_ORDER, castOf(cluster, 'create_cluster'));
        const held = await store.catalogue.get();
        const users = [`cluster:${cluster.id}`];
        const removal = [without(held, version_id), [version_id]] as const;
        expect(await store.catalogue.put(...removal)).toEqual({ verdict: 'in_use', version_id, users });
        expect(await store.catalogue.get()).toEqual(held);
        await store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), NOW);
        await store.provisioning.remove(cluster.id);
        expect(await store.catalogue.put(...removal)).toEqual({ verdict: 'put' });
      });

      it('keeps what an active upgrade goes to, then what the cluster has got, and lets go of the old one', async () => {
        const [from, to, other] = [randomUUID(), randomUUID(), randomUUID()];
        for (const id of [from, to, other]) await add(id)(store);
        const cluster = await built(store, NO_ORDER, { datastore_version_id: from });
        const upgrade = { ...newUpgrade(cluster), from_version_id: from, to_version_id: to };
        await store.upgrades.begin(upgrade, accepted(upgrade), null, NOW);
        const usersOf = async (id: string) => {
          const held = await store.catalogue.get();
          const outcome = await store.catalogue.put({ ...held, revision: held.revision + 1 }, [id]);
          return outcome.verdict === 'in_use' ? outcome.users : [];
        };
        expect(await usersOf(to)).toEqual([`upgrade:${upgrade.id}`]);
        const retargeted = { ...upgrade, to_version_id: other };
        await store.upgrades.commit(commitOf(retargeted, []));
        expect([await usersOf(to), await usersOf(other)]).toEqual([[], [`upgrade:${upgrade.id}`]]);
        const ended: Upgrade['state'] = { name: 'succeeded', started: NOW, ended: NOW };
        const release = { datastore_version_id: other, datastore_version: 'other' };
        const last = commitOf({ ...retargeted, revision: 2, state: ended }, []);
        await store.upgrades.commit({ ...last, release, wake_at: null });
        expect([await usersOf(from), await usersOf(other)]).toEqual([[], [`cluster:${cluster.id}`]]);
      });

      it('gives nobody a version that was deleted meanwhile', async () => {
        const cluster = newCluster({ datastore_version_id: randomUUID() });
        const cast = castOf(cluster, 'create_cluster');
        expect(await store.provisioning.create(cluster, NO_ORDER, cast)).toBe('no_version');
        expect(await store.clusters.get(cluster.id)).toBeNull();
        const upgrade = { ...newUpgrade(await built(store)), to_version_id: randomUUID() };
        expect(await store.upgrades.begin(upgrade, accepted(upgrade), null, NOW)).toEqual({
          verdict: 'no_version',
        });
        expect(await store.upgrades.get(upgrade.id)).toBeNull();
      });
    });

    describe('heartbeats', () => {
      it("keep the newest report, by the guest's own clock", async () => {
        const cluster = await built(store);
        const [instance] = cluster.instances;
        const id = instance?.id ?? '';
        expect(await store.clusters.heartbeat(id, reportOf(20, '1.1'), NOW)).toEqual({
          fresh: true,
          cluster_id: cluster.id,
          task: 'NONE',
          upgrade_id: null,
          adopted_version: null,
        });
        expect((await store.clusters.heartbeat(id, reportOf(10, '1.0'), NOW + 1))?.fresh).toBe(false);
        const seen = (await store.clusters.get(cluster.id))?.instances[0];
        expect(seen?.report?.version).toBe('1.1');
        expect(seen?.heard).toBe(NOW);
      });

      it('count again after the clock of the guest was set back', async () => {
        const cluster = await built(store);
        const id = cluster.instances[0]?.id ?? '';
        const isFresh = async (sent: number) =>
          (await store.clusters.heartbeat(id, reportOf(sent, '1.0'), NOW))?.fresh;
        expect(await isFresh(NOW + 90_000)).toBe(true);
        expect(await isFresh(NOW + 30_001), 'less than a minute older: overtaken').toBe(false);
        expect(await isFresh(NOW + 30_000)).toBe(true);
        expect(await isFresh(NOW + 30_001)).toBe(true);
      });

      it('of an unknown instance change nothing', async () => {
        expect(await store.clusters.heartbeat(randomUUID(), reportOf(1, '1.0'), NOW)).toBeNull();
      });
    });

    describe('upgrades', () => {
      it('begin one at a time (G3), and the same id once', async () => {
        const cluster = await built(store);
        const first = newUpgrade(cluster);
        const outcomes = await Promise.all(
          [first, newUpgrade(cluster), newUpgrade(cluster)].map((one) =>
            store.upgrades.begin(one, accepted(one), null, NOW),
          ),
        );
        expect(outcomes.filter((one) => one.verdict === 'begun')).toHaveLength(1);
        expect(outcomes.filter((one) => one.verdict === 'busy')).toHaveLength(2);
        const holder = (await store.clusters.get(cluster.id))?.upgrade_id ?? '';
        const again = await store.upgrades.get(holder);
        expect(again && (await store.upgrades.begin(again, accepted(again), null, NOW))).toEqual({
          verdict: 'duplicate',
        });
        const stranger = newUpgrade(newCluster());
        expect(await store.upgrades.begin(stranger, accepted(stranger), null, NOW)).toEqual({
          verdict: 'missing',
        });
      });

      it('of an older release have the default of a field that the policy has got since', async () => {
        const cluster = await built(store);
        const { retries: _, ...older } = DEFAULT_POLICY;
        const written = { ...newUpgrade(cluster), policy: { ...older, canary: 3 } } as unknown as Upgrade;
        const { id } = written;
        const policy = { ...DEFAULT_POLICY, canary: 3 };
        const policies = async () => [
          (await store.upgrades.get(id))?.policy,
          (await store.upgrades.load(id))?.upgrade.policy,
          (await store.upgrades.getMany([id]))[0]?.policy,
          (await store.upgrades.list(cluster.id, { limit: 1, marker: null })).items[0]?.policy,
        ];
        await store.upgrades.begin(written, accepted(written), null, NOW);
        expect(await policies()).toEqual([policy, policy, policy, policy]);
        await store.upgrades.commit(commitOf(written, []));
        expect(await policies()).toEqual([policy, policy, policy, policy]);
      });

      it('do not begin in a cluster that has changed since they were decided on: fences never go back (G4)', async () => {
        const { cluster, upgrade } = await begun(store);
        const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
        const done = { ...commitOf(upgrade, []), release, wake_at: null };
        expect(await store.upgrades.commit({ ...done, now: NOW - 60_000 }), 'by a clock that is behind').toBe(
          'committed',
        );
        expect((await store.clusters.get(cluster.id))?.updated).toBe(upgrade.created);
        const late = { ...newUpgrade(cluster), created: upgrade.created - 1 };
        expect(await store.upgrades.begin(late, accepted(late), null, NOW)).toEqual({ verdict: 'changed' });
        expect(await store.upgrades.get(late.id)).toBeNull();
        const next = { ...late, created: upgrade.created + 1 };
        expect(await store.upgrades.begin(next, accepted(next), null, NOW)).toEqual({ verdict: 'begun' });
      });

      it('load with their cluster, and commit only the revision that was read', async () => {
        const { cluster, upgrade } = await begun(store);
        const loaded = await store.upgrades.load(upgrade.id);
        expect(loaded?.upgrade).toEqual(upgrade);
        expect(loaded?.cluster?.task).toBe('UPGRADING_CLUSTER');
        expect(loaded?.versions).toEqual((await store.catalogue.get()).versions);
        const commit = commitOf(upgrade, [event(2, 'started')]);
        const outcomes = await Promise.all([store.upgrades.commit(commit), store.upgrades.commit(commit)]);
        expect(outcomes.sort()).toEqual(['committed', 'conflict']);
        expect((await store.upgrades.get(upgrade.id))?.revision).toBe(2);
        expect((await store.upgrades.list(cluster.id, { limit: 5, marker: null })).items).toHaveLength(1);
      });

      it('write instance tasks and the release together with the record', async () => {
        const { cluster, upgrade } = await begun(store);
        const instance_id = cluster.instances[1]?.id ?? '';
        const failing = {
          ...{ instance_id, task: 'UPGRADING_ERROR' as const, fault: 'disk on fire', in_doubt: true },
          told_version: null,
        };
        await store.upgrades.commit({ ...commitOf(upgrade, []), instance_tasks: [failing] });
        const during = await store.clusters.get(cluster.id);
        expect(during?.instances[1]).toMatchObject({
          in_doubt: true,
          task: 'UPGRADING_ERROR',
          fault: 'disk on fire',
          told_version: null,
        });
        const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
        await store.upgrades.commit({ ...commitOf({ ...upgrade, revision: 2 }, []), release, wake_at: null });
        expect(await store.clusters.get(cluster.id)).toMatchObject({
          task: 'NONE',
          ...release,
          upgrade_id: upgrade.id,
        });
        expect((await store.due.list()).some((one) => one.id === upgrade.id)).toBe(false);
      });

      it('write to the cluster only while it is theirs', async () => {
        const { cluster, upgrade } = await begun(store);
        const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
        await store.upgrades.commit({ ...commitOf(upgrade, []), release, wake_at: null });
        const next = newUpgrade(cluster);
        await store.upgrades.begin(next, accepted(next), null, NOW);
        const before = await store.clusters.get(cluster.id);
        const late = commitOf({ ...upgrade, revision: 2 }, []);
        const task = {
          instance_id: cluster.instances[0]?.id ?? '',
          task: 'UPGRADING' as const,
          fault: null,
          in_doubt: false,
        };
        expect(await store.upgrades.commit({ ...late, instance_tasks: [task], release })).toBe('committed');
        expect(await store.clusters.get(cluster.id)).toEqual(before);
      });

      it('keep how long steps took, the latest of each kind for each manager', async () => {
        const { upgrade } = await begun(store);
        const [manager, other] = [randomUUID(), randomUUID()];
        expect(await store.upgrades.measuredTimes(other)).toEqual(NOTHING_MEASURED);
        const many = Array.from({ length: MEASURED_STEPS + 5 }, (_, ms) => ({
          ...{ manager, step: 'instance' as const, ms },
        }));
        const measured = [...many, { manager, step: 'switchover' as const, ms: 7 }];
        await store.upgrades.commit({ ...commitOf(upgrade, [event(2, 'started')]), measured });
        const { instance, switchover } = await store.upgrades.measuredTimes(manager);
        expect(instance).toHaveLength(MEASURED_STEPS);
        expect([Math.min(...instance), Math.max(...instance)]).toEqual([5, MEASURED_STEPS + 4]);
        expect(switchover).toEqual([7]);
      });

      it('do not commit what never began', async () => {
        expect(await store.upgrades.commit(commitOf(newUpgrade(newCluster()), []))).toBe('conflict');
      });

      it('page from the newest to the oldest', async () => {
        const cluster = await built(store);
        const ids: string[] = [];
        for (let i = 0; i < 4; i++) {
          const upgrade = { ...newUpgrade(cluster), created: NOW + i };
          await store.upgrades.begin(upgrade, accepted(upgrade), null, NOW);
          const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
          await store.upgrades.commit({ ...commitOf(upgrade, []), release, wake_at: null });
          ids.unshift(upgrade.id);
        }
        const first = await store.upgrades.list(cluster.id, { limit: 3, marker: null });
        const second = await store.upgrades.list(cluster.id, { limit: 3, marker: first.next_marker });
        expect([...first.items, ...second.items].map((one) => one.id)).toEqual(ids);
        expect(second.next_marker).toBeNull();
      });
    });

    describe('events (G9)', () => {
      it('are read from any number on, without a gap', async () => {
        const { upgrade } = await begun(store);
        await store.upgrades.commit(commitOf(upgrade, [event(2, 'started'), event(3, 'planned')]));
        const all = await store.upgrades.events(upgrade.id, 0, { limit: 10, wait_ms: 0 });
        expect(all.map((one) => one.seq)).toEqual([1, 2, 3]);
        expect(
          (await store.upgrades.events(upgrade.id, 1, { limit: 1, wait_ms: 0 })).map((one) => one.seq),
        ).toEqual([2]);
        expect(await store.upgrades.events(upgrade.id, 3, { limit: 10, wait_ms: 0 })).toEqual([]);
      });

      it.each([
        ['a number twice', [event(2, 'planned')]],
        ['a number that leaves a gap', [event(4, 'planned')]],
        ['a gap after a good one', [event(3, 'planned'), event(5, 'step_started')]],
      ])('never get %s, and the record does not move on without them', async (_what, events) => {
        const { cluster, upgrade } = await begun(store);
        await store.upgrades.commit(commitOf(upgrade, [event(2, 'started')]));
        const before = await store.upgrades.load(upgrade.id);
        const task = {
          instance_id: cluster.instances[0]?.id ?? '',
          task: 'UPGRADING',
          fault: null,
          in_doubt: false,
        } as const;
        const odd = { ...commitOf({ ...upgrade, revision: 2 }, events), instance_tasks: [task] };
        await expect(store.upgrades.commit(odd)).rejects.toMatchObject({ code: 'internal' });
        expect(await store.upgrades.load(upgrade.id)).toEqual(before);
        const all = await store.upgrades.events(upgrade.id, 0, { limit: 10, wait_ms: 0 });
        expect(all.map(({ type }) => type)).toEqual(['accepted', 'started']);
      });

      it('wake the one who waits for them', async () => {
        const { upgrade } = await begun(store);
        const waiting = store.upgrades.events(upgrade.id, 1, { limit: 10, wait_ms: 20_000 });
        await store.upgrades.commit(commitOf(upgrade, [event(2, 'started')]));
        expect((await waiting).map((one) => one.seq)).toEqual([2]);
      });

      it('do not keep the reader longer than asked', async () => {
        const { upgrade } = await begun(store);
        expect(await store.upgrades.events(upgrade.id, 1, { limit: 10, wait_ms: 50 })).toEqual([]);
      });
    });

    describe('requests under a key', () => {
      const keyed = (fields: Partial<KeyedRequest> = {}): KeyedRequest => ({
        ...{ tenant_id: randomUUID(), key: 'k', fingerprint: 'f', claim: randomUUID() },
        ...fields,
      });
      const answer = { status: 202, location: '/there', body: '{"done":true}' };

      it('are carried out once, and their answer is kept', async () => {
        const first = keyed();
        const second = { ...first, claim: randomUUID() };
        const begun = { verdict: 'begun', operation_id: first.claim };
        expect(await store.requests.begin(first, NOW)).toEqual(begun);
        expect(await store.requests.begin(first, NOW), 'asked again after a lost answer').toEqual(begun);
        expect(await store.requests.begin(second, NOW)).toEqual({ verdict: 'in_flight' });
        await store.requests.end(second, { ...answer, status: 500 });
        await store.requests.end(first, answer);
        await store.requests.end(first, { ...answer, status: 500 });
        expect(await store.requests.begin(second, NOW)).toEqual({ verdict: 'answered', answer });
        expect(await store.requests.begin(first, NOW)).toEqual({ verdict: 'answered', answer });
      });

      it('of another content are told apart, in flight or answered', async () => {
        const first = keyed();
        const other = { ...first, fingerprint: 'g', claim: randomUUID() };
        await store.requests.begin(first, NOW);
        expect(await store.requests.begin(other, NOW)).toEqual({ verdict: 'reused' });
        await store.requests.end(first, answer);
        expect(await store.requests.begin(other, NOW)).toEqual({ verdict: 'reused' });
        const tenant = { ...other, tenant_id: randomUUID() };
        expect(await store.requests.begin(tenant, NOW)).toMatchObject({ verdict: 'begun' });
      });

      it('begin the same operation in every try, after a failure and after a death', async () => {
        const first = keyed();
        const second = { ...first, claim: randomUUID() };
        const third = { ...first, claim: randomUUID() };
        const begun = { verdict: 'begun', operation_id: first.claim };
        await store.requests.begin(first, NOW);
        await store.requests.end(first, null);
        expect(await store.requests.begin(second, NOW)).toEqual(begun);
        expect(await store.requests.begin(third, NOW + 14_999)).toEqual({ verdict: 'in_flight' });
        expect(await store.requests.begin(third, NOW + 15_000)).toEqual(begun);
        await store.requests.end(second, answer);
        expect(await store.requests.begin(first, NOW + 15_001), 'the late one counts for nothing').toEqual({
          verdict: 'in_flight',
        });
      });

      it('are claimed by one of many', async () => {
        const first = keyed();
        const tries = Array.from({ length: 20 }, () => ({ ...first, claim: randomUUID() }));
        const outcomes = await Promise.all(tries.map((one) => store.requests.begin(one, NOW)));
        expect(outcomes.filter(({ verdict }) => verdict === 'begun')).toHaveLength(1);
      });
    });

    describe('notifications', () => {
      it('are owed of every upgrade that begins, until all was told', async () => {
        const { upgrade } = await begun(store);
        const owed = async () =>
          (await store.outbox.untold()).find(({ upgrade_id }) => upgrade_id === upgrade.id)?.seq;
        expect(await owed()).toBe(0);
        await store.outbox.told(upgrade.id, 1);
        expect(await owed()).toBe(1);
        await store.outbox.told(upgrade.id, null);
        expect(await owed()).toBeUndefined();
      });

      it('are one process’s duty, and another one’s when that is gone', async () => {
        const duty = randomUUID();
        expect(await store.duties.hold(duty, 'a', 60_000)).toBe(true);
        expect(await store.duties.hold(duty, 'b', 60_000)).toBe(false);
        expect(await store.duties.hold(duty, 'a', 20)).toBe(true);
        const isFree = async () => {
          while (!(await store.duties.hold(duty, 'b', 60_000)))
            await new Promise((done) => setTimeout(done, 5));
        };
        await isFree();
      });
    });

    describe('what has ended long ago', () => {
      const LONG_AGO = NOW - 100_000;
      /** A cluster with upgrades that ended at these times, one after the other. */
      const ended = async (times: readonly number[], fields: Partial<Upgrade> = {}) => {
        const cluster = await built(store, NO_ORDER, { created: LONG_AGO - 50_000 });
        const upgrades: Upgrade[] = [];
        for (const at of times) {
          const upgrade = { ...newUpgrade(cluster), created: at - 1_000, ...fields };
          await store.upgrades.begin(upgrade, accepted(upgrade), null, NOW);
          const last = commitOf(upgrade, [event(2, 'succeeded')]);
          const state = { name: 'succeeded', started: at - 900, ended: at } as const;
          const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
          const change = { ...last, upgrade: { ...last.upgrade, state }, release, wake_at: null };
          await store.upgrades.commit({ ...change, now: at - 1_000 });
          upgrades.push(upgrade);
        }
        return { cluster, ids: upgrades.map(({ id }) => id) };
      };
      const forget = async (before: number, limit = 1_000) => {
        let [count, marker]: [number, string | null] = [0, null];
        do {
          const step = await store.upgrades.forget(before, { limit, marker });
          count += step.count;
          marker = step.next_marker;
        } while (marker !== null);
        return count;
      };
      const kept = async (ids: readonly string[]) =>
        (await store.upgrades.getMany(ids)).map(({ id }) => ids.indexOf(id));

      it('is forgotten with its events, and a cluster keeps its latest upgrade', async () => {
        const { cluster, ids } = await ended([LONG_AGO - 5, LONG_AGO - 4, LONG_AGO, LONG_AGO + 1]);
        expect(await forget(LONG_AGO)).toBe(2);
        expect(await kept(ids)).toEqual([2, 3]);
        expect(await store.upgrades.get(ids[0] ?? '')).toBeNull();
        expect(await store.upgrades.load(ids[1] ?? '')).toBeNull();
        expect(await store.upgrades.events(ids[0] ?? '', 0, { limit: 9, wait_ms: 0 })).toEqual([]);
        const page = await store.upgrades.list(cluster.id, { limit: 9, marker: null });
        expect(page.items.map(({ id }) => id)).toEqual([ids[3], ids[2]]);
        expect(await forget(NOW)).toBe(1);
        expect(await forget(NOW), 'again').toBe(0);
        expect(await kept(ids)).toEqual([3]);
        expect(await store.upgrades.events(ids[3] ?? '', 0, { limit: 9, wait_ms: 0 })).toHaveLength(2);
      });

      it('goes by its end: one that is under way is not old, whenever it began', async () => {
        const { cluster, ids } = await ended([LONG_AGO - 5]);
        const upgrade = { ...newUpgrade(cluster), created: LONG_AGO - 1 };
        await store.upgrades.begin(upgrade, accepted(upgrade), null, NOW);
        expect(await forget(NOW)).toBe(1);
        expect(await kept([...ids, upgrade.id])).toEqual([1]);
        const late = await ended([NOW], { created: LONG_AGO - 9 });
        await store.upgrades.begin(
          { ...newUpgrade(late.cluster), created: NOW + 1 },
          event(1, 'accepted'),
          null,
          NOW,
        );
        expect(await forget(NOW)).toBe(0);
        expect(await kept(late.ids)).toEqual([0]);
      });

      it('is kept while its batch is, or its cast is not confirmed', async () => {
        const batch = newBatch(1);
        await store.batches.create(batch.batch, batch.members, batch.event, NOW);
        const own = await ended([LONG_AGO - 5, LONG_AGO - 4], { batch: { id: batch.batch.id, position: 0 } });
        const gone = await ended([LONG_AGO - 5, LONG_AGO - 4], { batch: { id: randomUUID(), position: 0 } });
        const cluster = await built(store, NO_ORDER, { created: LONG_AGO - 50_000 });
        const upgrade = { ...newUpgrade(cluster), created: LONG_AGO - 9 };
        const cast = { ...castOf(cluster, 'upgrade_cluster'), id: upgrade.id };
        await store.upgrades.begin(upgrade, accepted(upgrade), cast, NOW);
        const state = { name: 'cancelled', started: LONG_AGO, ended: LONG_AGO, message: 'm' } as const;
        const last = commitOf(upgrade, []);
        const release = { datastore_version_id: 'v1', datastore_version: '1.0' };
        await store.upgrades.commit({ ...last, upgrade: { ...last.upgrade, state }, release, wake_at: null });
        const next = { ...newUpgrade(cluster), created: NOW };
        await store.upgrades.begin(next, accepted(next), null, NOW);
        expect(await forget(NOW)).toBe(1);
        expect([await kept(own.ids), await kept(gone.ids), await kept([upgrade.id])]).toEqual([
          ...[[0, 1], [1], [0]],
        ]);
        await store.outbox.castConfirmed(upgrade.id);
        expect(await forget(NOW)).toBe(1);
        expect(await kept([upgrade.id])).toEqual([]);
      });

      it('goes step by step, each of which is bounded, and by several at once', async () => {
        const times = Array.from({ length: FORGET_AT_ONCE + 20 }, (_, index) => LONG_AGO - 1_000 + index);
        const many = await ended(times);
        const others = await Promise.all([1, 2, 3].map(() => ended([LONG_AGO - 5, LONG_AGO - 4])));
        const step = await store.upgrades.forget(LONG_AGO, { limit: 1_000, marker: null });
        expect(step.count).toBeLessThanOrEqual(FORGET_AT_ONCE);
        const counts = await Promise.all([forget(LONG_AGO, 1), forget(LONG_AGO, 2), forget(LONG_AGO)]);
        const rest = (await forget(LONG_AGO)) + step.count;
        expect(counts.reduce((sum, each) => sum + each, rest)).toBe(times.length - 1 + others.length);
        expect(await kept(many.ids)).toEqual([times.length - 1]);
        for (const { ids } of others) expect(await kept(ids)).toEqual([1]);
      });
    });

    describe('time', () => {
      it('lends what is due to one taker at a time', async () => {
        const { upgrade } = await begun(store);
        const isMine = (items: readonly { id: string }[]) => items.some((one) => one.id === upgrade.id);
        expect(isMine(await store.due.take(NOW - 1, 100_000, 1_000))).toBe(false);
        const takers = await Promise.all([1, 2, 3].map(() => store.due.take(NOW, 100_000, 1_000)));
        expect(takers.filter(isMine)).toHaveLength(1);
        expect(isMine(await store.due.take(NOW + 999, 100_000, 1_000))).toBe(false);
        expect(isMine(await store.due.take(NOW + 1_000, 100_000, 1_000))).toBe(true);
        await store.due.defer({ kind: 'upgrade', id: upgrade.id }, NOW + 50_000);
        expect(isMine(await store.due.take(NOW + 49_999, 100_000, 1_000))).toBe(false);
        expect(isMine(await store.due.list())).toBe(true);
      });

      it('counts what waits: upgrades by state, what is overdue, casts that are not confirmed', async () => {
        const { store: own, close: closeOwn } = await open();
        await seeded(own);
        const cluster = await built(own);
        const before = await own.counts(NOW);
        const upgrade = newUpgrade(cluster);
        await own.upgrades.begin(upgrade, accepted(upgrade), castOf(cluster, 'upgrade_cluster'), NOW - 3_000);
        const counts = await own.counts(NOW);
        expect(counts.upgrades['scheduled']).toBe((before.upgrades['scheduled'] ?? 0) + 1);
        expect(counts.overdue).toBe(before.overdue + 1);
        expect(counts.overdue_ms).toBeGreaterThanOrEqual(3_000);
        expect(counts.pending_casts).toBe(before.pending_casts + 1);
        expect((await own.counts(NOW + 4_000)).pending_casts_ms).toBeGreaterThanOrEqual(4_000);
        const running = { ...commitOf(upgrade, []), wake_at: NOW + 9_000 };
        const state = { name: 'running', started: NOW } as const;
        await own.upgrades.commit({ ...running, upgrade: { ...running.upgrade, state } });
        const later = await own.counts(NOW);
        expect(later.upgrades['running']).toBe((before.upgrades['running'] ?? 0) + 1);
        expect(later.overdue).toBe(before.overdue);
        await closeOwn();
      });

      it('takes what is due longest first, and no more than asked', async () => {
        const { store: own, close: closeOwn } = await open();
        await seeded(own);
        const ids: string[] = [];
        for (const wake_at of [NOW - 5_000, NOW - 9_000, NOW - 7_000]) {
          const upgrade = newUpgrade(await built(own));
          await own.upgrades.begin(upgrade, accepted(upgrade), null, wake_at);
          ids.push(upgrade.id);
        }
        const mine = (items: readonly { id: string }[]) =>
          items.map(({ id }) => id).filter((id) => ids.includes(id));
        expect(mine(await own.due.take(NOW - 5_000, 2, 60_000))).toEqual([ids[1], ids[2]]);
        expect(mine(await own.due.take(NOW - 5_000, 2, 60_000))).toEqual([ids[0]]);
        await closeOwn();
      });

      it('does not bring back what has ended', async () => {
        const { upgrade } = await begun(store);
        await store.upgrades.commit({ ...commitOf(upgrade, []), wake_at: null });
        await store.due.defer({ kind: 'upgrade', id: upgrade.id }, NOW);
        expect((await store.due.list()).some((one) => one.id === upgrade.id)).toBe(false);
      });
    });

    it('keeps a cast until it is confirmed', async () => {
      const cluster = await built(store);
      const upgrade = newUpgrade(cluster);
      const cast: PendingCast = { ...castOf(cluster, 'upgrade_cluster'), id: upgrade.id };
      await store.upgrades.begin(upgrade, accepted(upgrade), cast, NOW);
      const pending = async () =>
        (await store.outbox.pendingCasts(NOW, 100_000)).filter((one) => one.id === upgrade.id);
      expect(await store.outbox.pendingCasts(NOW - 200_000, 10)).toEqual([]);
      expect(await pending()).toEqual([cast]);
      await Promise.all([upgrade.id, randomUUID(), upgrade.id].map((id) => store.outbox.castConfirmed(id)));
      await store.outbox.castConfirmed(upgrade.id);
      expect(await pending()).toEqual([]);
    });
  });
}

/** Adds the versions that the clusters and upgrades of these tests have. */
export async function seeded<T extends Store>(store: T): Promise<T> {
  await store.catalogue.put(newCatalogue(['v1', 'v2']), []);
  return store;
}

function newCatalogue(version_ids: readonly string[]): Catalogue {
  const datastores = [{ id: 'd1', name: 'simulated', default_version_id: null }];
  const first = { ...EMPTY_CATALOGUE, datastores };
  return { ...version_ids.reduce(withVersion, first), revision: 1 };
}

function withVersion(catalogue: Catalogue, id: string): Catalogue {
  const version = {
    ...{ id, datastore_id: 'd1', name: id, manager: 'simulated', active: true, packages: [] },
    ...{ image: '', image_tags: ['a'], upgrade_from: '>=1.0', not_mixed_with: null },
  };
  return { ...catalogue, revision: catalogue.revision + 1, versions: [...catalogue.versions, version] };
}

export function newCluster(fields: Partial<Cluster> = {}): Cluster {
  const id = randomUUID();
  return {
    id,
    tenant_id: randomUUID(),
    name: `c-${id.slice(0, 4)}`,
    datastore_id: 'd1',
    datastore_name: 'simulated',
    manager: 'simulated',
    datastore_version_id: 'v1',
    datastore_version: '1.0',
    task: 'BUILDING',
    upgrade_id: null,
    extended_properties: { simulated: { upgrade_ms: 5 } },
    created: NOW,
    updated: fields.created ?? NOW,
    instances: [0, 1].map((n) => newInstance(id, n)),
    ...fields,
  };
}

function newInstance(cluster_id: string, n: number): Instance {
  return {
    id: randomUUID(),
    cluster_id,
    name: `member-${n}`,
    flavor_id: '1',
    volume_size: 1,
    task: 'BUILDING',
    fault: null,
    in_doubt: false,
    report: null,
    heard: null,
  };
}

export async function built(store: Store, order = NO_ORDER, fields: Partial<Cluster> = {}): Promise<Cluster> {
  const cluster = newCluster(fields);
  await store.provisioning.create(cluster, order, castOf(cluster, 'create_cluster'));
  await store.provisioning.finishBuild(cluster.id, cluster.created);
  return cluster;
}

export async function begun(store: Store): Promise<{ cluster: Cluster; upgrade: Upgrade }> {
  const cluster = await built(store);
  const upgrade = newUpgrade(cluster);
  await store.upgrades.begin(upgrade, accepted(upgrade), null, NOW);
  return { cluster, upgrade };
}

export function newUpgrade(cluster: Cluster): Upgrade {
  return {
    id: randomUUID(),
    cluster_id: cluster.id,
    tenant_id: cluster.tenant_id,
    revision: 1,
    seq: 1,
    from_version_id: 'v1',
    from_version: '1.0',
    to_version_id: 'v2',
    to_version: '2.0',
    policy: DEFAULT_POLICY,
    requested_by: { user: null, request_id: 'req-1', via: 'rest' },
    created: NOW,
    state: { name: 'scheduled' },
    cancelling: false,
    approved: false,
    waited_ms: 0,
    acted: [],
    direction: 'forward',
    round: 0,
    planned_round: -1,
    write_outage_ms: 0,
    batch: null,
    expected: expectedTimes(NOTHING_MEASURED),
    progressed: NOW,
    silent: false,
    follows: null,
    steps: [],
  };
}

export function accepted(_upgrade: Upgrade): UpgradeEvent {
  return event(1, 'accepted');
}

export function event(seq: number, type: UpgradeEvent['type']): UpgradeEvent {
  return { seq, at: NOW, type, message: type };
}

export function commitOf(upgrade: Upgrade, events: readonly UpgradeEvent[]): Commit {
  const next = { ...upgrade, revision: upgrade.revision + 1, seq: upgrade.seq + events.length };
  return {
    upgrade: next,
    events,
    instance_tasks: [],
    measured: [],
    release: null,
    moves_batch: false,
    wake_at: NOW + 1_000,
    now: NOW,
  };
}

export function castOf(cluster: Cluster, method: string): PendingCast {
  return {
    id: `${cluster.id}:${method}`,
    topic: 'taskmanager',
    method,
    args: { cluster_id: cluster.id },
    request_id: 'req-1',
    tenant_id: cluster.tenant_id,
  };
}

export function reportOf(sent: number, version: string): GuestReport {
  return { service_status: 'healthy', sent, version, role: 'member' };
}
