/**
 * The bus among peers that are plain oslo.messaging, in every way in which queues can be declared: both
 * sides call, cast, fail and keep each other waiting on one broker.
 */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { type Bus, noSuchMethod, type Request } from '../../src/bus/bus.ts';
import { QUEUE_MODES, type QueueMode } from '../../src/config.ts';
import { CofferError } from '../../src/core/errors.ts';
import { newInbox } from '../conformance/bus.ts';
import { describeInterop } from '../support/python.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';
import { Peer } from './peer.ts';

describeInterop('oslo.messaging as a peer', () => {
  let peer: Peer;
  const buses: Bus[] = [];
  beforeAll(async () => {
    peer = await Peer.start();
  }, 60_000);
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });
  afterAll(() => peer?.stop());

  const meet = async (queues: QueueMode) => {
    const control_exchange = uniqueName('trove');
    const { amqp_url: url } = testUrls();
    const bus = await openAmqpBus({ url, name: 'test', log: silentLog, control_exchange, queues });
    buses.push(bus);
    await peer.connect(url, control_exchange, queues);
    return { bus, topic: uniqueName('topic') };
  };

  /** What a server of ours does with what it is asked. */
  const answer = (inbox: ReturnType<typeof newInbox>) => async (request: Request) => {
    const { method, args } = request;
    switch (method) {
      case 'note':
        await inbox.handler(request);
        return args;
      case 'slow':
        await new Promise((resolve) => setTimeout(resolve, Number(args['seconds']) * 1000));
        return 'done';
      case 'fail':
        throw new Error('disk on fire');
      case 'picky':
        throw new CofferError('invalid_request', 'Validation error: no');
      default:
        throw noSuchMethod(method);
    }
  };

  it.each(QUEUE_MODES)('is served: by topic, by host and by fanout (%s)', async (mode) => {
    const { bus, topic } = await meet(mode);
    const inbox = newInbox();
    const server = 'host-1';
    await bus.serve({ topic, server, queue: 'shared', prefetch: 10, handler: answer(inbox) });
    const context = { user: 'u', project_id: 'p', is_admin: true, request_id: 'req-1' };
    for (const [n, to] of [{}, { server }, { fanout: true }].entries()) {
      await peer.do('cast', { topic, method: 'note', args: { n }, context, ...to });
      const request = await inbox.next();
      expect(request.args).toEqual({ n });
      expect(request.context).toMatchObject({ tenant_id: 'p', user: 'u', is_admin: true });
    }
    for (const to of [{}, { server }]) {
      const call = { topic, method: 'note', args: { text: 'größer' }, ...to };
      expect(await peer.do('call', call)).toEqual({ text: 'größer' });
    }
  });

  it.each(QUEUE_MODES)('serves: casts and calls of ours, their failures too (%s)', async (mode) => {
    const { bus, topic } = await meet(mode);
    await peer.do('serve', { topic, server: 'host-1' });
    const context = { request_id: 'req-7', tenant_id: 't', user: 'u', is_admin: false };
    await bus.cast(topic, 'note', { n: 1 }, { context });
    const noted = await peer.event('noted', (event) => event['topic'] === topic);
    expect(noted['args']).toEqual({ n: 1 });
    expect(noted['context']).toMatchObject({ request_id: 'req-7', project_id: 't', is_admin: false });
    const options = { timeout_ms: 30_000 };
    expect(await bus.call(topic, 'note', { n: 2 }, options)).toEqual({ n: 2 });
    await expect(bus.call(topic, 'fail', {}, options)).rejects.toMatchObject({ remote_class: 'ValueError' });
    await expect(bus.call(topic, 'nothing', {}, options)).rejects.toMatchObject({
      remote_class: 'NoSuchMethod',
      message: 'Endpoint does not support RPC method nothing',
    });
    await expect(bus.call(topic, 'fail', { surprise: 1 }, options)).rejects.toMatchObject({
      remote_class: 'TypeError',
    });
  });

  it.each(QUEUE_MODES)('serves a topic beside us: nobody is refused its queues (%s)', async (mode) => {
    const { bus, topic } = await meet(mode);
    const inbox = newInbox();
    const server = 'host-1';
    const serve = () =>
      bus.serve({ topic, server: 'host-2', queue: 'shared', prefetch: 1, handler: answer(inbox) });
    if (mode === 'durable') {
      await serve();
      await peer.do('serve', { topic, server });
    } else {
      await peer.do('serve', { topic, server });
      await serve();
    }
    expect(bus.isConnected()).toBe(true);
    await bus.cast(`${topic}.${server}`, 'note', { to: 'theirs' });
    expect((await peer.event('noted', ({ topic: at }) => at === topic))['args']).toEqual({ to: 'theirs' });
    await peer.do('cast', { topic, server: 'host-2', method: 'note', args: { to: 'ours' } });
    expect((await inbox.next()).args).toEqual({ to: 'ours' });
  });

  it('is told what went wrong in the words of oslo.messaging', async () => {
    const { bus, topic } = await meet('coffer');
    await bus.serve({ topic, queue: 'own', prefetch: 10, handler: answer(newInbox()) });
    const call = (method: string, extra = {}) => peer.do('call', { topic, method, args: {}, ...extra });
    await expect(call('fail')).rejects.toMatchObject({
      remote_class: 'GuestError',
      message: 'disk on fire',
    });
    await expect(call('picky')).rejects.toMatchObject({ remote_class: 'TypeError' });
    await expect(call('no_such_thing')).rejects.toMatchObject({
      remote_class: 'NoSuchMethod',
      message: 'Endpoint does not support RPC method no_such_thing',
    });
    for (const version of ['9.3', '1.2', '2.0']) {
      await expect(call('note', { version })).rejects.toMatchObject({
        remote_class: 'UnsupportedVersion',
        message: `Endpoint does not support RPC version ${version}. Attempted method: note`,
      });
    }
    await expect(call('note', { namespace: 'other' })).rejects.toMatchObject({
      remote_class: 'UnsupportedVersion',
    });
    expect(await call('note', { version: '1.1' })).toEqual({});
  });

  it('waits for a call of which it is told that it is being worked on', async () => {
    const { bus, topic } = await meet('coffer');
    await bus.serve({ topic, queue: 'own', prefetch: 10, handler: answer(newInbox()) });
    const slow = { topic, method: 'slow', args: { seconds: 2.5 }, timeout: 60 };
    expect(await peer.do('call', { ...slow, monitor: 1 })).toBe('done');
  });

  it('tells us that it is still at work, and we wait; silence ends the wait', async () => {
    const { bus, topic } = await meet('coffer');
    await peer.do('serve', { topic, server: 'host-1' });
    const call = (seconds: number, monitor_ms: number) =>
      bus.call(topic, 'slow', { seconds }, { timeout_ms: 60_000, monitor_ms });
    expect(await call(3, 2_000)).toBe('done');
    await expect(bus.call(topic, 'slow', { seconds: 5 }, { timeout_ms: 400 })).rejects.toMatchObject({
      code: 'bus_unavailable',
    });
  });
});
