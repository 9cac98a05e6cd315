/**
 * Who may do what, over HTTP: tenants apart from each other, members from administrators, every route
 * behind its rule. Who the callers are is said by this test; Keystone and token files say it in
 * test/interop/keystone.test.ts and token-auth.test.ts.
 */
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Authenticate } from '../../api/access/caller.ts';
import { useAccessRules } from '../../api/access/enforce.ts';
import { parseRule } from '../../api/access/language.ts';
import { DEFAULT_RATES, rateLimits } from '../../api/access/rate-limits.ts';
import { type AccessRules, accessRules, DEFAULT_RULES, defaultChecks } from '../../api/access/rules.ts';
import type { App } from '../../api/deps.ts';
import { CofferError } from '../../src/core/errors.ts';
import { ask, beginUpgrade, buildCluster, EVERYBODY, type Harness, startApi } from './api-harness.ts';

/** By token: whose project, with which roles. */
const PEOPLE: Readonly<Record<string, { readonly project_id: string; readonly roles: readonly string[] }>> = {
  ann: { project_id: 't1', roles: ['member'] },
  bob: { project_id: 't2', roles: ['member'] },
  eve: { project_id: 't3', roles: ['admin'] },
  guest: { project_id: 't1', roles: [] },
};

const authenticate: Authenticate = async ({ headers }) => {
  const user = String(headers['x-auth-token']);
  const person = PEOPLE[user];
  if (!person) throw new CofferError('unauthorized', 'Who are you?');
  return {
    user,
    project_id: person.project_id,
    credentials: { ...person, user_id: user },
    is_confined: false,
  };
};

const ANN = { 'x-auth-token': 'ann' };

interface Operation {
  readonly method: string;
  readonly path: string;
}

/** Everything that the api offers, as its own description lists it. */
async function operations(api: Harness): Promise<readonly Operation[]> {
  const { body } = await ask(`${api.origin}/openapi.json`);
  return Object.entries(body.paths as Record<string, object>).flatMap(([path, byMethod]) =>
    Object.keys(byMethod).map((method) => ({ method: method.toUpperCase(), path })),
  );
}

const NOBODYS_ID = '00000000-0000-4000-8000-000000000000';

function addressOf(api: Harness, tenant: string, path: string): string {
  const filled = path.replace('{tenant_id}', tenant).replaceAll(/\{\w+\}/g, NOBODYS_ID);
  return `${api.origin}${filled}`;
}

const BATCH = { datastore_version: '1.1', clusters: [NOBODYS_ID] };

const PUBLIC = ['/', '/v1.0', '/health/live', '/health/ready'];
/** Beyond these, what belongs to no tenant: whose token it is, everybody is told who has one. */
const WITHOUT_TENANT = [...PUBLIC, '/v1.0/identity'];

