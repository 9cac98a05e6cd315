/**
 * The bus: casts and calls in oslo.messaging's envelope.
 *
 * Files: `envelope.ts` the wire format · `amqp.ts` the bus on RabbitMQ · `server.ts` a topic that is
 * served there · `queues.ts` what is declared there · `connection.ts` its connection supervisor ·
 * `dead-letters.ts` what nobody could act on · `depths.ts` how much waits · `protection.ts` secure modes ·
 * `test/twins/bus.ts` the bus in memory, for the simulator.
 */
import { CofferError } from '../core/errors.ts';
import type { TraceParent } from '../tracing.ts';
import type { Depth } from './depths.ts';
import type { WireNotification } from './envelope.ts';
import type { Guard, Protection } from './protection.ts';

/** Travels with every message: who asked, for log lines and authorisation. */
export interface Context {
  readonly request_id: string;
  readonly tenant_id: string | null;
  readonly user: string | null;
  readonly is_admin: boolean;
  /** What Trove's services must find in it to say in a notification what the message is about. */
  readonly notification?: Readonly<Record<string, unknown>>;
}

export interface Request {
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly context: Context;
  /** New for each message; a redelivery keeps it. */
  readonly unique_id: string;
  /** True if the broker delivered it before. */
  readonly redelivered: boolean;
  /** The instance under whose key it came; null or absent for one that came in clear. */
  readonly speaker?: string | null;
}

/**
 * Answers a request. The message is acknowledged after the promise resolves: the work is safe then.
 * A rejection with a retryable error puts it back; with any other, a call is answered with a
 * failure, and a cast goes to the dead letters with the reason.
 */
export type Handler = (request: Request) => Promise<unknown>;

/** `shared`: may be the only copy of an intent, quorum queue. `own`: a guest's, can be said again, transient. */
export type QueueKind = 'shared' | 'own';

export interface ServeOptions {
  readonly topic: string;
  readonly queue: QueueKind;
  /** Names this server among those of its topic: messages may be sent to it alone. The host, if not given. */
  readonly server?: string;
  /** Messages in work at once. */
  readonly prefetch: number;
  readonly handler: Handler;
  /** Opens what comes in; without it everything comes in clear. */
  readonly guard?: Guard;
  /** A message that is part of no trace begins one. */
  readonly begins_traces?: boolean;
  /** The id of the installation that it belongs to; that of the bus if not said. */
  readonly installation?: string | undefined;
  /** What becomes of a message of another installation that has no process here: `dropped` if its sender says it again. */
  readonly foreign?: 'buried' | 'dropped';
}

export interface Served {
  /** Takes no further message, and waits for those in work. */
  stop(): Promise<void>;
}

export interface CastOptions {
  readonly context?: Context;
  /** Dropped by the broker if nobody took it by then; never when absent. */
  readonly expires_ms?: number;
  readonly protection?: Protection | null;
  /** The installation of who sends it; that of the bus if not said. */
  readonly installation?: string | undefined;
  /** The span that it is part of; if not said, the one at work. */
  readonly trace?: TraceParent | undefined;
}

export interface CallOptions {
  readonly timeout_ms: number;
  /** A server that understands it says every half of this that it is still at work; silence for longer ends the wait. */
  readonly monitor_ms?: number;
  readonly context?: Context;
  /** Of the question and of its answer: one that comes in clear is no answer then. */
  readonly protection?: Protection | null;
}

/** A message that nobody could act on, kept with the reason until a person decides. */
export interface DeadLetter {
  readonly id: string;
  /** Null if whoever put it there did not say. */
  readonly topic: string | null;
  readonly reason: string | null;
  readonly at: number | null;
  /** Null if nobody can read it. */
  readonly method: string | null;
  readonly content: Uint8Array;
}

export interface Depths {
  /** By topic; one that nobody has ever served is not in it. */
  readonly topics: ReadonlyMap<string, Depth>;
  readonly dead_letters: number;
}

/** Every function rejects with `bus_unavailable` if the broker is away; nothing is lost then. */
export interface DeadLetters {
  /** Up to `limit` letters from the head of the queue, and how many there are in all. */
  list(limit: number): Promise<{ readonly letters: readonly DeadLetter[]; readonly total: number }>;
  get(id: string): Promise<DeadLetter | null>;
  /** Sends it again to its topic, and forgets it. If nobody serves that, it stays: `bus_unavailable`. */
  replay(id: string): Promise<DeadLetter | null>;
  discard(id: string): Promise<DeadLetter | null>;
}

export interface Bus {
  /** Absent from the twin in memory: nobody looks through the letters of a simulation. */
  readonly deadLetters?: DeadLetters;
  /**
   * Resolves when the broker has confirmed the message and a queue holds it. Rejects with
   * `bus_unavailable` when the broker is away or nobody serves the topic: outcome unknown, say it again.
   */
  cast(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options?: CastOptions,
  ): Promise<void>;
  /** Resolves with the reply; rejects with a `RemoteError` if the server failed, `bus_unavailable` after `timeout_ms`. */
  call(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ): Promise<unknown>;
  serve(options: ServeOptions): Promise<Served>;
  /** Resolves when the broker holds it for whoever listens to notifications. Rejects with `bus_unavailable`. */
  notify(notification: WireNotification): Promise<void>;
  /**
   * Messages that wait for those who serve these topics, how many serve them, and dead letters. Absent from the twin in memory.
   * Rejects if the broker is away.
   */
  depths?(topics: readonly string[]): Promise<Depths>;
  /** Ids of other installations whose taskmanagers consume from the same queues. Absent from the twin in memory. */
  otherInstallations?(): readonly string[];
  /** True while the broker answers. */
  isConnected(): boolean;
  close(): Promise<void>;
}

/** The other side executed a call and failed. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError';
  /** The exception's class as its side names it, e.g. `GuestError`. */
  readonly remote_class: string;

  constructor(remote_class: string, message: string) {
    super(message);
    this.remote_class = remote_class;
  }
}

/** A request that its server does not understand, in oslo.messaging's words. */
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

/** Errors that say nothing about the message: the same work may succeed in a moment. */
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
