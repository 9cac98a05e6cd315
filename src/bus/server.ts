import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import type { QueueMode } from '../config.ts';
import { type Logger, textOf } from '../log.ts';
import { sleep } from '../service.ts';
import { DispatchError, isFinal, isPassing, type Served, type ServeOptions } from './bus.ts';
import {
  decodeRequest,
  encodeKeepAlive,
  encodeReply,
  MalformedMessage,
  type ReplyTo,
  type WireRequest,
} from './envelope.ts';
import { declareServer } from './queues.ts';

/** As Trove's guests announce it: messages of 1.0 and 1.1 are understood. */
const SERVED_VERSION = '1.1';
/** A message whose work could not be done now goes back after this long: no hot loop. */
const REQUEUE_MS = 500;
/** After so many deliveries an unexpected error is no accident. */
const MAX_DELIVERIES = 4;
/** Counts of failures that are kept: who failed before may be done elsewhere. */
const MAX_COUNTED = 1_000;
const CANCEL_TIMEOUT_MS = 1_000;
/** Whatever a caller asks for: it is not drowned in keep-alives. */
const MIN_KEEP_ALIVE_MS = 100;

type Options = ServeOptions & { readonly server: string };

interface ServerDeps {
  readonly log: Logger;
  readonly exchange: string;
  readonly queues: QueueMode;
  reply(queue: string, content: Buffer): Promise<void>;
  deadLetter(message: ConsumeMessage, reason: string): Promise<void>;
  forget(): void;
}

/** One topic that is served: consumes it on every channel that comes. */
export class Server implements Served {
  readonly #options: Options;
  readonly #deps: ServerDeps;
  readonly #working = new Set<Promise<void>>();
  /** How often a message's work failed here: of a classic queue's deliveries the broker counts none. */
  readonly #failures = new Map<string, number>();
  #consuming: { readonly channel: ConfirmChannel; readonly tags: readonly string[] } | undefined;
  #stopped = false;

  constructor(options: Options, deps: ServerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  get topic(): string {
    return this.#options.topic;
  }

  isConsumingOn(channel: ConfirmChannel): boolean {
    return this.#consuming?.channel === channel;
  }

  async consume(channel: ConfirmChannel, breakLink: () => void): Promise<void> {
    const { exchange, queues } = this.#deps;
    const from = await declareServer(channel, queues, exchange, this.#options);
    const deliver = (message: ConsumeMessage | null) => {
      // Null: the broker has cancelled the consumer, e.g. because the queue was deleted.
      if (!message) breakLink();
      else this.#take(channel, message);
    };
    // In one breath: the limit holds for the next consumers on the channel, and others set up beside us.
    const [, ...consumers] = await Promise.all([
      channel.prefetch(this.#options.prefetch),
      ...from.map((queue) => channel.consume(queue, deliver)),
    ]);
    this.#consuming = { channel, tags: consumers.map(({ consumerTag }) => consumerTag) };
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
    const { channel, tags } = consuming;
    const cancelled = Promise.all(tags.map((tag) => channel.cancel(tag))).catch(() => undefined);
    await Promise.race([cancelled, sleep(CANCEL_TIMEOUT_MS)]).catch(() => undefined);
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
    const { method, context, reply_to } = request;
    try {
      const result = await this.#serve(request, message.fields.redelivered);
      if (reply_to) await this.#reply(reply_to, encodeReply(reply_to.msg_id, result, null));
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
        await this.#reply(reply_to, encodeReply(reply_to.msg_id, null, error));
        return 'ack';
      }
      return this.#requeueOrBury(message, request.unique_id, error);
    }
  }

  /** The handler's result, or its rejection; meanwhile the caller is told that it is being worked on. */
  async #serve(request: WireRequest, redelivered: boolean): Promise<unknown> {
    const { method, args, context, unique_id, version, namespace, reply_to } = request;
    if (namespace !== null || !isServed(version)) {
      const message = `Endpoint does not support RPC version ${version}. Attempted method: ${method}`;
      throw new DispatchError('UnsupportedVersion', message);
    }
    const work = this.#options.handler({ method, args, context, unique_id, redelivered });
    if (!reply_to || reply_to.monitor_s === null) return work;
    const pause_ms = Math.max((reply_to.monitor_s * 1000) / 2, MIN_KEEP_ALIVE_MS);
    const timer = setInterval(() => void this.#reply(reply_to, encodeKeepAlive(reply_to.msg_id)), pause_ms);
    return work.finally(() => clearInterval(timer));
  }

  async #requeueOrBury(message: ConsumeMessage, unique_id: string, error: Error): Promise<'ack' | 'requeue'> {
    const counted = Number(message.properties.headers?.['x-delivery-count'] ?? 0);
    const failed = Math.max(counted, this.#failures.get(unique_id) ?? 0) + 1;
    if (isFinal(error) || failed >= MAX_DELIVERIES) {
      this.#failures.delete(unique_id);
      return this.#bury(message, textOf(error));
    }
    if (this.#failures.size >= MAX_COUNTED) this.#failures.clear();
    this.#failures.set(unique_id, failed);
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

  async #reply({ queue }: ReplyTo, content: Buffer): Promise<void> {
    try {
      await this.#deps.reply(queue, content);
    } catch (err) {
      // The caller is gone, or will ask again: calls are safe to repeat.
      this.#deps.log.debug({ err: textOf(err), queue }, 'nobody took the reply');
    }
  }
}

/** As oslo.messaging sees it: of the same major version, and no newer than ours. */
function isServed(version: string): boolean {
  const [major, minor] = SERVED_VERSION.split('.').map(Number);
  const [their_major, their_minor = 0] = version.split('.').map(Number);
  return their_major === major && their_minor <= (minor ?? 0);
}

function settleDelivery(channel: ConfirmChannel, message: ConsumeMessage, verdict: 'ack' | 'requeue'): void {
  try {
    if (verdict === 'ack') channel.ack(message);
    else channel.nack(message, false, true);
  } catch {
    // The channel is gone: RabbitMQ delivers the message again, to a fresh channel.
  }
}
