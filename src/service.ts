import { ConfigError } from './config.ts';
import { CofferError } from './core/errors.ts';
import type { Logger } from './log.ts';

/** A long-lived part of a process. `stop` may be called twice, or before the start was done. */
export interface Service {
  readonly name: string;
  stop(): Promise<void>;
}

/** Stops services in the reverse order of their start: all of them, even if one fails to stop. */
export class Services {
  readonly #log: Logger;
  #running: Service[] = [];
  #stopping: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Remembers a started service, and returns it so that a start fits on one line. */
  add<T extends Service>(service: T): T {
    this.#running.push(service);
    return service;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    for (const service of this.#running.toReversed()) {
      try {
        await service.stop();
      } catch (err) {
        this.#log.error({ err, service: service.name }, 'a part did not stop cleanly');
      }
    }
    this.#running = [];
  }
}

/** How long a process may take to finish its work after SIGTERM. */
const STOP_GRACE_MS = 25_000;

/**
 * Runs one process: starts it, stops it on SIGTERM or SIGINT, and exits 0 after a clean stop. If the
 * configuration is not usable, reports all its problems on stderr and exits 2. A second signal exits at once.
 */
export async function runProcess(
  start: () => Promise<{ readonly log: Logger; readonly services: Services }>,
): Promise<void> {
  try {
    const { log, services } = await start();
    process.on('uncaughtException', (err) => {
      // The state of the process is unknown now; the supervisor starts a new one, and the store holds the truth.
      log.fatal({ err }, 'uncaught error; exiting');
      process.exit(70);
    });
    let stopping = false;
    const stop = (signal: NodeJS.Signals) => {
      if (stopping) process.exit(130);
      stopping = true;
      log.info({ signal }, 'stopping');
      setTimeout(() => process.exit(1), STOP_GRACE_MS).unref();
      void services.stop().then(() => process.exit(0));
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  } catch (err) {
    const isClear = err instanceof ConfigError || err instanceof CofferError;
    const text = isClear ? err.message : err instanceof Error ? err.stack : String(err);
    process.stderr.write(`${text}\n`);
    process.exit(err instanceof ConfigError ? 2 : 1);
  }
}

/** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
export type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

/** Sleeps on the real clock. Services that also run in the simulation get `Sleep` as a port. */
export const sleep: Sleep = (ms, signal) => {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
  });
};

/**
 * Calls `work` every `period_ms`, and never twice at once. If `period_ms` is a function, it is called before
 * each pause. An error is logged, and the next round tries again.
 */
export function every(
  name: string,
  period_ms: number | (() => number),
  { log, sleep: pause = sleep }: { readonly log: Logger; readonly sleep?: Sleep },
  work: () => Promise<void>,
): Service {
  const abort = new AbortController();
  const loop = (async () => {
    while (!abort.signal.aborted) {
      try {
        await work();
      } catch (err) {
        log.warn({ err, loop: name }, 'a round failed; trying again');
      }
      await pause(typeof period_ms === 'number' ? period_ms : period_ms(), abort.signal);
    }
  })();
  return {
    name,
    stop: async () => {
      abort.abort();
      await loop;
    },
  };
}
