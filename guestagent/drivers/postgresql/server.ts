import { copyFile, open, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { readIfThere } from '../../../src/files.ts';
import { sleep } from '../../../src/service.ts';
import type { DriverLog } from '../../driver.ts';
import type { Binaries } from './binaries.ts';
import { signal } from './process.ts';
import type { Places } from './settings.ts';

/**
 * The server's process: finds it, starts it, stops it.
 *
 * The server outlives the agent. The next agent finds it through `postmaster.pid`, and trusts that file
 * only if the process named there is a server on this same data directory: process ids are reused.
 */
interface Running {
  readonly pid: number;
  /** Path of the executable that the process was started with: it shows which version runs. */
  readonly executable: string;
  /** `starting`, `ready`, `stopping`, `standby`, or empty while the file is being written. */
  readonly status: string;
}

const POLL_MS = 3;
const FAST_STOP_MS = 30_000;
const IMMEDIATE_STOP_MS = 10_000;
const LATELY_MS = 60_000;
const LOG_LIMIT_BYTES = 10 * 1024 * 1024;

/** How a server is started and stopped on this host, and how it is recognised. */
export interface Starter {
  /** The path of the process's executable; null unless the process lives and is the server. */
  executableOf(pid: number): Promise<string | null>;
  /** Begins to start the server. `settings` override the configuration. */
  launch(binaries: Binaries, settings: Readonly<Record<string, number>>): Promise<Launch>;
  /** Begins a fast shutdown without waiting for its end; false if there is no such process any more. */
  beginStop(pid: number): Promise<boolean>;
  /**
   * A process that is the server although no pid file names it: the file is not written yet, or removed
   * already. Null if no such process is known and lives.
   */
  launchedPid(): Promise<number | null>;
}

/** A start that has begun. */
export interface Launch {
  /** True when nothing works on the start any more: either the server runs by then, or it never will. */
  hasEnded(): boolean;
  /** Why the start has failed; null if nothing is known of a failure. */
  failure(): string | null;
}

export function pidFile(dataDir: string): string {
  return join(dataDir, 'postmaster.pid');
}

interface PidFile {
  /** Null for a file that was cut short. */
  readonly pid: number | null;
  readonly text: string;
}

/** Null if there is no such file. */
export async function readPidFile(dataDir: string): Promise<PidFile | null> {
  const text = await readIfThere(pidFile(dataDir));
  if (text === null) return null;
  const pid = Number.parseInt(text, 10);
  return { pid: Number.isSafeInteger(pid) && pid > 1 ? pid : null, text };
}

export class Server {
  readonly #places: Places;
  readonly #starter: Starter;
  readonly #log: DriverLog;
  #launch: Launch | null = null;

  constructor(places: Places, starter: Starter, log: DriverLog) {
    this.#places = places;
    this.#starter = starter;
    this.#log = log;
  }

  async find(): Promise<Running | null> {
    const { pid = null, text = '' } = (await readPidFile(this.#places.data)) ?? {};
    if (pid === null) return null;
    const executable = await this.#starter.executableOf(pid);
    return executable === null ? null : { pid, executable, status: (text.split('\n')[7] ?? '').trim() };
  }

  /**
   * `settings` override the configuration. Resolves when the server accepts connections: after a clean stop,
   * within tens of milliseconds.
   */
  async start(
    binaries: Binaries,
    settings: Readonly<Record<string, number>>,
    timeoutMs: number,
    abort?: AbortSignal,
  ): Promise<void> {
    const logStart = await this.#logSize();
    const launch = await this.#starter.launch(binaries, settings);
    this.#launch = launch;
    await this.#untilReady(timeoutMs, logStart, () => launch.failure(), abort);
  }

  /** For a server that is already starting, e.g. one that survived the agent. */
  async untilReady(timeoutMs: number, abort?: AbortSignal): Promise<void> {
    await this.#untilReady(timeoutMs, await this.#logSize(), () => null, abort);
  }

  /**
   * A fast shutdown ends sessions, sends everything to the standbys and stops cleanly; if it hangs, harsher
   * signals follow.
   */
  async stop(): Promise<void> {
    await this.#end([
      ['SIGINT', FAST_STOP_MS],
      ['SIGQUIT', IMMEDIATE_STOP_MS],
    ]);
  }

  /** Stops without a clean end: the next start recovers from the log. */
  async stopAtOnce(): Promise<void> {
    await this.#end([['SIGQUIT', IMMEDIATE_STOP_MS]]);
  }

  /** Begins a fast shutdown without waiting for its end; false if there is no server. */
  async beginStop(): Promise<boolean> {
    const running = await this.find();
    return running !== null && (await this.#starter.beginStop(running.pid));
  }

  async reload(): Promise<void> {
    const running = await this.find();
    if (running === null || !signal(running.pid, 'SIGHUP')) throw new Error('the server is not running');
  }

  /**
   * The last error in the server's log, or, for `anything`, its last line if there is no error; for people to
   * read.
   */
  async lastWords(from = 0, say: 'a complaint' | 'anything' = 'a complaint'): Promise<string | null> {
    const lines = await this.#lastLines(from, 16_384);
    const grave = lines.filter(
      (line) => /\b(PANIC|FATAL|ERROR): /.test(line) && !line.includes('terminating connection'),
    );
    return (
      grave.at(-1)?.replace(/^.*?(PANIC|FATAL|ERROR): +/, '') ??
      (say === 'anything' ? lines.at(-1) || null : null)
    );
  }

  /**
   * The last message of the server itself that matches one of the patterns and is less than a minute old.
   * Messages of sessions, whose text anybody can choose, are errors at most.
   */
  async saidLately(patterns: readonly RegExp[]): Promise<string | null> {
    const now = Date.now();
    for (const line of (await this.#lastLines(0, 262_144)).reverse()) {
      const [, at, words] = /^(\S+ \S+) UTC \[\d+\] (?:FATAL|LOG|PANIC): +(.*)$/.exec(line) ?? [];
      if (at === undefined || words === undefined) continue;
      if (now - Date.parse(`${at.replace(' ', 'T')}Z`) > LATELY_MS) return null;
      if (patterns.some((pattern) => pattern.test(words))) return words;
    }
    return null;
  }

  async #lastLines(from: number, bytes: number): Promise<string[]> {
    const file = await open(this.#places.logFile, 'r').catch(() => null);
    if (file === null) return [];
    try {
      const { size } = await file.stat();
      const start = Math.max(from, size - bytes);
      const buffer = Buffer.alloc(Math.max(0, size - start));
      await file.read(buffer, 0, buffer.length, start);
      return buffer.toString('utf8').trimEnd().split('\n');
    } finally {
      await file.close();
    }
  }

  /**
   * Limits the present log in size and keeps one old log. The server appends to its file, so the file may be
   * truncated.
   */
  async trimLog(): Promise<void> {
    if ((await this.#logSize()) <= LOG_LIMIT_BYTES) return;
    await copyFile(this.#places.logFile, `${this.#places.logFile}.1`);
    await truncate(this.#places.logFile, 0);
  }

  async #logSize(): Promise<number> {
    return stat(this.#places.logFile).then(
      ({ size }) => size,
      () => 0,
    );
  }

  async #untilReady(
    timeoutMs: number,
    logStart: number,
    failure: () => string | null,
    abort: AbortSignal | undefined,
  ): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      abort?.throwIfAborted();
      const failed = failure();
      if (failed !== null) {
        const words = await this.lastWords(logStart);
        throw new Error(
          `can't start PostgreSQL: ${failed}${words === null ? '' : ` (its log says: ${words})`}`,
        );
      }
      const ended = this.#launch === null || this.#launch.hasEnded();
      const running = await this.find();
      if (running?.status === 'ready') return;
      // Our server may have lost a race against one that the previous agent started: then that one runs.
      if (ended && running === null) {
        throw new Error(
          `PostgreSQL ended while it was starting: ${(await this.lastWords(logStart, 'anything')) ?? 'no reason given'}`,
        );
      }
      if (Date.now() > deadline) {
        throw new Error(`PostgreSQL does not accept connections after ${Math.round(timeoutMs / 1000)} s`);
      }
      await sleep(POLL_MS);
    }
  }

  async #end(escalation: readonly (readonly [NodeJS.Signals, number])[]): Promise<void> {
    const steps = [...escalation, ['SIGKILL', 5_000] as const];
    for (const [step, [name, patienceMs]] of steps.entries()) {
      const running = await this.#findAlive();
      if (running === null) return;
      if (step > 0) this.#log.warn({ pid: running, signal: name }, 'PostgreSQL does not stop: more force');
      if (name === 'SIGINT') await this.#starter.beginStop(running);
      else signal(running, name);
      const deadline = Date.now() + patienceMs;
      while (Date.now() < deadline) {
        if ((await this.#findAlive()) === null) return;
        await sleep(POLL_MS);
      }
    }
    throw new Error('the PostgreSQL server can not be stopped');
  }

  /** Also finds a server that has not written its pid file yet, or has already removed it. */
  async #findAlive(): Promise<number | null> {
    return (await this.#starter.launchedPid()) ?? (await this.find())?.pid ?? null;
  }
}
