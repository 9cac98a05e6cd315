import { randomUUID } from 'node:crypto';
import type { ConfirmChannel, ConsumeMessage, Message, Options } from 'amqplib';
import { CofferError } from '../core/errors.ts';
import { type Logger, textOf } from '../log.ts';
import { sleep } from '../service.ts';
import {
  type Bus,
  type CastOptions,
  type Context,
  RemoteError,
  type Served,
  type ServeOptions,
} from './bus.ts';
import { Link } from './connection.ts';
import { AmqpDeadLetters, headersOfLetter } from './dead-letters.ts';
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  MalformedMessage,
  newUniqueId,
  type WireRequest,
} from './envelope.ts';

const RPC_VERSION = '1.0';
/** A confirm that stays away this long leaves the outcome unknown. */
const CONFIRM_TIMEOUT_MS = 5_000;
/** Publishes that wait for their confirm at once; more wait in line. */
const MAX_UNCONFIRMED = 512;
/** A message whose work could not be done now goes back after this long: no hot loop. */
const REQUEUE_MS = 500;
/** After so many deliveries an unexpected error is no accident. */
const MAX_DELIVERIES = 4;
/** As oslo.messaging declares its transient queues. */
const TRANSIENT_EXPIRES_MS = 1_800_000;
export const DEAD_LETTERS = 'coffer.dead-letters';

export interface AmqpBusOptions {
  readonly url: string;
  /** Shown in RabbitMQ's list of connections. */
  readonly name: string;
  readonly log: Logger;
  readonly control_exchange: string;
  /** The queue of the dead letters, if not the usual one. */
  readonly dead_letters?: string;
}

/**
 * Opens the bus on RabbitMQ. Resolves after the first try to connect, also if RabbitMQ is away: it
 * goes on trying, and casts are refused with `bus_unavailable` meanwhile.
 */
export async function openAmqpBus(options: AmqpBusOptions): Promise<Bus> {
  const bus = new AmqpBus(options);
  await bus.open();
  return bus;
}

interface Waiter {
  resolve(value: unknown): void;
  reject(err: Error): void;
}

class AmqpBus implements Bus {
  readonly deadLetters: AmqpDeadLetters;
  readonly #exchange: string;
  readonly #deadLetterQueue: string;
  readonly #log: Logger;
  /** Two connections: RabbitMQ blocks publishers under memory pressure, and acknowledgements must go on. */
  readonly #publisher: Link;
  readonly #consumer: Link;
  readonly #servers = new Set<Server>();
  readonly #replyQueue = `reply_${newUniqueId()}`;
  readonly #waiters = new Map<string, Waiter>();
  /** Message ids that came back because no queue takes them; the confirm follows. */
  readonly #returned = new Set<string>();
  #unconfirmed = 0;
  readonly #line: (() => void)[] = [];