describe('access', () => {
  let api: Harness;
  const as = (user: string, init: Parameters<typeof ask>[1] = {}) => ({
    ...init,
    headers: { 'x-auth-token': user },
  });

  beforeAll(async () => {
    api = await startApi({ authenticate });
    api.answerCalls();
  });
  afterAll(() => api.close());

  it('asks everybody who they are, except for what tells nothing of any tenant', async () => {
    const all = await operations(api);
    expect(all.length).toBeGreaterThan(20);
    for (const { method, path } of all) {
      const { status } = await ask(addressOf(api, 't1', path), { method });
      expect(`${method} ${path}: ${status === 401}`).toBe(`${method} ${path}: ${!PUBLIC.includes(path)}`);
    }
  });

  it('refuses the tenant of another project on every route', async () => {
    for (const { method, path } of await operations(api)) {
      if (WITHOUT_TENANT.includes(path)) continue;
      const { status, body } = await ask(addressOf(api, 't1', path), as('bob', { method }));
      expect(`${method} ${path}: ${status}`).toBe(`${method} ${path}: 403`);
      expect(body.forbidden).toMatchObject({
        code: 403,
        error: 'forbidden',
        message: 'User with tenant id t2 cannot access this resource.',
      });
    }
  });

  it('lets administrators into any tenant', async () => {
    expect((await ask(`${api.origin}/v1.0/t1/clusters`, as('eve'))).status).toBe(200);
  });

  it("hides another tenant's cluster and upgrade behind a 404, by id, in every way", async () => {
    const id = await buildCluster(api, 'hidden', 't1', ANN);
    const upgrade = await beginUpgrade(api, id, ANN);
    const { body } = await ask(`${api.origin}/v1.0/t1/clusters/${id}`, as('ann'));
    const instance: string = body.cluster.instances[0].id;
    const own = `${api.origin}/v1.0/t2`;
    const post = (json: unknown) => as('bob', { method: 'POST', json });
    const answers = await Promise.all([
      ask(`${own}/clusters/${id}`, as('bob')),
      ask(`${own}/clusters/${id}/instances/${instance}`, as('bob')),
      ask(`${own}/instances/${instance}`, as('bob')),
      ask(`${own}/clusters/${id}`, post({ upgrade: { datastore_version: '1.1' } })),
      ask(`${own}/clusters/${id}`, as('bob', { method: 'DELETE' })),
      ask(`${own}/clusters/${id}/upgrades`, as('bob')),
      ask(`${own}/upgrades/${upgrade}`, as('bob')),
      ask(`${own}/upgrades/${upgrade}/events`, as('bob')),
      ask(`${own}/upgrades/${upgrade}`, post({ cancel: {} })),
    ]);
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 404));

    // As in Trove an administrator reaches it from wherever they are at home, and it stays its tenant's.
    const { status, body: seen } = await ask(`${api.origin}/v1.0/t3/clusters/${id}`, as('eve'));
    expect([status, seen.cluster.name]).toEqual([200, 'hidden']);
    const cancelled = await ask(
      `${api.origin}/v1.0/t3/upgrades/${upgrade}`,
      as('eve', { method: 'POST', json: { cancel: {} } }),
    );
    expect(cancelled.status).toBe(202);
    expect((await api.store.upgrades.get(upgrade))?.tenant_id).toBe('t1');
  });

  it('keeps to administrators what Trove keeps to them, and the overriding of gates', async () => {
    const id = await buildCluster(api, 'gated', 't1', ANN);
    const url = `${api.origin}/v1.0/t1/clusters/${id}`;
    const overrides = [{ gate: 'version_active', reason: 'I know better' }];
    const bodies = [
      ['cluster:reset-status', { method: 'POST', json: { 'reset-status': {} } }],
      [
        'gate:override',
        { method: 'POST', json: { upgrade: { datastore_version: '1.1', policy: { overrides } } } },
      ],
      ['gate:override', { method: 'PATCH', json: { datastore_version: '1.1', policy: { overrides } } }],
      [
        'gate:override',
        { method: 'PATCH', json: { cluster: { datastore_version: '1.1', policy: { overrides } } } },
      ],
    ] as const;
    const batch = { ...BATCH, clusters: [{ id: NOBODYS_ID, policy: { overrides } }] };
    const batches = `${api.origin}/v1.0/t1/upgrade-batches`;
    const batched = await ask(batches, as('ann', { method: 'POST', json: { batch } }));
    expect([batched.status, batched.body.forbidden?.message]).toEqual([
      403,
      'Policy does not allow gate:override to be performed.',
    ]);
    for (const [rule, init] of bodies) {
      const { status, body } = await ask(url, as('ann', init));
      expect([status, body.forbidden?.message]).toEqual([
        403,
        `Policy does not allow ${rule} to be performed.`,
      ]);
    }
    expect((await api.store.clusters.get(id))?.task).toBe('NONE');
    expect((await ask(url, as('eve', bodies[1][1]))).status).toBe(202);
  });
});

describe('rules of an operator', () => {
  it('are asked on every route, each of them by its name', async () => {
    const closed = new Map([
      ...Object.keys(DEFAULT_RULES).map((name) => [name, parseRule('!')] as const),
      ['admin', parseRule('role:admin')] as const,
    ]);
    const asked = new Set<string>();
    const rules: AccessRules = {
      allow(rule, ...rest) {
        asked.add(rule);
        return accessRules(() => closed).allow(rule, ...rest);
      },
    };
    const api = await startApi({ authenticate, rules });
    const actions: Readonly<Record<string, readonly object[]>> = {
      '/v1.0/{tenant_id}/clusters/{cluster_id}': [
        { upgrade: { datastore_version: '1.1' } },
        { 'reset-status': {} },
      ],
      '/v1.0/{tenant_id}/upgrades/{upgrade_id}': [
        'pause',
        'resume',
        'approve',
        'confirm',
        'retry',
        'cancel',
        'rollback',
      ].map((action) => ({ [action]: {} })),
      '/v1.0/{tenant_id}/dead-letters/{letter_id}': [{ replay: {} }, { discard: {} }],
      '/v1.0/{tenant_id}/upgrade-batches': [{ batch: BATCH }, { batch: { ...BATCH, all_tenants: true } }],
      '/v1.0/{tenant_id}/upgrade-batches/{batch_id}': [
        ...['pause', 'resume', 'approve', 'retry', 'skip', 'rollback', 'cancel'].map((action) => ({
          [action]: {},
        })),
      ],
    };
    try {
      for (const { method, path } of await operations(api)) {
        if (WITHOUT_TENANT.includes(path)) continue;
        for (const json of method === 'POST' ? (actions[path] ?? [undefined]) : [undefined]) {
          const headers = { 'x-auth-token': 'ann' };
          const answer = await ask(addressOf(api, 't1', path), { method, headers, ...(json && { json }) });
          const what = `${method} ${path} ${JSON.stringify(json)}`;
          expect(`${what}: ${answer.status}`).toBe(`${what}: 403`);
          expect(answer.body.forbidden.message).toMatch(
            /^Policy does not allow [a-z-]+:[a-z_-]+ to be performed/,
          );
        }
      }
    } finally {
      await api.close();
    }
    // Helpers, and what is asked only once the rule of the route itself has said yes.
    const beside = ['admin_or_owner', 'default', 'gate:override', 'batch:all_tenants'];
    expect(Object.keys(DEFAULT_RULES).filter((name) => !asked.has(name) && !beside.includes(name))).toEqual(
      [],
    );
  });

  it('may open a route to a role, and close it for others', async () => {
    const rules = defaultChecks().set('cluster:index', parseRule('role:reader and rule:admin_or_owner'));
    const api = await startApi({ authenticate, rules: accessRules(() => rules) });
    const list = (user: string) => ask(`${api.url}/clusters`, { headers: { 'x-auth-token': user } });
    expect((await list('ann')).status).toBe(403);
    await api.close();
  });

  it("are asked anew under an idempotency key: a refusal is not kept, and a key is its first user's", async () => {
    const rules = defaultChecks();
    const api = await startApi({ authenticate, rules: accessRules(() => rules) });
    api.answerCalls();
    const id = await buildCluster(api, 'refused-first', 't1', ANN);
    const reset = (user: string) =>
      ask(`${api.url}/clusters/${id}`, {
        method: 'POST',
        json: { 'reset-status': {} },
        headers: { 'idempotency-key': 'reset-once', 'x-auth-token': user },
      });
    expect((await reset('ann')).status).toBe(403);
    rules.set('cluster:reset-status', parseRule('rule:admin_or_owner'));
    expect((await reset('ann')).status).toBe(202);
    expect((await reset('eve')).body.unprocessableEntity.error).toBe('idempotency_key_reused');
    await api.close();
  });

  it('stop the start where a route has none', () => {
    const app = Fastify() as unknown as App;
    useAccessRules(app, { ...EVERYBODY, authenticate });
    expect(() => app.get('/secret', async () => 'x')).toThrow('GET /secret has no rule');
  });
});

