/**
 * The catalogue over HTTP: how administrators change it and what everybody sees of it. What a change does
 * to upgrades under way is in stack-catalogue.test.ts; that Trove's own clients can do it, in interop.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Authenticate } from '../../api/access/caller.ts';
import { seedCatalogue } from '../../src/store/change-catalogue.ts';
import { ask, beginUpgrade, buildCluster, type Harness, startApi } from './api-harness.ts';

const authenticate: Authenticate = async ({ headers }) => {
  const roles = headers['x-auth-token'] === 'member' ? ['member'] : ['admin'];
  const credentials = { user_id: 'u', project_id: 't1', roles };
  return { user: 'u', project_id: 't1', credentials, is_confined: true };
};
const MEMBER = { headers: { 'x-auth-token': 'member' } };

let api: Harness;
const at = (path: string, init?: Parameters<typeof ask>[1]) => ask(`${api.url}${path}`, init);
const managed = (id = '') => `/mgmt/datastore-versions${id && `/${id}`}`;
const create = (name: string, fields: object = {}, init: object = {}) =>
  at(managed(), {
    ...{ method: 'POST', ...init },
    json: {
      version: { name, datastore_name: 'toys', datastore_manager: 'simulated', active: true, ...fields },
    },
  });
const change = (id: string, json: object) => at(managed(id), { method: 'PATCH', json });
const remove = (id: string) => at(managed(id), { method: 'DELETE' });
const all = async () =>
  (await at(managed())).body.versions as { id: string; name: string; datastore_name: string }[];
const idOf = async (datastore: string, name: string) =>
  (await all()).find((one) => one.datastore_name === datastore && one.name === name)?.id ?? '';

beforeAll(async () => {
  api = await startApi({ authenticate });
});
afterAll(() => api.close());

describe('a new version', () => {
  it('is there for everybody at once, with its datastore, and can be looked up where Location says', async () => {
    const made = await create('1.0', {
      ...{ image: 'glance-1', image_tags: ['a', 'b'], packages: ['p=1'], default: true },
      ...{ upgrade_from: '>=0.9', not_mixed_with: '<0.5', version: '1.0' },
    });
    expect(made).toMatchObject({ status: 202, body: {} });
    const { version } = (await ask(made.headers.get('location') ?? '')).body;
    expect(version).toEqual({
      ...{ id: version.id, name: '1.0', version: '1.0', datastore_manager: 'simulated' },
      ...{ datastore_id: version.datastore_id, datastore_name: 'toys', active: true, default: true },
      ...{ image: 'glance-1', image_tags: ['a', 'b'], packages: ['p=1'] },
      ...{ upgrade_from: '>=0.9', not_mixed_with: '<0.5' },
    });
    const { datastore } = (await at('/datastores/toys', MEMBER)).body;
    expect(datastore).toMatchObject({ id: version.datastore_id, default_version: version.id });
    expect(datastore.versions).toMatchObject([
      { name: '1.0', active: 1, packages: 'p=1', image: 'glance-1', upgrade_from: '>=0.9' },
    ]);
    expect((await at(`/datastores/versions/${version.id}`, MEMBER)).body.version).toMatchObject({
      ...{ datastore: version.datastore_id, active: true, not_mixed_with: '<0.5' },
    });
  });

  it('under a key that is sent twice is made once', async () => {
    const keyed = { headers: { 'idempotency-key': 'twice' } };
    const first = await create('1.5', {}, keyed);
    const second = await create('1.5', {}, keyed);
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(second.headers.get('location')).toBe(first.headers.get('location'));
    expect((await all()).filter(({ name }) => name === '1.5')).toHaveLength(1);
  });

  it.each<[object, number, string]>([
    [{ name: '1.0' }, 409, "Datastore 'toys' has a version '1.0' already"],
    [{ name: 'latest' }, 400, 'must have a version number in it'],
    [{ name: '5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a' }, 400, 'must not have the form of an id'],
    [{ version: '3' }, 400, 'must be the same as the name'],
    [{ upgrade_from: 'newer' }, 400, 'must be a semver range'],
    [{ not_mixed_with: '>>1' }, 400, 'must be a semver range'],
    [{ datastore_manager: '../x' }, 400, "must be the name of a guest agent's driver"],
    [{ active: 'yes' }, 400, "'yes' is not of type 'boolean'"],
    [{ image_tags: ['1', '2', '3', '4', '5', '6'] }, 400, 'too many items'],
    [{ surprise: 1 }, 400, "'surprise' was unexpected"],
  ])('that is wrong (%j) is answered clearly, and changes nothing', async (fields, status, text) => {
    const before = await api.keyspace();
    const answer = await create('9.9', fields);
    expect(answer.status).toBe(status);
    expect(JSON.stringify(answer.body)).toContain(text);
    expect(await api.keyspace()).toEqual(before);
  });
});

describe('a change', () => {
  it('touches what it names, and shows the rest', async () => {
    const id = await idOf('simulated', '1.1');
    const changed = await change(id, { active: false, upgrade_from: '1.0', default: true });
    expect(changed).toMatchObject({
      status: 202,
      body: { version: { id, active: false, upgrade_from: '1.0', default: true, not_mixed_with: null } },
    });
    expect((await at('/datastores/simulated')).body.datastore.default_version).toBe(id);
    await change(id, { default: false });
    expect((await at('/datastores/simulated')).body.datastore).not.toHaveProperty('default_version');
    const cluster = { name: 'needs-one', datastore: { type: 'simulated' }, instances: [{}] };
    const refused = await at('/clusters', { method: 'POST', json: { cluster } });
    expect(refused.body.badRequest.message).toContain("'simulated' has no default version");
    await change(await idOf('simulated', '2.0'), { default: true });
  });

  it('hides an inactive version from all but administrators, and keeps new clusters and upgrades from it', async () => {
    const names = async (init?: object) =>
      (await at('/datastores/simulated/versions', init)).body.versions.map(
        (one: { name: string }) => one.name,
      );
    expect(await names(MEMBER)).toEqual(['1.0', '2.0']);
    expect(await names()).toEqual(['1.0', '1.1', '2.0']);
    const cluster = { name: 'no', datastore: { type: 'simulated', version: '1.1' }, instances: [{}] };
    expect((await at('/clusters', { method: 'POST', json: { cluster } })).status).toBe(422);
    const id = await buildCluster(api, 'stays');
    const json = { upgrade: { datastore_version: '1.1' } };
    const refused = await at(`/clusters/${id}`, { method: 'POST', json });
    expect(refused.body.unprocessableEntity).toMatchObject({
      error: 'gate_blocked',
      message: expect.stringContaining('version_active') as string,
    });
    await change(await idOf('simulated', '1.1'), { active: true, upgrade_from: '2.0' });
    const path = await at(`/clusters/${id}`, {
      method: 'POST',
      json: { upgrade: { ...json.upgrade, dry_run: true } },
    });
    expect(path.body.plan.gates).toEqual([
      { gate: 'version_path', reason: '1.1 can be reached from 2.0 only, and not from 1.0' },
    ]);
    await change(await idOf('simulated', '1.1'), { upgrade_from: null });
  });

  it('survives the next start, and so does a removal', async () => {
    const id = await idOf('postgresql', '17.5');
    expect((await remove(id)).status).toBe(202);
    const other = await idOf('postgresql', '17.6');
    await change(other, { active: false });
    await seedCatalogue(api.store.catalogue);
    expect(await idOf('postgresql', '17.5')).toBe('');
    expect((await at(managed(other))).body.version.active).toBe(false);
  });
});

describe('a deletion', () => {
  it('is refused while a cluster has the version or an upgrade goes to it, and so is another name', async () => {
    const cluster = await buildCluster(api, 'held');
    const [from, to] = [await idOf('simulated', '1.0'), await idOf('simulated', '1.1')];
    const upgrade = await beginUpgrade(api, cluster);
    for (const [id, user] of [
      [from, `cluster ${cluster}`],
      [to, `upgrade ${upgrade}`],
    ] as const) {
      for (const refused of [
        await remove(id),
        await change(id, { name: '0.1' }),
        await change(id, { datastore_manager: 'x' }),
      ]) {
        expect(refused).toMatchObject({ status: 422, body: { unprocessableEntity: { error: 'in_use' } } });
      }
      expect((await remove(id)).body.unprocessableEntity.message).toMatch(
        /is in use by .*deactivate this one/,
      );
      expect(
        (await api.store.catalogue.put(nextOf(await api.store.catalogue.get()), [id])) as object,
      ).toMatchObject({
        users: expect.arrayContaining([user.replace(' ', ':')]) as string[],
      });
    }
    expect((await change(to, { active: true })).status, 'all else can be changed').toBe(202);
  });

  it('takes a version that nobody has, and a datastore that has none', async () => {
    const refused = await at('/datastores/toys', { method: 'DELETE' });
    expect(refused.body.unprocessableEntity.message).toContain("Datastore 'toys' has versions: 1.0, 1.5");
    for (const name of ['1.0', '1.5']) expect((await remove(await idOf('toys', name))).status).toBe(202);
    expect((await at('/datastores/toys')).body.datastore).toMatchObject({ versions: [] });
    expect((await at('/datastores/toys', { method: 'DELETE' })).status).toBe(202);
    expect((await at('/datastores/toys')).status).toBe(404);
    expect((await at('/datastores/toys', { method: 'DELETE' })).status).toBe(404);
    expect((await remove('5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a')).status).toBe(404);
    expect((await change('nope', {})).status).toBe(404);
  });
});

function nextOf<T extends { readonly revision: number }>(catalogue: T): T {
  return { ...catalogue, revision: catalogue.revision + 1 };
}

describe('a listing', () => {
  it.each(['/datastores', '/datastores/postgresql/versions', managed()])(
    '%s: whole, or page by page',
    async (path) => {
      const kind = path === '/datastores' ? 'datastores' : 'versions';
      const whole = (await at(path)).body;
      expect(whole.links).toBeUndefined();
      const ids = whole[kind].map(({ id }: { id: string }) => id);
      const seen: string[] = [];
      let next: string | undefined = `${api.url}${path}?limit=1`;
      while (next !== undefined) {
        const { body } = await ask(next);
        expect(body[kind]).toHaveLength(1);
        seen.push(body[kind][0].id);
        next = body.links?.[0].href;
      }
      expect(seen).toEqual(ids);
      const unknown = await at(`${path}?marker=5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a`);
      expect(unknown.body.badRequest.message).toContain('is not in this listing');
    },
  );
});

it('is for administrators only to change', async () => {
  const id = await idOf('simulated', '1.0');
  const requests: readonly [string, string, object?][] = [
    ['GET', managed()],
    ['GET', managed(id)],
    ['POST', managed(), { version: {} }],
    ['PATCH', managed(id), { active: false }],
    ['DELETE', managed(id)],
    ['DELETE', '/datastores/simulated'],
  ];
  const before = await api.keyspace();
  for (const [method, path, json] of requests) {
    const { status } = await at(path, { method, ...(json && { json }), ...MEMBER });
    expect(`${method} ${path}: ${status}`).toBe(`${method} ${path}: 403`);
  }
  expect(await api.keyspace()).toEqual(before);
});
