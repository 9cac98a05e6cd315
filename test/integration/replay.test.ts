/**
 * Sealed messages that somebody on the broker sends again, as they were: refused, whatever headers they bear. Those
 * that come again because their work could not be done are heard. Not covered: what a seal holds (test/unit/secure.test.ts).
 */
import { connect } from 'amqplib';
import { afterEach, expect, it } from 'vitest';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { encodeBody, newUniqueId, requestBody } from '../../src/bus/envelope.ts';
import { newSecret, sealedProtection } from '../../src/bus/sealed.ts';
import { CofferError } from '../../src/core/errors.ts';
import { newInbox } from '../conformance/bus.ts';
import { silentLog as log, testUrls, uniqueName } from '../support/services.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A topic that hears sealed messages only; its first `failures` have a store that is away. */
async function serve({ failures = 0 } = {}) {
  const [topic, inbox, instance_id, secret] = [uniqueName('topic'), newInbox(), 'a1', newSecret()];
  const under = () => sealedProtection({ instance_id, secret, now: Date.now });
  const [mine, theirs] = [under(), under()];
  const bus = await openAmqpBus({
    ...{ url: testUrls().amqp_url, name: 'replay', log, control_exchange: uniqueName('replay') },
  });
  closing.push(() => bus.close());
  let left = failures;
  await bus.serve({
    ...{ topic, queue: 'shared', prefetch: 10, guard: async () => mine },
    handler: async (request) => {
      if (left-- > 0) throw new CofferError('store_unavailable', 'Redis is away');
      return inbox.handler(request);
    },
  });
  const connection = await connect(testUrls().amqp_url);
  closing.push(() => connection.close());
  const channel = await connection.createConfirmChannel();
  const context = { request_id: 'req-1', tenant_id: null, user: null, is_admin: true };
  const seal = (method: string) => {
    const request = { method, args: {}, version: '1.0', namespace: null, unique_id: newUniqueId(), context };
    return encodeBody(theirs.sealRequest(requestBody({ ...request, reply_to: null }), topic));
  };
  const send = async (content: Buffer, headers = {}) => {
    channel.sendToQueue(topic, content, { headers });
    await channel.waitForConfirms();
  };
  return { inbox, seal, send };
}

it('are refused, also with the header that we give to messages that come again', async () => {
  const { inbox, seal, send } = await serve();
  const order = seal('order');
  await send(order);
  expect((await inbox.next()).method).toBe('order');
  for (const headers of [{}, { 'coffer-again': true }, { 'coffer-again': true, 'x-delivery-count': 1 }])
    await send(order, headers);
  // Behind them in the same queue.
  await send(seal('next'));
  expect((await inbox.next()).method).toBe('next');
});

it('are heard when it is we who bring them again, and only once', async () => {
  const { inbox, seal, send } = await serve({ failures: 2 });
  const order = seal('order');
  await send(order);
  expect((await inbox.next()).method).toBe('order');
  await send(order, { 'coffer-again': true });
  await send(seal('next'));
  expect((await inbox.next()).method).toBe('next');
});
