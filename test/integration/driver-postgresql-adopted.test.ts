/**
 * Real PostgreSQL servers that belong to their operator: made with `initdb` and `pg_ctl` from a folder for each
 * release, with a password and settings of the operator's own.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, chmod, chown, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, beforeAll } from 'vitest';
import type { Driver, InstanceConfig, Roles } from '../../guestagent/driver.ts';
import { type Account, serverAccount } from '../../guestagent/drivers/account.ts';
import { readHostFile } from '../../guestagent/drivers/postgresql/adopted/host-file.ts';
import { ensureBinaries } from '../../guestagent/drivers/postgresql/binaries.ts';
import { adoptingDriver } from '../../guestagent/drivers/postgresql/index.ts';
import {
  describeDriver,
  describeRoles,
  type Options,
  type Subject,
  type Suite,
} from '../conformance/driver.ts';
import { CACHE, freePort, silent } from './postgresql-nodes.ts';

const VERSIONS = ['17.6', '17.10'] as const;
const BROKEN = '17.9';
const PASSWORD = 'an operator chose this';
const run = promisify(execFile);

const account: Account | null = serverAccount();
const bins = new Map<string, string>();
const servers = new Set<Server>();
let root = '';

interface Server {
  readonly name: string;
  readonly folder: string;
  readonly port: number;
}

interface Agent {
  readonly server: Server;
  readonly config: InstanceConfig;
  readonly driver: Driver & Roles;
  readonly stateDir: string;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'coffer-adopted-'));
  await chmod(root, 0o755);
  for (const version of VERSIONS) {
    const { bin } = await ensureBinaries({ cacheDir: CACHE, account, log: silent }, version);
    bins.set(version, bin);
  }
  // A release that answers with its version and does not start.
  const broken = join(root, 'broken');
  await mkdir(broken);
  const answer = `[ "$1" = --version ] && echo 'postgres (PostgreSQL) ${BROKEN}'`;
  await writeFile(join(broken, 'postgres'), `#!/bin/sh\n${answer}\nexit 0\n`, { mode: 0o755 });
  await writeFile(join(broken, 'pg_ctl'), '#!/bin/sh\necho it does not start\nexit 1\n', { mode: 0o755 });
  bins.set(BROKEN, broken);
}, 600_000);

afterAll(() => rm(root, { recursive: true, force: true }));

/** As the user that servers run as. */
function asOwner(program: string, args: readonly string[]) {
  return run(program, [...args], { cwd: '/', ...(account && { uid: account.uid, gid: account.gid }) });
}

function pgCtl(action: 'start' | 'stop', { folder }: Server, ...args: readonly string[]) {
  const data = join(folder, 'data');
  return asOwner(join(bins.get(VERSIONS[0]) ?? '', 'pg_ctl'), [action, '-w', '-D', data, ...args]);
}

const startServer = (server: Server) => pgCtl('start', server, '-l', join(server.folder, 'log'));

async function makeServer(name: string): Promise<Server> {
  const server = { name, folder: join(root, randomUUID()), port: await freePort() };
  servers.add(server);
  await mkdir(server.folder, { mode: 0o755 });
  await writeFile(join(server.folder, 'password'), PASSWORD, { mode: 0o600 });
  if (account !== null) {
    for (const path of [server.folder, join(server.folder, 'password')])
      await chown(path, account.uid, account.gid);
  }
  return server;
}

async function configure({ folder, port }: Server): Promise<void> {
  const lines = [
    `port = ${port}`,
    "listen_addresses = '127.0.0.1'",
    "unix_socket_directories = ''",
    'shared_buffers = 16MB',
    "wal_retrieve_retry_interval = '100ms'",
    'wal_keep_size = 256MB',
  ];
  await appendFile(join(folder, 'data', 'postgresql.conf'), `${lines.join('\n')}\n`);
}

async function makePrimary(): Promise<Server> {
  const server = await makeServer('first');
  const data = join(server.folder, 'data');
  const options = [
    '-D',
    data,
    '-U',
    'owner',
    '--pwfile',
    join(server.folder, 'password'),
    '--auth=scram-sha-256',
  ];
  await asOwner(join(bins.get(VERSIONS[0]) ?? '', 'initdb'), [...options, '--no-instructions']);
  return server;
}

function conninfoFor(name: string): string {
  return `user=owner password='${PASSWORD}' application_name='${name}'`;
}

