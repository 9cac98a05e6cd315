import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import type { QueueMode } from '../config.ts';
import { CofferError } from '../core/errors.ts';
import { type Logger, textOf } from '../log.ts';
import { sleep } from '../service.ts';
import { type Tracing, traceParentOf } from '../tracing.ts';
import { DispatchError, isFinal, isPassing, type Served, type ServeOptions } from './bus.ts';
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

/** As Trove's guests announce it: messages of 1.0 and 1.1 are understood. */
const SERVED_VERSION = '1.1';
/** A message whose work could not be done now goes back after this long: no hot loop. */
const REQUEUE_MS = 500;
/** After so many deliveries an unexpected error is no accident. */
const MAX_DELIVERIES = 4;
/** A message that came back so often without an answer is handled alone: it may be what ends the process. */
const SUSPECT_AFTER = 2;
/** And after so often it is not handled any more. Below the limit at which RabbitMQ 4 throws a message away. */
const MAX_CUT_OFFS = 6;
/** Header of a message that was written anew because its work could not be done. Anybody may write it: nothing is decided by it. */
export const AGAIN = 'coffer-again';
/** Header of a message that is part of a trace, as W3C has it. */
export const TRACE_HEADER = 'traceparent';
/** Counts of failures that are kept: who failed before may be done elsewhere. */
const MAX_COUNTED = 1_000;
const CANCEL_TIMEOUT_MS = 1_000;
/** Whatever a caller asks for: it is not drowned in keep-alives. */
const MIN_KEEP_ALIVE_MS = 100;
/** A timer that is set for more than a month runs at once, and for ever. */
const MAX_KEEP_ALIVE_MS = 3_600_000;

type Options = ServeOptions & { readonly server: string };

interface ServerDeps {
  readonly log: Logger;
  readonly tracing: Tracing;
  readonly exchange: string;
  readonly queues: QueueMode;
  reply(queue: string, content: Buffer): Promise<void>;
  deadLetter(message: ConsumeMessage, reason: string): Promise<void>;
  /** Puts it behind all others of its topic, as if it had never been delivered. */
  again(message: ConsumeMessage): Promise<void>;
  /** Puts it behind all others of its topic, for another installation. */
  passOn(message: ConsumeMessage): Promise<void>;
  forget(): void;
}

/**
 * What becomes of a delivery. `requeue`: it counts as a failed one. `again`: it does not, for nothing is wrong
 * with the message; a long outage must not make it look like one that nobody can handle.
 */
type Verdict = 'ack' | 'requeue' | 'again' | 'pass_on' | 'settled';

/** One topic that is served: consumes it on every channel that comes. */
export class Server implements Served {
  readonly #options: Options;
  readonly #deps: ServerDeps;
  readonly #working = new Set<Promise<void>>();
  /** How often a message's work failed here: of a classic queue's deliveries the broker counts none. */
  readonly #failures = new Map<string, number>();
  #consuming: { readonly channel: ConfirmChannel; readonly tags: readonly string[] } | undefined;
  #stopped = false;
  /** Suspects have their turn one after the other. */
  #suspects: Promise<unknown> = Promise.resolve();
  /** Where a message was last given up for having been cut off too often. */
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
    // What expires is not delivered for ever.
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
   * A message may end the process that handles it, and takes with it all that were in work beside it: they
   * come back, in their order, and look alike. So each has its turn alone, and RabbitMQ has heard of its end
   * before the next one begins. The first in line is the one then.
   */
  #handleInTurn(channel: ConfirmChannel, message: ConsumeMessage): Promise<Verdict> {
    const mine = this.#suspects.then(async () => {
      const verdict = await this.#handleSuspect(channel, message);
      if (verdict !== 'ack') return verdict;
      settleDelivery(channel, message, 'ack');
      // An answer on the same channel comes after what was sent before.
      await channel.checkExchange(this.#deps.exchange).catch(() => undefined);
      return 'settled';
    });
    this.#suspects = mine.catch(() => undefined);
    return mine;
  }

  /** Those behind the one that is given up have come as often, and never had their turn: one for each channel. */
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
    // At random: two installations that hand each other's messages back in step would get the same ones again.
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

  /** The work for one message; the message is acknowledged only after it is safe. */
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

  /** Of another installation: passed on, or refused in words when none of its processes has taken it. */
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

  /** From the queue that both installations consume from, whatever exchange it came through; not from a fanout. */
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

  /** Of no span but the one that the message names: what else seems to be at work here is not about it. */
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

  /** The handler's result, or its rejection; meanwhile the caller is told that it is being worked on. */
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

  /** Not from a server's own queue, nor from a fanout, which others have got too. */
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
      // RabbitMQ is away: the message comes again, and is buried then.
      return 'requeue';
    }
  }

  /** Kept nowhere: whoever sent it could fill any place that we have. */
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

/** How often it was delivered before, and came back. Only quorum queues count; at first it says what its sender likes. */
function deliveriesOf({ properties }: ConsumeMessage): number {
  const count: unknown = properties.headers?.['x-delivery-count'];
  return typeof count === 'number' && count > 0 ? count : 0;
}

function wasDelivered({ fields, properties }: ConsumeMessage): boolean {
  return fields.redelivered || properties.headers?.[AGAIN] === true;
}

function hasExpiry({ properties }: ConsumeMessage): boolean {
  return properties.expiration !== undefined;
}
