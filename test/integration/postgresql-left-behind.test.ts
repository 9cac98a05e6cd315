import { describe, expect, it } from 'vitest';
import {
  asSuperuser,
  at,
  clientOf,
  cluster,
  type Node,
  query,
  target,
  until,
  useNodes,
} from './postgresql-nodes.ts';

/** What replication does not bring to a successor, and so a switchover leaves behind. */
useNodes();
/** A busy machine takes its time to build three servers. */
const PATIENCE_MS = 240_000;

const namesIn = (found: readonly { readonly name: string }[] | undefined) => found?.map(({ name }) => name);

describe('what a switchover would leave behind', { timeout: PATIENCE_MS }, () => {
  it('is found on the primary, in all databases, for heartbeats and for pre_upgrade', async () => {
    const nodes = await cluster(1);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    expect((await a.driver.preUpgrade(target('17.10'))).findings).toEqual([]);
    await query(a, 'CREATE UNLOGGED TABLE empty (id int)');
    await query(a, 'CREATE UNLOGGED TABLE "my cache" AS SELECT generate_series(1, 1000) AS id');
    // Whoever holds a lock is not waited for.
    const holder = clientOf(a.config.endpoint);
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE "my cache" IN ACCESS EXCLUSIVE MODE');
    expect((await a.driver.preUpgrade(target('17.10'))).findings).toMatchObject([
      { name: 'unlogged_tables', message: expect.stringContaining('(shop.public."my cache"):') },
    ]);
    await holder.end();
    expect((await b.driver.preUpgrade(target('17.10', a))).findings).toEqual([]);
    expect(namesIn((await a.driver.health()).findings)).toEqual(['unlogged_tables']);

    await query(a, 'TRUNCATE "my cache"');
    await asSuperuser(a, "ALTER SYSTEM SET wal_level = 'logical'", "ALTER SYSTEM SET work_mem = '5MB'");
    await a.driver.stop();
    await a.driver.start();
    await asSuperuser(a, "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')");
    const { findings } = await a.driver.preUpgrade(target('17.10'));
    expect(findings).toMatchObject([{ name: 'logical_slots', message: expect.stringContaining('(feed)') }]);
    const settings = [(await a.driver.health()).settings, (await b.driver.health()).settings];
    expect(settings.map((each) => Object.keys(each ?? {}).sort())).toEqual([['wal_level', 'work_mem'], []]);
    expect(JSON.stringify(settings)).not.toContain('5MB');
  });
});

describe('a switchover', { timeout: PATIENCE_MS }, () => {
  it('drops slots where nothing reads them any more, and hands over for whom writes wait', async () => {
    const nodes = await cluster(2);
    const [a, b, c] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
    await asSuperuser(a, "ALTER SYSTEM SET wal_level = 'logical'");
    await a.driver.stop();
    await a.driver.start();
    await asSuperuser(a, "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')");
    const names = `ANY 1 ("${b.config.name}", "${c.config.name}")`;
    await setNames(a, names);
    // What the successor asked for when it was primary long ago must not stop every write.
    await setNames(b, 'gone');
    await until('all stream', async () => (await streaming(a)) === 2);

    const order = await a.driver.demote({ successor: null });
    expect(await a.driver.demote({ successor: null })).toEqual(order);
    await b.driver.promote(order);
    expect(await synchronous(b)).toBe('');
    await query(b, 'CREATE TABLE written (id int)');
    await Promise.all([
      c.driver.follow({ primary: b.config.endpoint }),
      a.driver.follow({ primary: b.config.endpoint }),
    ]);
    expect(await asSuperuser(a, 'SELECT slot_name FROM pg_replication_slots')).toEqual([]);
    const expected = `ANY 1 ("${a.config.name}", "${c.config.name}")`;
    await until('the names are taken on', async () => {
      await b.driver.health();
      return (await synchronous(b)) === expected;
    });
    await query(b, 'INSERT INTO written VALUES (1)');
    const states = await asSuperuser(b, 'SELECT DISTINCT sync_state FROM pg_stat_replication');
    expect(states).toEqual([{ sync_state: 'quorum' }]);
  });
});

async function synchronous(node: Node): Promise<unknown> {
  return (await asSuperuser(node, 'SHOW synchronous_standby_names'))[0]?.['synchronous_standby_names'];
}

async function setNames(node: Node, names: string): Promise<void> {
  const set = `ALTER SYSTEM SET synchronous_standby_names = '${names.replaceAll("'", "''")}'`;
  await asSuperuser(node, set, 'SELECT pg_reload_conf()');
}

async function streaming(node: Node): Promise<number> {
  const sql = "SELECT count(*)::int AS n FROM pg_stat_replication WHERE state = 'streaming'";
  return Number((await asSuperuser(node, sql))[0]?.['n']);
}
