import { type ChildProcess, spawn } from 'node:child_process';
import { open, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { DriverLog } from '../../driver.ts';
import { removeIfThere, writeFileAtomic } from '../../files.ts';
import type { Account } from '../account.ts';
import type { Binaries } from './binaries.ts';
import { argumentsOf, folderOf, processesIn, signal } from './process.ts';
import { type Launch, pidFile, readPidFile, type Starter } from './server.ts';
import { configFile, type Places } from './settings.ts';

/**
 * Starts a server that Coffer built: in a session of its own with its output in a file, so that it outlives the
 * agent.
 */
export class OwnStarter implements Starter {
  readonly #places: Places;
  readonly #account: Account | null;
  readonly #log: DriverLog;
  #child: ChildProcess | null = null;

  constructor(places: Places, account: Account | null, log: DriverLog) {
    this.#places = places;
    this.#account = account;
    this.#log = log;
  }

  /** A server that was started on this data directory. */
  async executableOf(pid: number): Promise<string | null> {
    if (this.#child?.pid === pid && hasEnded(this.#child)) return null;
    const args = await argumentsOf(pid);
    if (args === null) return null;
    const [executable, flag, folder] = args;
    return executable !== undefined && flag === '-D' && folder === this.#places.data ? executable : null;
  }

  async launch(binaries: Binaries, settings: Readonly<Record<string, number>>): Promise<Launch> {
    const output = await open(this.#places.logFile, 'a', 0o600);
    // Arguments override all files, including `postgresql.auto.conf`.
    const overriding = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    let failure: string | null = null;
    try {
      await this.#disownStalePid();
      const child = spawn(
        join(binaries.bin, 'postgres'),
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
        failure = error.message;
      });
      child.unref();
      this.#child = child;
      return { hasEnded: () => hasEnded(child), failure: () => failure };
    } finally {
      await output.close();
    }
  }

  async beginStop(pid: number): Promise<boolean> {
    return signal(pid, 'SIGINT');
  }

  async launchedPid(): Promise<number | null> {
    const child = this.#child;
    return child?.pid !== undefined && !hasEnded(child) ? child.pid : null;
  }

  /**
   * If the pid file names any living process of PostgreSQL's user, PostgreSQL takes that process for a rival
   * server and does not start; after a reboot the number may belong to any other process. So the stale number
   * is replaced by the agent's own: the agent is the new server's parent, which PostgreSQL does not take for
   * a rival. The rest of the file stays: from it the new server learns whether processes of a killed server
   * are still working on the data.
   */
  async #disownStalePid(): Promise<void> {
    const file = await readPidFile(this.#places.data);
    if (file === null) return;
    const { pid, text } = file;
    const data = await realpath(this.#places.data);
    if (pid === null) {
      // The file was cut short by a power failure: PostgreSQL does not start with such a file either.
      if ((await processesIn(data)).length === 0) await removeIfThere(pidFile(this.#places.data));
      return;
    }
    const folder = pid === process.pid ? null : await folderOf(pid);
    if (folder === null || folder === data) return;
    this.#log.warn({ pid }, 'the pid file names a process that is not this server: the file is stale');
    const rest = text.slice(text.indexOf('\n'));
    await writeFileAtomic(pidFile(this.#places.data), `${process.pid}${rest}`, {
      mode: 0o600,
      owner: this.#account,
    });
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
