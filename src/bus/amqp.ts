import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { ConfirmChannel, ConsumeMessage, Options } from 'amqplib';
import type { QueueMode, TlsOptions } from '../config.ts';
import { type Logger, textOf } from '../log.ts';
import { NO_TRACING, type Span, type SpanOptions, type TraceParent, type Tracing } from '../tracing.ts';
import {
  type Bus,
  type CallOptions,
  type CastOptions,
  type Context,
  type Depths,
  NOTIFICATION_TOPIC,
  type Notification,
  type Served,
  type ServeOptions,
} from './bus.ts';
import { Link } from './connection.ts';
import { AmqpDeadLetters, headersOfLetter } from './dead-letters.ts';
import { AGAIN, headersAgain } from './delivery.ts';
import { depthsOf } from './depths.ts';
import { encodeBody, encodeNotification, newUniqueId, requestBody, type WireRequest } from './envelope.ts';
import { INSTALLATION, PASSED_ON, Presence, timesPassedOn } from './installations.ts';
import type { Protection } from './protection.ts';
import { Publisher } from './publisher.ts';
import { declareExchange, declareNotifications } from './queues.ts';
import { Replies } from './replies.ts';
import { Server, TRACE_HEADER } from './server.ts';

/** The RPC version that every server of Trove's kind understands. */
const RPC_VERSION = '1.0';
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

class AmqpBus implements Bus {
  readonly deadLetters: AmqpDeadLetters;
  readonly #options: AmqpBusOptions;
  readonly #exchange: string;
  readonly #queues: QueueMode;
  readonly #deadLetterQueue: string;
  readonly #log: Logger;
  readonly #tracing: Tracing;
  readonly #presence: Presence | null;
  /**
   * Two connections: RabbitMQ blocks publishers under memory pressure, and acknowledgements must continue.
   */
  readonly #publisher: Publisher;
  readonly #consumer: Link;
  readonly #replies: Replies;
  readonly #servers = new Set<Server>();

  constructor(options: AmqpBusOptions) {
    const { url, tls, name, log, control_exchange, queues = 'coffer', dead_letters = DEAD_LETTERS } = options;
    this.#options = options;
    this.#exchange = control_exchange;
    this.#queues = queues;
    this.#deadLetterQueue = dead_letters;
    this.#log = log;
    this.#tracing = options.tracing ?? NO_TRACING;
    this.#presence = options.installation === undefined ? null : new Presence(options.installation);
    this.#replies = new Replies(log);
    this.#publisher = new Publisher({
      ...{ url, tls, log, name: `${name}:publish` },
      setup: (channel) => this.#setUpPublisher(channel),
    });
    this.#consumer = new Link({
      ...{ url, tls, log, name: `${name}:consume` },
      setup: (channel) => this.#setUpConsumer(channel),
      onReady: (channel) => this.#consumeLatecomers(channel),
    });
    this.deadLetters = new AmqpDeadLetters({
      ...{ url, tls, name, queue: dead_letters },
      replay: (topic, content) => this.#publisher.publish(control_exchange, topic, content),
      bury: (content, headers) => this.#publisher.publish('', dead_letters, content, { headers }),
    });
  }

  async open(): Promise<void> {
    await Promise.all([this.#publisher.start(), this.#consumer.start()]);
  }

  async close(): Promise<void> {
    this.#presence?.stop();
    await Promise.all([...this.#servers].map((server) => server.stop()));
    await Promise.all([this.#publisher.stop(), this.#consumer.stop()]);
    this.#replies.close();
  }

  async depths(topics: readonly string[]): Promise<Depths> {
    const { url, tls, name } = this.#options;
    const found = await depthsOf({ url, tls, name }, [...topics, this.#deadLetterQueue]);
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
    return this.#publisher.isConnected && this.#consumer.channel !== undefined;
  }

  async cast(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CastOptions = {},
  ) {
    const from = options.installation ?? this.#options.installation;
    const content = sealed(newRequest(method, args, options.context, null), topic, from, options.protection);
    const expires = options.expires_ms === undefined ? {} : { expiration: options.expires_ms };
    const about = spanOf('producer', topic, method, options.trace);
    await this.#tracing.span(`${method} publish`, about, (span) =>
      this.#publisher.publish(this.#exchange, topic, content, { ...expires, ...traceHeaders(span) }),
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
    const reply_to = { queue: this.#replies.queue, msg_id, monitor_s };
    const request = newRequest(method, args, context, reply_to);
    const content = sealed(request, topic, this.#options.installation, options.protection);
    return this.#tracing.span(`${method} call`, spanOf('client', topic, method), (span) => {
      const properties = { expiration: timeout_ms, ...traceHeaders(span) };
      return this.#replies.ask(msg_id, `${method} from ${topic}`, options, () =>
        this.#publisher.publish(this.#exchange, topic, content, properties),
      );
    });
  }

  async notify(notification: Notification): Promise<void> {
    await this.#publisher.publish(this.#exchange, NOTIFICATION_TOPIC, encodeNotification(notification));
  }

  async serve(options: ServeOptions): Promise<Served> {
    const { topic } = options;
    const server = new Server(
      { server: hostname(), installation: this.#options.installation, ...options },
      {
        log: this.#log,
        tracing: this.#tracing,
        exchange: this.#exchange,
        queues: this.#queues,
        reply: (queue, content) => this.#publisher.publish('', queue, content),
        deadLetter: ({ content }, reason) =>
          this.#publisher.publish('', this.#deadLetterQueue, content, {
            headers: headersOfLetter(topic, reason),
          }),
        again: (message) => this.#sendBack(topic, message, { [AGAIN]: true }),
        passOn: (message) => this.#passOn(topic, message),
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
    await declareExchange(channel, this.#queues, this.#exchange);
    if (this.#options.notifies)
      await declareNotifications(channel, this.#queues, this.#exchange, NOTIFICATION_TOPIC);
    await channel.assertQueue(this.#deadLetterQueue, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum' },
    });
  }

  async #setUpConsumer(channel: ConfirmChannel): Promise<void> {
    await declareExchange(channel, this.#queues, this.#exchange);
    const breakLink = () => this.#consumer.breakLink();
    await this.#replies.consume(channel, breakLink);
    await this.#presence?.setUp(channel, () => this.#servers.size > 0);
    await Promise.all([...this.#servers].map((server) => server.consume(channel, breakLink)));
  }

  /** Puts the message behind all others, for a process of the installation that it belongs to. */
  #passOn(topic: string, message: ConsumeMessage): Promise<void> {
    const { expiration } = message.properties as { expiration?: string };
    const headers = { [PASSED_ON]: timesPassedOn(message) + 1 };
    return this.#sendBack(topic, message, headers, expiration ? { expiration } : {});
  }

  /** Puts the same message behind all others, as if it had never been delivered. */
  async #sendBack(
    topic: string,
    message: ConsumeMessage,
    added: Readonly<Record<string, unknown>>,
    options: Options.Publish = {},
  ): Promise<void> {
    const headers = { ...headersAgain(message), ...added };
    await this.#publisher.publish('', topic, message.content, { ...options, headers });
  }
}

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
