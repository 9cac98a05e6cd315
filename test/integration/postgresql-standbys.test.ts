import { describe, expect, it } from 'vitest';
import {
  asSuperuser,
  at,
  clientOf,
  cluster,
  type Node,
  postmasterPid,
  query,
  sleep,
  target,
  until,
  useNodes,
} from './postgresql-nodes.ts';

/** Standbys that stream and do not follow: each of them looks well to whoever asks only for that. */
useNodes();

describe('a standby whose log its primary has removed', () => {
  it('is failed for as long as that lasts, lags behind its primary, and is to be built anew', async () => {
    const [a, b] = await pair();
    await asSuperuser(
      a,
      "ALTER SYSTEM SET wal_keep_size = '0'",
      "ALTER SYSTEM SET wal_sender_timeout = '1s'",
      "ALTER SYSTEM SET min_wal_size = '8MB'",
      'SELECT pg_reload_conf()',
    );
    const processes = await processesOf(b);
    for (const pid of processes) process.kill(pid, 'SIGSTOP');
    try {
      await until(
        'its sender has given up',
        async () => {
          const rows = await asSuperuser(a, 'SELECT FROM pg_stat_replication');
          return rows.length === 0;
        },
        30_000,
      );
      for (let round = 0; round < 3; round++) {
        await asSuperuser(
          a,
          'CREATE TABLE much AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 30000) AS n',
          'DROP TABLE much',
          'SELECT pg_switch_wal()',
          'CHECKPOINT',
        );
      }
    } finally {
      for (const pid of processes) process.kill(pid, 'SIGCONT');
    }
    await until('it is failed', async () => (await b.driver.health()).service_status === 'failed', 30_000);
    for (let look = 0; look < 40; look++) {
      const health = await b.driver.health();
      expect(health.service_status).toBe('failed');
      expect(health.lag_bytes).toBeGreaterThan(1_000_000);
      await sleep(100);
    }
    const { message } = await b.driver.health();
    expect(message).toMatch(/requested WAL segment \w+ has already been removed/);
    expect(message).toContain('must be built anew');
    expect(message).toContain(`coffer cluster-shrink ${b.config.cluster_id} 'it'\\''s node 1'`);
    expect(message).toContain(`coffer cluster-grow ${b.config.cluster_id}`);
    await expect(b.driver.postUpgrade(target('17.6', a))).rejects.toThrow('must be built anew');
    await expect(a.driver.demote({ successor: b.config.name })).rejects.toThrow('nobody to take over');
  }, 120_000);
});

describe('settings that a standby must have as large as its primary', () => {
  it('are raised where the primary has been restarted with more', async () => {
    const [a, b] = await pair();
    await asSuperuser(
      a,
      'ALTER SYSTEM SET max_connections = 200',
      'ALTER SYSTEM SET max_locks_per_transaction = 100',
    );
    await a.driver.stop();
    await a.driver.start();
    const said: string[] = [];
    await until(
      'it says so',
      async () => {
        const { service_status, message } = await b.driver.health();
        if (service_status === 'failed' && message != null) said.push(message);
        return said.length > 0;
      },
      30_000,
    );
    await until(
      'it replays again',
      async () => (await b.driver.health()).service_status === 'healthy',
      30_000,
    );
    expect(said.join()).toContain('max_connections is 100, its primary has 200');
    expect(said.join()).toContain('max_locks_per_transaction is 64, its primary has 100');
    await replays(a, b);
    // Also on another version, and although its own file has less.
    await asSuperuser(b, 'ALTER SYSTEM SET max_connections = 50');
    await b.driver.upgrade(target('17.10', a));
    await replays(a, b);
  }, 120_000);

  it('are raised on the way through switchovers to and from a server that has more', async () => {
    const nodes = await cluster(2);
    const [a, b, c] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
    await asSuperuser(
      a,
      'ALTER SYSTEM SET max_connections = 200',
      'ALTER SYSTEM SET max_prepared_transactions = 20',
      'ALTER SYSTEM SET max_worker_processes = 20',
      'ALTER SYSTEM SET max_wal_senders = 20',
    );
    for (const [version, from, to] of [
      ['17.10', a, b],
      ['17.6', b, a],
    ] as const) {
      await to.driver.upgrade(target(version, from));
      await c.driver.upgrade(target(version, from));
      await to.driver.promote(await from.driver.demote({ successor: to.config.name }));
      await c.driver.follow({ primary: to.config.endpoint });
      await from.driver.upgrade(target(version, to));
      await replays(to, c);
      await replays(to, from);
    }
    expect(await query(a, 'SHOW max_connections')).toEqual([{ max_connections: '200' }]);
  }, 120_000);
});

