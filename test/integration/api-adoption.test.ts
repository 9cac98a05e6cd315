/**
 * Adopting servers over HTTP, what their agents' reports lead to, and letting them go. Real api, Redis and
 * RabbitMQ, a taskmanager's real handlers; the agents are scripted. Not covered: real agents and servers.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AdoptingClusterDocument, createClient } from '../../client/index.ts';
import { guestTopic } from '../../src/bus/bus.ts';
import { joinKeyOf, newAgentKey, newQuestion } from '../../src/bus/joining.ts';
import { sealedProtection } from '../../src/bus/sealed.ts';
import { AdoptingClusterAnswer, AdoptionAnswer } from '../../src/contract/adoption-documents.ts';
import type { AdoptionReport } from '../../src/core/adoption.ts';
import type { Cluster } from '../../src/core/domain.ts';
import { Keyring } from '../../taskmanager/keyring.ts';
import { coffer } from '../support/cli.ts';
import { adoptionReport } from '../unit/core/adopted.ts';
import { ask, type Harness, startApi } from './api-harness.ts';

let api: Harness;
const client = () => createClient({ endpoint: api.url });
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
});
afterAll(() => api.close());

let hosts = 0;
const REFUSAL = {
  code: 'not_superuser',
  reason: 'the login is no superuser',
  way_out: 'use postgres',
} as const;

/** Servers that no other test names. */
function servers(count = 2): { host: string; port: number }[] {
  hosts += 1;
  return Array.from({ length: count }, (_, index) => ({ host: `db-${hosts}-${index + 1}`, port: 5432 }));
}

const adopt = (name: string, instances = servers()) =>
  client().clusters.adopt({ name, datastore: { type: 'postgresql' }, instances });
const held = async ({ id }: { id: string }) => (await api.store.clusters.get(id)) as Cluster;

/** The agents report: the first server is the primary. */
async function report(
  { id }: { id: string },
  {
    version = '17.6',
    system = id.replaceAll(/\D/g, '').slice(0, 12),
    adoption,
  }: { version?: string; system?: string; adoption?: (index: number) => AdoptionReport } = {},
): Promise<void> {
  const { instances } = await held({ id });
  for (const [index, instance] of instances.entries()) {
    const role = index === 0 ? 'primary' : 'replica';
    const found = adoption?.(index) ?? adoptionReport({ role, version, system_identifier: system });
    await api.hear(instance.id, {
      ...{
        service_status: 'healthy',
        version,
        role,
        sent: Date.now(),
        adoption: found,
        agent: 'coffer/test',
      },
      endpoint: instance.address ?? null,
      lag_bytes: index === 0 ? null : 0,
    });
  }
}

async function adopted(name: string, instances = servers()): Promise<AdoptingClusterDocument> {
  const cluster = await adopt(name, instances);
  await report(cluster);
  return cluster;
}

describe('a request to adopt', () => {
  it('stores the servers with their addresses, and answers a token for each host, once', async () => {
    const instances = servers(3);
    const json = { adoption: { name: 'shop', datastore: { type: 'postgresql' }, instances } };
    const { status, body } = await ask(`${api.url}/adoptions`, {
      ...{ method: 'POST', json, headers: { 'idempotency-key': 'adopt-shop' } },
    });
    expect(status).toBe(200);
    expect(AdoptingClusterAnswer.parse(body)).toEqual(body);
    const { cluster } = body as AdoptingClusterAnswer;
    expect(cluster).toMatchObject({
      ...{ adopted: true, datastore: { type: 'postgresql', version: '' } },
      task: { name: 'BUILDING', description: 'Adopting the cluster: its agents join and report.' },
    });
    expect(cluster.instances.map(({ endpoint, version }) => ({ endpoint, version }))).toEqual(
      instances.map((endpoint) => ({ endpoint, version: null })),
    );
    expect(cluster.join_tokens.map(({ endpoint }) => endpoint)).toEqual(instances);
    expect(new Set(cluster.join_tokens.map(({ join_token }) => join_token)).size).toBe(3);
    expect(JSON.stringify(await client().clusters.get('shop'))).not.toContain('join_token');
    const again = await ask(`${api.url}/adoptions`, {
      ...{ method: 'POST', json, headers: { 'idempotency-key': 'adopt-shop' } },
    });
    expect(again.body.cluster.id).toBe(cluster.id);
    expect(api.casts.filter(({ args }) => args['cluster_id'] === cluster.id)).toHaveLength(1);
  });

  it.each([
    ['no servers', { instances: [] }, 400, /instances/],
    [
      'a server twice',
      {
        instances: [
          { host: 'a', port: 1 },
          { host: 'a', port: 1 },
        ],
      },
      400,
      /a server twice/,
    ],
    ['no port', { instances: [{ host: 'a', port: 0 }] }, 400, /port/],
    ['a URL', { instances: [{ host: 'postgres://a', port: 1 }] }, 400, /name or the IPv4 address of a host/],
    ['an unknown datastore', { datastore: { type: 'oracle' } }, 404, /oracle/],
    [
      'a datastore without a driver for that',
      { datastore: { type: 'simulated' } },
      422,
      /coffer cluster-create/,
    ],
    ['ten servers', { instances: servers(10) }, 400, /at most 9/],
  ])('with %s is refused', async (_, change, code, message) => {
    const adoption = { name: 'odd', datastore: { type: 'postgresql' }, instances: servers(), ...change };
    const { status, body } = await ask(`${api.url}/adoptions`, { method: 'POST', json: { adoption } });
    expect(status, JSON.stringify(body)).toBe(code);
    expect(JSON.stringify(body)).toMatch(message);
  });

  it('is refused for a server of another adopted cluster, until that is let go', async () => {
    const instances = servers();
    const [, second] = instances;
    await adopt('first', instances);
    const overlapping = [...servers(1), ...(second ? [second] : [])];
    await expect(adopt('second', overlapping)).rejects.toMatchObject({
      ...{
        status: 409,
        message: expect.stringContaining(`at ${second?.host}:5432 is in another adopted cluster`),
      },
    });
    const other = createClient({ endpoint: `${api.origin}/v1.0/t2` });
    await other.clusters.adopt({ name: 'x', datastore: { type: 'postgresql' }, instances: overlapping });
  });
});

