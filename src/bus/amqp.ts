import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { ConfirmChannel, ConsumeMessage, Message, Options } from 'amqplib';
import type { QueueMode, TlsOptions } from '../config.ts';
import { CofferError } from '../core/errors.ts';
import { type Logger, textOf } from '../log.ts';
import { NO_TRACING, type Span, type SpanOptions, type TraceParent, type Tracing } from '../tracing.ts';
import {
  type Bus,
  type CallOptions,
  type CastOptions,
  type Context,
  type Depths,
  NOTIFICATION_TOPIC,
  RemoteError,
  type Served,
  type ServeOptions,
} from './bus.ts';
import { Link } from './connection.ts';
import { AmqpDeadLetters, headersOfLetter } from './dead-letters.ts';
import { depthsOf } from './depths.ts';
import {
  decodeBody,
  encodeBody,
  encodeNotification,
  newUniqueId,
  replyOf,
  requestBody,
  type WireNotification,
  type WireRequest,
} from './envelope.ts';
import { INSTALLATION, PASSED_ON, Presence, timesPassedOn } from './installations.ts';
import type { Protection } from './protection.ts';
import { declareExchange, declareNotifications, declareReplyQueue } from './queues.ts';
import { AGAIN, Server, TRACE_HEADER } from './server.ts';

/** The RPC version that every server of Trove's kind understands. */
const RPC_VERSION = '1.0';
/** If a confirm does not arrive within this time, the outcome of the publish is unknown. */
const CONFIRM_TIMEOUT_MS = 5_000;
/** How many publishes may wait for their confirm at the same time; further ones wait in line. */
const MAX_UNCONFIRMED = 512;
export const DEAD_LETTERS = 'coffer.dead-letters';

export interface AmqpBusOptions {
  readonly url: string;
  /** Which servers to trust, with `amqps://`. */
  readonly tls?: TlsOptions | undefined;
  /** Shown in RabbitMQ's list of connections. */
  readonly name: string;
  readonly log: Logger;
  readonly control_exchange: string;
  /** How queues are declared; `coffer` if not given. */
  readonly queues?: QueueMode;
  /** Declares the queue in which notifications wait for a listener. */
  readonly notifies?: boolean;
  /** The queue of the dead letters; the usual one if not given. */
  readonly dead_letters?: string;
  readonly tracing?: Tracing;
  /**
   * The id of the installation that this process belongs to. The instances of a guest process name theirs
   * with each message.
   */
  readonly installation?: string;
}

/**
 * Opens the bus on RabbitMQ. Resolves after the first try to connect, even if RabbitMQ is away: the bus keeps
 * trying, and refuses casts with `bus_unavailable` meanwhile.
 */
export async function openAmqpBus(options: AmqpBusOptions): Promise<Bus> {
  const bus = new AmqpBus(options);
  await bus.open();
  return bus;
}

interface Waiter {
  resolve(value: unknown): void;
  reject(err: Error): void;
  /** Called when the server reports that it is still working. */
  keepAlive(): void;
  /** The protection of the answer. */
  readonly protection: Protection | null;
}

class AmqpBus implements Bus {
  readonly deadLetters: AmqpDeadLetters;
  readonly #url: string;
  readonly #tls: TlsOptions | undefined;
  readonly #name: string;
  readonly #exchange: string;
  readonly #queues: QueueMode;
  readonly #notifies: boolean;
  readonly #deadLetterQueue: string;
  readonly #log: Logger;
  readonly #tracing: Tracing;
  readonly #installation: string | undefined;
  readonly #presence: Presence | null;
  /**
   * Two connections: RabbitMQ blocks publishers under memory pressure, and acknowledgements must continue.
   */
  readonly #publisher: Link;
  readonly #consumer: Link;
  readonly #servers = new Set<Server>();
  readonly #replyQueue = `reply_${newUniqueId()}`;
  readonly #waiters = new Map<string, Waiter>();
  /** Ids of messages that RabbitMQ returned because no queue takes them; the confirm follows. */
  readonly #returned = new Set<string>();
  #unconfirmed = 0;
  readonly #line: (() => void)[] = [];

