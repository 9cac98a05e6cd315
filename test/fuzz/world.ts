/** What inputs may be about: records of two tenants, made by way of the api as anybody makes them. */
import { randomUUID } from 'node:crypto';
import type { Authenticate } from '../../api/access/caller.ts';
import { CofferError } from '../../src/core/errors.ts';
import { sleep } from '../../src/service.ts';
import { ask, beginUpgrade, buildCluster, type Harness } from '../integration/api-harness.ts';

export interface Ids {
  /** Which is upgraded. */
  readonly cluster: string;
  readonly instance: string;
  readonly upgrade: string;
}

export interface Things extends Ids {
  /** A cluster with which nothing is done. */
  readonly idle: string;
  readonly batch: string;
  /** A dead letter. */
  readonly letter: string;
  /** A datastore of one version, which nothing uses. */
  readonly datastore: string;
  readonly version: string;
}

type Headers = Readonly<Record<string, string>>;
export const ANN: Headers = { 'x-auth-token': 'ann' };
export const EVE: Headers = { 'x-auth-token': 'eve' };

/** Ann is a member of one tenant, Eve an administrator, who is never told of the bystander. */
export const authenticate: Authenticate = async ({ headers }) => {
  const user = headers['x-auth-token'];
  if (user !== 'ann' && user !== 'eve') throw new CofferError('unauthorized', 'Who are you?');
  const [project_id, roles] = user === 'ann' ? ['t1', ['member']] : ['ops', ['admin']];
  return { user, project_id, credentials: { user_id: user, project_id, roles }, is_confined: false };
};

export async function newIds(api: Harness, name: string, tenant: string, headers: Headers): Promise<Ids> {
  return patiently(async () => {
    const cluster = await buildCluster(api, name, tenant, headers);
    const upgrade = await beginUpgrade({ ...api, url: `${api.origin}/v1.0/${tenant}` }, cluster, headers);
    const instance = (await api.store.clusters.get(cluster))?.instances[0]?.id ?? '';
    return { cluster, instance, upgrade };
  });
}

export async function newThings(
  api: Harness,
  name: string,
  tenant: string,
  headers: Headers,
): Promise<Things> {
  const ids = await newIds(api, name, tenant, headers);
  return patiently(async () => {
    const idle = await buildCluster(api, `${name}-idle`, tenant, headers);
    const post = async (path: string, json: object, as: Headers) => {
      const answer = await ask(`${api.origin}/v1.0/${tenant}/${path}`, { method: 'POST', json, headers: as });
      if (answer.status !== 202) throw new Error(`${path} was answered ${JSON.stringify(answer.body)}`);
      return answer;
    };
    // A wave that waits for a yes: the batch does nothing by itself.
    const batch = { datastore_version: '1.1', clusters: [idle], waves: [{ approval: true }] };
    const { body } = await post('upgrade-batches', { batch }, headers);
    const datastore = `fuzz-${randomUUID().slice(0, 8)}`;
    const version = { name: '1.0', datastore_name: datastore, datastore_manager: 'simulated', active: true };
    const made = await post('mgmt/datastore-versions', { version }, EVE);
    const [, version_id = ''] = /([^/]+)$/.exec(made.headers.get('location') ?? '') ?? [];
    const letter = api.bury('{"method": "nobody_knows", "args": {}}');
    return { ...ids, idle, batch: body.batch.id, letter, datastore, version: version_id };
  });
}

/** The records of these, as they are now. */
export async function snapshot({ store }: Harness, ids: Ids & Partial<Things>): Promise<string> {
  const { cluster, upgrade, idle, batch } = ids;
  const read = () =>
    Promise.all([
      ...[cluster, ...(idle === undefined ? [] : [idle])].map((id) => store.clusters.get(id)),
      store.upgrades.get(upgrade),
      ...(batch === undefined ? [] : [store.batches.get(batch)]),
    ]);
  return JSON.stringify(await patiently(read));
}

/** What the fuzzer itself does is tried again for half a minute: Redis may be late, or away after a machine has slept. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === 60) throw error;
      await sleep(500);
    }
  }
}