describe('the agents of an adopted cluster', () => {
  const join = async (
    cluster: AdoptingClusterDocument,
    at: number,
    endpoint?: object,
    key = newAgentKey(),
  ) => {
    const { join_token = '', endpoint: own } = cluster.join_tokens[at] ?? {};
    const wish = { cluster_id: cluster.id, sent: Date.now(), endpoint: { ...own, ...endpoint } as never };
    const { question, open } = newQuestion({ join_key: joinKeyOf(join_token), agent_key: key }, wish);
    const answer = await api.bus.call('taskmanager', 'join', { ...question }, { timeout_ms: 10_000 });
    return { answer: answer as { verdict: string; reason: string; sealed: never }, open };
  };

  it('get the instance of their host, and build nothing', async () => {
    const cluster = await adopt('joined');
    const { answer, open } = await join(cluster, 1);
    expect(open(answer.sealed)).toMatchObject({
      ...{ instance_id: cluster.instances[1]?.id, adopted: true, datastore_version: '', role: 'member' },
      ...{ primary: null, endpoint: cluster.join_tokens[1]?.endpoint, rpc_key: expect.any(String) },
    });
    expect((await join(cluster, 1)).answer.reason).toBe(
      'the place of joined-member-2 is taken by another agent',
    );
    expect((await join(cluster, 0)).answer.verdict).toBe('joined');
  });

  it('are told when they have the token of another host, or no token of the cluster', async () => {
    const cluster = await adopt('mixed-up');
    const { answer } = await join(cluster, 0, cluster.join_tokens[1]?.endpoint);
    const [here, there] = cluster.join_tokens.map(({ endpoint }) => `${endpoint.host}:${endpoint.port}`);
    expect(answer.reason).toContain(
      `the join token is of mixed-up-member-1 at ${here}, and this agent says that`,
    );
    expect(answer.reason).toContain(there);
    const forged = {
      ...cluster,
      join_tokens: [{ ...cluster.join_tokens[0], join_token: `${cluster.id}.x` }],
    };
    const refused = await join(forged as AdoptingClusterDocument, 0);
    expect(refused.answer.reason).toContain('the join token fits no cluster');
  });

  it('end the adoption when all have reported; then the cluster has the version of its servers', async () => {
    const cluster = await adopt('reported');
    expect((await client().clusters.get(cluster.id)).problems).toHaveLength(2);
    await report(cluster);
    const settled = await client().clusters.get(cluster.id);
    expect(settled).toMatchObject({ task: { name: 'NONE' }, datastore: { version: '17.6' }, problems: [] });
    expect(settled.upgrades_to).toContain('17.10');
    const plan = await client().clusters.plan(cluster.id, '17.10');
    expect(plan.gates).toEqual([]);
    expect(plan.steps.map(({ instance_name }) => instance_name)).toEqual([
      'reported-member-2',
      'reported-member-1',
      'reported-member-1',
    ]);
  });

  it('keep the cluster from being upgraded by what they refuse: report, plan, problems, health', async () => {
    const cluster = await adopt('refused');
    const adoption = (index: number) =>
      adoptionReport(index === 0 ? { system_identifier: '99' } : null, index === 0 ? [] : [REFUSAL]);
    await report(cluster, { adoption });
    const gate = {
      gate: 'adoption_accepted',
      reason: 'refused-member-2: the login is no superuser: use postgres',
    };
    const shown = await client().clusters.get(cluster.id);
    expect(shown).toMatchObject({ task: { name: 'BUILDING' }, problems: [gate] });
    const { body } = await ask(`${api.url}/clusters/${cluster.id}/adoption`);
    expect(AdoptionAnswer.parse(body)).toEqual(body);
    expect(body.adoption).toMatchObject({ accepted: false, gates: [gate], cluster_name: 'refused' });
    expect(body.adoption.instances[1]).toMatchObject({ server: null, refusals: [REFUSAL] });
    expect(body.adoption.instances[0]).toMatchObject({ server: { system_identifier: '99' }, refusals: [] });
    const plan = await client().clusters.plan(cluster.id, '17.10');
    expect(plan.gates.map(({ gate: name }) => name)).toContain('adoption_accepted');
    const health = await client().health();
    expect(health.guests?.problems).toContainEqual(
      expect.objectContaining({ ...gate, cluster_id: cluster.id }),
    );
    await expect(client().clusters.resetStatus(cluster.id)).rejects.toMatchObject({
      message: expect.stringContaining('coffer cluster-report refused'),
    });

    await report(cluster);
    expect((await client().clusters.get(cluster.id)).task.name, 'nothing is refused any more').toBe('NONE');
    await report(cluster, { adoption });
    await expect(client().clusters.upgrade(cluster.id, '17.10')).rejects.toMatchObject({
      ...{
        code: 'gate_blocked',
        message: expect.stringContaining('blocked by adoption_accepted: refused-member-2'),
      },
    });
  });

  it('of servers that another adopted cluster has are told so, and go on when that is let go', async () => {
    const [mine, other] = [await adopt('owner'), await adopt('claimant')];
    await report(mine, { system: '4242' });
    await report(other, { system: '4242' });
    expect((await client().clusters.get(other.id)).problems[0]?.reason).toContain(
      'its data (system identifier 4242) belongs to another adopted cluster: release that one first',
    );
    await api.store.provisioning.beginDelete(mine.id, castOf(mine.id), Date.now());
    await api.store.provisioning.remove(mine.id);
    await report(other, { system: '4242' });
    expect(await client().clusters.get(other.id)).toMatchObject({ task: { name: 'NONE' }, problems: [] });
  });

  it('have the record follow when all servers run another version, as after an upgrade by hand', async () => {
    const cluster = await adopted('by-hand');
    await report(cluster, { version: '17.10' });
    expect((await client().clusters.get(cluster.id)).datastore.version).toBe('17.10');
    await report(cluster, { version: '17.11' });
    expect(await client().clusters.get(cluster.id)).toMatchObject({
      datastore: { version: '17.10' },
      problems: [{ reason: expect.stringContaining('the catalogue has no version 17.11, which runs here') }],
    });
  });
});

