/** What can be wrong on the host of a server that Coffer did not make. The server serves on, whatever it is. */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PermanentError } from '../../guestagent/driver.ts';
import { HostBinaries } from '../../guestagent/drivers/postgresql/adopted/host-binaries.ts';
import { readHostFile } from '../../guestagent/drivers/postgresql/adopted/host-file.ts';
import { HostStarter } from '../../guestagent/drivers/postgresql/adopted/host-starter.ts';
import {
  type Adopted,
  agentOf,
  binOf,
  createCluster,
  type DebianServer,
  debianCluster,
  hostFile,
  MISSING,
  pidOf,
  psql,
  reopen,
  rootFolder,
  startServer,
  stopServer,
  useDebian,
  versions,
} from './postgresql-debian.ts';
import { silent, USER, until } from './postgresql-nodes.ts';

useDebian('for all tests');

const SERVERS_MS = 300_000;
const { from, to } = versions();
const target = (datastore_version: string) => ({ datastore_version, primary: null, info: {} });

let server: DebianServer;

async function adopted(changes: object = {}): Promise<Adopted> {
  const agent = await agentOf(server, changes);
  await agent.driver.start();
  return agent;
}

/** The codes of the refusals that heartbeats carry, whether or not the server could be adopted. */
async function refusalsOf({ driver }: Adopted): Promise<readonly string[]> {
  let codes: readonly string[] = [];
  await until('it is reported', async () => {
    const { adoption } = await driver.health();
    codes = adoption?.refusals.map(({ code }) => code) ?? [];
    return adoption !== undefined;
  });
  return codes;
}

async function script(name: string, ...lines: readonly string[]): Promise<string> {
  const path = join(rootFolder(), name);
  await writeFile(path, ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 });
  return path;
}

/** The processes with such a command line; the marks of tests are unique. */
function processesWith(mark: string): string {
  return execFileSync('/bin/sh', ['-c', `ps ax -o args= | grep -F '${mark}' | grep -v grep || true`], {
    encoding: 'utf8',
  });
}

/** Start and stop as an operator writes them, for either release. */
async function commands(forNewVersion: readonly string[]) {
  const start = await script(
    'start',
    `if [ "$COFFER_DATASTORE_VERSION" = ${to} ]; then`,
    ...forNewVersion,
    'fi',
    `exec pg_ctlcluster --bindir "$COFFER_BINDIR" 15 ${server.name} start`,
  );
  const stop = await script('stop', `exec pg_ctlcluster 15 ${server.name} stop -m fast`);
  return { control: { start: [start], stop: [stop], timeout_seconds: 3 } };
}

