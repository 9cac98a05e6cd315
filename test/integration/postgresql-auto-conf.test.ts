import { describe, expect, it } from 'vitest';
import { PermanentError } from '../../guestagent/driver.ts';
import {
  asSuperuser,
  at,
  cluster,
  member,
  type Node,
  postmasterPid,
  target,
  until,
  useNodes,
} from './postgresql-nodes.ts';

/** Settings of operators (ALTER SYSTEM) that beat those by which Coffer leads a cluster. */
useNodes();
/** A busy machine takes its time to build three servers. */
const PATIENCE_MS = 240_000;

describe('a standby whose operator says whom it follows', { timeout: PATIENCE_MS }, () => {
  it('is found before anything is stopped, and says whom it follows', async () => {
    const nodes = await cluster(2);
    const [a, b, c] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
    expect(await c.driver.health()).toMatchObject({ role: 'replica', upstream: a.config.endpoint });
    expect(await a.driver.health()).toMatchObject({ role: 'primary', upstream: null });
    await asSuperuser(c, `ALTER SYSTEM SET primary_conninfo = '${await conninfo(c)}'`);
    const pid = await postmasterPid(c);
    const words = /auto\.conf of this server sets primary_conninfo.*ALTER SYSTEM RESET primary_conninfo/;
    await expect(c.driver.preUpgrade(target('17.10', a))).rejects.toThrow(words);
    await expect(c.driver.upgrade(target('17.10', a))).rejects.toThrow(PermanentError);
    expect(await postmasterPid(c)).toBe(pid);

    await b.driver.promote(await a.driver.demote({ successor: null }));
    await expect(c.driver.follow({ primary: b.config.endpoint })).rejects.toThrow(words);
    await a.driver.follow({ primary: b.config.endpoint });
    await until('c streams from a again', async () => (await c.driver.health()).lag_bytes !== null);
    // Not from the new primary, whatever it was told.
    expect(await c.driver.health()).toMatchObject({ upstream: a.config.endpoint });

    await asSuperuser(c, 'ALTER SYSTEM RESET primary_conninfo');
    await c.driver.follow({ primary: b.config.endpoint });
    expect(await c.driver.health()).toMatchObject({ service_status: 'healthy', upstream: b.config.endpoint });
  });
});

describe('a primary whose operator moves it to another port', { timeout: PATIENCE_MS }, () => {
  it('is neither demoted nor upgraded, and hands that port to no copy', async () => {
    const a = at(await cluster(0), 0);
    await asSuperuser(a, `ALTER SYSTEM SET port = ${a.config.endpoint.port + 1}`);
    await asSuperuser(a, "ALTER SYSTEM SET work_mem = '5MB'");
    const words = 'ALTER SYSTEM RESET port';
    await expect(a.driver.preUpgrade(target('17.10'))).rejects.toThrow(words);
    await expect(a.driver.demote({ successor: null })).rejects.toThrow(words);
    const b = await member({ primary: a, ordinal: 1 });
    await b.driver.start();
    expect(await b.driver.health()).toMatchObject({ service_status: 'healthy', role: 'replica' });
    expect(await asSuperuser(b, 'SHOW work_mem')).toEqual([{ work_mem: '5MB' }]);

    // After a restart the agent no longer finds it, and says why.
    await a.driver.stop();
    await a.driver.start();
    expect((await a.driver.health()).message).toContain(words);
  });
});

async function conninfo(node: Node): Promise<string> {
  const [row] = await asSuperuser(node, 'SHOW primary_conninfo');
  return String(row?.['primary_conninfo']).replaceAll("'", "''");
}