const castOf = (cluster_id: string) => ({
  ...{ id: `${cluster_id}:x`, topic: 'taskmanager', method: 'delete_cluster', args: { cluster_id } },
  ...{ request_id: 'req-1', tenant_id: 't1' },
});

/** Agents that answer `release`, each as often as it is asked; false: with an error. */
async function serve(cluster: { id: string }, answers: readonly boolean[]) {
  const keyring = new Keyring({ store: api.store, master: api.masterKey, now: Date.now });
  const asked: string[] = [];
  const { instances } = await held(cluster);
  const served = instances.map(async ({ id }, index) => {
    const secret = (await keyring.secretOf(id)) ?? '';
    const protection = sealedProtection({ instance_id: id, secret, now: Date.now });
    return api.bus.serve({
      ...{ topic: guestTopic(id), server: id, queue: 'own', prefetch: 1, guard: async () => protection },
      handler: async ({ method }) => {
        asked.push(`${method} ${index}`);
        if (!answers[index]) throw new Error('the server is away');
        return { released: true };
      },
    });
  });
  const all = await Promise.all(served);
  return { asked, stop: () => Promise.all(all.map((one) => one.stop())) };
}

describe('letting go', () => {
  const cast = async (cluster: { id: string }) => {
    const find = () => api.casts.findLast(({ args }) => args['cluster_id'] === cluster.id);
    await expect.poll(() => find()?.method).toBe('release_cluster');
    return find();
  };

  it('asks every agent to take back what was set, and then removes the record', async () => {
    const cluster = await adopted('let-go');
    const agents = await serve(cluster, [true, true]);
    const releasing = await client().clusters.release(cluster.id);
    expect(releasing.task).toMatchObject({
      ...{ name: 'DELETING', description: 'Releasing the cluster: its servers go on.' },
    });
    const said = await cast(cluster);
    if (said) await api.taskmanager()(said);
    await agents.stop();
    expect(agents.asked.toSorted()).toEqual(['release 0', 'release 1']);
    await client().clusters.waitUntilGone(cluster.id, { signal: AbortSignal.timeout(5_000) });
    await adopt(
      'again',
      cluster.join_tokens.map(({ endpoint }) => endpoint),
    );
  });

  it('waits for an agent that fails, and goes without it by force', async () => {
    const cluster = await adopted('forced');
    const agents = await serve(cluster, [true, false]);
    await client().clusters.release(cluster.id);
    await client().clusters.release(cluster.id, { force: true });
    const said = await cast(cluster);
    expect(said?.args).toMatchObject({ force: true });
    if (said) await api.taskmanager()(said);
    await agents.stop();
    expect(agents.asked).toContain('release 1');
    expect(await api.store.clusters.get(cluster.id)).toBeNull();
  });

  it('is refused while an agent is away, with the way out', async () => {
    const cluster = await adopted('silent');
    const [, second] = (await held(cluster)).instances;
    await api.store.clusters.heartbeat(
      second?.id ?? '',
      { service_status: 'healthy', version: '17.6', agent: 'coffer/test', sent: Date.now() },
      Date.now() - 60_000,
    );
    await expect(client().clusters.release(cluster.id)).rejects.toMatchObject({
      ...{
        code: 'action_refused',
        message: expect.stringMatching(/silent-member-2 .*cluster-release silent --force/),
      },
    });
    expect((await held(cluster)).task).toBe('NONE');
  });

  it('is the only way out: an adopted cluster is not deleted, grown or shrunk, and a built one not released', async () => {
    const cluster = await adopted('kept');
    const refusals = [
      client().clusters.delete(cluster.id),
      client().clusters.grow(cluster.id, [{}]),
      client().clusters.shrink(cluster.id, ['kept-member-2']),
    ];
    for (const refused of refusals) {
      await expect(refused).rejects.toMatchObject({
        ...{ code: 'action_refused', message: expect.stringContaining('coffer cluster-release kept') },
      });
    }
    const built = await client().clusters.create({
      ...{ name: `built-${randomUUID().slice(0, 4)}`, datastore: { type: 'simulated' }, instances: [{}] },
    });
    await expect(client().clusters.release(built.id)).rejects.toMatchObject({
      message: expect.stringContaining('coffer cluster-delete'),
    });
    await expect(client().clusters.adoption(built.id)).rejects.toMatchObject({ code: 'action_refused' });
  });
});

