/** Real servers that Coffer did not make: reported on, upgraded, rolled back, switched over, let go. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Health } from '../../guestagent/driver.ts';
import {
  type Adopted,
  agentOf,
  configurationOf,
  debianCluster,
  MISSING,
  pidOf,
  psql,
  reopen,
  useDebian,
  versions,
} from './postgresql-debian.ts';
import { at, until, Writer } from './postgresql-nodes.ts';

useDebian();

const SERVERS_MS = 300_000;
const { from, to } = versions();
const target = (datastore_version: string) => ({ datastore_version, primary: null, info: {} });

/** A loaded machine may take longer for a login than a heartbeat waits. */
async function healthy({ driver }: Adopted): Promise<Health> {
  let health = await driver.health();
  await until('it answers', async () => {
    health = await driver.health();
    return health.service_status === 'healthy';
  });
  return health;
}

/** What the core tells a primary of its successor. */
async function streamNameOf(agent: Adopted): Promise<string> {
  return (await healthy(agent)).adoption?.server?.streams_as ?? '';
}

async function slotsOf({ server }: Adopted): Promise<string> {
  return await psql(server, "SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots");
}

describe.skipIf(MISSING !== null)(
  `adopted servers of Debian (${MISSING ?? 'here'})`,
  { timeout: SERVERS_MS },
  () => {
    it('are reported on by questions only', async () => {
      const servers = await debianCluster(1);
      const [primary, standby] = [at(servers, 0), at(servers, 1)];
      const before = await Promise.all(
        servers.map(async (server) => [await configurationOf(server), await pidOf(server)]),
      );
      const agents = await Promise.all(servers.map((server) => agentOf(server)));
      for (const { driver } of agents) await driver.start();
      const [ofPrimary, ofStandby] = await Promise.all(agents.map(healthy));
      expect(ofPrimary).toMatchObject({ service_status: 'healthy', version: from, role: 'primary' });
      expect(ofStandby).toMatchObject({
        service_status: 'healthy',
        version: from,
        role: 'replica',
        upstream: primary.endpoint,
      });
      expect(ofPrimary?.adoption).toMatchObject({
        refusals: [],
        host: { control: `pg_ctlcluster 15 ${primary.name}` },
        server: {
          ...{ streams_as: primary.name },
          ...{ version: from, role: 'primary', data_checksums: true, port: primary.endpoint.port },
          ...{ data_directory: primary.data, socket_directories: [primary.sockets] },
          preload_libraries: ['pg_stat_statements'],
        },
      });
      const adopted = ofStandby?.adoption?.server;
      expect(adopted?.system_identifier).toBe(ofPrimary?.adoption?.server?.system_identifier);
      const conninfo = adopted?.settings.find(({ name }) => name === 'primary_conninfo');
      expect(conninfo?.value).toContain('application_name=standby0');
      expect(conninfo?.source).toContain(join(standby.data, 'postgresql.auto.conf'));
      expect(adopted?.settings.find(({ name }) => name === 'shared_preload_libraries')?.source).toContain(
        'conf.d/site.conf:2',
      );
      for (const { driver } of agents) await driver.destroy();
      const after = await Promise.all(
        servers.map(async (server) => [await configurationOf(server), await pidOf(server)]),
      );
      expect(after).toEqual(before);
      for (const { stateDir } of agents) await expect(access(stateDir)).rejects.toThrow('ENOENT');
    });

    it('go to another minor release and back, with the configuration of their operator', async () => {
      const [server] = await debianCluster(0);
      if (server === undefined) throw new Error('no server');
      const before = await configurationOf(server);
      let agent = await agentOf(server);
      await agent.driver.start();
      for (const version of [to, from]) {
        await agent.driver.preUpgrade(target(version));
        await agent.driver.upgrade(target(version));
        await agent.driver.postUpgrade(target(version));
        expect(await psql(server, 'SHOW server_version')).toContain(version);
        expect(await psql(server, 'SHOW work_mem')).toBe('5MB');
        agent = reopen(agent);
        await agent.driver.start();
        expect(await healthy(agent)).toMatchObject({ version });
      }
      await agent.driver.destroy();
      expect(await configurationOf(server)).toEqual(before);
    });

    it('hand over to a standby and take the primary back, which leaves no trace', async () => {
      const servers = await debianCluster(2, 'with slots');
      await psql(
        at(servers, 0),
        "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby0, standby1)'",
      );
      await psql(at(servers, 0), 'SELECT pg_reload_conf()');
      const before = await Promise.all(servers.map(configurationOf));
      const agents = await Promise.all(servers.map((server) => agentOf(server)));
      for (const { driver } of agents) await driver.start();
      const [a, b, c] = [at(agents, 0), at(agents, 1), at(agents, 2)];
      for (const [old, next] of [
        [a, b],
        [b, a],
      ] as const) {
        const passed = await old.driver.demote({ successor: await streamNameOf(next) });
        await next.driver.promote(passed);
        for (const other of [c, old]) await other.driver.follow({ primary: next.server.endpoint });
        await psql(next.server, `INSERT INTO writes VALUES (${next === b ? 1 : 2})`, 'shop');
        for (const other of [c, old]) {
          const count = async () => await psql(other.server, 'SELECT max(id) FROM writes', 'shop');
          await until('the write arrives', async () => (await count()) === (next === b ? '1' : '2'));
          expect(await healthy(other)).toMatchObject({
            role: 'replica',
            upstream: next.server.endpoint,
          });
        }
        expect(await healthy(next)).toMatchObject({ role: 'primary' });
        await until('the new primary waits for a standby', async () => {
          await next.driver.health();
          const names = await psql(next.server, 'SHOW synchronous_standby_names');
          return names.includes(`"${next === b ? a.server.name : 'standby0'}"`);
        });
        if (next === b) expect([await slotsOf(a), await slotsOf(b)]).toEqual(['', 'slot_1']);
      }
      expect(await slotsOf(a)).toBe('slot_0,slot_1');
      expect(await slotsOf(b)).toBe('');
      for (const { driver } of agents) await driver.destroy();
      // Switched over twice: a is the primary again, and b follows a as it did at first.
      expect(await Promise.all(servers.map(configurationOf))).toEqual(before);
    });

    it('keep waiting for a standby when they are let go after a switchover, and show that before', async () => {
      const servers = await debianCluster(1);
      await psql(at(servers, 0), "ALTER SYSTEM SET synchronous_standby_names = 'standby0'");
      await psql(at(servers, 0), 'SELECT pg_reload_conf()');
      const agents = await Promise.all(servers.map((server) => agentOf(server)));
      for (const { driver } of agents) await driver.start();
      const [a, b] = [at(agents, 0), at(agents, 1)];
      const [ofPrimary, ofStandby] = await Promise.all([a, b].map(healthy));
      expect(ofPrimary?.adoption?.changes.map(({ what }) => what)).toContainEqual(
        expect.stringMatching(/^in a switchover: synchronous_standby_names passes to the new primary/),
      );
      expect(JSON.stringify(ofStandby?.adoption?.changes)).not.toContain('synchronous_standby_names');
      await b.driver.promote(await a.driver.demote({ successor: await streamNameOf(b) }));
      await a.driver.follow({ primary: b.server.endpoint });
      const names = async ({ server }: Adopted) => await psql(server, 'SHOW synchronous_standby_names');
      await until('the new primary waits for the old one', async () => {
        await b.driver.health();
        return (await names(b)) === `"${a.server.name}"`;
      });
      for (const { driver } of agents) await driver.destroy();
      expect([await names(a), await names(b)]).toEqual(['standby0', `"${a.server.name}"`]);
    });

    it('are upgraded, rolled back and let go while an application writes, which loses nothing', async () => {
      const servers = await debianCluster(2);
      const before = await Promise.all(servers.map(configurationOf));
      const agents = await Promise.all(servers.map((server) => agentOf(server)));
      for (const { driver } of agents) await driver.start();
      const [a, b, c] = [at(agents, 0), at(agents, 1), at(agents, 2)];
      const writer = new Writer(servers.map(({ endpoint }) => endpoint));
      /** As the plan has it: the replicas, a switchover, the old primary last. */
      const upgradeTo = async (version: string, primary: Adopted, successor: Adopted) => {
        const { endpoint } = successor.server;
        for (const { driver } of [c, successor]) {
          await driver.preUpgrade(target(version));
          await driver.upgrade({ ...target(version), primary: primary.server.endpoint });
        }
        await successor.driver.promote(
          await primary.driver.demote({ successor: await streamNameOf(successor) }),
        );
        await c.driver.follow({ primary: endpoint });
        await primary.driver.upgrade({ ...target(version), primary: endpoint });
        for (const each of agents) expect(await healthy(each)).toMatchObject({ version });
      };
      await upgradeTo(to, a, b);
      await upgradeTo(from, b, a);
      await writer.stop();
      process.stdout.write(`longest gap between writes: ${Math.round(writer.longestGapMs)} ms\n`);
      const kept = new Set((await psql(a.server, 'SELECT id FROM writes', 'shop')).split('\n').map(Number));
      expect(writer.acknowledged.length).toBeGreaterThan(100);
      expect(writer.acknowledged.filter((id) => !kept.has(id))).toEqual([]);
      for (const { driver } of agents) await driver.destroy();
      expect(await Promise.all(servers.map(configurationOf))).toEqual(before);
    });
  },
);
