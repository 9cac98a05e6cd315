/** The in-memory twins, on which the simulation runs, keep to what Redis and RabbitMQ keep to. */
import { randomUUID } from 'node:crypto';
import { sleep } from '../../src/service.ts';
import { describeBus } from '../conformance/bus.ts';
import { describeStore } from '../conformance/store.ts';
import { MemoryBroker } from '../twins/bus.ts';
import { MemoryStore } from '../twins/store.ts';

describeStore('the in-memory twin', async () => {
  const store = new MemoryStore({ sleep, notifies: true });
  return { store, close: () => store.close() };
});

const broker = new MemoryBroker({
  now: Date.now,
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  newId: randomUUID,
});
describeBus('the in-memory twin', async () => broker.connect());
