import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Driver, InstanceConfig, Roles, Target } from '../../guestagent/driver.ts';
import { postgresqlDriver } from '../../guestagent/drivers/postgresql/index.ts';
import { derivePassword, SUPERUSER } from '../../guestagent/drivers/postgresql/settings.ts';
import type { Endpoint } from '../../src/core/domain.ts';
import { scramVerifier } from '../../src/scram.ts';

/**
 * Real servers: real binaries, real replication, real kills. The agent's death is played by a second
 * driver on the same state directory, the first one never being used again.
 */
export const USER = { name: 'app', password: 'p4ss "word"', databases: ['shop'] };
export const CACHE =
  process.env['COFFER_CACHE_DIR'] ??
  (process.getuid?.() === 0 ? '/var/cache/coffer' : join(homedir(), '.cache', 'coffer'));

export const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

let root = '';
const drivers = new Set<Driver>();
const figures: string[] = [];

/** Gives a test file a folder of its own, and stops whatever a test leaves running. */
export function useNodes(): void {
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'coffer-pg-'));
    // The server's user must pass through.
    await chmod(root, 0o755);
    await mkdir(CACHE, { recursive: true });
  });

  afterEach(async () => {
    await Promise.all([...drivers].map((driver) => driver.destroy()));
    drivers.clear();
  });

  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
    if (figures.length > 0) process.stdout.write(`${figures.join('\n')}\n`);
  });
}

export function rootFolder(): string {
  return root;
}

/** A line for the figures that are printed at the end. */
export function note(name: string, value: string): void {
  figures.push(`${name.padEnd(44)} ${value}`);
}

export interface Node {
  readonly driver: Driver & Roles;
  readonly config: InstanceConfig;
  readonly stateDir: string;
  readonly cacheDir: string;
}

export function open(config: InstanceConfig, stateDir: string, cacheDir = CACHE): Node {
  const quiet = () => {};
  const info = (fields: object, message: string) => {
    if (process.env['COFFER_TEST_LOG'] !== undefined)
      console.log(config.name, message, JSON.stringify(fields));
  };
  const log = { debug: quiet, info, warn: info, error: info };
  const driver = postgresqlDriver({ config, stateDir, cacheDir, log });
  drivers.add(driver);
  return { driver, config, stateDir, cacheDir };
}

/** A new agent for the same instance, the old one having been killed. */
export function reopen(node: Node): Node {
  drivers.delete(node.driver);
  return open(node.config, node.stateDir, node.cacheDir);
}

export async function cluster(
  replicas: number,
  version = '17.6',
  cacheDir = CACHE,
): Promise<readonly Node[]> {
  const primary = await member({ version, cacheDir, primary: null });
  const others = Array.from({ length: replicas }, (_, index) => index + 1);
  const nodes = [
    primary,
    ...(await Promise.all(others.map((ordinal) => member({ version, cacheDir, primary, ordinal })))),
  ];
  await Promise.all(nodes.map((node) => node.driver.start()));
  return nodes;
}

/** One more instance, not started yet. */
export async function member(of: {
  readonly primary: Node | null;
  readonly version?: string;
  readonly cacheDir?: string;
  readonly ordinal?: number;
  readonly databases?: InstanceConfig['databases'];
  readonly users?: InstanceConfig['users'];
}): Promise<Node> {
  const { primary, version = '17.6', cacheDir = CACHE, ordinal = 0 } = of;
  const app = { name: USER.name, verifier: await scramVerifier(USER.password), databases: USER.databases };
  const config: InstanceConfig = {
    instance_id: randomUUID(),
    cluster_id: primary?.config.cluster_id ?? randomUUID(),
    name: `it's node ${ordinal}`,
    ordinal,
    manager: 'postgresql',
    datastore_version: version,
    role: primary === null ? 'primary' : 'replica',
    endpoint: { host: '127.0.0.1', port: await freePort() },
    primary: primary?.config.endpoint ?? null,
    cluster_token: primary?.config.cluster_token ?? randomUUID(),
    extended_properties: {},
    databases: of.databases ?? ['shop'],
    users: of.users ?? [app],
  };
  return open(config, join(root, config.instance_id), cacheDir);
}

export function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new Error(`no item ${index}`);
  return item;
}

export function target(datastore_version: string, primary: Node | null = null): Target {
  return { datastore_version, primary: primary?.config.endpoint ?? null, info: {} };
}

export async function timed<T>(name: string, work: Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work;
  note(name, `${Math.round(performance.now() - began)} ms`);
  return result;
}

export async function query(node: Node, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = clientOf(node.config.endpoint);
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

/** As the driver does it, and without its settings: for what an administrator may do to a server. */
export async function asSuperuser(
  node: Node,
  ...statements: readonly string[]
): Promise<readonly Record<string, unknown>[]> {
  const { endpoint } = node.config;
  const client = new Client({
    ...{ host: endpoint.host, port: endpoint.port, database: 'postgres', user: SUPERUSER, ssl: false },
    ...{ password: derivePassword(node.config, SUPERUSER), connectionTimeoutMillis: 5_000 },
    application_name: 'administrator',
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

export function clientOf(endpoint: Endpoint): Client {
  return new Client({
    ...{ host: endpoint.host, port: endpoint.port, user: USER.name, password: USER.password },
    ...{ database: 'shop', ssl: false, connectionTimeoutMillis: 1_000 },
  });
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

export async function postmasterPid(node: Node): Promise<number> {
  return Number((await readFile(join(node.stateDir, 'data', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

export async function until(
  what: string,
  condition: () => Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

export const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** Inserts all the time, over whichever host takes writes, and remembers what was acknowledged. */
export class Writer {
  readonly acknowledged: number[] = [];
  longestGapMs = 0;
  /** How often a session ended while it wrote: a primary that goes on serving ends none. */
  interruptions = 0;
  #next = 1;
  #running = true;
  #lastAt = performance.now();
  readonly #done: Promise<void>;
  readonly #hosts: readonly Endpoint[];

  constructor(hosts: readonly Endpoint[]) {
    this.#hosts = hosts;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const client = await this.#connect();
      if (client === null) {
        await sleep(3);
        continue;
      }
      try {
        while (this.#running) {
          const id = this.#next++;
          await client.query('INSERT INTO writes VALUES ($1)', [id]);
          this.acknowledged.push(id);
          const now = performance.now();
          this.longestGapMs = Math.max(this.longestGapMs, now - this.#lastAt);
          this.#lastAt = now;
        }
      } catch {
        // Not acknowledged: may be there or not.
        this.interruptions += 1;
      }
      client.end().catch(() => {});
    }
  }

  /** What libpq does for `target_session_attrs=read-write`. */
  async #connect(): Promise<Client | null> {
    for (const host of this.#hosts) {
      const client = clientOf(host);
      client.on('error', () => {});
      try {
        await client.connect();
        const { rows } = await client.query<{ ro: string }>('SELECT pg_is_in_recovery()::text AS ro');
        if (rows[0]?.ro === 'false') return client;
      } catch {
        // The next one.
      }
      client.end().catch(() => {});
    }
    return null;
  }
}
