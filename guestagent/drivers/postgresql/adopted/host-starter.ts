import { realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { textOf } from '../../../../src/log.ts';
import type { DriverLog } from '../../../driver.ts';
import type { Account } from '../../account.ts';
import type { Binaries } from '../binaries.ts';
import { argumentsOf, folderOf, signal } from '../process.ts';
import { type Launch, readPidFile, type Starter } from '../server.ts';
import { shellWord } from '../shell.ts';
import type { HostBinaries } from './host-binaries.ts';
import { type HostCommand, runCommand } from './host-command.ts';
import { type PostgresqlHost, timeoutOf } from './host-file.ts';

const STOP_MS = 60_000;
const START_MS = 300_000;

/** Starts and stops an adopted server as its host does. */
export class HostStarter implements Starter {
  readonly #host: PostgresqlHost;
  readonly #binaries: HostBinaries;
  readonly #account: Account | null;
  readonly #log: DriverLog;
  /** The server that is being stopped: it removes its pid file a moment before it ends. */
  #stopping: number | null = null;

  constructor(host: PostgresqlHost, binaries: HostBinaries, account: Account | null, log: DriverLog) {
    this.#host = host;
    this.#binaries = binaries;
    this.#account = account;
    this.#log = log;
  }

  async executableOf(pid: number): Promise<string | null> {
    if (!(await this.#worksHere(pid))) return null;
    const [executable = ''] = (await argumentsOf(pid)) ?? [];
    return /^(postgres|postmaster)$/.test(basename(executable)) ? executable : null;
  }

  async launch(binaries: Binaries): Promise<Launch> {
    await this.#binaries.install(binaries);
    this.#stopping = null;
    let failure: string | null = null;
    let hasEnded = false;
    runCommand({ ...this.#startCommand(binaries), isDone: () => this.isRunning() })
      .catch((error: unknown) => {
        failure = textOf(error);
      })
      .finally(() => {
        hasEnded = true;
      });
    return { hasEnded: () => hasEnded, failure: () => failure };
  }

  async beginStop(pid: number): Promise<boolean> {
    this.#stopping = pid;
    const command = this.#stopCommand();
    // What `pg_ctl stop -m fast` does.
    if (command === null) return signal(pid, 'SIGINT');
    runCommand(command).catch((error: unknown) => {
      this.#log.warn({ error: textOf(error) }, 'the server was told to stop');
    });
    return true;
  }

  async launchedPid(): Promise<number | null> {
    const pid = this.#stopping;
    return pid !== null && (await this.#worksHere(pid)) ? pid : null;
  }

  /** However the server was started, the data directory is its working directory. */
  async #worksHere(pid: number): Promise<boolean> {
    const folder = await folderOf(pid);
    return folder !== null && folder === (await realpath(this.#host.data_directory));
  }

  /** True if a process that `postmaster.pid` names is the server. */
  async isRunning(): Promise<boolean> {
    const pid = (await readPidFile(this.#host.data_directory))?.pid ?? null;
    return pid !== null && (await this.executableOf(pid)) !== null;
  }

  #startCommand({ version, bin }: Binaries): HostCommand {
    const { control, data_directory, config_file, log_file } = this.#host;
    const base = {
      ...{ what: 'the start command', timeout_ms: START_MS, account: null },
      variables: {
        COFFER_DATASTORE_VERSION: version,
        COFFER_BINDIR: bin,
        COFFER_DATA_DIRECTORY: data_directory,
      },
    };
    if (control === 'pg_ctl') {
      // `pg_ctl` gives its options to a shell.
      const options = `-c config_file=${shellWord(config_file)}`;
      const log = log_file === null ? [] : ['-l', log_file];
      const command = [join(bin, 'pg_ctl'), 'start', '-w', '-D', data_directory, '-o', options, ...log];
      return { ...base, command, account: this.#account };
    }
    if ('pg_ctlcluster' in control) {
      const cluster = control.pg_ctlcluster.split(' ');
      return { ...base, command: ['/usr/bin/pg_ctlcluster', '--bindir', bin, ...cluster, 'start'] };
    }
    if ('systemd' in control) return { ...base, command: ['/usr/bin/systemctl', 'start', control.systemd] };
    return { ...base, command: control.start, timeout_ms: timeoutOf(control) };
  }

  /** Null where a signal to the server is what its host would do. */
  #stopCommand(): HostCommand | null {
    const { control, data_directory } = this.#host;
    const base = {
      ...{ what: 'the stop command', timeout_ms: STOP_MS, account: null },
      variables: { COFFER_DATA_DIRECTORY: data_directory },
    };
    if (control === 'pg_ctl' || 'pg_ctlcluster' in control) return null;
    if ('systemd' in control) {
      return { ...base, command: ['/usr/bin/systemctl', 'stop', '--no-block', control.systemd] };
    }
    return { ...base, command: control.stop, timeout_ms: timeoutOf(control) };
  }
}
