import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import type { QueueMode } from '../config.ts';
import { CofferError } from '../core/errors.ts';
import { type Logger, textOf } from '../log.ts';
import { sleep } from '../service.ts';
import { type Tracing, traceParentOf } from '../tracing.ts';
import { DispatchError, isFinal, isPassing, type Served, type ServeOptions } from './bus.ts';
import { deliveriesOf, hasExpiry, settleDelivery, wasDelivered } from './delivery.ts';
import {
  decodeBody,
  encodeBody,
  encodeKeepAlive,
  MalformedMessage,
  type ReplyTo,
  replyBody,
  requestOf,
  type WireRequest,
} from './envelope.ts';
import { foreignWords, installationOf, MAX_PASSED_ON, timesPassedOn } from './installations.ts';
import { type Body, MessageRefused, type Protection } from './protection.ts';
import { declareServer } from './queues.ts';

/** The version that Trove's guests announce: messages of 1.0 and 1.1 are understood. */
const SERVED_VERSION = '1.1';
/** A message whose work cannot be done now is put back after this time: no hot loop. */
const REQUEUE_MS = 500;
/** After so many deliveries an unexpected error is no accident. */
const MAX_DELIVERIES = 4;
/**
 * A message that came back this often without an answer is handled alone: it may be the one that ends the
 * process.
 */
const SUSPECT_AFTER = 2;
/**
 * After so many deliveries the message is no longer handled. Below the limit at which RabbitMQ 4 drops a
 * message.
 */
const MAX_CUT_OFFS = 6;
/** Header of a message that is part of a trace, as specified by W3C. */
export const TRACE_HEADER = 'traceparent';
/**
 * How many counts of failures are kept: another server may have done the work of a message that failed here.
 */
const MAX_COUNTED = 1_000;
const CANCEL_TIMEOUT_MS = 1_000;
/** The shortest interval of keep-alives, whatever the caller asks for: the caller must not be flooded. */
const MIN_KEEP_ALIVE_MS = 100;
/** The longest interval: a timer that is set for more than a month fires immediately, again and again. */
const MAX_KEEP_ALIVE_MS = 3_600_000;

type Options = ServeOptions & { readonly server: string };

interface ServerDeps {
  readonly log: Logger;
  readonly tracing: Tracing;
  readonly exchange: string;
  readonly queues: QueueMode;
  reply(queue: string, content: Buffer): Promise<void>;
  deadLetter(message: ConsumeMessage, reason: string): Promise<void>;
  /** Puts the message behind all others of its topic, as if it had never been delivered. */
  again(message: ConsumeMessage): Promise<void>;
  /** Puts the message behind all others of its topic, for another installation. */
  passOn(message: ConsumeMessage): Promise<void>;
  forget(): void;
}

/**
 * What to do with a delivery. `requeue` counts as a failed delivery. `again` does not, because nothing is
 * wrong with the message: a long outage must not make a message look like one that nobody can handle.
 */
type Verdict = 'ack' | 'requeue' | 'again' | 'pass_on' | 'settled';