describe('on the command line', () => {
  const here = (args: string) => coffer(`${args} --endpoint ${api.origin} --tenant t1`);

  it('a cluster is adopted, reported on and let go', async () => {
    const [one, two] = servers().map(({ host, port }) => `${host}:${port}`);
    const adopting = await here(`cluster-adopt typed postgresql --instance ${one} --instance ${two}`);
    expect(adopting.code, adopting.stderr).toBe(0);
    expect(adopting.stdout).toContain('not known yet');
    for (const place of [one, two]) expect(adopting.stderr).toContain(`COFFER_ADVERTISE=${place}`);
    const tokens = adopting.stderr.match(/COFFER_JOIN_TOKEN=\S+/g) ?? [];
    expect(new Set(tokens).size).toBe(2);
    const waits = JSON.parse((await here('cluster-report typed --json')).stdout);
    expect(waits.adoption).toMatchObject({ accepted: false, instances: [{ host: null }, { host: null }] });
    const [id = ''] = await api.store.clusters.find('t1', 'typed');
    await report({ id });
    const text = await here('cluster-report typed');
    expect(text.stdout).toContain('Cluster typed can be upgraded: every agent has reported');
    const refused = await here('cluster-delete typed');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('coffer cluster-release typed');
    expect((await here('cluster-release typed')).stdout).toBe('Cluster typed is being released.\n');
  });

  it.each([
    ['cluster-adopt typed postgresql', /--instance is missing/],
    ['cluster-adopt typed postgresql --instance db-1', /It must be host:port/],
    ['cluster-adopt typed postgresql --instance db-1:99999', /a port from 1 to 65535/],
  ])('%s is refused', async (line, message) => {
    const { code, stderr } = await here(line);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(message);
  });
});
