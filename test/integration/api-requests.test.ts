import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { BUILT_IN_DATASTORES } from '../../src/core/managers/index.ts';
import { ask, beginUpgrade, buildCluster, type Harness, startApi } from './api-harness.ts';

/** What is done in answer to a request, right or wrong. Not covered: event streams, outages (other files). */
let api: Harness;
let idle: string;
let busy: string;
let busyUpgrade: string;

beforeAll(async () => {
  api = await startApi();
  idle = await buildCluster(api, 'idle');
  busy = await buildCluster(api, 'busy');
  busyUpgrade = await beginUpgrade(api, busy);
  await buildCluster(api, 'twin');
  await buildCluster(api, 'twin');
  await buildCluster(api, 'other', 't2');
  await vi.waitFor(() => expect(api.casts).toHaveLength(6));
});
afterAll(() => api.close());

const create = (cluster: object) => ({ method: 'POST', json: { cluster } });
const simulated = { name: 'new', datastore: { type: 'simulated' }, instances: [{}] };
const postgresql = { name: 'new', datastore: { type: 'postgresql' }, instances: [{}] };
const action = (json: unknown) => ({ method: 'POST', json });
const upgradeWith = (extra: object) => action({ upgrade: { datastore_version: '1.1', ...extra } });
const withPolicy = (policy: object) => upgradeWith({ policy });
const simulating = (properties: object) =>
  create({ ...simulated, extended_properties: { simulated: properties } });
const patch = (json: unknown) => ({ method: 'PATCH', json });
const raw = (body: string, type = 'application/json') => ({
  method: 'POST',
  body,
  headers: { 'content-type': type },
});
const required = (where: string, key: string) => `Validation error: ${where} '${key}' is a required property`;
const additional = (where: string, key: string) =>
  `Validation error: ${where} Additional properties are not allowed ('${key}' was unexpected)`;

/** Request, status, Trove's key, our code, what the message holds. */
type Wrong = readonly [
  path: string,
  init: object,
  status: number,
  key: string,
  code: string,
  message: string,
];

const bad = (path: string, init: object, message: string): Wrong => [
  path,
  init,
  400,
  'badRequest',
  'invalid_request',
  message,
];
const missing = (what: string, path: string, message: string, init: object = {}): Wrong => [
  path,
  init,
  404,
  'itemNotFound',
  `${what}not_found`,
  message,
];
const refused = (code: string, path: string, init: object, message: string): Wrong => [
  path,
  init,
  422,
  'unprocessableEntity',
  code,
  message,
];

const ONE_ACTION = 'Action request should have exactly one action specified in body';
const BUSY =
  "This action cannot be performed on the cluster while the current cluster task is 'UPGRADING_CLUSTER'.";
const NOBODYS_ID = '5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a';
const deep = `{"upgrade":{"datastore_version":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`;

const NOT_UNDERSTOOD: readonly Wrong[] = [
  bad('/clusters/idle', raw('not json'), 'Malformed request body'),
  bad('/clusters/idle', raw('{"upgrade":{"datastore_version":"1.1"},"__proto__":{}}'), '__proto__'),
  bad('/clusters/idle', raw('{"upgrade":{"constructor":{"prototype":{}}}}'), 'Malformed request body'),
  bad('/clusters/idle', raw(deep), 'nested more than 32 deep'),
  bad('/clusters/%zz', {}, 'not a valid URL path'),
  bad(`/clusters/${'x'.repeat(256)}`, {}, 'too long'),
  bad('/clusters/a%00b', {}, 'control characters'),
  ['/clusters/idle', raw('<a/>', 'text/xml'), 415, 'badMediaType', 'unsupported_media_type', 'text/xml'],
  ['/clusters/idle', raw('{}', 'text/plain'), 415, 'badMediaType', 'unsupported_media_type', 'text/plain'],
  ['/clusters/idle', raw(`"${'x'.repeat(300_000)}"`), 413, 'overLimit', 'body_too_large', 'too large'],
];

