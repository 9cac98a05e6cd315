import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
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
const patch = (json: unknown) => ({ method: 'PATCH', json });
const raw = (body: string, type = 'application/json') => ({
  method: 'POST',
  body,
  headers: { 'content-type': type },
});
const required = (where: string, key: string) => `Validation error: ${where} '${key}' is a required property`;
const additional = (where: string, key: string) =>
  `Validation error: ${where} Additional properties are not allowed ('${key}' was unexpected)`;

/** request, status, Trove's key, our code, what the message holds */
type Wrong = readonly [
  path: string,
  init: object,
  status: number,
  key: string,
  error: string,
  message: string,
];

const WRONG: readonly Wrong[] = [
  // What can't be understood
  ['/clusters/idle', raw('not json'), 400, 'badRequest', 'invalid_request', 'Malformed request body'],
  [
    '/clusters/idle',
    raw('{"upgrade":{"datastore_version":"1.1"},"__proto__":{}}'),
    400,
    'badRequest',
    'invalid_request',
    '__proto__',
  ],
  [
    '/clusters/idle',
    raw('{"upgrade":{"constructor":{"prototype":{}}}}'),
    400,
    'badRequest',
    'invalid_request',
    'Malformed request body',
  ],
  ['/clusters/idle', raw('<a/>', 'text/xml'), 415, 'badMediaType', 'unsupported_media_type', 'text/xml'],
  ['/clusters/idle', raw('{}', 'text/plain'), 415, 'badMediaType', 'unsupported_media_type', 'text/plain'],
  [
    '/clusters/idle',
    raw(`{"upgrade":"${'x'.repeat(300_000)}"}`),
    413,
    'overLimit',
    'body_too_large',
    'too large',
  ],
  [
    '/clusters/idle',
    raw(`{"upgrade":{"datastore_version":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`),
    400,
    'badRequest',
    'invalid_request',
    "[…] is not of type 'string'",
  ],
  ['/clusters/%zz', {}, 400, 'badRequest', 'invalid_request', 'not a valid URL path'],
  [`/clusters/${'x'.repeat(256)}`, {}, 400, 'badRequest', 'invalid_request', 'too long'],
  ['/clusters/a%00b', {}, 400, 'badRequest', 'invalid_request', 'control characters'],

  // Trove's actions
  [
    '/clusters/idle',
    action({}),
    400,
    'badRequest',
    'invalid_request',
    'Action request should have exactly one action specified in body',
  ],
  [
    '/clusters/idle',
    action([]),
    400,
    'badRequest',
    'invalid_request',
    'Action request should have exactly one action specified in body',
  ],
  [
    '/clusters/idle',
    action(null),
    400,
    'badRequest',
    'invalid_request',
    'Action request should have exactly one action specified in body',
  ],
  [
    '/clusters/idle',
    { method: 'POST' },
    400,
    'badRequest',
    'invalid_request',
    'Action request should have exactly one action specified in body',
  ],
  [
    '/clusters/idle',
    action({ upgrade: { datastore_version: '1.1' }, 'reset-status': {} }),
    400,
    'badRequest',
    'invalid_request',
    'Action request should have exactly one action specified in body',
  ],
  [
    '/clusters/idle',
    action({ bogus: {} }),
    400,
    'badRequest',
    'invalid_request',
    'Action bogus not supported',
  ],
  [
    '/clusters/idle',
    action({ toString: {} }),
    400,
    'badRequest',
    'invalid_request',
    'Action toString not supported',
  ],
  [
    '/clusters/idle',
    action({ restart: {} }),
    400,
    'badRequest',
    'invalid_request',
    "Action 'restart' not supported",
  ],
  [
    '/clusters/idle',
    action({ upgrade: {} }),
    400,
    'badRequest',
    'invalid_request',
    required('upgrade', 'datastore_version'),
  ],
  [
    '/clusters/idle',
    action({ upgrade: null }),
    400,
    'badRequest',
    'invalid_request',
    "Validation error: upgrade null is not of type 'object'",
  ],
  [
    '/clusters/idle',
    action({ upgrade: { datastore_version: 5 } }),
    400,
    'badRequest',
    'invalid_request',
    "Validation error: upgrade['datastore_version'] 5 is not of type 'string'",
  ],
  [
    '/clusters/idle',
    action({ upgrade: { datastore_version: '' } }),
    400,
    'badRequest',
    'invalid_request',
    'too short',
  ],
  [
    '/clusters/idle',
    action({ upgrade: { datastore_version: '1.1\0' } }),
    400,
    'badRequest',
    'invalid_request',
    'control characters',
  ],
  [
    '/clusters/idle',
    action({ upgrade: { datastore_version: '1.1', force: true } }),
    400,
    'badRequest',
    'invalid_request',
    additional('upgrade', 'force'),
  ],

  // The specification's request
  ['/clusters/idle', patch({}), 400, 'badRequest', 'invalid_request', required('body', 'datastore_version')],
  ['/clusters/idle', patch([]), 400, 'badRequest', 'invalid_request', "body […] is not of type 'object'"],
  [
    '/clusters/idle',
    patch({ cluster: {} }),
    400,
    'badRequest',
    'invalid_request',
    required('cluster', 'datastore_version'),
  ],
  [
    '/clusters/idle',
    patch({ cluster: { datastore_version: '1.1', name: 'x' } }),
    400,
    'badRequest',
    'invalid_request',
    additional('cluster', 'name'),
  ],
  [
    '/clusters/idle',
    patch({ cluster: { datastore_version: '1.1' }, datastore_version: '2.0' }),
    400,
    'badRequest',
    'invalid_request',
    'not both',
  ],
  [
    '/clusters/idle',
    patch({ datastore_version: '9.9' }),
    404,
    'itemNotFound',
    'datastore_version_not_found',
    "Datastore version '9.9' cannot be found",
  ],
  [
    '/clusters/idle',
    patch({ datastore_version: '17.10' }),
    404,
    'itemNotFound',
    'datastore_version_not_found',
    '17.10',
  ],
  [
    '/clusters/idle',
    patch({ datastore_version: '1.0' }),
    422,
    'unprocessableEntity',
    'gate_blocked',
    'upgrade_needed',
  ],
  [
    '/clusters/nope',
    patch({ datastore_version: '1.1' }),
    404,
    'itemNotFound',
    'cluster_not_found',
    "Cluster 'nope' cannot be found.",
  ],
  [
    '/clusters/other',
    patch({ datastore_version: '1.1' }),
    404,
    'itemNotFound',
    'cluster_not_found',
    "Cluster 'other' cannot be found.",
  ],
  [
    '/clusters/5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a',
    patch({ datastore_version: '1.1' }),
    404,
    'itemNotFound',
    'cluster_not_found',
    'cannot be found.',
  ],
  [
    '/clusters/twin',
    patch({ datastore_version: '1.1' }),
    409,
    'conflict',
    'conflict',
    "2 clusters are named 'twin'. Use the id of one",
  ],
  [
    '/clusters/busy',
    patch({ datastore_version: '1.1' }),
    422,
    'unprocessableEntity',
    'cluster_busy',
    "This action cannot be performed on the cluster while the current cluster task is 'UPGRADING_CLUSTER'.",
  ],

  // Policies
  ...(
    [
      [{ max_unavailable: 0 }, "upgrade['policy']['max_unavailable'] 0 is less than the minimum of 1"],
      [{ max_unavailable: 101 }, '101 is greater than the maximum of 100'],
      [{ max_unavailable: '1' }, "'1' is not of type 'number'"],
      [{ retries: 1.5 }, "1.5 is not of type 'integer'"],
      [{ retries: null }, "null is not of type 'number'"],
      [{ on_failure: 'explode' }, "'explode' is not one of ['pause', 'fail']"],
      [{ soak_second: 5 }, additional("upgrade['policy']", 'soak_second')],
    ] as const
  ).map(
    ([policy, message]): Wrong => [
      '/clusters/idle',
      action({ upgrade: { datastore_version: '1.1', policy } }),
      400,
      'badRequest',
      'invalid_request',
      message,
    ],
  ),

  // Creating
  ...(
    [
      [{}, required('cluster', 'name')],
      [{ ...simulated, name: 5 }, "cluster['name'] 5 is not of type 'string'"],
      [{ ...simulated, name: '' }, 'too short'],
      [{ ...simulated, name: 'x'.repeat(256) }, 'too long (at most 255 characters)'],
      [{ ...simulated, name: 'a\u001b[2J' }, 'control characters'],
      [{ ...simulated, name: '5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a' }, 'must not have the form of an id'],
      [{ ...simulated, datastore: { version: '1.0' } }, required("cluster['datastore']", 'type')],
      [{ ...simulated, instances: [] }, "cluster['instances'] has too few items"],
      [{ ...simulated, instances: Array(101).fill({}) }, 'has too many items (at most 100)'],
      [{ ...postgresql, instances: Array(10).fill({}) }, 'has too many items (at most 9'],
      [{ ...simulated, instances: [{ volume: { size: 0 } }] }, '0 is less than the minimum of 1'],
      [{ ...simulated, instances: [{ volume: { size: 'big' } }] }, "'big' is not of type 'number'"],
      [{ ...simulated, instances: [{ flavour: '1' }] }, additional("cluster['instances'][0]", 'flavour')],
      [{ ...simulated, locality: 'affinity' }, additional('cluster', 'locality')],
      [{ ...simulated, extended_properties: { simulated: { upgrade_ms: -1 } } }, '-1 is less than'],
      [{ ...simulated, extended_properties: { simulated: { explode: 1 } } }, "'explode' was unexpected"],
      [
        { ...simulated, extended_properties: { simulated: { fail: [{ instance: 1, action: 'upgrade' }] } } },
        'there is no instance 1',
      ],
      [{ ...postgresql, extended_properties: { simulated: {} } }, "the datastore 'postgresql' has none"],
      [{ ...postgresql, databases: [{ name: 'a' }, { name: 'a' }] }, 'has a name twice'],
      [{ ...postgresql, databases: [{ name: 'postgres' }] }, "'postgres' is reserved"],
      [{ ...postgresql, databases: [{ name: 'ü'.repeat(32) }] }, 'must be at most 63 bytes long'],
      [{ ...postgresql, users: [{ name: 'u' }] }, required("cluster['users'][0]", 'password')],
      [{ ...postgresql, users: [{ name: 'pg_x', password: 'p' }] }, "'pg_x' is reserved"],
      [
        { ...postgresql, users: [{ name: 'u', password: 'p', databases: [{ name: 'd' }] }] },
        "'d' is not among the cluster's databases",
      ],
    ] as const
  ).map(
    ([cluster, message]): Wrong => [
      '/clusters',
      create(cluster),
      400,
      'badRequest',
      'invalid_request',
      message,
    ],
  ),
  [
    '/clusters',
    create({ ...simulated, datastore: { type: 'redis' } }),
    404,
    'itemNotFound',
    'datastore_not_found',
    "Datastore 'redis' cannot be found.",
  ],
  [
    '/clusters',
    create({ ...simulated, datastore: { type: 'simulated', version: '7' } }),
    404,
    'itemNotFound',
    'datastore_version_not_found',
    "Datastore version '7' cannot be found.",
  ],

  // Reading and deleting
  ['/clusters?limit=-1', {}, 400, 'badRequest', 'invalid_request', "limit '-1' is not a whole number"],
  ['/clusters?limit=many', {}, 400, 'badRequest', 'invalid_request', "limit 'many' is not a whole number"],
  ['/clusters?limit=0', {}, 400, 'badRequest', 'invalid_request', 'X'limit=2',
    {},
    400,
    'badRequest',
    'invalid_request',
    "limit […] is not of type 'string'",
  ],
  ['/clusters?marker=x', {}, 400, 'badRequest', 'invalid_request', 'must be an id'],
  ['/clusters/nope', {}, 404, 'itemNotFound', 'cluster_not_found', "Cluster 'nope' cannot be found."],
  ['/clusters/other', {}, 404, 'itemNotFound', 'cluster_not_found', "Cluster 'other' cannot be found."],
  [
    '/clusters/nope',
    { method: 'DELETE' },
    404,
    'itemNotFound',
    'cluster_not_found',
    "Cluster 'nope' cannot be found.",
  ],
  ['/clusters/busy', { method: 'DELETE' }, 422, 'unprocessableEntity', 'cluster_busy', "'UPGRADING_CLUSTER'"],
  [
    '/clusters/idle/instances/x',
    {},
    404,
    'itemNotFound',
    'instance_not_found',
    'Instance x cannot be found.',
  ],
  [
    '/instances/5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a',
    {},
    404,
    'itemNotFound',
    'instance_not_found',
    'cannot be found.',
  ],
  ['/datastores/redis', {}, 404, 'itemNotFound', 'datastore_not_found', "Datastore 'redis' cannot be found."],
  ['/datastores/simulated/versions/17.10', {}, 404, 'itemNotFound', 'datastore_version_not_found', "'17.10'"],
  ['/datastores/versions/nope', {}, 404, 'itemNotFound', 'datastore_version_not_found', "'nope'"],
  ['/upgrades/nope', {}, 404, 'itemNotFound', 'upgrade_not_found', "Upgrade 'nope' cannot be found."],
  ['/upgrades/nope/events', {}, 404, 'itemNotFound', 'upgrade_not_found', "Upgrade 'nope' cannot be found."],
  ['/nosuch', {}, 404, 'itemNotFound', 'not_found', 'The resource could not be found.'],
  [
    '/clusters/idle',
    { method: 'PUT', json: {} },
    404,
    'itemNotFound',
    'not_found',
    'The resource could not be found.',
  ],
  ['/../../v2.0/', {}, 404, 'itemNotFound', 'not_found', 'The resource could not be found.'],
];