describe.skipIf(MISSING !== null)(
  `a host with faults (${MISSING ?? 'here'})`,
  { timeout: SERVERS_MS },
  () => {
    beforeAll(async () => {
      const [first] = await debianCluster(0);
      if (first === undefined) throw new Error('no server');
      server = first;
    }, SERVERS_MS);

    afterEach(async () => {
      expect(await psql(server, 'SHOW server_version')).toContain(from);
    });

    it('reports a login that the server refuses, and a user that is no superuser', async () => {
      const before = await pidOf(server);
      const stranger = await agentOf(server, { login: { user: 'nobody', host: server.sockets } });
      await expect(stranger.driver.start()).rejects.toThrow("can't log in as nobody");
      expect(await refusalsOf(stranger)).toEqual(['login_refused']);
      const password_file = join(rootFolder(), 'app-password');
      await writeFile(password_file, `${USER.password}\n`, { mode: 0o600 });
      const login = { user: 'app', host: '127.0.0.1', password_file };
      const app = await agentOf(server, { login });
      await expect(app.driver.start()).rejects.toThrow('app is not a superuser');
      expect(await refusalsOf(app)).toEqual(['not_superuser']);
      expect(await pidOf(server)).toBe(before);
    });

    it('refuses the data directory of another cluster', async () => {
      const other = await createCluster();
      const wrong = await agentOf(server, { data_directory: other.data });
      await expect(wrong.driver.start()).rejects.toThrow(`no server runs on ${other.data}`);
      expect(await refusalsOf(wrong)).toEqual(['not_running']);
      const agent = await adopted();
      const next = reopen(agent, await hostFile(server, { data_directory: other.data }));
      await next.driver.start();
      expect((await next.driver.health()).service_status).toBe('failed');
      expect(await refusalsOf(next)).toEqual(['other_cluster']);
      await expect(next.driver.preUpgrade(target(to))).rejects.toThrow('belongs to the cluster');
    });

    it('refuses binaries of another version or release, and libraries that are missing, before anything stops', async () => {
      const before = await pidOf(server);
      const swapped = await adopted({ versions: { [from]: binOf(from), [to]: binOf(from) } });
      await expect(swapped.driver.preUpgrade(target(to))).rejects.toThrow(
        `holds PostgreSQL ${from}, and not ${to}`,
      );
      await expect(swapped.driver.preUpgrade(target('15.999'))).rejects.toThrow(
        'names no binaries of PostgreSQL 15.999',
      );
      await expect(swapped.driver.preUpgrade(target('17.10'))).rejects.toThrow(PermanentError);
      const lacking = join(rootFolder(), 'lacking');
      await cp(join(binOf(to), '../../../../..'), lacking, { recursive: true, verbatimSymlinks: true });
      const bin = join(lacking, 'usr/lib/postgresql/15/bin');
      await rm(join(bin, '../lib/pg_stat_statements.so'));
      const agent = await adopted({ versions: { [from]: binOf(from), [to]: bin } });
      await expect(agent.driver.preUpgrade(target(to))).rejects.toThrow(
        'shared_preload_libraries names pg_stat_statements',
      );
      expect(await pidOf(server)).toBe(before);
    });

    it('reports a server whose present version has no binaries', async () => {
      const agent = await adopted({ versions: { [to]: binOf(to) } });
      expect(await refusalsOf(agent)).toEqual(['version_unknown']);
      await expect(agent.driver.upgrade(target(to))).rejects.toThrow(PermanentError);
    });

    it('goes back if the start command hangs, with its children ended', async () => {
      const mark = '86399.5';
      const agent = await adopted(await commands([`sleep ${mark} & sleep ${mark}`]));
      const error = await agent.driver.upgrade(target(to)).catch(String);
      expect(error).toContain('was ended after its 3 s');
      expect(error).toContain(`the server is back on ${from}`);
      expect(processesWith(mark)).toBe('');
    });

    it('goes back if the start command fails, and shows the end of what it wrote', async () => {
      const noise = 'yes "a line of noise" | head -c 5000000; echo "the disk is on fire"; exit 3';
      const agent = await adopted(await commands([noise]));
      const error = String(await agent.driver.upgrade(target(to)).catch(String));
      expect(error).toContain('ended with exit code 3');
      expect(error).toContain('the disk is on fire');
      expect(error).toContain(`the server is back on ${from}`);
      expect(error.length).toBeLessThan(2_000);
    });

    it('waits for the end of a server that has removed its pid file, also behind a symbolic link', async () => {
      const data_directory = join(rootFolder(), 'data-link');
      await symlink(server.data, data_directory);
      const idle = await script('idle', 'exit 0');
      const control = { start: [idle], stop: [idle] };
      const host = readHostFile(await hostFile(server, { data_directory, control }));
      const starter = new HostStarter(host, new HostBinaries(host, null), null, silent);
      const pid = await pidOf(server);
      expect(await starter.launchedPid()).toBeNull();
      await starter.beginStop(pid);
      const pidFile = join(server.data, 'postmaster.pid');
      await rename(pidFile, `${pidFile}.kept`);
      try {
        expect(await starter.isRunning()).toBe(false);
        expect(await starter.launchedPid()).toBe(pid);
      } finally {
        await rename(`${pidFile}.kept`, pidFile);
      }
      await stopServer(server);
      await until('the server has ended', async () => (await starter.launchedPid()) === null);
      await startServer(server);
      const { driver } = await adopted({ data_directory });
      await driver.upgrade(target(to));
      await driver.upgrade(target(from));
    });

    it('does not start a server that its operator has stopped, and notices when he starts it', async () => {
      const agent = await adopted();
      await stopServer(server);
      const health = await agent.driver.health();
      expect(health).toMatchObject({ service_status: 'failed', version: null });
      expect(health.message).toContain('does not start it');
      const next = reopen(agent);
      await next.driver.start();
      expect((await next.driver.health()).service_status).toBe('failed');
      await expect(readFile(join(server.data, 'postmaster.pid'))).rejects.toThrow('ENOENT');
      await startServer(server);
      await until('it is healthy', async () => (await next.driver.health()).service_status === 'healthy');
      await next.driver.upgrade(target(to));
      await next.driver.upgrade(target(from));
    });
  },
);

describe.skipIf(MISSING !== null)(`packages in place (${MISSING ?? 'here'})`, { timeout: SERVERS_MS }, () => {
  /** What a package manager does, with a link: it fetches, and replaces the only folder of binaries. */
  async function packages(forNewVersion: readonly string[] = []) {
    const current = join(rootFolder(), 'current');
    const folder = dirname(join(binOf(from), '../../../../..', 'x'));
    const link = (version: string) => join(dirname(folder), version);
    await rm(current, { force: true });
    await symlink(link(from), current);
    const fetched = join(rootFolder(), 'fetched');
    await mkdir(fetched, { recursive: true });
    const fetch = await script('fetch', `touch ${fetched}/$COFFER_DATASTORE_VERSION`);
    const install = await script(
      'install',
      `[ -f ${fetched}/$COFFER_DATASTORE_VERSION ] || exit 1`,
      `if [ "$COFFER_DATASTORE_VERSION" = ${to} ]; then`,
      ':',
      ...forNewVersion,
      'fi',
      `ln -sfn ${dirname(folder)}/$COFFER_DATASTORE_VERSION ${current}`,
    );
    const bindir = join(current, 'usr/lib/postgresql/15/bin');
    return {
      versions: undefined,
      packages: { bindir, fetch: [fetch], install: [install], timeout_seconds: 20 },
    };
  }

  it('are fetched while the server serves, and installed while it is down; the way back is the same', async () => {
    const agent = await adopted(await packages());
    const before = await pidOf(server);
    await agent.driver.preUpgrade(target(to));
    expect(await pidOf(server)).toBe(before);
    await agent.driver.upgrade(target(to));
    expect(await psql(server, 'SHOW server_version')).toContain(to);
    await agent.driver.postUpgrade(target(to));
    await agent.driver.upgrade(target(from));
    expect(await psql(server, 'SHOW server_version')).toContain(from);
  });

  it('are put back if the installation ends half done', async () => {
    const broken = join(rootFolder(), 'half');
    await mkdir(join(broken, 'usr/lib/postgresql/15/bin'), { recursive: true });
    const half = [
      `ln -sfn ${broken} ${join(rootFolder(), 'current')}`,
      'echo "dpkg was interrupted"',
      'exit 1',
    ];
    const agent = await adopted(await packages(half));
    const error = String(await agent.driver.upgrade(target(to)).catch(String));
    expect(error).toContain('dpkg was interrupted');
    expect(error).toContain(`the server is back on ${from}`);
    expect(await psql(server, 'SHOW server_version')).toContain(from);
  });
});