describe('limits', () => {
  it('let a tenant have so many clusters, and say so as Trove does', async () => {
    const api = await startApi({ max_clusters: 2 });
    const create = (tenant: string, name: string) =>
      ask(`${api.origin}/v1.0/${tenant}/clusters`, {
        method: 'POST',
        json: { cluster: { name, datastore: { type: 'simulated' }, instances: [{}] } },
      });
    for (const name of ['one', 'two']) expect((await create('t1', name)).status).toBe(200);
    const { status, body } = await create('t1', 'three');
    expect([status, body.overLimit.error]).toEqual([413, 'quota_exceeded']);
    expect(body.overLimit.message).toMatch(
      /^Quota exceeded for resources: \['clusters'\]\. A tenant may have 2/,
    );
    expect((await create('t2', 'one')).status).toBe(200);
    await api.close();
  });

  it('let a tenant ask so often, and say when it may ask again', async () => {
    const clock = { now: 0 };
    const limits = rateLimits({ ...DEFAULT_RATES, GET: 3, POST: 1 }, () => clock.now);
    const api = await startApi({ authenticate, limits });
    const read = (user: string, path = '/clusters') =>
      ask(`${api.url}${path}`, { headers: { 'x-auth-token': user } });
    for (let i = 0; i < 3; i++) expect((await read('ann')).status).toBe(200);
    const { status, headers, body } = await read('ann');
    expect([status, headers.get('retry-after')]).toEqual([413, '20']);
    expect(body.overLimit).toMatchObject({
      error: 'rate_limited',
      message: 'This request was rate-limited. Only 3 GET requests can be made to * every minute.',
    });
    // Whoever works on a tenant's behalf spends their own.
    expect((await read('eve')).status).toBe(200);
    clock.now += 20_000;
    expect((await read('ann')).status).toBe(200);
    await api.close();
  });
});

it('refuses what is nested without end, with a key and without a schema too', async () => {
  const api = await startApi();
  const deep = `${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}`;
  const headers = { 'content-type': 'application/json', 'idempotency-key': 'deep' };
  for (const [method, path] of [
    ['POST', '/clusters'],
    ['DELETE', '/clusters/x'],
    ['POST', '/dead-letters/x'],
  ] as const) {
    const { status, body } = await ask(`${api.url}${path}`, { method, headers, body: deep });
    expect([status, body.badRequest?.message]).toEqual([
      400,
      'The request body is nested more than 32 deep.',
    ]);
  }
  await api.close();
});

it('tells browsers to run, keep and frame nothing', async () => {
  const api = await startApi();
  for (const path of ['/', '/openapi.json', '/v1.0/t1/clusters', '/v1.0/t1/nothing', '/nowhere']) {
    const { headers } = await ask(`${api.origin}${path}`);
    expect([path, Object.fromEntries(headers)]).toMatchObject([
      path,
      {
        'cache-control': 'no-store',
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      },
    ]);
  }
  await api.close();
});
