import { execFile } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { exists } from '../../../../src/files.ts';
import { textOf } from '../../../../src/log.ts';
import { PermanentError } from '../../../driver.ts';
import type { Account } from '../../account.ts';
import type { Binaries } from '../binaries.ts';
import { majorIn } from '../control.ts';
import { majorOf } from '../replication.ts';
import { runCommand } from './host-command.ts';
import { type PostgresqlHost, timeoutOf } from './host-file.ts';

/**
 * The binaries that an operator's host has: a folder for each version, or one folder in which packages are
 * replaced.
 */
const run = promisify(execFile);
const ANSWER_MS = 10_000;

export class HostBinaries {
  readonly #host: PostgresqlHost;
  readonly #account: Account | null;

  constructor(host: PostgresqlHost, account: Account | null) {
    this.#host = host;
    this.#account = account;
  }

  requireKnown(version: string): void {
    const { versions, path } = this.#host;
    if (versions === null || versions.has(version)) return;
    throw new PermanentError(
      `${path} names no binaries of PostgreSQL ${version} on this host: add the folder to its versions and ` +
        `start the agent again, or upgrade to another version (it names ${[...versions.keys()].join(', ')})`,
    );
  }

  /** Packages are brought to the host, and not installed yet. */
  async fetch(version: string): Promise<Binaries> {
    this.requireKnown(version);
    const { versions, packages } = this.#host;
    if (packages !== null) {
      await this.#runFor('fetch', version);
      return { version, folder: packages.bindir, bin: packages.bindir };
    }
    const bin = versions?.get(version) ?? '';
    return { version, folder: bin, bin };
  }

  /** To be called while the server is down. Does nothing if the binaries are of that version. */
  async install({ version, bin }: Binaries): Promise<void> {
    if (this.#host.packages === null) return;
    if ((await versionIn(bin).catch(() => null)) === version) return;
    await this.#runFor('install', version);
    const found = await versionIn(bin);
    if (found === version) return;
    throw new Error(`the install command has ended, and ${bin} holds PostgreSQL ${found}, not ${version}`);
  }

  /** Proves that these binaries are of their version, and can read the server's data and configuration. */
  async prove({ version, bin }: Binaries): Promise<void> {
    const { data_directory, packages, versions } = this.#host;
    const major = majorIn(data_directory);
    if (majorOf(version) !== major) {
      throw new PermanentError(
        `the data in ${data_directory} are of PostgreSQL ${major}, and not ${version}`,
      );
    }
    const found = await versionIn(bin);
    // Packages that are installed in place can't be asked before they are installed.
    if (found !== version && packages !== null) return;
    if (found !== version) {
      throw new PermanentError(
        `${bin} holds PostgreSQL ${found}, and not ${version}: put the right folder into versions of ${this.#host.path}`,
      );
    }
    if (versions !== null) await this.#requireLibraries(bin);
  }

  /** Reads the configuration with the new binaries: a setting that they do not know ends here, too. */
  async #requireLibraries(bin: string): Promise<void> {
    const { data_directory, config_file } = this.#host;
    const args = ['-D', data_directory, '-c', `config_file=${config_file}`, '-C', 'shared_preload_libraries'];
    const answer = await run(join(bin, 'postgres'), args, {
      ...{ cwd: '/', timeout: ANSWER_MS, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } },
      ...(this.#account && { uid: this.#account.uid, gid: this.#account.gid }),
    }).catch((error: unknown) => {
      throw new PermanentError(
        `${bin}/postgres can't read the configuration of the server: ${saidBy(error)}`,
      );
    });
    for (const name of librariesIn(answer.stdout.trim())) {
      const missing = await isMissing(name, bin);
      if (!missing) continue;
      throw new PermanentError(
        `shared_preload_libraries names ${name}, and the binaries in ${bin} do not have it: the server would not ` +
          'start. Install it for this version, or take it out of the setting',
      );
    }
  }

  /** True only if the process certainly runs these binaries. */
  async runs(executable: string, version: string): Promise<boolean> {
    const bin = this.#host.versions?.get(version);
    if (bin === undefined) return false;
    const [one, other] = await Promise.all(
      [dirname(executable), bin].map((path) => realpath(path).catch(() => path)),
    );
    return one === other;
  }

  async #runFor(step: 'fetch' | 'install', version: string): Promise<void> {
    const { packages, data_directory } = this.#host;
    if (packages === null) return;
    await runCommand({
      what: `the ${step} command for PostgreSQL ${version}`,
      command: packages[step],
      timeout_ms: timeoutOf(packages),
      variables: { COFFER_DATASTORE_VERSION: version, COFFER_DATA_DIRECTORY: data_directory },
      account: null,
    });
  }
}

/** The names in a list such as `pg_stat_statements, "$libdir/auto_explain"`. */
export function librariesIn(list: string): readonly string[] {
  return list
    .split(',')
    .map((name) => name.trim().replace(/^"(.*)"$/, '$1'))
    .filter((name) => name !== '');
}

async function isMissing(name: string, bin: string): Promise<boolean> {
  const file = name.endsWith('.so') ? name : `${name}.so`;
  if (isAbsolute(file)) return !(await exists(file));
  const folders = (
    await Promise.all(libraryFolders(bin).map(async (folder) => ((await exists(folder)) ? [folder] : [])))
  ).flat();
  const found = await Promise.all(
    folders.map((folder) => exists(join(folder, file.replace(/^\$libdir\//, '')))),
  );
  // Without a folder that is known nothing can be said.
  return folders.length > 0 && !found.includes(true);
}

/** A server finds its libraries relative to its executable. */
function libraryFolders(bin: string): readonly string[] {
  return [join(bin, '..', 'lib'), join(bin, '..', 'lib', 'postgresql'), join(bin, '..', 'lib64')];
}

async function versionIn(bin: string): Promise<string> {
  try {
    const { stdout } = await run(join(bin, 'postgres'), ['--version'], { timeout: ANSWER_MS, cwd: '/' });
    const version = /\b(\d+\.\d+)\b/.exec(stdout)?.[1];
    if (version !== undefined) return version;
    throw new Error(`it answers "${stdout.trim()}"`);
  } catch (error) {
    throw new PermanentError(`${bin}/postgres does not say its version: ${saidBy(error)}`);
  }
}

/** What a program wrote before it failed says more than that it failed. */
function saidBy(error: unknown): string {
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  return said === '' ? textOf(error) : said.replaceAll(/\s*\n\s*/g, ' ').slice(0, 500);
}
