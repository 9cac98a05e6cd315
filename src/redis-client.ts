/**
 * The clients of Redis. When a connection breaks, Redis may or may not have executed the commands that were
 * under way. ioredis sends them again unless told not to, and ioredis 6.0.0 can leave their promises
 * unsettled if it is told not to (redis/ioredis#2193). Every client is therefore made here.
 *
 * - C1: no command is sent twice. Its caller learns that the outcome is unknown, and reads again.
 * - C2: every command settles: at once when its connection breaks or is missing, and within
 *   `COMMAND_TIMEOUT_MS` on a connection that is silent.
 *
 * BullMQ's workers are the one exception, see `workerConnection`.
 */
import { Redis } from 'ioredis';
import type { TlsOptions } from './config.ts';
import { textOf } from './log.ts';
import { RedisConnector } from './redis-connector.ts';

/** Longer than any command takes on a loaded server, and short enough for a caller to learn of it soon. */
const COMMAND_TIMEOUT_MS = 1_500;
/** A worker asks at least every ten seconds: a connection that is silent for longer is dead. */
const SILENT_MS = 30_000;
/** A replica answers every write with READONLY: a new connection helps only if another server has become the primary. */
const READONLY_PAUSE_MS = 5_000;
/** The answer to a command that was written late comes within this time. */
const ANSWER_MS = 100;
const TIMED_OUT = 'Command timed out';

/** Where Redis is, and with `rediss://` which certificates to trust. */
interface RedisServer {
  readonly url: string;
  readonly tls?: TlsOptions | undefined;
}

interface ClientOptions {
  readonly connectionName: string;
  readonly lazyConnect?: boolean;
  readonly connectTimeout?: number;
  readonly commandTimeout?: number;
  readonly enableReadyCheck?: boolean;
  readonly retryStrategy?: (times: number) => number | null;
}

/** A client for commands and for subscriptions, by C1 and C2. It reconnects for as long as it lives. */
export function openRedisClient(server: RedisServer, options: ClientOptions): Redis {
  const client = new Redis(server.url, {
    ...common(server),
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Zero settles the commands under way at the moment in which the connection breaks (C2).
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_TIMEOUT_MS,
    // ioredis does not notice when a subscription that it renews fails: the code that subscribes renews its
    // subscriptions itself.
    autoResubscribe: false,
    ...options,
  });
  // Without a listener an error event would be printed on stderr.
  client.on('error', () => undefined);
  return client;
}

/**
 * A connection that is open and silent stays so for ever. If `err` comes from such a connection, the client
 * connects anew. A process that was held up for longer than the time limit finds the answers only after its
 * timers have run: its connection is not silent, and to end it would fail every other command under way.
 */
export function reconnectIfSilent(client: Redis, err: unknown): void {
  if (textOf(err) !== TIMED_OUT || client.status !== 'ready') return;
  const { stream } = client;
  const before = stream.bytesRead;
  const isSilent = () => client.stream === stream && stream.bytesRead === before;
  const judge = () => isSilent() && client.status === 'ready' && client.disconnect(true);
  // A command that was written just before the process was held up leaves only now. After a timer, what has
  // arrived is read before an immediate runs.
  setTimeout(() => setImmediate(judge), ANSWER_MS).unref();
}

/**
 * The options with which BullMQ makes the two connections of a worker. A worker's loop waits for its commands
 * for as long as Redis cannot be reached, so these commands are kept, and are sent again after a break. All
 * of them may be repeated: each names its job and the token of the worker that has locked the job, so Redis
 * refuses to end a job that has ended. The one exception is the command that takes the next job: if it is
 * repeated, it takes one job more. Then the lock of the first job runs out, and another worker takes that job
 * over. A job that runs twice begins one batch, since the id of the batch follows from the id of the job.
 */
export function workerConnection(server: RedisServer, name: string) {
  return {
    url: server.url,
    ...common(server),
    connectionName: name,
    maxRetriesPerRequest: null,
    socketTimeout: SILENT_MS,
  };
}

function common({ tls }: RedisServer) {
  let reconnected_at = Number.NEGATIVE_INFINITY;
  return {
    ...(tls && { tls: { ...tls } }),
    Connector: RedisConnector,
    retryStrategy: (times: number) => Math.min(50 * times, 1_000),
    reconnectOnError: ({ message }: Error) => {
      const now = performance.now();
      if (!message.startsWith('READONLY') || now - reconnected_at < READONLY_PAUSE_MS) return false;
      reconnected_at = now;
      return true;
    },
  };
}