describe('a wrong request is answered clearly and changes nothing', () => {
  const rows = WRONG.map((wrong) => [`${wrong[0].slice(0, 40)}: ${wrong[2]} ${wrong[5]}`, ...wrong] as const);
  it.each(rows)('%s', async (_title, path, init, status, key, error, message) => {
    const before = await api.keyspace();
    const answer = await ask(`${api.url}${path}`, init);
    expect(answer.body).toEqual({ [key]: { code: status, message: expect.any(String), error } });
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
    const app = api.store;
    const getCluster = app.getCluster;
    app.getCluster = () => Promise.reject(new Error('out of cheese'));
    const answer = await ask(`${api.url}/clusters/${idle}`).finally(() => {
      app.getCluster = getCluster;
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
    expect(api.casts.at(-1)).toMatchObject({
      method: 'upgrade_cluster',
      args: {
        cluster_id: id,
        upgrade_id: upgrade.body.upgrade.id,
        datastore_version_id: upgrade.body.upgrade.to.id,
      },
      context: { tenant_id: 't1', request_id: answer.headers.get('x-openstack-request-id') },
    });
    expect(await api.store.pendingCasts(Date.now() + 1000, 10)).toEqual([]);
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
    const order = await api.store.getBuildOrder(body.cluster.id);
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
    expect(body.datastores.map(({ name }: { name: string }) => name)).toEqual(['postgresql', 'simulated']);
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
