/** What programs with a person in front of them ask for: what may be done, where a cluster can go, how all parts are. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Authenticate } from '../../api/access/caller.ts';
import { DEFAULT_RULES } from '../../api/access/rules.ts';
import { createClient } from '../../client/index.ts';
import { ask, beginUpgrade, buildCluster, type Harness, startApi } from './api-harness.ts';

/** Their token is their role. */
const authenticate: Authenticate = async ({ headers }) => {
  const role = String(headers['x-auth-token']);
  const credentials = { user_id: role, project_id: 't1', roles: [role] };
  return { user: role, project_id: 't1', credentials, is_confined: false };
};

describe('what is asked for on behalf of a person', () => {
  let api: Harness;
  let cluster: string;
  const as = (token: string) => createClient({ endpoint: api.url, token });

  beforeAll(async () => {
    api = await startApi({ authenticate });
    cluster = await buildCluster(api, 'shop', 't1', { 'x-auth-token': 'member' });
  });
  afterAll(() => api.close());

  it('says who the caller is, and which rules allow them something', async () => {
    const member = await as('member').permissions();
    expect(member).toMatchObject({ user: 'member', project_id: 't1', is_admin: false });
    expect(member.rules).toEqual(expect.arrayContaining(['cluster:create', 'upgrade:rollback']));
    expect(member.rules).not.toContain('dead-letter:index');
    expect(member.rules).not.toContain('gate:override');
    const admin = await as('admin').permissions();
    expect(admin.is_admin).toBe(true);
    expect(admin.rules).toEqual(Object.keys(DEFAULT_RULES));
  });

  it('has no tenant for whoever is not asked who they are', async () => {
    const open = await startApi();
    const { body } = await ask(`${open.origin}/v1.0/identity`);
    expect(body).toEqual({ identity: { user: null, project_id: null } });
    await open.close();
  });

  it('says with each cluster which versions it can be upgraded to', async () => {
    const client = as('member');
    expect((await client.clusters.get(cluster)).upgrades_to).toEqual(['1.1', '2.0']);
    for await (const each of client.clusters.list()) expect(each.upgrades_to).toEqual(['1.1', '2.0']);
    const versions = await as('admin').datastores.managedVersions();
    const newest = versions.find(({ name }) => name === '2.0');
    await as('admin').datastores.changeVersion(newest?.id ?? '', { active: false });
    expect((await client.clusters.get(cluster)).upgrades_to).toEqual(['1.1']);
    await as('admin').datastores.changeVersion(newest?.id ?? '', { active: true, upgrade_from: '>=1.1' });
    expect((await client.clusters.get(cluster)).upgrades_to).toEqual(['1.1']);
    await as('admin').datastores.changeVersion(newest?.id ?? '', { upgrade_from: null });
  });

  it('tells administrators how all parts are, and nobody else', async () => {
    await expect(as('member').health()).rejects.toMatchObject({ code: 'forbidden' });
    const health = await as('admin').health();
    expect(health.redis).toMatchObject({ status: 'ok', latency_ms: expect.any(Number) });
    expect(health.rabbitmq).toMatchObject({ status: 'ok', dead_letters: 0 });
    expect(health.taskmanagers).toEqual(expect.any(Number));
    expect(health.guests).toMatchObject({
      clusters: 1,
      total: 3,
      by_status: { ACTIVE: 3 },
      unwell: [],
      problems: [],
    });
    expect(health.work).toMatchObject({ upgrades: expect.any(Object), overdue: expect.any(Number) });
  });

  it('counts upgrades that have not ended', async () => {
    await beginUpgrade(api, cluster, { 'x-auth-token': 'member' });
    expect((await as('admin').health()).work?.upgrades).toMatchObject({ scheduled: 1 });
  });

  it('tells what it can while Redis or RabbitMQ is away', async () => {
    api.redisProxy.refuse();
    api.amqpProxy.refuse();
    const { body, status } = await ask(`${api.url}/health`, { headers: { 'x-auth-token': 'admin' } });
    expect(status).toBe(200);
    expect(body.health.redis).toEqual({ status: 'unreachable', latency_ms: null });
    expect(body.health).toMatchObject({ work: null, taskmanagers: null });
    api.redisProxy.allow();
    api.amqpProxy.allow();
  });
});
