/** What the taskmanager forgets of what has ended long ago, and who of several does. What the store removes: the conformance suite. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Upgrade } from '../../src/core/record.ts';
import type { Sleep } from '../../src/service.ts';
import { startRetention } from '../../taskmanager/retention.ts';
import { newBatch } from '../conformance/batches.ts';
import { accepted, built, commitOf, newUpgrade, seeded } from '../conformance/store.ts';
import { silentLog } from '../support/services.ts';
import { MemoryStore } from '../twins/store.ts';

const DAY_MS = 86_400_000;
const DAYS = 30;

describe('a taskmanager', () => {
  let time: Clock;
  let store: MemoryStore;
  beforeEach(async () => {
    time = new Clock(1_800_000_000_000);
    store = await seeded(new MemoryStore({ sleep: time.sleep }));
  });
  afterEach(() => time.end());

  const start = () =>
    startRetention(
      { store, log: silentLog, now: () => time.now, newId: randomUUID, sleep: time.sleep },
      DAYS,
    );
  const round = () => time.pass(60_000);

  /** An upgrade of a cluster that has a later one. */
  async function superseded(ended: number, batch: Upgrade['batch'] = null): Promise<string> {
    const cluster = await built(store, undefined, { created: ended - 10 });
    const upgrade = { ...newUpgrade(cluster), created: ended - 5, batch };
    await store.upgrades.begin(upgrade, accepted(upgrade), null, 1);
    const change = { ...commitOf(upgrade, []), wake_at: null, now: ended };
    const release = { datastore_version_id: 'v2', datastore_version: '2.0' };
    const state = { name: 'succeeded', started: ended, ended } as const;
    await store.upgrades.commit({ ...change, upgrade: { ...change.upgrade, state }, release });
    const later = { ...newUpgrade(cluster), created: time.now };
    await store.upgrades.begin(later, accepted(later), null, time.now);
    return upgrade.id;
  }

  it('forgets what ended more than so many days ago, when its time has come', async () => {
    const [old, young] = [await superseded(time.now - DAYS * DAY_MS - 1), await superseded(time.now)];
    start();
    await time.pass(0);
    expect([...store.data.upgrades.keys()]).not.toContain(old);
    expect([...store.data.upgrades.keys()]).toContain(young);
    time.now += DAYS * DAY_MS - 60_000;
    await round();
    expect([...store.data.upgrades.keys()]).toContain(young);
    await round();
    expect([...store.data.upgrades.keys()]).not.toContain(young);
  });

  it('forgets a batch and then its upgrades, in one round', async () => {
    const ended = time.now - DAYS * DAY_MS - 1;
    const { batch, members, event } = newBatch(1);
    await store.batches.create(batch, members, event, 1);
    const id = await superseded(ended, { id: batch.id, position: 0 });
    start();
    await time.pass(0);
    expect([...store.data.upgrades.keys()], 'its batch is under way').toContain(id);
    await store.batches.commit({
      batch: { ...batch, revision: 2, state: { name: 'succeeded', started: 1, ended, message: 'm' } },
      ...{ members: [], events: [], hints: [], load: null },
      ...{ max_concurrent_total: null, wake_at: null, now: ended },
    });
    await round();
    expect(await store.batches.get(batch.id)).toBeNull();
    expect([...store.data.upgrades.keys()]).not.toContain(id);
  });

  it('leaves it to the one that has the duty, and takes it over from one that died', async () => {
    await store.duties.hold('retention', 'another, which dies', 180_000);
    const id = await superseded(time.now - DAYS * DAY_MS - 1);
    start();
    start();
    await time.pass(0);
    await round();
    expect([...store.data.upgrades.keys()]).toContain(id);
    await round();
    await round();
    expect([...store.data.upgrades.keys()]).not.toContain(id);
  });
});

/** Time that passes when it is told to. */
class Clock {
  now: number;
  readonly #waiting = new Set<{ readonly at: number; readonly done: () => void }>();

  constructor(now: number) {
    this.now = now;
  }

  readonly sleep: Sleep = (ms) =>
    new Promise((done) => {
      this.#waiting.add({ at: this.now + ms, done });
    });

  async pass(ms: number): Promise<void> {
    this.now += ms;
    for (const one of [...this.#waiting].sort((a, b) => a.at - b.at)) {
      if (one.at > this.now) continue;
      this.#waiting.delete(one);
      one.done();
    }
    // Whoever was waiting, does what it has to do: there is nothing outside that it could wait for.
    await new Promise((done) => setImmediate(done));
  }

  end(): void {
    this.#waiting.clear();
  }
}
