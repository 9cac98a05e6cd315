/**
 * BullMQ behind a few functions; none of its types leave this file. There are two queues. Other services add
 * jobs that ask for a batch to `<prefix>-batches`. Processes tell each other through `<prefix>-batch-wakes`
 * that a batch has something to do.
 *
 * Neither queue holds the truth. A job that asks for a batch begins the batch under an id that follows from
 * the job's id, so that a job that runs twice begins one batch. If a message in `<prefix>-batch-wakes` gets
 * lost, the batch becomes due in the store.
 */
import { type Job, Queue, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { redisTls, type TlsOptions } from './config.ts';
import type { Instant } from './core/domain.ts';
import { CofferError } from './core/errors.ts';
import { type Logger, textOf } from './log.ts';
import { openRedisClient, workerConnection } from './redis-client.ts';
import { type Service, sleep } from './service.ts';

/** When a worker was killed, another one takes over its jobs after about this long. */
const LOCK_MS = 5_000;
/** These jobs are not the reason why workers die, so they may be tried often. */
const MAX_STALLED = 10;
/** How many requests for batches a process works on at once. */
const REQUESTS_AT_ONCE = 2;
const CHECKS_AT_ONCE = 20;
/** How long an orderly stop waits for the work under way. */
const CLOSE_MS = 5_000;
/** Finished jobs are kept for a day, failed ones for a month, and only a limited number of each. */
const KEEP_DONE = { age: 86_400, count: 1_000 };
const KEEP_FAILED = { age: 30 * 86_400, count: 10_000 };
/**
 * While the store cannot be reached, a request is tried again this often, for about a minute. Then it fails,
 * and is kept.
 */
const RETRY_MS = 2_000;
const MAX_TRIES = 30;

/** Shown in Redis' list of clients. */
const CONNECTION_NAME = 'coffer-queue';

interface QueueOptions {
  readonly url: string;
  /** Only with `rediss://`. */
  readonly tls?: TlsOptions | undefined;
  /** The prefix of the queues' names. */
  readonly prefix: string;
  readonly log: Logger;
}

export function queueOptions(
  config: Parameters<typeof redisTls>[0] & { readonly COFFER_REDIS_PREFIX: string },
  log: Logger,
): QueueOptions {
  const { COFFER_REDIS_URL: url, COFFER_REDIS_PREFIX: prefix } = config;
  return { url, tls: redisTls(config), prefix, log };
}

/** The documented name of the queue for requests: `coffer-batches` by default. */
export function requestQueueName(prefix: string): string {
  return `${prefix}-batches`;
}

function wakeQueueName(prefix: string): string {
  return `${prefix}-batch-wakes`;
}

/** A job as its handler sees it. */
export interface BatchJobRequest {
  /**
   * The same each time that the job runs, and different from that of any other job: ids that BullMQ counts up
   * may start again from the beginning.
   */
  readonly name: string;
  readonly data: unknown;
}

interface WakeQueue extends Service {
  /**
   * Makes one taskmanager check the batch soon: once for all calls made while no check is under way, and once
   * more after a check that is under way. Never rejects.
   */
  wake(batch_id: string): void;
}

/** Tells taskmanagers that batches have something to do. */
export function openWakes({ prefix, log, ...server }: QueueOptions): WakeQueue {
  const connection = openRedisClient(server, { connectionName: CONNECTION_NAME });
  const queue = openQueue(wakeQueueName(prefix), connection, log);
  /** `once`: a message is under way. `again`: another message must follow it. */
  const underWay = new Map<string, 'once' | 'again'>();
  const add = async (batch_id: string): Promise<void> => {
    try {
      await queue.add(
        'wake',
        { batch_id },
        {
          deduplication: { id: batch_id, keepLastIfActive: true },
          removeOnComplete: true,
          removeOnFail: true,
        },
      );
    } catch (err) {
      log.debug({ err: textOf(err), batch_id }, 'a wake-up was not queued; the batch becomes due');
    }
    const isAgain = underWay.get(batch_id) === 'again';
    underWay.delete(batch_id);
    if (isAgain) wake(batch_id);
  };
  const wake = (batch_id: string): void => {
    if (underWay.has(batch_id)) {
      underWay.set(batch_id, 'again');
      return;
    }
    underWay.set(batch_id, 'once');
    void add(batch_id);
  };
  return {
    name: 'batch wakes',
    wake,
    stop: async () => {
      await within(CLOSE_MS, queue.close());
      connection.disconnect();
    },
  };
}

/** Checks batches when a message asks for it. `check` may reject: then the batch becomes due in the store. */
export function serveWakes(
  { prefix, ...options }: QueueOptions,
  check: (batch_id: string) => Promise<void>,
): Service {
  return serve(
    { ...options, name: wakeQueueName(prefix), concurrency: CHECKS_AT_ONCE },
    async ({ data }: Job<{ batch_id: string }>) => {
      try {
        await check(data.batch_id);
      } catch (err) {
        options.log.warn({ err, batch_id: data.batch_id }, 'a batch could not be looked at; it becomes due');
      }
    },
  );
}

/** What became of the jobs of other services that ask for batches. */
export interface BatchRequests {
  /** Jobs that no taskmanager has taken yet. */
  readonly waiting: number;
  /** Jobs that were refused, or that failed for good. BullMQ keeps them for a month. */
  readonly failed: number;
  /** The latest of the failed jobs, the newest first. */
  readonly latest: readonly { readonly job_id: string; readonly reason: string; readonly at: Instant }[];
}

export interface BatchRequestWatch extends Service {
  /** Rejects while Redis cannot be reached. */
  outcomes(): Promise<BatchRequests>;
}

const LATEST_FAILED = 5;

/** Lets the api tell administrators why jobs that ask for batches have failed: nobody else learns of it. */
export function watchRequests({ prefix, log, ...server }: QueueOptions): BatchRequestWatch {
  const connection = openRedisClient(server, { connectionName: CONNECTION_NAME });
  const queue = openQueue(requestQueueName(prefix), connection, log);
  return {
    name: 'batch requests',
    outcomes: async () => {
      const [counts, latest] = await Promise.all([
        queue.getJobCounts('waiting', 'prioritized', 'delayed', 'failed'),
        queue.getFailed(0, LATEST_FAILED - 1),
      ]);
      const { failed = 0, ...waiting } = counts;
      return {
        waiting: Object.values(waiting).reduce((sum, count) => sum + count, 0),
        failed,
        latest: latest.map((job) => ({
          job_id: nameOf(job),
          reason: job.failedReason,
          at: job.finishedOn ?? job.timestamp,
        })),
      };
    },
    stop: async () => {
      await within(CLOSE_MS, queue.close());
      connection.disconnect();
    },
  };
}

/**
 * Begins what jobs ask for. `begin` resolves to the batch's id, which becomes the job's result. After a
 * `CofferError` that another try cannot repair, the job has failed for good, and is kept with the reason.
 */
export function serveRequests(
  { prefix, ...options }: QueueOptions,
  begin: (request: BatchJobRequest) => Promise<{ readonly batch_id: string }>,
): Service {
  const { log } = options;
  const name = requestQueueName(prefix);
  return serve({ ...options, name, concurrency: REQUESTS_AT_ONCE }, async (job: Job) => {
    for (let tries = 1; ; tries++) {
      try {
        return await begin({ name: nameOf(job), data: job.data });
      } catch (err) {
        if (!(err instanceof CofferError)) throw err;
        if (err.code !== 'store_unavailable' || tries === MAX_TRIES) {
          log.warn({ job_id: job.id, code: err.code }, `a job that asks for a batch failed: ${err.message}`);
          throw new UnrecoverableError(`${err.code}: ${err.message}`);
        }
        await sleep(RETRY_MS);
      }
    }
  });
}

function nameOf({ id = '', timestamp }: Job): string {
  return /^\d+$/.test(id) ? `${id} of ${timestamp}` : id;
}

interface Serving extends Omit<QueueOptions, 'prefix'> {
  readonly name: string;
  readonly concurrency: number;
}

function serve<Data, Result>(
  { name, concurrency, log, ...server }: Serving,
  work: (job: Job<Data, Result>) => Promise<Result>,
): Service {
  const worker = new Worker<Data, Result>(name, work, {
    connection: workerConnection(server, CONNECTION_NAME),
    concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: LOCK_MS,
    maxStalledCount: MAX_STALLED,
    removeOnComplete: KEEP_DONE,
    removeOnFail: KEEP_FAILED,
  });
  worker.on('error', (err) => log.debug({ err: textOf(err), queue: name }, 'queue connection'));
  worker.on('stalled', (job_id) =>
    log.warn({ queue: name, job_id }, 'a job was left by its worker; taken over'),
  );
  worker.on('lockRenewalFailed', (ids) => log.warn({ queue: name, ids }, 'the lock of a job got lost'));
  return {
    name,
    stop: async () => {
      if (!(await within(CLOSE_MS, worker.close()))) await within(CLOSE_MS, worker.close(true));
    },
  };
}

/**
 * A queue to add to or to read, over a connection that others may use too. BullMQ asks the server of a new
 * queue for its version, and a queue whose question was cut off never answers again. So that check is
 * skipped: the doctor checks versions.
 */
function openQueue(name: string, connection: Redis, log: Logger): Queue {
  const queue = new Queue(name, { connection, skipVersionCheck: true });
  // Without a listener an error would end the process. The connection is restored by itself.
  queue.on('error', (err) => log.debug({ err: textOf(err), queue: name }, 'queue connection'));
  return queue;
}

/** True if it ended in time. BullMQ waits for ever while Redis cannot be reached. */
async function within(ms: number, closing: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const done = closing.then(
    () => true,
    () => true,
  );
  const inTime = await Promise.race([done, late]);
  clearTimeout(timer);
  return inTime;
}
