import { execFile, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Driver, InstanceConfig, Roles } from '../../guestagent/driver.ts';
import { readHostFile } from '../../guestagent/drivers/postgresql/adopted/host-file.ts';
import { adoptingDriver } from '../../guestagent/drivers/postgresql/index.ts';
import type { Endpoint } from '../../src/core/domain.ts';
import { clientOf as clientAt, freePort, USER } from './postgresql-nodes.ts';

/**
 * Clusters as operators of Debian make them, with nothing of ours: `pg_createcluster`, `pg_basebackup`, a user
 * for replication with a password, settings in `conf.d`. Two minor releases are unpacked side by side.
 */
const run = promisify(execFile);
const MAJOR = '15';
const RELEASES = '/var/cache/coffer/debian';
const CONF = `/etc/postgresql/${MAJOR}`;

/** Why these servers can't be had here; null if they can. */
export const MISSING = reasonForNone();

function reasonForNone(): string | null {
  const missing = process.env['COFFER_TEST_DEBIAN_MISSING'];
  if (missing !== undefined) return missing;
  if (process.platform !== 'linux') return `they are Debian packages, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'pg_createcluster needs root';
  if (!existsSync('/usr/bin/pg_createcluster') || !existsSync(`/usr/lib/postgresql/${MAJOR}/bin/initdb`)) {
    return `not installed: apt-get install postgresql-common postgresql-${MAJOR}`;
  }
  return releases().length < 2 ? `apt knows only one release of postgresql-${MAJOR}` : null;
}

interface Release {
  /** e.g. `15.18`. */
  readonly version: string;
  /** e.g. `15.18-0+deb12u1`. */
  readonly packaged: string;
}

/** The releases that apt can bring, oldest first. */
function releases(): readonly Release[] {
  try {
    const lines = execFileSync('apt-cache', ['madison', `postgresql-${MAJOR}`], { encoding: 'utf8' }).split(
      '\n',
    );
    const found = lines.flatMap((line) => {
      const packaged = line.split('|')[1]?.trim() ?? '';
      const version = /^\d+\.\d+/.exec(packaged)?.[0];
      return version === undefined ? [] : [{ version, packaged }];
    });
    const unique = new Map(found.map((release) => [release.version, release]));
    return [...unique.values()].sort((a, b) => Number(a.version.slice(3)) - Number(b.version.slice(3)));
  } catch {
    return [];
  }
}

/** The two releases between which tests go, and where their binaries are. */
export function versions(): { readonly from: string; readonly to: string } {
  const all = releases();
  return { from: all[0]?.version ?? '', to: all.at(-1)?.version ?? '' };
}

export function binOf(version: string): string {
  return join(RELEASES, version, 'usr', 'lib', 'postgresql', MAJOR, 'bin');
}

async function unpack({ version, packaged }: Release): Promise<void> {
  if (existsSync(binOf(version))) return;
  await mkdir(RELEASES, { recursive: true });
  const folder = await mkdtemp(join(RELEASES, '.new-'));
  // `apt-get download` becomes the user _apt where it can.
  await chmod(folder, 0o777);
  for (const name of [`postgresql-${MAJOR}=${packaged}`, `postgresql-client-${MAJOR}=${packaged}`]) {
    await run('apt-get', ['download', name], { cwd: folder });
  }
  for (const file of (await readdir(folder)).filter((each) => each.endsWith('.deb'))) {
    await run('dpkg-deb', ['-x', join(folder, file), join(folder, 'root')]);
  }
  await chmod(join(folder, 'root'), 0o755);
  await rename(join(folder, 'root'), join(RELEASES, version)).catch(() => undefined);
  await rm(folder, { recursive: true, force: true });
}

let root = '';
let postgres = { uid: 0, gid: 0 };
const clusters = new Set<string>();
const drivers = new Set<Driver>();

/** Gives a test file a folder, and removes the clusters that were made: after each test, or at the end. */
export function useDebian(clustersLive: 'for a test' | 'for all tests' = 'for a test'): void {
  beforeAll(async () => {
    if (MISSING !== null) return;
    root = await mkdtemp(join(tmpdir(), 'coffer-debian-'));
    await chmod(root, 0o755);
    const [, , uid, gid] =
      (await readFile('/etc/passwd', 'utf8'))
        .split('\n')
        .find((line) => line.startsWith('postgres:'))
        ?.split(':') ?? [];
    postgres = { uid: Number(uid), gid: Number(gid) };
    for (const release of releases()) await unpack(release);
  }, 300_000);

  const dropAll = async () => {
    for (const name of clusters) await dropCluster(name);
    clusters.clear();
  };

  afterEach(async () => {
    for (const driver of drivers) await driver.stop().catch(() => undefined);
    drivers.clear();
    if (clustersLive === 'for a test') await dropAll();
  }, 120_000);

  afterAll(async () => {
    await dropAll();
    if (root !== '') await rm(root, { recursive: true, force: true });
  }, 120_000);
}

async function dropCluster(name: string): Promise<void> {
  await run('pg_dropcluster', ['--stop', MAJOR, name]).catch(() => undefined);
  await rm(join(CONF, name), { recursive: true, force: true });
}

export function rootFolder(): string {
  return root;
}

/** One server of an operator's, and what a test needs of it. */
export interface DebianServer {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly data: string;
  readonly conf: string;
  readonly sockets: string;
  readonly log: string;
}

/** As the operating system's user `postgres`. */
export function asPostgres(program: string, ...args: readonly string[]) {
  return run(program, [...args], {
    ...postgres,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', HOME: '/var/lib/postgresql' },
  });
}

export async function psql(server: DebianServer, text: string, database = 'postgres'): Promise<string> {
  const { sockets, endpoint } = server;
  const args = [
    '-X',
    '-A',
    '-t',
    '-q',
    '-v',
    'ON_ERROR_STOP=1',
    '-h',
    sockets,
    '-p',
    String(endpoint.port),
    '-d',
    database,
  ];
  const { stdout } = await asPostgres(`${binOf(versions().from)}/psql`, ...args, '-c', text);
  return stdout.trim();
}

/** Not started yet. */
export async function createCluster(): Promise<DebianServer> {
  const name = `coffer${randomUUID().slice(0, 8)}`;
  clusters.add(name);
  const folder = join(root, name);
  const server: DebianServer = {
    ...{ name, endpoint: { host: '127.0.0.1', port: await freePort() } },
    ...{ data: join(folder, 'data'), conf: join(CONF, name), sockets: join(folder, 'sockets') },
    log: join(folder, 'server.log'),
  };
  await mkdir(server.sockets, { recursive: true });
  await chown(folder, postgres.uid, postgres.gid);
  await chown(server.sockets, postgres.uid, postgres.gid);
  const places = [
    '-d',
    server.data,
    '-s',
    server.sockets,
    '-l',
    server.log,
    '-p',
    String(server.endpoint.port),
  ];
  await run('pg_createcluster', [MAJOR, name, ...places, '--start-conf', 'manual', '--', '--data-checksums']);
  const settings = [
    "work_mem = '5MB'",
    "shared_preload_libraries = 'pg_stat_statements'",
    'shared_buffers = 16MB',
  ];
  const file = join(server.conf, 'conf.d', 'site.conf');
  await writeFile(file, `${settings.join('\n')}\n`);
  return server;
}

/** As its operator starts it. */
export async function startServer({ name }: DebianServer, version = versions().from): Promise<void> {
  await run('pg_ctlcluster', ['--bindir', binOf(version), MAJOR, name, 'start']);
}

export async function stopServer({ name }: DebianServer): Promise<void> {
  await run('pg_ctlcluster', [MAJOR, name, 'stop']);
}

/** A primary and its standbys, with replication set up by hand. The first is the primary. */
export async function debianCluster(
  standbys: number,
  slots: 'with slots' | 'without slots' = 'without slots',
): Promise<readonly DebianServer[]> {
  const primary = await createCluster();
  await startServer(primary);
  await psql(primary, "CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'secret of replicator'");
  await psql(primary, `CREATE ROLE ${USER.name} LOGIN PASSWORD '${USER.password}'`);
  await psql(primary, 'CREATE DATABASE shop OWNER app');
  await psql(primary, 'CREATE TABLE writes (id bigint PRIMARY KEY); ALTER TABLE writes OWNER TO app', 'shop');
  const servers = [primary];
  for (let index = 0; index < standbys; index++) {
    const slot = slots === 'with slots' ? `slot_${index}` : null;
    servers.push(await standbyOf(primary, `standby${index}`, slot));
  }
  return servers;
}

export async function standbyOf(
  upstream: DebianServer,
  application_name: string,
  slot: string | null = null,
): Promise<DebianServer> {
  const server = await createCluster();
  await rm(server.data, { recursive: true });
  const conninfo = `host=127.0.0.1 port=${upstream.endpoint.port} user=replicator passfile=${await passfile()} application_name=${application_name}`;
  const program = `${binOf(versions().from)}/pg_basebackup`;
  const withSlot = slot === null ? [] : ['-C', '-S', slot];
  await asPostgres(
    program,
    '-D',
    server.data,
    '-R',
    '-X',
    'stream',
    '-c',
    'fast',
    ...withSlot,
    '-d',
    conninfo,
  );
  await startServer(server);
  return server;
}

/** The operator's own file, which `primary_conninfo` names. */
export async function passfile(): Promise<string> {
  const path = join(root, 'pgpass');
  if (existsSync(path)) return path;
  await writeFile(path, '*:*:*:replicator:secret of replicator\n', { mode: 0o600 });
  await chown(path, postgres.uid, postgres.gid);
  return path;
}

/** What an operator writes into the file of the host. JSON is YAML, too. */
export async function hostFile(server: DebianServer, changes: object = {}): Promise<string> {
  const { from, to } = versions();
  const content = {
    data_directory: server.data,
    config_file: join(server.conf, 'postgresql.conf'),
    log_file: server.log,
    control: { pg_ctlcluster: `${MAJOR} ${server.name}` },
    versions: { [from]: binOf(from), [to]: binOf(to) },
    login: { host: server.sockets },
    replication: `user=replicator passfile=${await passfile()} application_name=${server.name}`,
    ...changes,
  };
  const path = join(root, `${server.name}.yaml`);
  await writeFile(path, JSON.stringify(content), { mode: 0o600 });
  return path;
}

export interface Adopted {
  readonly server: DebianServer;
  readonly driver: Driver & Roles;
  readonly config: InstanceConfig;
  readonly stateDir: string;
  readonly file: string;
}

/** The agent of a server; not started. */
export async function agentOf(server: DebianServer, changes: object = {}): Promise<Adopted> {
  const instance_id = randomUUID();
  const config: InstanceConfig = {
    ...{ instance_id, cluster_id: randomUUID(), name: server.name, ordinal: 0, manager: 'postgresql' },
    ...{ adopted: true, datastore_version: '', role: 'replica', endpoint: server.endpoint, primary: null },
    ...{ cluster_token: randomUUID(), extended_properties: {}, databases: [], users: [] },
  };
  const stateDir = join(root, instance_id, 'server');
  await mkdir(join(root, instance_id));
  return openAgent(server, config, stateDir, await hostFile(server, changes));
}

function openAgent(server: DebianServer, config: InstanceConfig, stateDir: string, file: string): Adopted {
  const print = (fields: object, message: string) => {
    if (process.env['COFFER_TEST_LOG'] !== undefined)
      console.log(server.name, message, JSON.stringify(fields));
  };
  const log = { debug: () => {}, info: print, warn: print, error: print };
  const driver = adoptingDriver(readHostFile(file))({ config, stateDir, cacheDir: RELEASES, log });
  drivers.add(driver);
  return { server, driver, config, stateDir, file };
}

/** The next agent, the first having been killed; with another file of the host, if one is given. */
export function reopen(agent: Adopted, otherFile = agent.file): Adopted {
  const { server, driver, config, stateDir } = agent;
  const file = otherFile;
  drivers.delete(driver);
  return openAgent(server, config, stateDir, file);
}

/** All that an operator has configured, file by file. ALTER SYSTEM moves the line that it writes to the end. */
export async function configurationOf(server: DebianServer): Promise<Readonly<Record<string, string>>> {
  const files = await readdir(server.conf, { recursive: true, withFileTypes: true });
  const paths = files.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
  const entries = paths.sort().map(async (path) => [path, await readFile(path, 'utf8')] as const);
  const lines = (await readFile(join(server.data, 'postgresql.auto.conf'), 'utf8')).split('\n');
  return { ...Object.fromEntries(await Promise.all(entries)), auto: lines.sort().join('\n') };
}

export async function pidOf(server: DebianServer): Promise<number> {
  return Number((await readFile(join(server.data, 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

/** As an application, over TCP with a password. */
export function clientOf({ endpoint }: DebianServer): Client {
  const client = clientAt(endpoint);
  client.on('error', () => {});
  return client;
}
