/** The rules that the batches of every store must keep. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { resolveBatch } from '../../src/core/batch/admit.ts';
import type { Batch, BatchEvent, Member } from '../../src/core/batch/record.ts';
import type { Load } from '../../src/core/batch/share.ts';
import { BATCH_CHUNK, type BatchCommit, type BatchStore } from '../../src/store/batches.ts';
import type { Store } from '../../src/store/store.ts';
import { clusterOf, TARGET } from '../unit/batch/world.ts';
import { begun } from './store.ts';

const NOW = 1_800_000_000_000;

export function describeBatches(name: string, open: () => Store): void {
  describe(`${name} as a store of batches`, () => {
    let store: Store;
    let batches: BatchStore;
    beforeAll(() => {
      store = open();
      batches = store.batches;
    });
    const load = (id: string, want: Partial<Parameters<BatchStore['load']>[1]> = {}) =>
      batches.load(id, { now: NOW, states: [], cluster_ids: [], ...want });
    const created = async (clusters = 5) => {
      const resolved = newBatch(clusters);
      expect(await batches.create(resolved.batch, resolved.members, resolved.event, NOW)).toBe('begun');
      return resolved;
    };

    it('gives back what was created, once', async () => {
      const { batch, members, event } = await created();
      expect(await batches.create(batch, members, event, NOW)).toBe('duplicate');
      expect(await batches.get(batch.id)).toEqual(batch);
      expect(await batches.get(randomUUID())).toBeNull();
      expect((await batches.members(batch.id, { limit: 9, marker: null, state: null })).items).toEqual(
        members,
      );
      expect(await batches.events(batch.id, 0, { limit: 9, wait_ms: 0 })).toEqual([event]);
      expect(await store.due.list()).toContainEqual({ kind: 'batch', id: batch.id });
    });

    it('lists a tenant’s own, newest first, page by page', async () => {
      const tenant_id = randomUUID();
      const made = [1, 2, 3].map((n) => newBatch(1, { tenant_id, created: NOW + n }));
      for (const { batch, members, event } of made) await batches.create(batch, members, event, NOW);
      const ids = made.map(({ batch }) => batch.id).reverse();
      const first = await batches.list(tenant_id, { limit: 2, marker: null });
      expect(first.items.map(({ id }) => id)).toEqual(ids.slice(0, 2));
      const second = await batches.list(tenant_id, { limit: 2, marker: first.next_marker });
      expect(second.items.map(({ id }) => id)).toEqual(ids.slice(2));
      expect(second.next_marker).toBeNull();
      expect((await batches.list(randomUUID(), { limit: 2, marker: null })).items).toEqual([]);
    });

    it('pages through those of all tenants in order of id', async () => {
      const made = [1, 2, 3].map(() => newBatch(1));
      for (const { batch, members, event } of made) await batches.create(batch, members, event, NOW);
      const seen: string[] = [];
      let marker: string | null = null;
      do {
        const page: Awaited<ReturnType<typeof batches.page>> = await batches.page({ limit: 2, marker });
        seen.push(...page.items.map(({ id }) => id));
        marker = page.next_marker;
      } while (marker !== null);
      expect(seen).toEqual([...new Set(seen)].toSorted());
      expect(seen).toEqual(expect.arrayContaining(made.map(({ batch }) => batch.id)));
    });

    it('pages through members in order of position, by state too', async () => {
      const { batch, members } = await created(12);
      const pages: number[][] = [];
      let marker: string | null = null;
      do {
        const page = await batches.members(batch.id, { limit: 5, marker, state: 'queued' });
        pages.push(page.items.map(({ position }) => position));
        marker = page.next_marker;
      } while (marker !== null);
      expect(pages).toEqual([
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11],
      ]);
      await batches.commit(commitOf(batch, [[members[3], { name: 'succeeded', ended: NOW }]]));
      const page = await batches.members(batch.id, { limit: 5, marker: null, state: 'succeeded' });
      expect(page.items.map(({ position }) => position)).toEqual([3]);
      const rest = await batches.members(batch.id, { limit: 3, marker: '1', state: 'queued' });
      expect(rest.items.map(({ position }) => position)).toEqual([2, 4, 5]);
    });

    it('loads those whose turn has come, in order, and says when the next one’s comes', async () => {
      const { batch, members } = await created(12);
      expect((await load(batch.id))?.ready).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
      const waits = [
        [members[0], { name: 'waiting', until: NOW + 5_000, reason: 'busy' }],
        [members[1], { name: 'waiting', until: NOW - 5_000, reason: 'busy' }],
        [members[2], { name: 'running', since: NOW, way: 'forward', held: null }],
      ] as const;
      await batches.commit(commitOf(batch, waits));
      const loaded = await load(batch.id);
      expect(loaded).toMatchObject({ ready_count: 10, next_ready: NOW + 5_000, others: expect.any(Array) });
      expect(loaded?.ready).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 1]);
      expect(loaded?.members.map(({ position }) => position).sort((a, b) => a - b)).toEqual([
        1, 3, 4, 5, 6, 7, 8, 9, 10, 11,
      ]);
      const running = await load(batch.id, {
        states: ['running'],
        cluster_ids: [members[0]?.cluster_id ?? '', 'none'],
      });
      expect(running?.members.map(({ position }) => position)).toEqual(expect.arrayContaining([0, 2]));
      expect(await load(randomUUID())).toBeNull();
    });

    it('loads a chunk of many, and the members of the wave at work alone', async () => {
      const { batch, members } = await created(BATCH_CHUNK + 50);
      expect(await load(batch.id)).toMatchObject({ ready_count: BATCH_CHUNK + 50 });
      expect((await load(batch.id))?.ready).toHaveLength(BATCH_CHUNK);
      await batches.commit({ ...commitOf(batch, []), batch: { ...batch, revision: 2, wave: 1 } });
      expect(await load(batch.id)).toMatchObject({ ready: [], ready_count: 0, next_ready: null });
      expect(members).toHaveLength(BATCH_CHUNK + 50);
    });

    it('commits what was decided on the revision that was read, and nothing else', async () => {
      const { batch, members } = await created();
      const commit = commitOf(
        batch,
        [[members[0], { name: 'succeeded', ended: NOW }]],
        ['wave_started', 'cluster_succeeded'],
      );
      expect(await batches.commit(commit)).toBe('committed');
      expect(await batches.commit(commit)).toBe('conflict');
      expect(await batches.get(batch.id)).toMatchObject({ revision: 2, seq: 3 });
      expect((await batches.events(batch.id, 1, { limit: 9, wait_ms: 0 })).map(({ seq }) => seq)).toEqual([
        2, 3,
      ]);
    });

    it('wakes who waits for an event', async () => {
      const { batch } = await created();
      const waiting = batches.events(batch.id, 1, { limit: 9, wait_ms: 20_000 });
      await batches.commit(commitOf(batch, [], ['started']));
      expect((await waiting).map(({ type }) => type)).toEqual(['started']);
    });

    it('is due until it has ended', async () => {
      const { batch } = await created();
      await batches.commit({ ...commitOf(batch, []), wake_at: null, load: null });
      expect(await store.due.list()).not.toContainEqual({ kind: 'batch', id: batch.id });
      await batches.looked({ ...batch, revision: 2 }, [], NOW + 5);
      expect(await store.due.list()).not.toContainEqual({ kind: 'batch', id: batch.id });
    });

    it('gets a hint with the commit of an upgrade that has moved, and forgets it when told to', async () => {
      const { batch } = await created();
      const { upgrade } = await begun(store);
      const moved = {
        ...{ upgrade: { ...upgrade, revision: 2, batch: { id: batch.id, position: 4 } }, events: [] },
        ...{ instance_tasks: [], measured: [], release: null, wake_at: null, now: NOW },
      };
      await batches.commit({ ...commitOf(batch, []), wake_at: NOW + 60_000 });
      expect(await store.upgrades.commit({ ...moved, moves_batch: true })).toBe('committed');
      await store.upgrades.commit({
        ...moved,
        moves_batch: false,
        upgrade: { ...moved.upgrade, revision: 3 },
      });
      expect(await store.due.take(NOW + 1_000, 1_000, 1)).toContainEqual({ kind: 'batch', id: batch.id });
      const loaded = await load(batch.id);
      expect(loaded?.hints).toHaveLength(1);
      expect(loaded?.members.map(({ position }) => position)).toContain(4);
      const looked = { ...batch, revision: 2 };
      await batches.looked(looked, [], NOW + 60_000);
      expect(await store.due.take(NOW + 2_000, 1_000, 1)).toContainEqual({ kind: 'batch', id: batch.id });
      await batches.looked(looked, loaded?.hints ?? [], NOW + 60_000);
      expect((await load(batch.id))?.hints).toEqual([]);
      expect(await store.due.take(NOW + 4_000, 1_000, 1)).not.toContainEqual({ kind: 'batch', id: batch.id });
    });

    it('forgets those that ended long ago, with their members and events', async () => {
      const tenant_id = randomUUID();
      const end = async (at: number, name: 'succeeded' | 'incomplete' | 'cancelled') => {
        const { batch, members, event } = newBatch(4, { tenant_id });
        await batches.create(batch, members, event, NOW);
        const state = { name, started: at - 5, ended: at, message: 'm' } as const;
        const commit = commitOf(
          batch,
          [[members[1], { name: 'succeeded', ended: at }]],
          ['started', 'succeeded'],
        );
        await batches.commit({ ...commit, batch: { ...commit.batch, state }, wake_at: null });
        return batch;
      };
      const under = await created();
      const old = await Promise.all([end(NOW - 9, 'succeeded'), end(NOW - 8, 'cancelled')]);
      const young = await end(NOW, 'incomplete');
      const forget = async (limit: number) => {
        let [count, marker]: [number, string | null] = [0, null];
        do {
          const step = await batches.forget(NOW, { limit, marker });
          count += step.count;
          marker = step.next_marker;
        } while (marker !== null);
        return count;
      };
      const counts = await Promise.all([forget(1), forget(3)]);
      expect(counts.reduce((sum, each) => sum + each)).toBe(2);
      expect(await forget(100)).toBe(0);
      const page = await batches.list(tenant_id, { limit: 9, marker: null });
      expect(page.items.map(({ id }) => id)).toEqual([young.id]);
      for (const { id } of old) {
        expect(await batches.get(id)).toBeNull();
        expect(await load(id)).toBeNull();
        expect(await batches.events(id, 0, { limit: 9, wait_ms: 0 })).toEqual([]);
        for (const state of [null, 'queued', 'succeeded'] as const)
          expect((await batches.members(id, { limit: 9, marker: null, state })).items).toEqual([]);
      }
      expect(await batches.get(under.batch.id)).not.toBeNull();
      expect((await batches.members(young.id, { limit: 9, marker: null, state: null })).items).toHaveLength(
        4,
      );
    });

    it('counts among those that have not ended', async () => {
      const { batch } = await created(3);
      const held = async () => (await store.counts(NOW)).batches.find(({ id }) => id === batch.id);
      expect(await held()).toEqual(batch);
      await batches.commit({ ...commitOf(batch, []), wake_at: null });
      expect(await held()).toBeUndefined();
    });

    it('tells others what a batch has of the places, and lets nobody begin beyond them all', async () => {
      const [one, two] = [await created(), await created()];
      const loads = (running: number, batch: Batch): Load => ({
        batch_id: batch.id,
        tenant_id: 't',
        running,
        wants: 9,
      });
      const before = (await load(two.batch.id))?.others.reduce((sum, { running }) => sum + running, 0) ?? 0;
      await batches.commit({ ...commitOf(one.batch, []), load: loads(3, one.batch) });
      expect((await load(two.batch.id))?.others).toContainEqual(loads(3, one.batch));
      expect((await load(one.batch.id))?.others).not.toContainEqual(loads(3, one.batch));
      const begins = { ...commitOf(two.batch, []), load: loads(2, two.batch) };
      expect(await batches.commit({ ...begins, max_concurrent_total: before + 4 })).toBe('conflict');
      expect(await batches.commit({ ...begins, max_concurrent_total: before + 5 })).toBe('committed');
      await batches.commit({ ...commitOf(one.batch, []), batch: { ...one.batch, revision: 3 }, load: null });
      expect((await load(two.batch.id))?.others).not.toContainEqual(loads(3, one.batch));
    });
  });
}

export function newBatch(clusters: number, fields: Partial<Batch> = {}) {
  const requested_by = { user: null, request_id: 'req-1', via: 'queue' as const };
  const request = {
    name: null,
    selection: { all_tenants: false },
    datastore_version: '1.1',
    policy: {},
    requested_by,
  };
  const all = Array.from({ length: clusters }, (_, index) => clusterOf(index));
  const tenant_id = fields.tenant_id ?? randomUUID();
  const about = { id: randomUUID(), now: fields.created ?? NOW, inRange: () => true, versions: [TARGET] };
  return resolveBatch(all, TARGET, { ...request, tenant_id, waves: [{}, {}] }, about);
}

function commitOf(
  batch: Batch,
  changes: readonly (readonly [Member | undefined, Member['state']])[],
  types: readonly BatchEvent['type'][] = [],
): BatchCommit {
  const members = changes.flatMap(([before, state]) =>
    before ? [{ before, after: { ...before, state } }] : [],
  );
  const events = types.map((type, index) => ({ seq: batch.seq + index + 1, at: NOW, type, message: type }));
  return {
    batch: { ...batch, revision: batch.revision + 1, seq: batch.seq + types.length },
    members,
    events,
    hints: [],
    load: null,
    max_concurrent_total: null,
    wake_at: NOW + 60_000,
    now: NOW,
  };
}
