/** The rules that every bus must keep: run on RabbitMQ (and on any other implementation of the bus). */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Bus, Handler, QueueKind, Request } from '../../src/bus/bus.ts';
import { CofferError } from '../../src/core/errors.ts';
import { uniqueName } from '../support/services.ts';

export function describeBus(name: string, open: () => Promise<Bus>): void {
  describe(`${name} as a bus`, () => {
    const buses: Bus[] = [];
    const openBus = async () => {
      const bus = await open();
      buses.push(bus);
      return bus;
    };
    let caller: Bus;
    beforeAll(async () => {
      caller = await open();
      return () => caller.close();
    });
    afterEach(async () => {
      await Promise.all(buses.splice(0).map((bus) => bus.close()));
    });

    const serve = async (handler: Handler, queue: QueueKind = 'own') => {
      const topic = uniqueName('topic');
      const bus = await openBus();
      const served = await bus.serve({ topic, queue, prefetch: 10, handler });
      return { topic, bus, served };
    };

    it.each(['own', 'shared'] as const)(
      'brings a cast to the server of a topic (%s queue)',
      async (queue) => {
        const inbox = newInbox();
        const { topic } = await serve(inbox.handler, queue);
        const context = { request_id: 'req-7', tenant_id: 't', user: 'u', is_admin: true };
        await caller.cast(
          topic,
          'upgrade',
          { upgrade_info: { attempt: 3, text: 'größer "17"' } },
          { context },
        );
        const request = await inbox.next();
        expect(request).toMatchObject({
          method: 'upgrade',
          args: { upgrade_info: { attempt: 3, text: 'größer "17"' } },
          context,
        });
        expect(request.unique_id).toMatch(/^[0-9a-f]{32}$/);
      },
    );

    it('gives each cast of a shared topic to one of its servers', async () => {
      const inbox = newInbox();
      const { topic } = await serve(inbox.handler, 'shared');
      const second = await openBus();
      await second.serve({ topic, queue: 'shared', prefetch: 10, handler: inbox.handler });
      for (let n = 0; n < 20; n++) await caller.cast(topic, 'tick', { n });
      const seen = [];
      for (let n = 0; n < 20; n++) seen.push((await inbox.next()).args['n']);
      expect(seen.toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 20 }, (_, n) => n));
    });

    it('refuses a cast to a topic that nobody serves', async () => {
      await expect(caller.cast(uniqueName('nobody'), 'x', {})).rejects.toMatchObject({
        code: 'bus_unavailable',
      });
    });

    it('answers calls, each caller its own, also out of order', async () => {
      const { topic } = await serve(async ({ args }) => {
        await new Promise((resolve) => setTimeout(resolve, Number(args['wait_ms'])));
        return { echo: args['n'] };
      });
      const answers = await Promise.all(
        [60, 5, 30].map((wait_ms, n) => caller.call(topic, 'echo', { n, wait_ms }, { timeout_ms: 20_000 })),
      );
      expect(answers).toEqual([{ echo: 0 }, { echo: 1 }, { echo: 2 }]);
    });

    it('tells the caller what went wrong over there', async () => {
      const { topic } = await serve(async () => {
        throw new Error('disk on fire');
      });
      const call = caller.call(topic, 'pre_upgrade', {}, { timeout_ms: 20_000 });
      await expect(call).rejects.toMatchObject({
        name: 'RemoteError',
        remote_class: 'GuestError',
        message: 'disk on fire',
      });
    });

    it('gives up a call that nobody answers in time', async () => {
      const { topic } = await serve(() => new Promise((resolve) => setTimeout(resolve, 500)));
      const call = caller.call(topic, 'slow', {}, { timeout_ms: 50 });
      await expect(call).rejects.toMatchObject({ code: 'bus_unavailable' });
    });

    it('drops a cast that nobody took in time, and keeps the others', async () => {
      const { topic, served } = await serve(async () => undefined);
      await served.stop();
      await caller.cast(topic, 'short', {}, { expires_ms: 50 });
      await caller.cast(topic, 'long', {}, { expires_ms: 60_000 });
      await new Promise((resolve) => setTimeout(resolve, 200));
      const inbox = newInbox();
      await (await openBus()).serve({ topic, queue: 'own', prefetch: 10, handler: inbox.handler });
      expect((await inbox.next()).method).toBe('long');
    });

    it('gives a server no more at once than it asked for', async () => {
      let [working, most] = [0, 0];
      const done = newInbox();
      const topic = uniqueName('topic');
      const handler: Handler = async (request) => {
        working += 1;
        most = Math.max(most, working);
        await new Promise((resolve) => setTimeout(resolve, 10));
        working -= 1;
        return done.handler(request);
      };
      await (await openBus()).serve({ topic, queue: 'shared', prefetch: 2, handler });
      for (let n = 0; n < 8; n++) await caller.cast(topic, 'work', { n });
      for (let n = 0; n < 8; n++) await done.next();
      expect(most).toBe(2);
    });

    it('brings a message again whose work could not be done now', async () => {
      let tries = 0;
      const inbox = newInbox();
      const { topic } = await serve(async (request) => {
        tries += 1;
        if (tries === 1) throw new CofferError('store_unavailable', 'Redis is away');
        return inbox.handler(request);
      }, 'shared');
      await caller.cast(topic, 'upgrade_cluster', { cluster_id: 'c' });
      expect((await inbox.next()).redelivered).toBe(true);
      expect(tries).toBe(2);
    });

    it('does not bring a refused cast again', async () => {
      let tries = 0;
      const inbox = newInbox();
      const { topic } = await serve(async (request) => {
        if (request.method === 'after') return inbox.handler(request);
        tries += 1;
        throw new CofferError('cluster_busy', 'busy');
      }, 'shared');
      await caller.cast(topic, 'upgrade_cluster', {});
      await caller.cast(topic, 'after', {});
      await inbox.next();
      expect(tries).toBe(1);
    });

    it('ends the work in hand before a server stops, and takes nothing after', async () => {
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      const started = newInbox();
      let isDone = false;
      const { topic, served } = await serve(async (request) => {
        await started.handler(request);
        await released;
        isDone = true;
      }, 'shared');
      await caller.cast(topic, 'work', {});
      await started.next();
      const stopping = served.stop();
      release();
      await stopping;
      expect(isDone).toBe(true);
      await caller.cast(topic, 'late', {});
      const inbox = newInbox();
      await (await openBus()).serve({ topic, queue: 'shared', prefetch: 10, handler: inbox.handler });
      expect((await inbox.next()).method).toBe('late');
    });
  });
}

/** A handler that stores what it receives, for a test that reads as a straight line. */
export function newInbox(): { readonly handler: Handler; next(): Promise<Request> } {
  const waiting: ((request: Request) => void)[] = [];
  const kept: Request[] = [];
  return {
    handler: async (request) => {
      const taker = waiting.shift();
      if (taker) taker(request);
      else kept.push(request);
    },
    next: () => {
      const [request] = kept.splice(0, 1);
      return request ? Promise.resolve(request) : new Promise((resolve) => waiting.push(resolve));
    },
  };
}
