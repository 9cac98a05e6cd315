import { connect } from 'amqplib';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEAD_LETTERS, openAmqpBus } from '../../src/bus/amqp.ts';
import type { Bus } from '../../src/bus/bus.ts';
import { describeBus, newInbox } from '../conformance/bus.ts';
import { TcpProxy } from '../support/proxy.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';

const control_exchange = uniqueName('trove');
const open = (url = testUrls().amqp_url) =>
  openAmqpBus({ url, name: 'test', log: silentLog, control_exchange });

describeBus('RabbitMQ', open);

describe('the bus on RabbitMQ', () => {
  let proxy: TcpProxy;
  let server: Bus;
  let caller: Bus;
  beforeEach(async () => {
    proxy = await TcpProxy.inFrontOf(testUrls().amqp_url);
    server = await open(proxy.urlFor(testUrls().amqp_url));
    caller = await open();
  });
  afterEach(async () => {
    await Promise.all([server.close(), caller.close()]);
    await proxy.close();
  });

  /** Says it until somebody takes it, as every sender of ours does. */
  const castUntilTaken = async (topic: string, method: string) => {
    for (;;) {
      try {
        return await caller.cast(topic, method, {});
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  };

  it.each(['own', 'shared'] as const)(
    'serves again after its connection was cut (%s queue)',
    async (queue) => {
      const inbox = newInbox();
      const topic = uniqueName('topic');
      await server.serve({ topic, queue, prefetch: 10, handler: inbox.handler });
      await caller.cast(topic, 'before', {});
      expect((await inbox.next()).method).toBe('before');
      proxy.cut();
      await castUntilTaken(topic, 'after');
      // The acknowledgement of `before` may have been cut off as well: then it comes again, marked as such.
      const next = await inbox.next();
      if (next.redelivered) expect((await inbox.next()).method).toBe('after');
      else expect(next.method).toBe('after');
    },
  );

  it('serves again after its queue was deleted under it', async () => {
    const inbox = newInbox();
    const topic = uniqueName('topic');
    await server.serve({ topic, queue: 'shared', prefetch: 10, handler: inbox.handler });
    const operator = await connect(testUrls().amqp_url);
    const channel = await operator.createChannel();
    await channel.deleteQueue(topic);
    await operator.close();
    await castUntilTaken(topic, 'after');
    expect((await inbox.next()).method).toBe('after');
  });

  it('gives a message whose work was cut off to the next connection', async () => {
    const inbox = newInbox();
    const topic = uniqueName('topic');
    let isFirst = true;
    await server.serve({
      topic,
      queue: 'shared',
      prefetch: 10,
      handler: async (request) => {
        if (!isFirst) return inbox.handler(request);
        isFirst = false;
        return proxy.cut();
      },
    });
    await caller.cast(topic, 'work', {});
    expect(await inbox.next()).toMatchObject({ method: 'work', redelivered: true });
  });

  it('refuses casts at once while RabbitMQ is away, and takes them when it is back', async () => {
    const topic = uniqueName('topic');
    const inbox = newInbox();
    await caller.serve({ topic, queue: 'shared', prefetch: 10, handler: inbox.handler });
    await server.cast(topic, 'first', {});
    proxy.refuse();
    while (server.isConnected()) await new Promise((resolve) => setTimeout(resolve, 10));
    await expect(server.cast(topic, 'lost', {})).rejects.toMatchObject({
      code: 'bus_unavailable',
      retryable: true,
    });
    proxy.allow();
    while (!server.isConnected()) await new Promise((resolve) => setTimeout(resolve, 10));
    await server.cast(topic, 'second', {});
    expect([(await inbox.next()).method, (await inbox.next()).method]).toEqual(['first', 'second']);
  });

  it('keeps what nobody can read, with the reason', async () => {
    const topic = uniqueName('topic');
    const inbox = newInbox();
    await caller.serve({ topic, queue: 'shared', prefetch: 10, handler: inbox.handler });
    const stranger = await connect(testUrls().amqp_url);
    const channel = await stranger.createConfirmChannel();
    for (const text of ['not json', '[]', '{"oslo.version":"2.0","oslo.message":"{"}', '{"args":{}}']) {
      channel.publish(control_exchange, topic, Buffer.from(text));
    }
    await channel.waitForConfirms();
    await caller.cast(topic, 'readable', {});
    expect((await inbox.next()).method).toBe('readable');
    const reasons: string[] = [];
    while (reasons.length < 4) {
      const message = await channel.get(DEAD_LETTERS, { noAck: true });
      if (message && message.properties.headers?.['coffer-topic'] === topic) {
        reasons.push(String(message.properties.headers['coffer-reason']));
      } else if (!message) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(reasons.sort()).toEqual([
      'the body is not JSON',
      'the body is not JSON',
      'the body is not a JSON object',
      'the message names no method',
    ]);
    await stranger.close();
  });

  it('says what to do where a queue is there with other options', async () => {
    const lines: Record<string, unknown>[] = [];
    const stream = { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) };
    const topic = uniqueName('topic');
    await caller.serve({ topic, queue: 'shared', prefetch: 1, handler: async () => undefined });
    const { amqp_url: url } = testUrls();
    const other = await openAmqpBus({
      ...{ url, name: 'other', log: pino({}, stream), control_exchange: uniqueName('trove') },
      queues: 'transient',
    });
    await other.serve({ topic, queue: 'shared', prefetch: 1, handler: async () => undefined });
    const hasAdvice = async () => lines.find(({ msg }) => String(msg).includes('COFFER_AMQP_QUEUES'));
    const told = await until('there is advice in the log', hasAdvice);
    expect(String(told['err'])).toContain(`inequivalent arg 'durable' for queue '${topic}'`);
    await other.close();
  });

  it('opens also while RabbitMQ is away', async () => {
    const lonely = await open('amqp://guest:guest@127.0.0.1:1');
    expect(lonely.isConnected()).toBe(false);
    await lonely.close();
  });
});
