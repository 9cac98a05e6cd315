/** Notifications of upgrades, over a broker that fails: none is lost, and what comes twice is recognised. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import type { Notification } from '../../src/bus/bus.ts';
import { CofferError } from '../../src/core/errors.ts';
import { sleep } from '../../src/service.ts';
import { startNotifier } from '../../taskmanager/notifier.ts';
import { begun, commitOf, event, seeded } from '../conformance/store.ts';
import { silentLog as log } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { MemoryBroker } from '../twins/bus.ts';
import { MemoryStore } from '../twins/store.ts';

it('tells of everything, also when the broker fails in between, and of nothing twice unrecognised', async () => {
  const store = await seeded(new MemoryStore({ sleep, notifies: true }));
  const broker = new MemoryBroker({
    now: Date.now,
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    newId: randomUUID,
  });
  const bus = broker.connect();
  const sent: Notification[] = [];
  let tries = 0;
  bus.notify = async (notification) => {
    tries += 1;
    if (tries === 2) throw new CofferError('bus_unavailable', 'away');
    sent.push(notification);
  };
  const { upgrade } = await begun(store);
  const commit = commitOf(upgrade, [event(2, 'planned'), event(3, 'succeeded')]);
  const state = { name: 'succeeded' as const, started: 1, ended: 2 };
  await store.upgrades.commit({ ...commit, upgrade: { ...commit.upgrade, state }, wake_at: null });
  const notifier = startNotifier({ store, bus, log, now: Date.now, sleep, newId: randomUUID });
  await until('nothing is owed', async () => (await store.outbox.untold()).length === 0);
  await notifier.stop();
  const types = sent.map(({ event_type }) => event_type);
  const started = 'dbaas.cluster_upgrade.start';
  expect(types).toEqual([started, started, 'dbaas.cluster_upgrade.end']);
  expect(sent[0]?.message_id).toBe(sent[1]?.message_id);
  expect(sent[2]?.message_id).not.toBe(sent[1]?.message_id);
});
