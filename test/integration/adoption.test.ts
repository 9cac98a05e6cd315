/**
 * Servers that Debian's own tools have made, adopted by real agents over the whole stack: reported on, upgraded
 * while a client writes, rolled back, changed from outside, and let go. Not covered: what one agent does with one
 * server (postgresql-adopted.test.ts).
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AdoptingClusterDocument, type CofferClient, createClient } from '../../client/index.ts';
import { coffer } from '../support/cli.ts';
import { newHome, RunningAgent, RunningStack, removeHome, until } from '../support/stack.ts';
import {
  clientOf,
  configurationOf,
  type DebianServer,
  debianCluster,
  hostFile,
  MISSING,
  psql,
  rootFolder,
  standbyOf,
  useDebian,
  versions,
} from './postgresql-debian.ts';

const PATIENCE_MS = 600_000;
const { from, to } = versions();

useDebian('for all tests');

describe.skipIf(MISSING !== null)(
  `an adopted cluster (${MISSING ?? 'here'})`,
  { timeout: PATIENCE_MS },
  () => {
    let home: string;
    let stack: RunningStack;
    let client: CofferClient;
    let api_url: string;
    let amqp_url: string;
    let servers: readonly DebianServer[];
    let before: readonly Readonly<Record<string, string>>[];
    let adopting: AdoptingClusterDocument;
    const agents: RunningAgent[] = [];

    beforeAll(async () => {
      const direct = await debianCluster(2);
      servers = [...direct, await standbyOf(direct[1] as DebianServer, 'fed')];
      before = await Promise.all(servers.map(configurationOf));
      home = await newHome();
      stack = await RunningStack.start(home);
      ({ api_url, amqp_url } = await stack.file());
      client = createClient({ endpoint: `${api_url}/v1.0/demo` });
    }, PATIENCE_MS);
    afterAll(async () => {
      await Promise.all(agents.map((agent) => agent.end('SIGTERM')));
      await stack?.stop();
      await removeHome(home);
    }, PATIENCE_MS);

    const here = (args: string) => coffer(`${args} --endpoint ${api_url} --tenant demo`);
    const shown = () => client.clusters.get(adopting.id);
    const signal = () => AbortSignal.timeout(PATIENCE_MS / 2);

    async function startAgent(index: number, changes: object = {}): Promise<RunningAgent> {
      const server = servers[index] as DebianServer;
      const { join_token = '' } = adopting.join_tokens[index] ?? {};
      const agent = new RunningAgent({
        COFFER_JOIN_TOKEN: join_token,
        COFFER_ADVERTISE: `127.0.0.1:${server.endpoint.port}`,
        COFFER_POSTGRESQL_HOST: await hostFile(server, changes),
        COFFER_GUEST_DIR: join(rootFolder(), `agent-${index}`),
        COFFER_CACHE_DIR: join(home, 'cache'),
        COFFER_AMQP_URL: amqp_url,
        COFFER_HEARTBEAT_MS: '200',
      });
      agents[index] = agent;
      return agent;
    }

    async function add(version: string): Promise<void> {
      const { code, stderr } = await here(
        `datastore-version-create ${version} postgresql postgresql --active`,
      );
      expect(code, stderr).toBe(0);
    }

    /** Writes rows one by one through whichever server takes writes; answers the acknowledged ones. */
    function startWriting() {
      const acknowledged: number[] = [];
      let isEnded = false;
      const work = async () => {
        for (let id = 1; !isEnded; id++) {
          for (const server of servers) {
            const connection = clientOf(server);
            try {
              await connection.connect();
              await connection.query('INSERT INTO writes VALUES ($1)', [id]);
              acknowledged.push(id);
              break;
            } catch {
              // A standby, or a server that is down: the next one is asked.
            } finally {
              await connection.end().catch(() => undefined);
            }
          }
        }
      };
      const working = work();
      return {
        acknowledged,
        stop: async () => {
          isEnded = true;
          await working;
        },
      };
    }

    it('is reported on before anything is touched, and waits for what its agents refuse', async () => {
      const instances = servers.map(({ endpoint }) => endpoint);
      adopting = await client.clusters.adopt({ name: 'shop', datastore: { type: 'postgresql' }, instances });
      // The agent of the primary cannot make its server follow another one.
      await startAgent(0, { replication: undefined });
      await startAgent(1);
      await startAgent(2);
      await startAgent(3);
      await until('all agents have reported', async () => {
        const report = await client.clusters.adoption(adopting.id);
        return report.instances.every(({ server }) => server !== null);
      });
      const report = await client.clusters.adoption(adopting.id);
      expect(report.instances.map(({ server }) => server?.role)).toEqual([
        'primary',
        'replica',
        'replica',
        'replica',
      ]);
      expect(report.instances[3]?.server?.upstream, 'one replica feeds another').toEqual(
        servers[1]?.endpoint,
      );
      expect(report.instances[0]?.refusals.map(({ code }) => code)).toEqual(['replication_login_missing']);
      const reasons = report.gates.map(({ reason }) => reason);
      expect(reasons).toContainEqual(expect.stringContaining('shop-member-1: '));
      expect(reasons).toContainEqual(
        expect.stringContaining(`coffer datastore-version-create ${from} postgresql postgresql --active`),
      );
      expect((await shown()).task.name).toBe('BUILDING');

      await add(from);
      await agents[0]?.end('SIGTERM');
      await startAgent(0);
      const adopted = await client.clusters.waitFor(adopting.id, { intervalMs: 100, signal: signal() });
      expect(adopted).toMatchObject({ adopted: true, datastore: { version: from }, problems: [] });
      expect(adopted.instances.map(({ version }) => version)).toEqual([from, from, from, from]);
      expect(await Promise.all(servers.map(configurationOf)), 'nothing was touched').toEqual(before);
    });

    it('is upgraded without a lost write, and rolled back', async () => {
      await add(to);
      const writing = startWriting();
      await until('the client writes', async () => writing.acknowledged.length > 20);
      const { upgrade_id } = await client.clusters.upgrade(adopting.id, to);
      const upgrade = await client.upgrades.waitFor(upgrade_id, { until: 'settled', signal: signal() });
      expect(upgrade, upgrade.message ?? '').toMatchObject({
        state: 'succeeded',
        progress: { done: 5, total: 5 },
      });
      const written = writing.acknowledged.length;
      await until('the client writes again', async () => writing.acknowledged.length > written + 5);
      await writing.stop();
      const after = await shown();
      expect(after.datastore.version).toBe(to);
      expect(after.instances.map(({ version }) => version)).toEqual([to, to, to, to]);
      const at = after.instances.findIndex(({ role }) => role === 'primary');
      expect([1, 2], 'a replica of the primary has taken over').toContain(at);
      const fed = (await client.clusters.adoption(adopting.id)).instances[3];
      expect(fed?.server?.upstream, 'it stays where it is').toEqual(servers[1]?.endpoint);
      const rows = await psql(servers[at] as DebianServer, 'SELECT id FROM writes ORDER BY id', 'shop');
      const found = new Set(rows.split('\n').map(Number));
      expect(writing.acknowledged.filter((id) => !found.has(id))).toEqual([]);

      await client.upgrades.rollback(upgrade_id);
      await client.clusters.waitFor(adopting.id, { intervalMs: 100, signal: signal() });
      expect((await shown()).instances.map(({ version }) => version)).toEqual([from, from, from, from]);
    });

    it('is let go: the servers go on, the record and all that was set are gone', async () => {
      const primaries = (await shown()).instances.map(({ role }) => role);
      await expect(client.clusters.delete(adopting.id)).rejects.toMatchObject({ code: 'action_refused' });
      const { code, stderr } = await here('cluster-release shop --wait');
      expect(code, stderr).toBe(0);
      await expect(shown()).rejects.toMatchObject({ code: 'cluster_not_found' });
      await Promise.all(agents.splice(0).map((agent) => agent.end('SIGTERM')));
      for (const index of servers.keys()) await rm(join(rootFolder(), `agent-${index}`), { recursive: true });
      const [writer] = servers.filter((_, index) => primaries[index] === 'primary');
      await psql(writer as DebianServer, 'INSERT INTO writes VALUES (1000000)', 'shop');
      for (const server of servers) {
        await until(
          'the row arrives',
          async () => (await psql(server, 'SELECT count(*) FROM writes WHERE id = 1000000', 'shop')) === '1',
        );
      }
    });
  },
);