const ACTIONS: readonly Wrong[] = [
  bad('/clusters/idle', action({}), ONE_ACTION),
  bad('/clusters/idle', action([]), ONE_ACTION),
  bad('/clusters/idle', action(null), ONE_ACTION),
  bad('/clusters/idle', { method: 'POST' }, ONE_ACTION),
  bad('/clusters/idle', action({ upgrade: { datastore_version: '1.1' }, 'reset-status': {} }), ONE_ACTION),
  bad('/clusters/idle', action({ bogus: {} }), 'Action bogus not supported'),
  bad('/clusters/idle', action({ toString: {} }), 'Action toString not supported'),
  bad('/clusters/idle', action({ restart: {} }), "Action 'restart' not supported"),
  bad('/clusters/idle', action({ upgrade: {} }), required('upgrade', 'datastore_version')),
  bad('/clusters/idle', action({ upgrade: null }), "upgrade null is not of type 'object'"),
  bad('/clusters/idle', action({ upgrade: { datastore_version: 5 } }), "5 is not of type 'string'"),
  bad('/clusters/idle', action({ upgrade: { datastore_version: '' } }), 'too short'),
  bad('/clusters/idle', action({ upgrade: { datastore_version: '1.1\0' } }), 'control characters'),
  bad('/clusters/idle', upgradeWith({ force: true }), additional('upgrade', 'force')),
  bad('/clusters/idle', withPolicy({ max_unavailable: 0 }), '0 is less than the minimum of 1'),
  bad('/clusters/idle', withPolicy({ max_unavailable: 101 }), '101 is greater than the maximum of 100'),
  bad('/clusters/idle', withPolicy({ max_unavailable: '1' }), "'1' is not of type 'number'"),
  bad('/clusters/idle', withPolicy({ retries: 1.5 }), "1.5 is not of type 'integer'"),
  bad('/clusters/idle', withPolicy({ retries: null }), "null is not of type 'number'"),
  bad(
    '/clusters/idle',
    withPolicy({ on_failure: 'explode' }),
    "'explode' is not one of ['pause', 'rollback', 'fail']",
  ),
  bad('/clusters/idle', withPolicy({ soak_second: 5 }), additional("upgrade['policy']", 'soak_second')),
];

const PATCHES: readonly Wrong[] = [
  bad('/clusters/idle', patch({}), required('body', 'datastore_version')),
  bad('/clusters/idle', patch([]), "body […] is not of type 'object'"),
  bad('/clusters/idle', patch({ cluster: {} }), required('cluster', 'datastore_version')),
  bad('/clusters/idle', patch({ cluster: { datastore_version: '1.1', name: 'x' } }), "'name' was unexpected"),
  bad(
    '/clusters/idle',
    patch({ cluster: { datastore_version: '1.1' }, datastore_version: '2.0' }),
    'not both',
  ),
  missing(
    'datastore_version_',
    '/clusters/idle',
    "'9.9' cannot be found",
    patch({ datastore_version: '9.9' }),
  ),
  missing('datastore_version_', '/clusters/idle', "'17.10'", patch({ datastore_version: '17.10' })),
  missing(
    'cluster_',
    '/clusters/nope',
    "Cluster 'nope' cannot be found.",
    patch({ datastore_version: '1.1' }),
  ),
  missing('cluster_', '/clusters/other', "Cluster 'other' cannot", patch({ datastore_version: '1.1' })),
  missing('cluster_', `/clusters/${NOBODYS_ID}`, 'cannot be found.', patch({ datastore_version: '1.1' })),
  refused('gate_blocked', '/clusters/idle', patch({ datastore_version: '1.0' }), 'upgrade_needed'),
  refused('cluster_busy', '/clusters/busy', patch({ datastore_version: '1.1' }), BUSY),
  ['/clusters/twin', patch({ datastore_version: '1.1' }), 409, 'conflict', 'conflict', 'Use the id of one'],
];