describe('a standby that does not replay', () => {
  it('is failed while its replay is paused, and says how it goes on', async () => {
    const [, b] = await pair();
    await asSuperuser(b, 'SELECT pg_wal_replay_pause()');
    expect(await b.driver.health()).toMatchObject({
      ...{ service_status: 'failed', hindrance: { kind: 'pause' } },
      message: expect.stringContaining('pg_wal_replay_resume()') as string,
    });
    await asSuperuser(b, 'SELECT pg_wal_replay_resume()');
    await until('it is well', async () => (await b.driver.health()).service_status === 'healthy');
    expect((await b.driver.health()).hindrance).toBeNull();
  }, 120_000);

  it('makes no primary stop: paused, delayed, or held up by a session that reads', async () => {
    const [a, b] = await pair();
    const pid = await postmasterPid(a);
    const refused = async () => {
      await query(a, 'CREATE TABLE IF NOT EXISTS kept (id int)');
      await query(a, 'INSERT INTO kept VALUES (1)');
      const demotion = a.driver.demote({ successor: b.config.name });
      await expect(demotion).rejects.toThrow(/it's node 1 has \d+ bytes yet to replay/);
      expect(await postmasterPid(a)).toBe(pid);
    };

    await asSuperuser(b, 'SELECT pg_wal_replay_pause()');
    await refused();
    await asSuperuser(b, 'SELECT pg_wal_replay_resume()');

    await asSuperuser(b, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'", 'SELECT pg_reload_conf()');
    await refused();
    expect(await b.driver.health()).toMatchObject({
      ...{ service_status: 'healthy' },
      hindrance: {
        kind: 'delay',
        reason: expect.stringContaining('recovery_min_apply_delay is 1h') as string,
      },
    });
    await asSuperuser(b, 'ALTER SYSTEM RESET recovery_min_apply_delay', 'SELECT pg_reload_conf()');

    const reader = await readerOn(a, b);
    await refused();
    expect(await b.driver.health()).toMatchObject({
      hindrance: { kind: 'session', reason: expect.stringContaining('of user "app"') as string },
    });
    await reader.end();
    await until('nothing hinders it', async () => (await b.driver.health()).hindrance === null);

    const locker = await lockerOn(a, b);
    await refused();
    expect(await b.driver.health()).toMatchObject({
      hindrance: { kind: 'session', reason: expect.stringContaining('of user "app"') as string },
    });
    await locker.end();

    await until('it has caught up', async () => (await b.driver.health()).lag_bytes === 0);
    await b.driver.promote(await a.driver.demote({ successor: b.config.name }));
    expect(await b.driver.health()).toMatchObject({ role: 'primary', hindrance: null });
  }, 120_000);

  it('ends what holds it up once it is to take over, for nobody can write meanwhile', async () => {
    const nodes = await cluster(2);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    const reader = await readerOn(a, b);
    // The other one is well: for it the primary may stop.
    const { lsn } = await a.driver.demote({ successor: null });
    await b.driver.promote({ lsn });
    expect(await b.driver.health()).toMatchObject({ service_status: 'healthy', role: 'primary' });
    await expect(reader.query('SELECT 1')).rejects.toThrow();
    reader.end().catch(() => {});
  }, 120_000);
});

async function pair(): Promise<readonly [Node, Node]> {
  const nodes = await cluster(1);
  return [at(nodes, 0), at(nodes, 1)];
}

async function processesOf(node: Node): Promise<readonly number[]> {
  const rows = await asSuperuser(node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
  return [await postmasterPid(node), ...rows.map((row) => Number(row['pid']))];
}

async function replays(primary: Node, standby: Node): Promise<void> {
  await query(primary, 'CREATE TABLE IF NOT EXISTS rounds (id int)');
  await query(primary, 'INSERT INTO rounds VALUES (1)');
  const count = 'SELECT count(*)::int AS count FROM rounds';
  const [wanted] = await query(primary, count);
  await until('it has the row', async () => {
    const rows = await query(standby, count).catch(() => []);
    return rows[0]?.['count'] === wanted?.['count'];
  });
  expect((await standby.driver.health()).service_status).toBe('healthy');
}

/** An ordinary user's long read on the standby, and rows removed on the primary that it may still want. */
async function readerOn(primary: Node, standby: Node) {
  await query(primary, 'CREATE TABLE read AS SELECT generate_series(1, 1000) AS id');
  await caughtUp(primary, standby);
  const client = clientOf(standby.config.endpoint);
  client.on('error', () => {});
  await client.connect();
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await client.query('SELECT count(*) FROM read');
  await query(primary, 'DELETE FROM read');
  await query(primary, 'VACUUM (TRUNCATE false) read');
  await until('it waits', async () => (await standby.driver.health()).hindrance?.kind === 'session');
  return client;
}

/** A transaction that is left open, and a table changed on the primary that it has read. */
async function lockerOn(primary: Node, standby: Node) {
  await query(primary, 'CREATE TABLE locked (id int)');
  await caughtUp(primary, standby);
  const client = clientOf(standby.config.endpoint);
  client.on('error', () => {});
  await client.connect();
  await client.query('BEGIN');
  await client.query('SELECT count(*) FROM locked');
  await query(primary, 'ALTER TABLE locked ADD COLUMN more int');
  await until('it waits', async () => (await standby.driver.health()).hindrance?.kind === 'session');
  return client;
}

async function caughtUp(primary: Node, standby: Node): Promise<void> {
  const [row] = await asSuperuser(primary, 'SELECT pg_current_wal_lsn()::text AS lsn');
  await until('it has caught up', async () => {
    const text = `SELECT pg_last_wal_replay_lsn() >= '${String(row?.['lsn'])}' AS there`;
    return (await asSuperuser(standby, text))[0]?.['there'] === true;
  });
}