/** Serves one topic: consumes it on every new channel. */
export class Server implements Served {
  readonly #options: Options;
  readonly #deps: ServerDeps;
  readonly #working = new Set<Promise<void>>();
  /** How often a message's work failed here: for a classic queue the broker counts no deliveries. */
  readonly #failures = new Map<string, number>();
  #consuming: { readonly channel: ConfirmChannel; readonly tags: readonly string[] } | undefined;
  #stopped = false;
  /** Suspect messages are handled one after the other. */
  #suspects: Promise<unknown> = Promise.resolve();
  /** The channel on which a message was last given up because its handling was cut off too often. */
  #accusedOn: ConfirmChannel | undefined;

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
    // Sent together: the prefetch limit applies to the next consumers on the channel, and other servers set
    // up theirs at the same time.
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
    // If the channel is gone, there is nothing to cancel.
    const { channel, tags } = consuming;
    const cancelled = Promise.all(tags.map((tag) => channel.cancel(tag))).catch(() => undefined);
    await Promise.race([cancelled, sleep(CANCEL_TIMEOUT_MS)]).catch(() => undefined);
  }

  #take(channel: ConfirmChannel, message: ConsumeMessage): void {
    const isSuspect = deliveriesOf(message) >= SUSPECT_AFTER && !hasExpiry(message);
    const verdict = isSuspect ? this.#handleInTurn(channel, message) : this.#handle(message);
    const work = verdict
      .then((word) => this.#settle(channel, message, word))
      .catch((err) =>
        this.#deps.log.error({ err, topic: this.#options.topic }, 'a delivery could not be settled'),
      )
      .finally(() => this.#working.delete(work));
    this.#working.add(work);
  }

  /**
   * A message may end the process that handles it. All messages that were being handled then come
   * back, in their order, and look alike. So each is handled alone, and RabbitMQ has its acknowledgement
   * before the next one begins. The message that ends the process is then the first in line.
   */
  #handleInTurn(channel: ConfirmChannel, message: ConsumeMessage): Promise<Verdict> {
    const mine = this.#suspects.then(async () => {
      const verdict = await this.#handleSuspect(channel, message);
      if (verdict !== 'ack') return verdict;
      settleDelivery(channel, message, 'ack');
      // RabbitMQ answers on a channel only after it has processed what was sent there before.
      await channel.checkExchange(this.#deps.exchange).catch(() => undefined);
      return 'settled';
    });
    this.#suspects = mine.catch(() => undefined);
    return mine;
  }

  /**
   * The messages behind the one that is given up have come as often, and were never handled: so only one is
   * given up for each channel.
   */
  async #handleSuspect(channel: ConfirmChannel, message: ConsumeMessage): Promise<Verdict> {
    const deliveries = deliveriesOf(message);
    if (deliveries < MAX_CUT_OFFS || this.#accusedOn === channel) return this.#handle(message);
    this.#accusedOn = channel;
    return this.#bury(
      message,
      `whoever handled it ended or lost the connection, ${deliveries} times in a row`,
    );
  }

  async #settle(channel: ConfirmChannel, message: ConsumeMessage, verdict: Verdict): Promise<void> {
    if (verdict === 'settled') return;
    if (verdict === 'ack') return settleDelivery(channel, message, 'ack');
    // A random pause: two installations that pass each other's messages back at the same pace would get the
    // same ones again.
    await sleep(verdict === 'pass_on' ? Math.random() * REQUEUE_MS : REQUEUE_MS);
    const send = verdict === 'pass_on' ? this.#deps.passOn : this.#deps.again;
    const isSent =
      verdict !== 'requeue' &&
      (await send(message).then(
        () => true,
        () => false,
      ));
    settleDelivery(channel, message, isSent ? 'ack' : 'requeue');
  }

  /** Does the work for one message; the message is acknowledged only after the work is safe. */
  async #handle(message: ConsumeMessage): Promise<Verdict> {
    let request: WireRequest;
    let body: Body;
    let protection: Protection | null = null;
    try {
      body = decodeBody(message.content);
      const { guard, topic, installation } = this.#options;
      const theirs = installationOf(body);
      if (theirs !== null && installation !== undefined && theirs !== installation)
        return await this.#leave(message, body, foreignWords(theirs, installation));
      protection = (await guard?.(body)) ?? null;
      request = requestOf(protection?.openRequest(body, topic, message.fields.redelivered) ?? body);
    } catch (err) {
      if (isPassing(err)) return this.#later(message);
      if (err instanceof MessageRefused) return this.#refuse(err);
      return this.#bury(message, err instanceof MalformedMessage ? err.message : textOf(err));
    }
    const verdict = await this.#work(message, request, protection);
    if (verdict !== 'ack') protection?.release(body);
    return verdict;
  }

  /**
   * For a message of another installation: passes it on, or refuses it with the reason if none of its
   * processes has taken it.
   */
  async #leave(message: ConsumeMessage, body: Body, reason: string): Promise<Verdict> {
    if (this.#mayPassOn(message) && timesPassedOn(message) < MAX_PASSED_ON) return 'pass_on';
    const { reply_to } = requestOf(body);
    if (reply_to) {
      await this.#answer(reply_to, null, null, new CofferError('action_refused', reason));
      return 'ack';
    }
    if (this.#options.foreign !== 'dropped') return this.#bury(message, reason);
    return this.#refuse(new MessageRefused(reason));
  }

  /**
   * True if the message came from the queue that both installations consume from, through any exchange, but
   * not from a fanout.
   */
  #mayPassOn({ fields }: ConsumeMessage): boolean {
    const { queue, topic } = this.#options;
    return queue === 'shared' && fields.routingKey === topic && fields.exchange !== `${topic}_fanout`;
  }

  async #work(
    message: ConsumeMessage,
    request: WireRequest,
    protection: Protection | null,
  ): Promise<Verdict> {
    const { method, context, reply_to } = request;
    try {
      const result = await this.#traced(message, method, () =>
        this.#serve(request, wasDelivered(message), protection),
      );
      if (reply_to) await this.#answer(reply_to, protection, result, null);
      return 'ack';
    } catch (err) {
      if (isPassing(err)) return this.#later(message);
      const error = err instanceof Error ? err : new Error(String(err));
      this.#deps.log.warn(
        { err: error, topic: this.#options.topic, method, request_id: context.request_id },
        'a request failed',
      );
      if (reply_to) {
        await this.#answer(reply_to, protection, null, error);
        return 'ack';
      }
      return this.#requeueOrBury(message, request.unique_id, error);
    }
  }

  /**
   * The only possible parent is the span that the message names: the span that is current here has nothing to
   * do with the message.
   */
  #traced<T>({ properties }: ConsumeMessage, method: string, work: () => Promise<T>): Promise<T> {
    const { topic, begins_traces: isRoot = false } = this.#options;
    const parent = traceParentOf(properties.headers?.[TRACE_HEADER]);
    const attributes = {
      ...{ 'messaging.system': 'rabbitmq', 'messaging.destination.name': topic },
      ...{ 'messaging.operation.type': 'process', 'rpc.method': method },
    };
    return this.#deps.tracing.span(
      `${method} process`,
      { kind: 'consumer', parent, isRoot, attributes },
      work,
    );
  }

  /** The handler's result or rejection; meanwhile the caller is told that the server is still working. */
  async #serve(request: WireRequest, redelivered: boolean, protection: Protection | null): Promise<unknown> {
    const { method, args, context, unique_id, version, namespace, reply_to } = request;
    if (namespace !== null || !isServed(version)) {
      const message = `Endpoint does not support RPC version ${version}. Attempted method: ${method}`;
      throw new DispatchError('UnsupportedVersion', message);
    }
    const speaker = protection?.instance_id ?? null;
    const work = this.#options.handler({ method, args, context, unique_id, redelivered, speaker });
    if (!reply_to || reply_to.monitor_s === null) return work;
    const wanted_ms = Math.max((reply_to.monitor_s * 1000) / 2, MIN_KEEP_ALIVE_MS);
    const pause_ms = Math.min(wanted_ms, MAX_KEEP_ALIVE_MS);
    const timer = setInterval(() => void this.#reply(reply_to, encodeKeepAlive(reply_to.msg_id)), pause_ms);
    return work.finally(() => clearInterval(timer));
  }

  #later(message: ConsumeMessage): Verdict {
    return this.#isFromTopic(message) && !hasExpiry(message) ? 'again' : 'requeue';
  }

  /**
   * False if the message came from the server's own queue, or from a fanout, which other servers have
   * received too.
   */
  #isFromTopic({ fields }: ConsumeMessage): boolean {
    const { queue, topic } = this.#options;
    const isDirect = fields.exchange === '' || fields.exchange === this.#deps.exchange;
    return queue === 'shared' && isDirect && fields.routingKey === topic;
  }

  async #requeueOrBury(message: ConsumeMessage, unique_id: string, error: Error): Promise<Verdict> {
    const failed = Math.max(deliveriesOf(message), this.#failures.get(unique_id) ?? 0) + 1;
    if (isFinal(error) || failed >= MAX_DELIVERIES) {
      this.#failures.delete(unique_id);
      return this.#bury(message, textOf(error));
    }
    if (this.#failures.size >= MAX_COUNTED) this.#failures.clear();
    this.#failures.set(unique_id, failed);
    return 'requeue';
  }

  async #bury(message: ConsumeMessage, reason: string): Promise<Verdict> {
    this.#deps.log.warn({ topic: this.#options.topic, reason }, 'a message went to the dead letters');
    try {
      await this.#deps.deadLetter(message, reason);
      return 'ack';
    } catch {
      // RabbitMQ is away: it delivers the message again, which is buried then.
      return 'requeue';
    }
  }

  /** The message is not kept: its sender could fill any storage that we have. */
  #refuse(err: MessageRefused): Verdict {
    this.#deps.log.warn({ topic: this.#options.topic, reason: err.message }, 'a message was refused');
    return 'ack';
  }

  async #answer(to: ReplyTo, protection: Protection | null, result: unknown, failure: Error | null) {
    const body = replyBody(to.msg_id, result, failure);
    await this.#reply(to, encodeBody(protection?.sealReply(body) ?? body));
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

/** By oslo.messaging's rule: the same major version, and no newer than ours. */
function isServed(version: string): boolean {
  const [major, minor] = SERVED_VERSION.split('.').map(Number);
  const [their_major, their_minor = 0] = version.split('.').map(Number);
  return their_major === major && their_minor <= (minor ?? 0);
}
