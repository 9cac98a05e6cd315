import { afterEach, describe, expect, it } from 'vitest';
import {
  asSuperuser,
  at,
  clientOf,
  cluster,
  type Node,
  query,
  reopen,
  sleep,
  target,
  until,
  useNodes,
} from './postgresql-nodes.ts';

/** What an application or an administrator does to the sessions of the driver. */
useNodes();

const crowds = new Set<Crowd>();
afterEach(async () => {
  await Promise.all([...crowds].map((crowd) => crowd.leave()));
});

describe("the driver's sessions", () => {
  it('set for themselves what a configuration, a database or a role would impose on them', async () => {
    const nodes = await cluster(1);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    await asSuperuser(
      a,
      'CREATE SCHEMA odd',
      "CREATE FUNCTION odd.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT NOT pg_catalog.pg_is_in_recovery()'",
      'CREATE ROLE nobody_much',
      "ALTER SYSTEM SET statement_timeout = '1ms'",
      "ALTER SYSTEM SET idle_session_timeout = '20ms'",
      "ALTER SYSTEM SET idle_in_transaction_session_timeout = '1ms'",
      "ALTER DATABASE postgres SET lock_timeout = '1ms'",
      "ALTER DATABASE postgres SET transaction_timeout = '1ms'",
      'ALTER DATABASE postgres SET search_path = odd, pg_catalog',
      'ALTER DATABASE postgres SET default_transaction_read_only = on',
      "ALTER DATABASE postgres SET session_preload_libraries = 'missing'",
      'ALTER ROLE coffer SET role = nobody_much',
      "ALTER ROLE coffer SET default_transaction_isolation = 'serializable'",
      'ALTER ROLE coffer SET session_replication_role = replica',
      'SELECT pg_reload_conf()',
    );
    await until('b has it', async () => (await b.driver.health()).lag_bytes === 0);
    const all = [a, b].map(reopen);
    const [primary, standby] = [at(all, 0), at(all, 1)];
    await Promise.all(all.map((node) => node.driver.start()));
    for (const [node, role] of [
      [primary, 'primary'],
      [standby, 'replica'],
    ] as const) {
      expect(await node.driver.health()).toMatchObject({ service_status: 'healthy', role, message: null });
      await sleep(100);
      expect(await node.driver.health()).toMatchObject({ service_status: 'healthy', role, message: null });
    }
    await standby.driver.upgrade(target('17.10', primary));
    await standby.driver.promote(await primary.driver.demote({ successor: null }));
    await primary.driver.upgrade(target('17.10', standby));
    await primary.driver.postUpgrade(target('17.10', standby));
    expect(await primary.driver.health()).toMatchObject({ service_status: 'healthy', role: 'replica' });
  }, 120_000);

  it('are made anew when somebody ends them, before a server is said to have failed', async () => {
    const nodes = await cluster(1);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    for (const node of nodes) {
      expect((await node.driver.health()).service_status).toBe('healthy');
      await until('sessions are held', async () => (await ours(node)).length >= 2);
      for (let round = 0; round < 5; round++) {
        await endOurs(node);
        expect(await node.driver.health()).toMatchObject({ service_status: 'healthy', message: null });
      }
    }
    const [{ lsn }, ended] = await Promise.all([a.driver.demote({ successor: null }), endOurs(a)]);
    expect(ended).toBeGreaterThan(0);
    await Promise.all([b.driver.promote({ lsn }), endOurs(b)]);
    await a.driver.follow({ primary: b.config.endpoint });
    expect(await b.driver.health()).toMatchObject({ service_status: 'healthy', role: 'primary' });
    expect(await a.driver.health()).toMatchObject({ service_status: 'healthy', role: 'replica' });
  }, 120_000);

  it('are there although an application takes all connections, and a switchover succeeds at once', async () => {
    const nodes = await cluster(1);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    for (const node of nodes) await node.driver.health();
    const crowd = new Crowd(nodes, 125);
    await until('it is refused', async () => crowd.refused > 100, 30_000);
    for (let round = 0; round < 2; round++) {
      const [from, to] = round % 2 === 0 ? [a, b] : [b, a];
      await to.driver.promote(await from.driver.demote({ successor: null }));
      await from.driver.upgrade(target(round % 2 === 0 ? '17.10' : '17.6', to));
      expect(await to.driver.health()).toMatchObject({ service_status: 'healthy', role: 'primary' });
      expect(await from.driver.health()).toMatchObject({ service_status: 'healthy', role: 'replica' });
    }
    await crowd.leave();
    expect(await query(b, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  }, 180_000);
});

async function ours(node: Node): Promise<readonly number[]> {
  const rows = await asSuperuser(node, "SELECT pid FROM pg_stat_activity WHERE application_name = 'coffer'");
  return rows.map((row) => Number(row['pid']));
}

async function endOurs(node: Node): Promise<number> {
  const pids = await ours(node);
  for (const pid of pids) await asSuperuser(node, `SELECT pg_terminate_backend(${pid})`);
  return pids.length;
}

/** Clients of an ordinary user that want a connection each, again and again, and keep what they get. */
class Crowd {
  refused = 0;
  #here = true;
  readonly #done: Promise<unknown>;

  constructor(nodes: readonly Node[], size: number) {
    crowds.add(this);
    const each = (node: Node) => Array.from({ length: size }, () => this.#want(node));
    this.#done = Promise.all(nodes.flatMap(each));
  }

  async leave(): Promise<void> {
    this.#here = false;
    await this.#done;
    crowds.delete(this);
  }

  async #want(node: Node): Promise<void> {
    while (this.#here) {
      const client = clientOf(node.config.endpoint);
      let isOpen = true;
      client.on('error', () => {});
      client.on('end', () => {
        isOpen = false;
      });
      try {
        await client.connect();
        while (this.#here && isOpen) await sleep(100);
      } catch {
        this.refused++;
      }
      client.end().catch(() => {});
      await sleep(200);
    }
  }
}