const CREATIONS: readonly Wrong[] = [
  bad('/clusters', create({}), required('cluster', 'name')),
  bad('/clusters', create({ ...simulated, name: 5 }), "cluster['name'] 5 is not of type 'string'"),
  bad('/clusters', create({ ...simulated, name: '' }), 'too short'),
  bad('/clusters', create({ ...simulated, name: 'x'.repeat(256) }), 'too long (at most 255 characters)'),
  bad('/clusters', create({ ...simulated, name: 'a\u001b[2J' }), 'control characters'),
  bad('/clusters', create({ ...simulated, name: NOBODYS_ID }), 'must not have the form of an id'),
  bad('/clusters', create({ ...simulated, datastore: {} }), required("cluster['datastore']", 'type')),
  bad('/clusters', create({ ...simulated, instances: [] }), 'has too few items (at least 1)'),
  bad(
    '/clusters',
    create({ ...simulated, instances: Array(101).fill({}) }),
    'has too many items (at most 100)',
  ),
  bad('/clusters', create({ ...postgresql, instances: Array(10).fill({}) }), 'has too many items (at most 9'),
  bad('/clusters', create({ ...simulated, instances: [{ volume: { size: 0 } }] }), '0 is less than'),
  bad(
    '/clusters',
    create({ ...simulated, instances: [{ volume: { size: 'big' } }] }),
    "'big' is not of type",
  ),
  bad('/clusters', create({ ...simulated, instances: [{ flavour: '1' }] }), "'flavour' was unexpected"),
  bad('/clusters', create({ ...simulated, locality: 'affinity' }), additional('cluster', 'locality')),
  bad('/clusters', simulating({ upgrade_ms: -1 }), '-1 is less than'),
  bad('/clusters', simulating({ explode: 1 }), "'explode' was unexpected"),
  bad('/clusters', simulating({ fail: [{ instance: 1, action: 'upgrade' }] }), 'there is no instance 1'),
  bad(
    '/clusters',
    create({ ...postgresql, extended_properties: { simulated: {} } }),
    "'simulated' is not for the datastore 'postgresql'",
  ),
  bad('/clusters', create({ ...postgresql, databases: [{ name: 'a' }, { name: 'a' }] }), 'has a name twice'),
  bad('/clusters', create({ ...postgresql, databases: [{ name: 'postgres' }] }), "'postgres' is reserved"),
  bad('/clusters', create({ ...postgresql, databases: [{ name: 'ü'.repeat(32) }] }), 'at most 63 bytes long'),
  bad(
    '/clusters',
    create({ ...postgresql, users: [{ name: 'u' }] }),
    required("cluster['users'][0]", 'password'),
  ),
  bad('/clusters', create({ ...postgresql, users: [{ name: 'pg_x', password: 'p' }] }), "'pg_x' is reserved"),
  bad(
    '/clusters',
    create({ ...postgresql, users: [{ name: 'u', password: 'p', databases: [{ name: 'd' }] }] }),
    "'d' is not among the cluster's databases",
  ),
  missing('datastore_', '/clusters', "'redis'", create({ ...simulated, datastore: { type: 'redis' } })),
  missing(
    'datastore_version_',
    '/clusters',
    "'7'",
    create({ ...simulated, datastore: { type: 'simulated', version: '7' } }),
  ),
];

const READS_AND_DELETIONS: readonly Wrong[] = [
  bad('/clusters?limit=-1', {}, "limit '-1' is not a whole number"),
  bad('/clusters?limit=many', {}, "limit 'many' is not a whole number"),
  bad('/clusters?limit=0', {}, "limit '0' is less than the minimum of 1"),
  bad('/clusters?limit=1&limit=2', {}, "limit […] is not of type 'string'"),
  bad('/clusters?marker=x', {}, 'must be an id'),
  missing('cluster_', '/clusters/nope', "Cluster 'nope' cannot be found."),
  missing('cluster_', '/clusters/other', "Cluster 'other' cannot be found."),
  missing('cluster_', '/clusters/nope', "Cluster 'nope' cannot be found.", { method: 'DELETE' }),
  refused('cluster_busy', '/clusters/busy', { method: 'DELETE' }, BUSY),
  missing('instance_', '/clusters/idle/instances/x', 'Instance x cannot be found.'),
  missing('instance_', `/instances/${NOBODYS_ID}`, 'cannot be found.'),
  missing('datastore_', '/datastores/redis', "Datastore 'redis' cannot be found."),
  missing('datastore_version_', '/datastores/simulated/versions/17.10', "'17.10'"),
  missing('datastore_version_', '/datastores/versions/nope', "'nope'"),
  missing('upgrade_', '/upgrades/nope', "Upgrade 'nope' cannot be found."),
  missing('upgrade_', '/upgrades/nope/events', "Upgrade 'nope' cannot be found."),
  missing('', '/nosuch', 'The resource could not be found.'),
  missing('', '/clusters/idle', 'The resource could not be found.', { method: 'PUT', json: {} }),
  missing('', '/../../v2.0/', 'The resource could not be found.'),
];

