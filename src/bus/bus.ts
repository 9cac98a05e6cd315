/**
 * The bus: casts and calls in oslo.messaging's envelope.
 *
 * Files: `envelope.ts` the wire format · `amqp.ts` the bus on RabbitMQ · `publisher.ts` publishes there, with
 * confirms · `replies.ts` the answers to calls · `server.ts` serves a topic there · `delivery.ts` how often a
 * message came · `queues.ts` declares exchanges and queues there · `connection.ts` keeps its connections alive ·
 * `dead-letters.ts` the messages that nobody could act on · `depths.ts` how many messages wait ·
 * `protection.ts` secure modes · `test/twins/bus.ts` the bus in memory, for the simulator.
 */
import { CofferError } from '../core/errors.ts';
import type { TraceParent } from '../tracing.ts';
import type { Depth } from './depths.ts';
import type { Guard, Protection } from './protection.ts';

/** Travels with every message: who sent the request, for log lines and authorisation. */
export interface Context {
  readonly request_id: string;
  readonly tenant_id: string | null;
  readonly user: string | null;
  readonly is_admin: boolean;
  /**
   * The part of the context in which Trove's services must find what they name in a notification as its
   * subject.
   */
  readonly notification?: Readonly<Record<string, unknown>>;
}

/** What a notifier of oslo.messaging sends: nobody answers it, and every listener receives it. */
export interface Notification {
  /** The same id if the notification is sent again. */
  readonly message_id: string;
  readonly publisher_id: string;
  readonly event_type: string;
  readonly payload: Readonly<Record<string, string>>;
  readonly at: number;
  readonly context: Context;
}

export interface Request {
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly context: Context;
  /** New for each message; a redelivery keeps it. */
  readonly unique_id: string;
  /** True if the broker has delivered the message before. */
  readonly redelivered: boolean;
  /** The instance under whose key the message came; null or absent if the message came unencrypted. */
  readonly speaker?: string | null;
}

/**
 * Answers a request. The message is acknowledged after the promise resolves: the work is safe by then. If the
 * promise rejects with a retryable error, the message is put back. With any other error, a call is answered
 * with a failure, and a cast goes to the dead letters with the reason.
 */
export type Handler = (request: Request) => Promise<unknown>;

/**
 * `shared`: may hold the only copy of an intent; a quorum queue. `own`: belongs to one guest, whose messages
 * can be sent again; transient.
 */
export type QueueKind = 'shared' | 'own';

export interface ServeOptions {
  readonly topic: string;
  readonly queue: QueueKind;
  /**
   * The name of this server among those of its topic: a message may be sent to this server alone. The host
   * name, if not given.
   */
  readonly server?: string;
  /** How many messages may be handled at the same time. */
  readonly prefetch: number;
  readonly handler: Handler;
  /** Opens incoming messages; without it all messages come unencrypted. */
  readonly guard?: Guard;
  /** If true, a message that is part of no trace begins a new one. */
  readonly begins_traces?: boolean;
  /** The id of the installation that the server belongs to; the bus's own if not given. */
  readonly installation?: string | undefined;
  /**
   * What happens to a message of another installation that has no process here. `dropped`: its sender will
   * send it again.
   */
  readonly foreign?: 'buried' | 'dropped';
}

export interface Served {
  /** Takes no further message, and waits for the messages that are being handled. */
  stop(): Promise<void>;
}

export interface CastOptions {
  readonly context?: Context;
  /**
   * The broker drops the message if nobody has taken it after this time. If absent, the message never
   * expires.
   */
  readonly expires_ms?: number;
  readonly protection?: Protection | null;
  /** The installation of the sender; the bus's own if not given. */
  readonly installation?: string | undefined;
  /** The span that the message is part of; the current one if not given. */
  readonly trace?: TraceParent | undefined;
}

export interface CallOptions {
  readonly timeout_ms: number;
  /**
   * A server that understands this option reports every half of this time that it is still working. A longer
   * silence ends the wait.
   */
  readonly monitor_ms?: number;
  readonly context?: Context;
  /** Protects the question and its answer: an answer that comes unencrypted is not accepted then. */
  readonly protection?: Protection | null;
}

