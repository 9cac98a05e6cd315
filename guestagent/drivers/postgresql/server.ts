import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { copyFile, open, readdir, readFile, readlink, realpath, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isErrno, readIfThere } from '../../../src/files.ts';
import { sleep } from '../../../src/service.ts';
import type { DriverLog } from '../../driver.ts';
import { removeIfThere, writeFileAtomic } from '../../files.ts';
import type { Account } from './account.ts';
import type { Binaries } from './binaries.ts';
import { configFile, type Places } from './settings.ts';

/**
 * The server's process: finds it, starts it, stops it.
 *
 * The server runs in a session of its own with its output in a file, so that it outlives the agent. The next
 * agent finds it through `postmaster.pid`, and trusts that file only if the process named there is a server
 * on this same data directory: process ids are reused.
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

const run = promisify(execFile);

export class Server {
  readonly #places: Places;
  readonly #account: Account | null;
  readonly #log: DriverLog;
  #child: ChildProcess | null = null;

  constructor(places: Places, account: Account | null, log: DriverLog) {
    this.#places = places;
    this.#account = account;
    this.#log = log;
  }

  async find(): Promise<Running | null> {
    const lines = (await readIfThere(this.#pidFile))?.split('\n') ?? [];
    const pid = Number(lines[0]);
    if (!Number.isSafeInteger(pid) || pid <= 1) return null;
    const executable = await this.#executableOf(pid);
    return executable === null ? null : { pid, executable, status: (lines[7] ?? '').trim() };
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
    const executable = join(binaries.folder, 'bin', 'postgres');
    const output = await open(this.#places.logFile, 'a', 0o600);
    const logStart = (await output.stat()).size;
    // Arguments override all files, including `postgresql.auto.conf`.
    const overriding = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    let failure: Error | null = null;
    try {
      await this.#disownStalePid();
      const child = spawn(
        executable,
        ['-D', this.#places.data, '-c', `config_file=${configFile(this.#places)}`, ...overriding],
        {
          detached: true,
          stdio: ['ignore', output.fd, output.fd],
          cwd: '/',
          env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
          ...(this.#account && { uid: this.#account.uid, gid: this.#account.gid }),
        },
      );
      child.on('error', (error) => {
        failure = error;
      });
      child.unref();
      this.#child = child;
    } finally {
      await output.close();
    }
    await this.#untilReady(timeoutMs, logStart, () => failure, abort);
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
    return running !== null && signal(running.pid, 'SIGINT');
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

  /**
   * If the pid file names any living process of PostgreSQL's user, PostgreSQL takes that process for a rival
   * server and does not start; after a reboot the number may belong to any other process. So the stale number
   * is replaced by the agent's own: the agent is the new server's parent, which PostgreSQL does not take for
   * a rival. The rest of the file stays: from it the new server learns whether processes of a killed server
   * are still working on the data.
   */
  async #disownStalePid(): Promise<void> {
    const file = await readIfThere(this.#pidFile);
    if (file === null) return;
    const pid = Number.parseInt(file, 10);
    const data = await realpath(this.#places.data);
    if (!Number.isSafeInteger(pid) || pid <= 1) {
      // The file was cut short by a power failure: PostgreSQL does not start with such a file either.
      if ((await processesIn(data)).length === 0) await removeIfThere(this.#pidFile);
      return;
    }
    const folder = pid === process.pid ? null : await folderOf(pid);
    if (folder === null || folder === data) return;
    this.#log.warn({ pid }, 'the pid file names a process that is not this server: the file is stale');
    const rest = file.slice(file.indexOf('\n'));
    await writeFileAtomic(this.#pidFile, `${process.pid}${rest}`, { mode: 0o600, owner: this.#account });
  }

  get #pidFile(): string {
    return join(this.#places.data, 'postmaster.pid');
  }

  async #untilReady(
    timeoutMs: number,
    logStart: number,
    failure: () => Error | null,
    abort: AbortSignal | undefined,
  ): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      abort?.throwIfAborted();
      const spawnFailure = failure();
      if (spawnFailure !== null) throw new Error(`can't start PostgreSQL: ${spawnFailure.message}`);
      const ended = this.#child === null || hasEnded(this.#child);
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
      signal(running, name);
      const deadline = Date.now() + patienceMs;
      while (Date.now() < deadline) {
        if ((await this.#findAlive()) === null) return;
        await sleep(POLL_MS);
      }
    }
    throw new Error('the PostgreSQL server can not be stopped');
  }

  /** Also finds a server of ours that has not written its pid file yet, or has already removed it. */
  async #findAlive(): Promise<number | null> {
    const child = this.#child;
    if (child?.pid !== undefined && !hasEnded(child)) return child.pid;
    return (await this.find())?.pid ?? null;
  }

  /** Null unless the process lives and is a server that was started on this data directory. */
  async #executableOf(pid: number): Promise<string | null> {
    if (this.#child?.pid === pid && hasEnded(this.#child)) return null;
    const args = process.platform === 'linux' ? await linuxArguments(pid) : await psArguments(pid);
    if (args === null) return null;
    const [executable, flag, folder] = args;
    return executable !== undefined && flag === '-D' && folder === this.#places.data ? executable : null;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** False if the process no longer exists. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return false;
    throw error;
  }
}

/**
 * A process's working directory; null if there is no such process. For each of PostgreSQL's processes that is
 * the data directory, however the process was started.
 */
async function folderOf(pid: number): Promise<string | null> {
  if (process.platform !== 'linux') return (await lsofFolders('-p', String(pid))).get(pid) ?? null;
  try {
    return await readlink(`/proc/${pid}/cwd`);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    // Some programs hide theirs even from their own user; PostgreSQL does not.
    if (isErrno(error, 'EACCES', 'EPERM')) return '';
    throw error;
  }
}

async function processesIn(folder: string): Promise<readonly number[]> {
  if (process.platform !== 'linux') {
    const folders = [...(await lsofFolders())];
    return folders.filter(([, each]) => each === folder).map(([pid]) => pid);
  }
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const folders = await Promise.all(pids.map(folderOf));
  return pids.filter((_, index) => folders[index] === folder);
}

async function lsofFolders(...which: readonly string[]): Promise<ReadonlyMap<number, string>> {
  const { stdout } = await run('lsof', ['-a', ...which, '-d', 'cwd', '-F', 'pn']).catch(
    // `lsof` ends with code 1 when there is nothing to list, but still lists what it can.
    (error: unknown) => error as { readonly stdout?: string },
  );
  const entries = [...(stdout ?? '').matchAll(/^p(\d+)\n(?:f.*\n)?n(.*)$/gm)];
  return new Map(entries.map(([, pid, folder = '']) => [Number(pid), folder]));
}

async function linuxArguments(pid: number): Promise<readonly string[] | null> {
  try {
    // A dead process that its parent has not collected has no arguments.
    const args = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return args === '' ? null : args.split('\0');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}

/** On macOS paths with spaces can't be told apart here, so they are only compared with what we expect. */
async function psArguments(pid: number): Promise<readonly string[] | null> {
  try {
    const { stdout } = await run('ps', ['-ww', '-o', 'command=', '-p', String(pid)]);
    const match = /^(.*?) (-D) (.*?) -c config_file=/.exec(stdout.trim());
    return match === null ? null : match.slice(1);
  } catch {
    return null;
  }
}