const WRONG = [...NOT_UNDERSTOOD, ...ACTIONS, ...PATCHES, ...CREATIONS, ...READS_AND_DELETIONS];

describe('a wrong request is answered clearly and changes nothing', () => {
  const rows = WRONG.map((wrong) => [`${wrong[0].slice(0, 40)}: ${wrong[2]} ${wrong[5]}`, ...wrong] as const);
  it.each(rows)('%s', async (_title, path, init, status, key, code, message) => {
    const before = await api.keyspace();
    const answer = await ask(`${api.url}${path}`, init);
    expect(answer.body).toEqual({ [key]: { code: status, message: expect.any(String), error: code } });
    expect(answer.body[key].message).toContain(message);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    expect(answer.headers.get('x-openstack-request-id')).toMatch(/^req-[0-9a-f-]{36}$/);
    expect(await api.keyspace()).toEqual(before);
  });

  it('does not get a password back, nor leaves one in the log', async () => {
    const password = 'swordfish-\u00e9';
    const answer = await ask(
      `${api.url}/clusters`,
      create({ ...postgresql, users: [{ name: 'u', password }] }),
    );
    expect(answer.status).toBe(400);
    expect(answer.body.badRequest.message).toContain('value must consist of printable ASCII characters');
    expect(JSON.stringify(answer.body) + api.lines.join()).not.toContain('swordfish');
  });

  it('is refused under another name than localhost: a page elsewhere may have sent it', async () => {
    const response = await api.app.inject({ url: '/v1.0/t1/clusters', headers: { host: 'evil.example' } });
    expect(response.statusCode).toBe(403);
    expect(response.json().forbidden.error).toBe('forbidden');
  });

  it('that crashes a handler gets a number that is in the log, and no stack', async () => {
    const { clusters } = api.store;
    const see = clusters.see;
    clusters.see = () => Promise.reject(new Error('out of cheese'));
    const answer = await ask(`${api.url}/clusters/${idle}`).finally(() => {
      clusters.see = see;
    });
    expect(answer.status).toBe(500);
    const { message, error } = answer.body.instanceFault;
    expect(error).toBe('internal');
    const id = /\(([0-9a-f-]{36})\)/.exec(message)?.[1];
    expect(message).toBe(
      `Internal Server Error. Please keep this ID to help us figure out what went wrong: (${id}).`,
    );
    expect(api.lines.find((line) => id !== undefined && line.includes(id))).toContain('out of cheese');
  });
});

