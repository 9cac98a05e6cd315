import { randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Driver, type InstanceConfig, PermanentError, type Target } from '../../guestagent/driver.ts';
import { binariesFolder } from '../../guestagent/drivers/postgresql/binaries.ts';
import { postgresqlDriver } from '../../guestagent/drivers/postgresql/index.ts';
import { scramVerifier } from '../../guestagent/drivers/postgresql/settings.ts';
import type { Endpoint } from '../../src/core/domain.ts';

/**
 * Real servers: real binaries, real replication, real kills. The agent's death is played by a second
 * driver on the same state directory, the first one never being used again.
 */
const USER = { name: 'app', password: 'p4ss "word"', databases: ['shop'] };
const CACHE =
  process.env['COFFER_CACHE_DIR'] ??
  (process.getuid?.() === 0 ? '/var/cache/coffer' : join(homedir(), '.cache', 'coffer'));

let root = '';
const drivers = new Set<Driver>();
const figures: string[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'coffer-pg-'));
  await chmod(root, 0o755);
  await mkdir(CACHE, { recursive: true });
});

afterEach(async () => {
  await Promise.all([...drivers].map((driver) => driver.destroy()));
  drivers.clear();
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
  for (const line of figures) process.stdout.write(`${line}\n`);
});

interface Node {
  readonly driver: Driver;
  readonly config: InstanceConfig;
  readonly stateDir: string;
  readonly cacheDir: string;
}

function open(config: InstanceConfig, stateDir: string, cacheDir = CACHE): Node {
  const quiet = () => {};
  const info = (fields: object, message: string) => {
    if (process.env['COFFER_TEST_LOG'] !== undefined) console.log(config.name, message, JSON.stringify(fields));
  };
  const log = { debug: quiet, info, warn: info, error: info };
  const driver = postgresqlDriver({ config, stateDir, cacheDir, log });
  drivers.add(driver);
  return { driver, config, stateDir, cacheDir };
}

/** A new agent for the same instance, the old one having been killed. */
function reopen(node: Node): Node {
  drivers.delete(node.driver);
  return open(node.config, node.stateDir, node.cacheDir);
}

async function cluster(replicas: number, version = '17.6', cacheDir = CACHE): Promise<readonly Node[]> {
  const token = randomUUID();
  const cluster_id = randomUUID();
  const nodes: Node[] = [];
  let primary: Endpoint | null = null;
  for (let index = 0; index <= replicas; index++) {
    const endpoint = { host: '127.0.0.1', port: await freePort() };
    const config: InstanceConfig = {
      ...{ instance_id: randomUUID(), cluster_id, name: `it's node ${index}`, manager: 'postgresql' },
      ...{ datastore_version: version, role: index === 0 ? 'primary' : 'replica', endpoint, primary },
      ...{ cluster_token: token, extended_properties: {}, databases: ['shop'] },
      users: [{ name: USER.name, verifier: scramVerifier(USER.password), databases: USER.databases }],
    };
    nodes.push(open(config, join(root, config.instance_id), cacheDir));
    primary ??= endpoint;
  }
  await Promise.all(nodes.map((node) => node.driver.start()));
  return nodes;
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new Error(`no item ${index}`);
  return item;
}

function target(datastore_version: string, primary: Node | null = null): Target {
  return { datastore_version, primary: primary?.config.endpoint ?? null, info: {} };
}

async function timed<T>(name: string, work: Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work;
  figures.push(`${name.padEnd(44)} ${Math.round(performance.now() - began)} ms`);
  return result;
}

async function query(node: Node, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = clientOf(node.config.endpoint);
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

function clientOf(endpoint: Endpoint): Client {
  return new Client({
    ...{ host: endpoint.host, port: endpoint.port, user: USER.name, password: USER.password },
    ...{ database: 'shop', ssl: false, connectionTimeoutMillis: 1_000 },
  });
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

async function postmasterPid(node: Node): Promise<number> {
  return Number((await readFile(join(node.stateDir, 'data', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

async function until(what: string, condition: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** Inserts all the time, over whichever host takes writes, and remembers what was acknowledged. */
class Writer {
  readonly acknowledged: number[] = [];
  longestGapMs = 0;
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

describe('a cluster of three', () => {
  it('is upgraded from 17.6 to 17.10 while it serves, and loses nothing', async () => {
    const nodes = await timed('build of a primary and two replicas', cluster(2));
    const [a, b, c] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
    expect(await b.driver.health()).toMatchObject({
      ...{ service_status: 'healthy', version: '17.6', role: 'replica', message: null },
      endpoint: b.config.endpoint,
    });
    expect(await a.driver.health()).toMatchObject({ service_status: 'healthy', role: 'primary', lag_bytes: null });
    await query(a, 'CREATE TABLE writes (id bigint PRIMARY KEY)');
    const writer = new Writer(nodes.map((node) => node.config.endpoint));
    await sleep(500);

    for (const [name, node] of [
      ['replica b', b],
      ['replica c', c],
    ] as const) {
      const info = await timed(`${name}: pre_upgrade`, node.driver.preUpgrade(target('17.10', a)));
      expect(info).toMatchObject({ reversible: true, role: 'replica' });
      await timed(`${name}: upgrade`, node.driver.upgrade({ ...target('17.10', a), info }));
      await timed(`${name}: post_upgrade`, node.driver.postUpgrade(target('17.10', a)));
      expect(await node.driver.health()).toMatchObject({ service_status: 'healthy', version: '17.10', role: 'replica' });
    }
    expect(writer.longestGapMs).toBeLessThan(500);
    const quietGapMs = writer.longestGapMs;
    writer.longestGapMs = 0;

    await a.driver.preUpgrade(target('17.10', b));
    const { lsn } = await timed('old primary: demote (with its checkpoint)', a.driver.demote());
    await timed('replica b: promote', b.driver.promote({ lsn }));
    await Promise.all([
      timed('replica c: follow', c.driver.follow({ primary: b.config.endpoint })),
      timed('old primary: upgrade (back as a standby)', a.driver.upgrade(target('17.10', b))),
    ]);
    await a.driver.postUpgrade(target('17.10', b));
    await sleep(300);
    await writer.stop();
    for (const n of [a,b]) console.log(await readFile(join(n.stateDir,'server.log'),'utf8'));

    figures.push(`${'longest write gap before the switchover'.padEnd(44)} ${Math.round(quietGapMs)} ms`);
    figures.push(`${'WRITE GAP of the switchover'.padEnd(44)} ${Math.round(writer.longestGapMs)} ms`);
    const rows = await query(b, 'SELECT id FROM writes');
    const kept = new Set(rows.map((row) => Number(row['id'])));
    const lost = writer.acknowledged.filter((id) => !kept.has(id));
    figures.push(`${'acknowledged writes, lost'.padEnd(44)} ${writer.acknowledged.length}, ${lost.length}`);
    expect(lost).toEqual([]);
    expect(writer.longestGapMs).toBeLessThan(1_000);
    for (const node of nodes) {
      expect(await node.driver.health()).toMatchObject({
        ...{ service_status: 'healthy', version: '17.10', role: node === b ? 'primary' : 'replica' },
      });
      expect(await query(node, 'SHOW server_version')).toEqual([{ server_version: '17.10' }]);
    }
    await until('all three hold the same', async () => {
      const counts = await Promise.all(nodes.map((node) => query(node, 'SELECT count(*) FROM writes')));
      return new Set(counts.map((each) => each[0]?.['count'])).size === 1;
    });
  });
});