/** A message that nobody could act on, kept with the reason until a person decides what to do with it. */
export interface DeadLetter {
  readonly id: string;
  /** Null if the sender of the letter did not record it. */
  readonly topic: string | null;
  readonly reason: string | null;
  readonly at: number | null;
  /** Null if the message cannot be read. */
  readonly method: string | null;
  readonly content: Uint8Array;
}

export interface Depths {
  /** By topic; a topic that nobody has ever served is missing. */
  readonly topics: ReadonlyMap<string, Depth>;
  readonly dead_letters: number;
}

/** Every function rejects with `bus_unavailable` if the broker is away; no letter is lost then. */
export interface DeadLetters {
  /** Up to `limit` letters from the head of the queue, and the number of all letters. */
  list(limit: number): Promise<{ readonly letters: readonly DeadLetter[]; readonly total: number }>;
  get(id: string): Promise<DeadLetter | null>;
  /**
   * Sends the letter to its topic again, and removes it. If nobody serves the topic, the letter stays, and
   * this rejects with `bus_unavailable`.
   */
  replay(id: string): Promise<DeadLetter | null>;
  discard(id: string): Promise<DeadLetter | null>;
}

export interface Bus {
  /** Absent from the twin in memory: nobody reads the dead letters of a simulation. */
  readonly deadLetters?: DeadLetters;
  /**
   * Resolves when the broker has confirmed the message and a queue holds it. Rejects with `bus_unavailable`
   * when the broker is away or nobody serves the topic: the outcome is unknown, and the caller should send
   * the message again.
   */
  cast(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options?: CastOptions,
  ): Promise<void>;
  /**
   * Resolves with the reply. Rejects with a `RemoteError` if the server failed, with `bus_unavailable` after
   * `timeout_ms`.
   */
  call(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ): Promise<unknown>;
  serve(options: ServeOptions): Promise<Served>;
  /** Resolves when the broker holds the notification for its listeners. Rejects with `bus_unavailable`. */
  notify(notification: Notification): Promise<void>;
  /**
   * How many messages wait in the queues of these topics, how many consumers each has, and how many dead
   * letters there are. Absent from the twin in memory. Rejects if the broker is away.
   */
  depths?(topics: readonly string[]): Promise<Depths>;
  /**
   * Ids of other installations whose taskmanagers consume from the same queues. Absent from the twin in
   * memory.
   */
  otherInstallations?(): readonly string[];
  /** True while the broker is connected. */
  isConnected(): boolean;
  close(): Promise<void>;
}

/** The other side executed a call, and the call failed. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError';
  /** The class of the exception, by the name that the other side gives it, e.g. `GuestError`. */
  readonly remote_class: string;

  constructor(remote_class: string, message: string) {
    super(message);
    this.remote_class = remote_class;
  }
}

/** A request that its server does not understand, named as oslo.messaging names it. */
export class DispatchError extends Error {
  override readonly name = 'DispatchError';
  readonly remote_class: 'NoSuchMethod' | 'UnsupportedVersion';

  constructor(remote_class: DispatchError['remote_class'], message: string) {
    super(message);
    this.remote_class = remote_class;
  }
}

export function noSuchMethod(method: string): DispatchError {
  return new DispatchError('NoSuchMethod', `Endpoint does not support RPC method ${method}`);
}

export function unavailable(message: string): CofferError {
  return new CofferError('bus_unavailable', message);
}

/** Errors that say nothing about the message: the same work may succeed shortly afterwards. */
export function isPassing(err: unknown): boolean {
  return err instanceof CofferError && (err.code === 'store_unavailable' || err.code === 'bus_unavailable');
}

/** Errors that every further try would end with. */
export function isFinal(err: unknown): boolean {
  return err instanceof DispatchError || (err instanceof CofferError && err.code !== 'internal');
}

export const TASKMANAGER_TOPIC = 'taskmanager';
export const NOTIFICATION_TOPIC = 'notifications.info';
export const CONDUCTOR_TOPIC = 'trove-conductor';

/** The topic of one guest agent. */
export function guestTopic(instance_id: string): string {
  return `guestagent.${instance_id}`;
}