describe('an upgrade request', () => {
  it('of a busy cluster names the upgrade that holds it', async () => {
    const answer = await ask(`${api.url}/clusters/busy`, patch({ datastore_version: '1.1' }));
    expect(answer.body.unprocessableEntity.message).toContain(busyUpgrade);
  });

  it.each([
    ['/v1/t1/cluster/patched', { cluster: { datastore_version: '1.1' } }],
    ['/v1.0/t1/clusters/patched', { datastore_version: '1.1', policy: { retries: 0 } }],
  ])('PATCH %s %j is answered 202 {}', async (path, json) => {
    const id = await buildCluster(api, 'patched');
    const sent = api.casts.length;
    const answer = await ask(`${api.origin}${path.replace('patched', id)}`, patch(json));
    expect(answer.status).toBe(202);
    expect(answer.body).toEqual({});

    const upgrade = await ask(answer.headers.get('location') ?? '');
    expect(upgrade.body.upgrade).toMatchObject({
      cluster_id: id,
      state: 'scheduled',
      from: { name: '1.0' },
      to: { name: '1.1' },
    });
    expect(upgrade.body.upgrade.policy.retries).toBe('policy' in json ? 0 : 2);
    await expect.poll(() => api.casts.length).toBe(sent + 1);
    await expect
      .poll(() => api.casts.at(-1))
      .toMatchObject({
        method: 'upgrade_cluster',
        args: {
          cluster_id: id,
          upgrade_id: upgrade.body.upgrade.id,
          datastore_version_id: upgrade.body.upgrade.to.id,
        },
        context: { tenant_id: 't1', request_id: answer.headers.get('x-openstack-request-id') },
      });
    expect(await api.store.outbox.pendingCasts(Date.now() + 1000, 10)).toEqual([]);
  });

  it("in Trove's form is answered with the cluster, which still has its old version", async () => {
    const id = await buildCluster(api, 'posted');
    const { body: versions } = await ask(`${api.url}/datastores/simulated/versions`);
    const version = versions.versions.find(({ name }: { name: string }) => name === '1.1').id;
    const answer = await ask(
      `${api.url}/clusters/posted`,
      action({ upgrade: { datastore_version: version } }),
    );
    expect(answer.status).toBe(202);
    expect(answer.body.cluster).toMatchObject({
      id,
      task: { id: 7, name: 'UPGRADING_CLUSTER', description: 'Upgrading the cluster to new version.' },
      datastore: { type: 'simulated', version: '1.0' },
      upgrade_id: expect.any(String),
    });
    const shown = await ask(`${api.url}/clusters/${id}`);
    expect(shown.body.cluster).toMatchObject({
      task: { name: 'UPGRADING_CLUSTER' },
      upgrade_id: answer.body.cluster.upgrade_id,
    });
  });

  it('sent twenty times at once begins one upgrade', async () => {
    const id = await buildCluster(api, 'wanted');
    const all = await Promise.all(
      Array.from({ length: 20 }, () => ask(`${api.url}/clusters/${id}`, patch({ datastore_version: '1.1' }))),
    );
    expect(all.map(({ status }) => status).sort()).toEqual([202, ...Array(19).fill(422)]);
    expect((await ask(`${api.url}/clusters/${id}/upgrades`)).body.upgrades).toHaveLength(1);
  });
});

describe('creating a cluster', () => {
  it("takes what Trove's command line sends, and keeps verifiers in place of passwords", async () => {
    const json = {
      cluster: {
        name: 'shop',
        datastore: { type: 'postgresql', version: '17.6' },
        instances: [
          { flavorRef: '1', volume: { size: '2' }, nics: [{ network_id: 'n' }] },
          { flavorRef: 2, volume: { size: 1 } },
        ],
        databases: [{ name: 'shop' }],
        users: [{ name: 'shop', password: 'swordfish', databases: [{ name: 'shop' }] }],
      },
    };
    const { status, body } = await ask(`${api.url}/clusters`, { method: 'POST', json });
    expect(status).toBe(200);
    expect(body.cluster).toMatchObject({
      name: 'shop',
      task: { id: 2, name: 'BUILDING' },
      datastore: { type: 'postgresql', version: '17.6' },
      instances: [
        { name: 'shop-member-1', type: 'member', status: 'BUILD', volume: { size: 2 }, flavor: { id: '1' } },
        { name: 'shop-member-2', type: 'member', status: 'BUILD', volume: { size: 1 }, flavor: { id: '2' } },
      ],
    });
    const order = await api.store.provisioning.getOrder(body.cluster.id);
    expect(order).toMatchObject({ databases: ['shop'], users: [{ name: 'shop', databases: ['shop'] }] });
    expect(order?.users[0]?.verifier).toMatch(/^SCRAM-SHA-256\$4096:[\w+/]{22}==\$[\w+/]{43}=:[\w+/]{43}=$/);
    expect(JSON.stringify(await api.keyspace()) + api.lines.join()).not.toContain('swordfish');
    await expect
      .poll(() => api.casts.map(({ args }) => args))
      .toContainEqual({ cluster_id: body.cluster.id });
  });
});

describe('deleting a cluster', () => {
  it('is answered 202 with nothing, twice if asked twice', async () => {
    const id = await buildCluster(api, 'doomed');
    for (const _ of [1, 2]) {
      const answer = await ask(`${api.url}/clusters/${id}`, { method: 'DELETE' });
      expect(answer.status).toBe(202);
      expect(answer.body).toBe('');
      expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    }
    const shown = await ask(`${api.url}/clusters/${id}`);
    expect(shown.body.cluster).toMatchObject({
      task: { id: 3, name: 'DELETING' },
      instances: [{ status: 'SHUTDOWN' }, {}, {}],
    });
  });
});

