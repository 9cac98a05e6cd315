import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PermanentError } from '../../guestagent/driver.ts';
import { binariesFolder } from '../../guestagent/drivers/postgresql/binaries.ts';
import {
  at,
  CACHE,
  cluster,
  note,
  postmasterPid,
  query,
  rootFolder,
  sleep,
  target,
  timed,
  until,
  useNodes,
  Writer,
} from './postgresql-nodes.ts';

useNodes();

describe('a cluster of three', () => {
  it('is upgraded from 17.6 to 17.10 while it serves, and loses nothing', async () => {
    const nodes = await timed('build of a primary and two replicas', cluster(2));
    const [a, b, c] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
    expect(await b.driver.health()).toMatchObject({
      ...{ service_status: 'healthy', version: '17.6', role: 'replica', message: null },
      endpoint: b.config.endpoint,
    });
    expect(await a.driver.health()).toMatchObject({
      service_status: 'healthy',
      role: 'primary',
      lag_bytes: null,
    });
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
      expect(await node.driver.health()).toMatchObject({
        service_status: 'healthy',
        version: '17.10',
        role: 'replica',
      });
    }
    expect(writer.interruptions, 'no replica that is upgraded disturbs who writes').toBe(0);
    const quietGapMs = writer.longestGapMs;
    writer.longestGapMs = 0;

    await a.driver.preUpgrade(target('17.10', b));
    const { lsn } = await timed(
      'old primary: demote (with its checkpoint)',
      a.driver.demote({ successor: null }),
    );
    await timed('replica b: promote', b.driver.promote({ lsn }));
    await Promise.all([
      timed('replica c: follow', c.driver.follow({ primary: b.config.endpoint })),
      timed('old primary: upgrade (back as a standby)', a.driver.upgrade(target('17.10', b))),
    ]);
    await a.driver.postUpgrade(target('17.10', b));
    await sleep(300);
    await writer.stop();

    note('longest write gap before the switchover', `${Math.round(quietGapMs)} ms`);
    note('WRITE GAP of the switchover', `${Math.round(writer.longestGapMs)} ms`);
    const rows = await query(b, 'SELECT id FROM writes');
    const kept = new Set(rows.map((row) => Number(row['id'])));
    const lost = writer.acknowledged.filter((id) => !kept.has(id));
    note('acknowledged writes, lost', `${writer.acknowledged.length}, ${lost.length}`);
    expect(lost).toEqual([]);
    expect(writer.interruptions, 'the switchover ends the session, once').toBe(1);
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

describe('a switchover', () => {
  it('brings a demoted primary back on another version only as the standby of a server that is named', async () => {
    const nodes = await cluster(1);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    await query(a, 'CREATE TABLE kept AS SELECT 1 AS one');
    const passed = await a.driver.demote({ successor: null });
    await expect(query(a, 'SELECT 1')).rejects.toThrow();
    await expect(a.driver.upgrade(target('17.10'))).rejects.toThrow('demoted');
    await b.driver.promote(passed);
    await a.driver.upgrade(target('17.10', b));
    expect(await a.driver.health()).toMatchObject({
      service_status: 'healthy',
      role: 'replica',
      version: '17.10',
    });
    expect(await query(a, 'SELECT one FROM kept')).toEqual([{ one: 1 }]);
  });

  it('says why it is refused', async () => {
    const nodes = await cluster(1);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    await expect(b.driver.promote({ lsn: 'FF/00000000' })).rejects.toThrow('stays a standby');
    await expect(b.driver.promote({ lsn: 'nonsense' })).rejects.toThrow(PermanentError);
    await b.driver.stop();
    await expect(a.driver.demote({ successor: null })).rejects.toThrow('no standby streams');
  });
});

describe('an upgrade', () => {
  it('to an unknown version, or another major one, is refused for good before anything is touched', async () => {
    const node = at(await cluster(0), 0);
    const pid = await postmasterPid(node);
    for (const version of ['17.99', '../../etc', '16.14']) {
      await expect(node.driver.preUpgrade(target(version))).rejects.toThrow(PermanentError);
      await expect(node.driver.upgrade(target(version))).rejects.toThrow(PermanentError);
    }
    await expect(node.driver.preUpgrade(target('17.99'))).rejects.toThrow(
      /knows no PostgreSQL "17.99": install a release of Coffer on this host that brings it along/,
    );
    await expect(node.driver.preUpgrade(target('16.14'))).rejects.toThrow('pg_upgrade');
    expect(await postmasterPid(node)).toBe(pid);
  });

  it('goes back when the new version does not start, and is refused when it does not even run', async () => {
    const cacheDir = join(rootFolder(), 'broken-cache');
    await mkdir(cacheDir, { mode: 0o755 });
    const broken = binariesFolder(cacheDir, '17.10');
    for (const version of ['17.6', '17.10']) {
      await cp(binariesFolder(CACHE, version), binariesFolder(cacheDir, version), {
        recursive: true,
        verbatimSymlinks: true,
      });
    }
    const nodes = await cluster(1, '17.6', cacheDir);
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    await query(a, 'CREATE TABLE kept AS SELECT 1 AS one');

    // Starts, but can't stream.
    const library = join(broken, 'lib', 'postgresql', 'libpqwalreceiver.so');
    const whole = await readFile(library);
    await rm(library);
    await expect(b.driver.upgrade(target('17.10', a))).rejects.toThrow('back on 17.6');
    expect(await b.driver.health()).toMatchObject({
      service_status: 'healthy',
      version: '17.6',
      role: 'replica',
    });
    await writeFile(library, whole);

    // Does not start.
    await rm(join(broken, 'share', 'postgresql', 'timezonesets'), { recursive: true });
    await expect(a.driver.upgrade(target('17.10'))).rejects.toThrow('back on 17.6');
    expect(await a.driver.health()).toMatchObject({
      service_status: 'healthy',
      version: '17.6',
      role: 'primary',
    });
    expect(await query(a, 'SELECT one FROM kept')).toEqual([{ one: 1 }]);

    // A demoted primary comes back all the same, on its old version.
    await b.driver.promote(await a.driver.demote({ successor: null }));
    await expect(a.driver.upgrade(target('17.10', b))).rejects.toThrow('back on 17.6');
    expect(await a.driver.health()).toMatchObject({
      service_status: 'healthy',
      version: '17.6',
      role: 'replica',
    });

    // Is not even a program: found out before the server is touched.
    const pid = await postmasterPid(a);
    await writeFile(join(broken, 'bin', 'postgres'), 'not a program');
    await expect(a.driver.preUpgrade(target('17.10', b))).rejects.toThrow(`remove ${broken}`);
    await expect(a.driver.upgrade(target('17.10', b))).rejects.toThrow('do not run');
    expect(await postmasterPid(a)).toBe(pid);
  });
});

describe('version 16', () => {
  it('is upgraded the same way', async () => {
    const nodes = await cluster(1, '16.13');
    const [a, b] = [at(nodes, 0), at(nodes, 1)];
    await query(a, 'CREATE TABLE kept AS SELECT 1 AS one');
    await b.driver.upgrade(target('16.14', a));
    await b.driver.promote(await a.driver.demote({ successor: null }));
    await a.driver.upgrade(target('16.14', b));
    expect(await a.driver.health()).toMatchObject({
      service_status: 'healthy',
      version: '16.14',
      role: 'replica',
    });
    expect(await b.driver.health()).toMatchObject({
      service_status: 'healthy',
      version: '16.14',
      role: 'primary',
    });
    expect(await query(a, 'SELECT one FROM kept')).toEqual([{ one: 1 }]);
  });
});