  constructor(options: AmqpBusOptions) {
    const { url, tls, name, log, control_exchange, queues = 'coffer', dead_letters = DEAD_LETTERS } = options;
    this.#url = url;
    this.#tls = tls;
    this.#name = name;
    this.#exchange = control_exchange;
    this.#queues = queues;
    this.#notifies = options.notifies ?? false;
    this.#deadLetterQueue = dead_letters;
    this.#log = log;
    this.#tracing = options.tracing ?? NO_TRACING;
    this.#installation = options.installation;
    this.#presence = options.installation === undefined ? null : new Presence(options.installation);
    this.#publisher = new Link({
      url,
      tls,
      name: `${name}:publish`,
      log,
      setup: (channel) => this.#setUpPublisher(channel),
    });
    this.#consumer = new Link({
      url,
      tls,
      name: `${name}:consume`,
      log,
      setup: (channel) => this.#setUpConsumer(channel),
      onReady: (channel) => this.#consumeLatecomers(channel),
    });
    this.deadLetters = new AmqpDeadLetters({
      ...{ url, tls, name, queue: dead_letters },
      replay: (topic, content) => this.#publish(control_exchange, topic, content, {}),
      bury: (content, headers) => this.#publish('', dead_letters, content, { headers }),
    });
  }

  async open(): Promise<void> {
    await Promise.all([this.#publisher.start(), this.#consumer.start()]);
  }

  async close(): Promise<void> {
    this.#presence?.stop();
    await Promise.all([...this.#servers].map((server) => server.stop()));
    await Promise.all([this.#publisher.stop(), this.#consumer.stop()]);
    for (const waiter of this.#waiters.values()) waiter.reject(unavailable('the bus was closed'));
    this.#waiters.clear();
  }

  async depths(topics: readonly string[]): Promise<Depths> {
    const found = await depthsOf({ url: this.#url, tls: this.#tls, name: this.#name }, [
      ...topics,
      this.#deadLetterQueue,
    ]);
    const held = topics.flatMap((topic) => {
      const depth = found.get(topic);
      return depth === undefined ? [] : [[topic, depth] as const];
    });
    return { topics: new Map(held), dead_letters: found.get(this.#deadLetterQueue)?.messages ?? 0 };
  }

  otherInstallations(): readonly string[] {
    return this.#presence?.others ?? [];
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
    const from = options.installation ?? this.#installation;
    const content = sealed(newRequest(method, args, options.context, null), topic, from, options.protection);
    const expires = options.expires_ms === undefined ? {} : { expiration: options.expires_ms };
    const about = spanOf('producer', topic, method, options.trace);
    await this.#tracing.span(`${method} publish`, about, (span) =>
      this.#publish(this.#exchange, topic, content, { ...expires, ...traceHeaders(span) }),
    );
  }

  async call(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ): Promise<unknown> {
    const msg_id = newUniqueId();
    const { timeout_ms, monitor_ms, context } = options;
    const monitor_s = monitor_ms === undefined ? null : monitor_ms / 1000;
    const reply_to = { queue: this.#replyQueue, msg_id, monitor_s };
    const request = newRequest(method, args, context, reply_to);
    const content = sealed(request, topic, this.#installation, options.protection);
    return this.#tracing.span(`${method} call`, spanOf('client', topic, method), (span) => {
      // Register the waiter before the question is sent: the answer may arrive before the confirm.
      const waiting = this.#await(msg_id, `${method} from ${topic}`, options);
      const properties = { expiration: timeout_ms, ...traceHeaders(span) };
      return answered(waiting, this.#publish(this.#exchange, topic, content, properties));
    });
  }

  #await(msg_id: string, what: string, options: CallOptions): Waiting {
    const { timeout_ms, monitor_ms = timeout_ms, protection = null } = options;
    const giveUp = (ms: number) => () =>
      this.#waiters.get(msg_id)?.reject(unavailable(`no answer to ${what} within ${ms} ms`));
    const timeout = setTimeout(giveUp(timeout_ms), timeout_ms);
    const silence = setTimeout(giveUp(monitor_ms), monitor_ms);
    const keepAlive = () => silence.refresh();
    const answer = new Promise<unknown>((resolve, reject) =>
      this.#waiters.set(msg_id, { resolve, reject, keepAlive, protection }),
    );
    const forget = () => {
      clearTimeout(timeout);
      clearTimeout(silence);
      this.#waiters.delete(msg_id);
    };
    return { answer, forget };
  }

  async notify(notification: WireNotification): Promise<void> {
    await this.#publish(this.#exchange, NOTIFICATION_TOPIC, encodeNotification(notification), {});
  }

  async serve(options: ServeOptions): Promise<Served> {
    const server = new Server(
      { server: hostname(), installation: this.#installation, ...options },
      {
        log: this.#log,
        tracing: this.#tracing,
        exchange: this.#exchange,
        queues: this.#queues,
        reply: (queue, content) => this.#publish('', queue, content, {}),
        deadLetter: (message, reason) => this.#deadLetter(options.topic, message, reason),
        again: (message) => this.#again(options.topic, message),
        passOn: (message) => this.#passOn(options.topic, message),
        forget: () => this.#servers.delete(server),
      },
    );
    this.#servers.add(server);
    const { channel } = this.#consumer;
    if (channel) await this.#consume(server, channel);
    return server;
  }

  async #consume(server: Server, channel: ConfirmChannel): Promise<void> {
    try {
      await server.consume(channel, () => this.#consumer.breakLink());
    } catch (err) {
      // The link reconnects, and starts this consumer again.
      this.#log.warn({ err: textOf(err), topic: server.topic }, 'RabbitMQ: could not consume; reconnecting');
      this.#consumer.breakLink();
    }
  }

  /**
   * Consumes the topics that began to be served while the channel was being set up: the set-up has missed
   * them.
   */
  #consumeLatecomers(channel: ConfirmChannel): void {
    for (const server of this.#servers) {
      if (!server.isConsumingOn(channel)) void this.#consume(server, channel);
    }
  }

  async #setUpPublisher(channel: ConfirmChannel): Promise<void> {
    channel.on('return', (message: Message) => this.#returned.add(String(message.properties.messageId)));
    await declareExchange(channel, this.#queues, this.#exchange);
    if (this.#notifies) await declareNotifications(channel, this.#queues, this.#exchange, NOTIFICATION_TOPIC);
    await channel.assertQueue(this.#deadLetterQueue, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum' },
    });
  }

  async #setUpConsumer(channel: ConfirmChannel): Promise<void> {
    await declareExchange(channel, this.#queues, this.#exchange);
    await declareReplyQueue(channel, this.#replyQueue);
    await channel.consume(this.#replyQueue, (message) => this.#onReply(message), { noAck: true });
    await this.#presence?.setUp(channel, () => this.#servers.size > 0);
    const breakLink = () => this.#consumer.breakLink();
    await Promise.all([...this.#servers].map((server) => server.consume(channel, breakLink)));
  }

  #onReply(message: ConsumeMessage | null): void {
    if (!message) return this.#consumer.breakLink();
    try {
      const body = decodeBody(message.content);
      const waiter = this.#waiters.get(String(body['_msg_id']));
      const isKeepAlive = body['ending'] === false;
      const opened = isKeepAlive ? body : (waiter?.protection?.openReply(body) ?? body);
      const { result, failure } = replyOf(opened);
      if (isKeepAlive) waiter?.keepAlive();
      else if (failure) waiter?.reject(new RemoteError(failure.class, failure.message));
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
      if (!channel)
        return reject(unavailable(`RabbitMQ is not connected: ${this.#publisher.trouble ?? 'connecting'}`));
      const messageId = randomUUID();
      const timeout = setTimeout(() => {
        reject(unavailable('RabbitMQ did not confirm in time'));
        // The peer may be gone: without this a half-open connection would be trusted for a long time.
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
        // A channel that has just died throws immediately.
        settle(err);
      }
    });
  }

  async #deadLetter(topic: string, message: ConsumeMessage, reason: string): Promise<void> {
    const headers = headersOfLetter(topic, reason);
    await this.#publish('', this.#deadLetterQueue, message.content, { headers });
  }

  /** Puts the message behind all others, for a process of the installation that it belongs to. */
  async #passOn(topic: string, message: ConsumeMessage): Promise<void> {
    const { 'x-delivery-count': _, ...rest } = message.properties.headers ?? {};
    const { expiration } = message.properties as { expiration?: string };
    const headers = { ...rest, [PASSED_ON]: timesPassedOn(message) + 1 };
    await this.#publish('', topic, message.content, { headers, ...(expiration && { expiration }) });
  }

  /** Puts the same message behind all others, as if it had never been delivered. */
  async #again(topic: string, { content, properties }: ConsumeMessage): Promise<void> {
    const { 'x-delivery-count': _, ...rest } = properties.headers ?? {};
    await this.#publish('', topic, content, { headers: { ...rest, [AGAIN]: true } });
  }
}

interface Waiting {
  readonly answer: Promise<unknown>;
  readonly forget: () => void;
}

/** Keeps no reference to the question: thousands of answers may be awaited at the same time. */
async function answered({ answer, forget }: Waiting, sent: Promise<void>): Promise<unknown> {
  try {
    return await Promise.race([answer, sent.then(() => answer)]);
  } finally {
    answer.catch(() => undefined);
    forget();
  }
}

/** The properties that every captured message has; `delivery_mode` 2 costs nothing on a transient queue. */
const PROPERTIES: Options.Publish = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  persistent: true,
  priority: 0,
};

/** The attributes have OpenTelemetry's names for messaging. */
function spanOf(
  kind: 'producer' | 'client',
  topic: string,
  method: string,
  trace?: TraceParent,
): SpanOptions {
  const attributes = {
    ...{ 'messaging.system': 'rabbitmq', 'messaging.destination.name': topic },
    ...{ 'messaging.operation.type': 'send', 'rpc.method': method },
  };
  return { kind, parent: trace, attributes };
}

function traceHeaders(span: Span | null): Options.Publish {
  return span ? { headers: { [TRACE_HEADER]: span.name } } : {};
}

function sealed(
  request: WireRequest,
  topic: string,
  installation: string | undefined,
  protection: Protection | null = null,
): Buffer {
  const body = {
    ...requestBody(request),
    ...(installation !== undefined && { [INSTALLATION]: installation }),
  };
  return encodeBody(protection?.sealRequest(body, topic) ?? body);
}

function newRequest(
  method: string,
  args: Readonly<Record<string, unknown>>,
  context: Context = { request_id: `req-${randomUUID()}`, tenant_id: null, user: null, is_admin: true },
  reply_to: WireRequest['reply_to'],
): WireRequest {
  const version = RPC_VERSION;
  return { method, args, version, namespace: null, unique_id: newUniqueId(), context, reply_to };
}

function unavailable(message: string): CofferError {
  return new CofferError('bus_unavailable', message);
}