describe('listings', () => {
  it('lead from page to page', async () => {
    const seen: string[] = [];
    for (let url = `${api.url}/clusters?limit=2`; url !== ''; ) {
      const { body } = await ask(url);
      expect(body.clusters.length).toBeLessThanOrEqual(2);
      seen.push(...body.clusters.map(({ id }: { id: string }) => id));
      url = body.links?.find(({ rel }: { rel: string }) => rel === 'next')?.href ?? '';
    }
    const { body } = await ask(`${api.url}/clusters?limit=1000`);
    expect(seen).toEqual(body.clusters.map(({ id }: { id: string }) => id));
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toContain(idle);
  });

  it("hold nothing of another tenant's", async () => {
    const { body } = await ask(`${api.origin}/v1.0/t2/clusters`);
    expect(body.clusters.map(({ name }: { name: string }) => name)).toEqual(['other']);
  });
});

describe('an instance', () => {
  it('is shown with what its guest said', async () => {
    const { body } = await ask(`${api.url}/clusters/${idle}`);
    const [first] = body.cluster.instances;
    expect(first).toMatchObject({
      status: 'ACTIVE',
      role: 'member',
      version: '1.0',
      service_status: 'healthy',
    });
    const shown = await ask(`${api.url}/instances/${first.id}`);
    expect(shown.body.instance).toMatchObject({
      id: first.id,
      status: 'ACTIVE',
      operating_status: 'HEALTHY',
      cluster_id: idle,
    });
    const inCluster = await ask(`${api.url}/clusters/idle/instances/${first.id}`);
    expect(inCluster.body).toEqual(shown.body);
  });
});

describe('discovery', () => {
  it("has Trove's version documents", async () => {
    const version = {
      id: 'v1.0',
      status: 'CURRENT',
      updated: '2012-08-01T00:00:00Z',
      links: [{ rel: 'self', href: `${api.origin}/v1.0/` }],
    };
    expect((await ask(`${api.origin}/`)).body).toEqual({ versions: [version] });
    for (const path of ['/v1.0/', '/v1.0', '/v1', '/v1/']) {
      expect((await ask(`${api.origin}${path}`)).body).toEqual({ version });
    }
  });

  it('has the catalogue, by id and by name', async () => {
    const { body } = await ask(`${api.url}/datastores`);
    expect(body.datastores.map(({ name }: { name: string }) => name)).toEqual(
      BUILT_IN_DATASTORES.map(({ name }) => name),
    );
    for (const datastore of body.datastores) {
      expect((await ask(`${api.url}/datastores/${datastore.id}`)).body).toEqual({ datastore });
      expect((await ask(`${api.url}/datastores/${datastore.name}`)).body).toEqual({ datastore });
      const [version] = datastore.versions;
      const byId = await ask(`${api.url}/datastores/versions/${version.id}`);
      expect(byId.body.version).toMatchObject({ id: version.id, datastore: datastore.id, active: true });
      const byName = await ask(`${api.url}/datastores/${datastore.name}/versions/${version.name}`);
      expect(byName.body).toEqual(byId.body);
    }
  });

  it('describes every route in OpenAPI 3.1, without a dangling reference', async () => {
    const { body } = await ask(`${api.origin}/openapi.json`);
    expect(body.openapi).toBe('3.1.0');
    const references = JSON.stringify(body).match(/#\/components\/schemas\/\w+/g) ?? [];
    expect(references.length).toBeGreaterThan(10);
    const names = new Set(references.map((reference) => reference.split('/').at(-1)));
    expect([...names].filter((name) => name === undefined || !(name in body.components.schemas))).toEqual([]);
    expect(Object.keys(body.paths)).toContain('/v1.0/{tenant_id}/clusters/{cluster_id}');
    expect(Object.keys(body.paths['/v1.0/{tenant_id}/clusters/{cluster_id}']).sort()).toEqual([
      'delete',
      'get',
      'patch',
      'post',
    ]);
  });
});