  constructor({ url, name, log, control_exchange, dead_letters = DEAD_LETTERS }: AmqpBusOptions) {
    this.#exchange = control_exchange;
    this.#deadLetterQueue = dead_letters;
    this.#log = log;
    this.#publisher = new Link({
      url,
      name: `${name}:publish`,
      log,
      setup: (channel) => this.#setUpPublisher(channel),
    });
    this.#consumer = new Link({
      url,
      name: `${name}:consume`,
      log,
      setup: (channel) => this.#setUpConsumer(channel),
      onReady: (channel) => this.#consumeLatecomers(channel),
    });
    this.deadLetters = new AmqpDeadLetters({
      ...{ url, name, queue: dead_letters },
      replay: (topic, content) => this.#publish(control_exchange, topic, content, {}),
      bury: (content, headers) => this.#publish('', dead_letters, content, { headers }),
    });
  }

  async open(): Promise<void> {
    await Promise.all([this.#publisher.start(), this.#consumer.start()]);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.stop()));
    await Promise.all([this.#publisher.stop(), this.#consumer.stop()]);
    for (const waiter of this.#waiters.values()) waiter.reject(unavailable('the bus was closed'));
    this.#waiters.clear();
  }

  isConnected(): boolean {
    return this.#publisher.channel !== undefined && this.#consumer.channel !== undefined;
  }

  async cast(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CastOptions = {},
  ) {
    const content = encodeRequest(newRequest(method, args, options.context, null));
    const expires = options.expires_ms === undefined ? {} : { expiration: options.expires_ms };
    await this.#publish(this.#exchange, topic, content, expires);
  }

  async call(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    { timeout_ms, context }: { readonly timeout_ms: number; readonly context?: Context },
  ): Promise<unknown> {
    const msg_id = newUniqueId();
    const content = encodeRequest(newRequest(method, args, context, { queue: this.#replyQueue, msg_id }));
    const timeout = setTimeout(() => {
      this.#waiters
        .get(msg_id)
        ?.reject(unavailable(`no answer to ${method} from ${topic} within ${timeout_ms} ms`));
    }, timeout_ms);
    // The waiter is there before the question goes out: an answer may overtake the confirm.
    const answer = new Promise<unknown>((resolve, reject) => this.#waiters.set(msg_id, { resolve, reject }));
    try {
      const sent = this.#publish(this.#exchange, topic, content, { expiration: timeout_ms });
      return await Promise.race([answer, sent.then(() => answer)]);
    } finally {
      answer.catch(() => undefined);
      clearTimeout(timeout);
      this.#waiters.delete(msg_id);
    }
  }

  async serve(options: ServeOptions): Promise<Served> {
    const server = new Server(options, {
      log: this.#log,
      reply: (queue, content) => this.#publish('', queue, content, {}),
      deadLetter: (message, reason) => this.#deadLetter(options.topic, message, reason),
      forget: () => this.#servers.delete(server),
    });
    this.#servers.add(server);
    const { channel } = this.#consumer;
    if (channel) await this.#consume(server, channel);
    return server;
  }

  async #consume(server: Server, channel: ConfirmChannel): Promise<void> {
    try {
      await server.consume(channel, this.#exchange, () => this.#consumer.breakLink());
    } catch (err) {
      // The link is made anew, and with it this consumer.
      this.#log.warn({ err: textOf(err), topic: server.topic }, 'RabbitMQ: could not consume; reconnecting');
      this.#consumer.breakLink();
    }
  }

  /** A topic that began to be served while the channel was being set up is on no list but ours. */
  #consumeLatecomers(channel: ConfirmChannel): void {
    for (const server of this.#servers) {
      if (!server.isConsumingOn(channel)) void this.#consume(server, channel);
    }
  }

  async #setUpPublisher(channel: ConfirmChannel): Promise<void> {
    channel.on('return', (message: Message) => this.#returned.add(String(message.properties.messageId)));
    await channel.assertExchange(this.#exchange, 'topic', { durable: true });
    await channel.assertQueue(this.#deadLetterQueue, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum' },
    });
  }

  async #setUpConsumer(channel: ConfirmChannel): Promise<void> {
    await channel.assertExchange(this.#exchange, 'topic', { durable: true });
    await channel.assertQueue(this.#replyQueue, { durable: false, expires: TRANSIENT_EXPIRES_MS });
    await channel.consume(this.#replyQueue, (message) => this.#onReply(message), { noAck: true });
    const breakLink = () => this.#consumer.breakLink();
    await Promise.all([...this.#servers].map((server) => server.consume(channel, this.#exchange, breakLink)));
  }

  #onReply(message: ConsumeMessage | null): void {
    if (!message) return this.#consumer.breakLink();
    try {
      const { msg_id, result, failure, ending } = decodeReply(message.content);
      if (!ending) return;
      const waiter = this.#waiters.get(msg_id);
      if (failure) waiter?.reject(new RemoteError(failure.class, failure.message));
      else waiter?.resolve(result);
    } catch (err) {
      this.#log.warn({ err: textOf(err) }, 'a reply that nobody can read was dropped');
    }
  }

  async #publish(exchange: string, key: string, content: Buffer, options: Options.Publish): Promise<void> {
    while (this.#unconfirmed >= MAX_UNCONFIRMED)
      await new Promise<void>((resolve) => this.#line.push(resolve));
    this.#unconfirmed += 1;
    try {
      await this.#publishConfirmed(exchange, key, content, options);
    } finally {
      this.#unconfirmed -= 1;
      this.#line.shift()?.();
    }
  }

  #publishConfirmed(exchange: string, key: string, content: Buffer, options: Options.Publish): Promise<void> {
    return new Promise((resolve, reject) => {
      const { channel } = this.#publisher;
      if (!channel) return reject(unavailable('RabbitMQ is not connected'));
      const messageId = randomUUID();
      const timeout = setTimeout(() => {
        reject(unavailable('RabbitMQ did not confirm in time'));
        // Nobody may be there any more: a half-open connection would be believed for long.
        if (this.#publisher.channel === channel) this.#publisher.breakLink();
      }, CONFIRM_TIMEOUT_MS);
      const settle = (err: unknown) => {
        clearTimeout(timeout);
        const unroutable = this.#returned.delete(messageId);
        if (err) reject(unavailable(`RabbitMQ did not take the message: ${textOf(err)}`));
        else if (unroutable) reject(unavailable(`nobody serves ${key} yet`));
        else resolve();
      };
      try {
        channel.publish(
          exchange,
          key,
          content,
          { ...PROPERTIES, ...options, messageId, mandatory: true },
          settle,
        );
      } catch (err) {
        // A channel that died a moment ago throws at once.
        settle(err);
      }
    });
  }

  async #deadLetter(topic: string, message: ConsumeMessage, reason: string): Promise<void> {
    const headers = headersOfLetter(topic, reason);
    await this.#publish('', this.#deadLetterQueue, message.content, { headers });
  }
}

/** As every captured message has them; `delivery_mode` 2 costs nothing on a transient queue. */
const PROPERTIES: Options.Publish = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  persistent: true,
  priority: 0,
};

interface ServerDeps {
  readonly log: Logger;
  reply(queue: string, content: Buffer): Promise<void>;
  deadLetter(message: ConsumeMessage, reason: string): Promise<void>;
  forget(): void;
}

/** One topic that is served: consumes it on every channel that comes. */
class Server implements Served {
  readonly #options: ServeOptions;
  readonly #deps: ServerDeps;
  readonly #working = new Set<Promise<void>>();
  #consuming: { readonly channel: ConfirmChannel; readonly tag: string } | undefined;
  #stopped = false;

  constructor(options: ServeOptions, deps: ServerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  get topic(): string {
    return this.#options.topic;
  }

  isConsumingOn(channel: ConfirmChannel): boolean {
    return this.#consuming?.channel === channel;
  }

  async consume(channel: ConfirmChannel, exchange: string, breakLink: () => void): Promise<void> {
    const { topic, queue, prefetch } = this.#options;
    const shape: Options.AssertQueue =
      queue === 'shared'
        ? { durable: true, arguments: { 'x-queue-type': 'quorum' } }
        : { durable: false, expires: TRANSIENT_EXPIRES_MS };
    await channel.assertQueue(topic, shape);
    await channel.bindQueue(topic, exchange, topic);
    const deliver = (message: ConsumeMessage | null) => {
      // Null: the broker has cancelled the consumer, e.g. because the queue was deleted.
      if (!message) breakLink();
      else this.#take(channel, message);
    };
    // In one breath: the limit holds for the next consumer on the channel, and others set up beside us.
    const [, { consumerTag }] = await Promise.all([
      channel.prefetch(prefetch),
      channel.consume(topic, deliver),
    ]);
    this.#consuming = { channel, tag: consumerTag };
    if (this.#stopped) await this.#cancel();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#deps.forget();
    await this.#cancel();
    await Promise.all(this.#working);
  }

  async #cancel(): Promise<void> {
    const consuming = this.#consuming;
    this.#consuming = undefined;
    if (!consuming) return;
    // On a channel that is gone there is nothing to cancel.
    await Promise.race([consuming.channel.cancel(consuming.tag).catch(() => undefined), sleep(1_000)]).catch(
      () => undefined,
    );
  }

  #take(channel: ConfirmChannel, message: ConsumeMessage): void {
    const work = this.#handle(message)
      .then((verdict) => settleDelivery(channel, message, verdict))
      .catch((err) =>
        this.#deps.log.error({ err, topic: this.#options.topic }, 'a delivery could not be settled'),
      )
      .finally(() => this.#working.delete(work));
    this.#working.add(work);
  }

  /** The work for one message; the message is acknowledged only after it is safe. */
  async #handle(message: ConsumeMessage): Promise<'ack' | 'requeue'> {
    let request: WireRequest;
    try {
      request = decodeRequest(message.content);
    } catch (err) {
      return this.#bury(message, err instanceof MalformedMessage ? err.message : textOf(err));
    }
    const { method, args, context, unique_id, reply_to } = request;
    const { redelivered } = message.fields;
    try {
      const result = await this.#options.handler({ method, args, context, unique_id, redelivered });
      if (reply_to) await this.#reply(reply_to, result, null);
      return 'ack';
    } catch (err) {
      if (isPassing(err)) {
        await sleep(REQUEUE_MS);
        return 'requeue';
      }
      const error = err instanceof Error ? err : new Error(String(err));
      this.#deps.log.warn(
        { err: error, topic: this.#options.topic, method, request_id: context.request_id },
        'a request failed',
      );
      if (reply_to) {
        await this.#reply(reply_to, null, error);
        return 'ack';
      }
      return this.#requeueOrBury(message, error);
    }
  }

  async #requeueOrBury(message: ConsumeMessage, error: Error): Promise<'ack' | 'requeue'> {
    const isExpected = error instanceof CofferError && error.code !== 'internal';
    const deliveries = Number(message.properties.headers?.['x-delivery-count'] ?? 0) + 1;
    if (isExpected || deliveries >= MAX_DELIVERIES) return this.#bury(message, textOf(error));
    await sleep(REQUEUE_MS);
    return 'requeue';
  }

  async #bury(message: ConsumeMessage, reason: string): Promise<'ack' | 'requeue'> {
    this.#deps.log.warn({ topic: this.#options.topic, reason }, 'a message went to the dead letters');
    try {
      await this.#deps.deadLetter(message, reason);
      return 'ack';
    } catch {
      // RabbitMQ is away: the message comes again, and is buried then.
      return 'requeue';
    }
  }

  async #reply(to: { queue: string; msg_id: string }, result: unknown, failure: Error | null): Promise<void> {
    try {
      await this.#deps.reply(to.queue, encodeReply(to.msg_id, result, failure));
    } catch (err) {
      // The caller is gone, or will ask again: calls are safe to repeat.
      this.#deps.log.debug({ err: textOf(err), queue: to.queue }, 'nobody took the reply');
    }
  }
}

/** Errors that say nothing about the message: the same work may succeed in a moment. */
function isPassing(err: unknown): boolean {
  return err instanceof CofferError && (err.code === 'store_unavailable' || err.code === 'bus_unavailable');
}

function settleDelivery(channel: ConfirmChannel, message: ConsumeMessage, verdict: 'ack' | 'requeue'): void {
  try {
    if (verdict === 'ack') channel.ack(message);
    else channel.nack(message, false, true);
  } catch {
    // The channel is gone: RabbitMQ delivers the message again, to a fresh channel.
  }
}

function newRequest(
  method: string,
  args: Readonly<Record<string, unknown>>,
  context: Context = { request_id: `req-${randomUUID()}`, tenant_id: null, user: null, is_admin: true },
  reply_to: WireRequest['reply_to'],
): WireRequest {
  return { method, args, version: RPC_VERSION, unique_id: newUniqueId(), context, reply_to };
}

function unavailable(message: string): CofferError {
  return new CofferError('bus_unavailable', message);
}