/** A copy of a primary that was never started. */
async function makeStandby(primary: Server, name: string): Promise<Server> {
  const server = await makeServer(name);
  const data = join(server.folder, 'data');
  await cp(join(primary.folder, 'data'), data, { recursive: true, preserveTimestamps: true });
  await writeFile(join(data, 'standby.signal'), '');
  const conninfo = `host=127.0.0.1 port=${primary.port} ${conninfoFor(name)}`.replaceAll("'", "''");
  await appendFile(join(data, 'postgresql.conf'), `primary_conninfo = '${conninfo}'\n`);
  if (account !== null) await run('chown', ['-R', `${account.uid}:${account.gid}`, data]);
  await chmod(data, 0o700);
  return server;
}

async function agentOf(server: Server, isBroken: boolean): Promise<Agent> {
  const instance_id = randomUUID();
  const versions = isBroken ? [...VERSIONS, BROKEN] : VERSIONS;
  const content = {
    data_directory: join(server.folder, 'data'),
    log_file: join(server.folder, 'log'),
    control: 'pg_ctl',
    versions: Object.fromEntries(versions.map((version) => [version, bins.get(version)])),
    login: { host: '127.0.0.1', user: 'owner', password_file: join(server.folder, 'password') },
    replication: conninfoFor(server.name),
  };
  await writeFile(join(server.folder, 'host.json'), JSON.stringify(content), { mode: 0o600 });
  const endpoint = { host: '127.0.0.1', port: server.port };
  const config: InstanceConfig = {
    ...{ instance_id, cluster_id: randomUUID(), name: server.name, ordinal: 0, manager: 'postgresql' },
    ...{ adopted: true, datastore_version: '', role: 'replica', endpoint, primary: null },
    ...{ cluster_token: randomUUID(), extended_properties: {}, databases: [], users: [] },
  };
  return openAgent(server, config, join(root, instance_id));
}

function openAgent(server: Server, config: InstanceConfig, stateDir: string): Agent {
  const host = readHostFile(join(server.folder, 'host.json'));
  const driver = adoptingDriver(host)({ config, stateDir, cacheDir: CACHE, log: silent });
  return { server, config, driver, stateDir };
}

async function query(server: Server, ...statements: readonly string[]) {
  const client = new Client({
    ...{ host: '127.0.0.1', port: server.port, user: 'owner', password: PASSWORD, database: 'postgres' },
    connectionTimeoutMillis: 5_000,
  });
  client.on('error', () => {});
  await client.connect();
  try {
    let rows: readonly Record<string, unknown>[] = [];
    for (const text of statements) rows = (await client.query<Record<string, unknown>>(text)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

const ASK = "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby";

function subjectOf({ server, config, driver, stateDir }: Agent): Subject<Driver & Roles> {
  return {
    ...{ driver, stateDir, name: config.name, endpoint: config.endpoint },
    ask: async () => {
      const { version, standby } = (await query(server, ASK).catch(() => []))[0] ?? {};
      if (version === undefined) return null;
      const pid = await readFile(join(server.folder, 'data', 'postmaster.pid'), 'utf8');
      return {
        version: String(version),
        process: Number.parseInt(pid, 10),
        role: standby === true ? 'replica' : 'primary',
      };
    },
    data: {
      write: async (value) => {
        const insert = `INSERT INTO kept VALUES ('${value}')`;
        await query(server, 'CREATE TABLE IF NOT EXISTS kept (value text)', 'DELETE FROM kept', insert);
      },
      read: async () => {
        const rows = await query(server, 'SELECT value FROM kept').catch(() => []);
        return String(rows[0]?.['value']);
      },
    },
    reopen: () => subjectOf(openAgent(server, config, stateDir)),
  };
}

/** Ends what an earlier test has left: an agent lets its server run on. */
async function stopAll(): Promise<void> {
  for (const server of servers) {
    if (existsSync(join(server.folder, 'data', 'postmaster.pid'))) {
      await pgCtl('stop', server, '-m', 'immediate').catch(() => undefined);
    }
    await rm(server.folder, { recursive: true, force: true, maxRetries: 5 });
  }
  servers.clear();
}

async function open(count: number, options?: Options) {
  await stopAll();
  const primary = await makePrimary();
  const standbys: Server[] = [];
  for (let index = 1; index < count; index++) standbys.push(await makeStandby(primary, `standby ${index}`));
  for (const server of [primary, ...standbys]) {
    await configure(server);
    await startServer(server);
  }
  const agents = [primary, ...standbys].map((server) => agentOf(server, options?.isFor === 'broken'));
  return (await Promise.all(agents)).map(subjectOf);
}

const suite: Suite<Driver & Roles> = {
  versions: VERSIONS,
  unknown: '17.99',
  broken: BROKEN,
  // The operator's command starts the server, and the time limit is its own.
  endless: null,
  serversBelongTo: 'operator',
  open,
  close: stopAll,
};

describeDriver('postgresql, adopted', suite);
describeRoles('postgresql, adopted', { ...suite, farPosition: 'FF/00000000' });
