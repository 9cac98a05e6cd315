/**
 * Control over HTTP: plan preview, repeated requests, reset-status. Real api, Redis and RabbitMQ. Not
 * covered: what the plan is (unit tests of the core), what guests make of it.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import { PlanAnswer } from '../../src/contract/upgrade-documents.ts';
import { ask, beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

let api: Harness;
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
});
afterAll(() => api.close());

const post = (path: string, json: unknown, headers: Record<string, string> = {}) =>
  ask(`${api.url}${path}`, { method: 'POST', json, headers });
const patch = (path: string, json: unknown, headers: Record<string, string> = {}) =>
  ask(`${api.url}${path}`, { method: 'PATCH', json, headers });
const upgradeTo = (datastore_version: string, more = {}) => ({ upgrade: { datastore_version, ...more } });

describe('a dry run', () => {
  it('answers 200 with the plan, and changes nothing', async () => {
    const id = await buildCluster(api, 'dry');
    const casts = api.casts.length;
    const before = await api.keyspace();
    const { status, body } = await post(`/clusters/${id}`, upgradeTo('1.1', { dry_run: true }));
    expect(status).toBe(200);
    expect(PlanAnswer.parse(body)).toEqual(body);
    expect(body.plan).toMatchObject({
      from: { name: '1.0' },
      to: { name: '1.1' },
      successor: null,
      gates: [],
      estimate_seconds: null,
    });
    expect(body.plan.steps.map((step: { instance_name: string }) => step.instance_name)).toEqual([
      'dry-member-1',
      'dry-member-2',
      'dry-member-3',
    ]);
    const bare = await patch(`/cluster/${id}`, { datastore_version: '1.1', dry_run: true });
    expect(bare.status).toBe(200);
    expect(bare.body.plan.hash).toBe(body.plan.hash);
    expect(onlyRecords(await api.keyspace())).toEqual(onlyRecords(before));
    expect(api.casts.length).toBe(casts);
  });

  it('of a busy cluster names the gate and is no error', async () => {
    const id = await buildCluster(api, 'dry-busy');
    await beginUpgrade(api, id);
    const { status, body } = await post(`/clusters/${id}`, upgradeTo('1.1', { dry_run: true }));
    expect(status).toBe(200);
    expect(body.plan.gates.map(({ gate }: { gate: string }) => gate)).toEqual(['cluster_idle']);
  });

  it('knows the clusters of its own tenant only', async () => {
    const id = await buildCluster(api, 'dry-other', 't2');
    const { status } = await post(`/clusters/${id}`, upgradeTo('1.1', { dry_run: true }));
    expect(status).toBe(404);
  });
});

describe('a plan hash', () => {
  it('lets the upgrade begin as long as the plan is the same, and not otherwise', async () => {
    const client = createClient({ endpoint: api.url });
    const id = await buildCluster(api, 'hashed');
    const { hash } = await client.clusters.plan(id, '1.1');
    const wrong = await post(`/clusters/${id}`, upgradeTo('1.1', { plan_hash: '0123456789abcdef' }));
    expect(wrong.status).toBe(409);
    expect(wrong.body.conflict).toMatchObject({ error: 'conflict', message: expect.stringContaining(hash) });
    const alsoWrong = await patch(`/clusters/${id}`, {
      cluster: { datastore_version: '1.1', plan_hash: '0123456789abcdef' },
    });
    expect(alsoWrong.status).toBe(409);
    expect((await client.clusters.get(id)).task.name).toBe('NONE');
    const upgrading = await client.clusters.upgrade(id, '1.1', undefined, { planHash: hash });
    expect(upgrading.task.name).toBe('UPGRADING_CLUSTER');
  });

  it('of another form is refused', async () => {
    const id = await buildCluster(api, 'hash-form');
    expect((await post(`/clusters/${id}`, upgradeTo('1.1', { plan_hash: 'x' }))).status).toBe(400);
  });
});

describe('an Idempotency-Key', () => {
  const key = () => ({ 'idempotency-key': randomUUID() });
  const creation = (name: string) => ({
    cluster: { name, datastore: { type: 'simulated' }, instances: [{}] },
  });

  it('makes a repeated creation one cluster, and replays the answer', async () => {
    const headers = key();
    const first = await post('/clusters', creation('once'), headers);
    const second = await post('/clusters', creation('once'), headers);
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    expect(second.headers.get('idempotency-replayed')).toBe('true');
    expect(second.status).toBe(first.status);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get('content-type')).toContain('application/json');
    expect(await api.store.clusters.find('t1', 'once')).toHaveLength(1);
  });

  it('makes a repeated upgrade one upgrade, by POST and by PATCH, with its Location', async () => {
    const id = await buildCluster(api, 'upgraded-once');
    const headers = key();
    const first = await patch(`/cluster/${id}`, { datastore_version: '1.1' }, headers);
    const second = await patch(`/cluster/${id}`, { datastore_version: '1.1' }, headers);
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(second.headers.get('location')).toBe(first.headers.get('location'));
    const { items } = await api.store.upgrades.list(id, { limit: 10, marker: null });
    expect(items).toHaveLength(1);
  });

  it('replays a refusal too, even when the request would succeed by now', async () => {
    const id = await buildCluster(api, 'refused');
    const headers = key();
    const upgrade = await beginUpgrade(api, id);
    const refused = await post(`/clusters/${id}`, upgradeTo('1.1'), headers);
    expect(refused.status).toBe(422);
    await post(`/upgrades/${upgrade}`, { cancel: {} });
    const again = await post(`/clusters/${id}`, upgradeTo('1.1'), headers);
    expect(again.status).toBe(422);
    expect(again.body).toEqual(refused.body);
  });

  it.each([
    ['another body', (headers: Record<string, string>) => post('/clusters', creation('other'), headers)],
    ['another path', (headers: Record<string, string>) => post('/clusters/x', creation('reused'), headers)],
    [
      'another method',
      (headers: Record<string, string>) => patch('/clusters/x', creation('reused'), headers),
    ],
  ])('is refused with %s', async (_what, send) => {
    const headers = key();
    await post('/clusters', creation('reused'), headers);
    const { status, body } = await send(headers);
    expect(status).toBe(422);
    expect(body.unprocessableEntity.error).toBe('idempotency_key_reused');
  });

  it('is a word of its tenant', async () => {
    const headers = key();
    const mine = await post('/clusters', creation('tenant-word'), headers);
    const theirs = await ask(`${api.origin}/v1.0/t2/clusters`, {
      method: 'POST',
      json: creation('tenant-word'),
      headers,
    });
    expect(theirs.headers.get('idempotency-replayed')).toBeNull();
    expect(theirs.body.cluster.id).not.toBe(mine.body.cluster.id);
  });

  it('of a request in work is answered 409, and when to come again', async () => {
    const headers = key();
    const all = await Promise.all(
      Array.from({ length: 10 }, () => post('/clusters', creation('at-once'), headers)),
    );
    expect(await api.store.clusters.find('t1', 'at-once')).toHaveLength(1);
    for (const { status, headers: got, body } of all.filter((one) => one.status !== 200)) {
      expect(status).toBe(409);
      expect(got.get('retry-after')).toBe('1');
      expect(body.conflict.error).toBe('request_in_flight');
    }
    expect(all.some(({ status }) => status === 409)).toBe(true);
  });

  it('begins one cluster even if the first try ended in a 503', async () => {
    const headers = key();
    const first = await post('/clusters', creation('after-503'), headers);
    const [name] = Object.keys(await api.keyspace()).filter((one) =>
      one.endsWith(headers['idempotency-key']),
    );
    expect(name).toBeDefined();
    // As the store is when the process has died between the two.
    await api.forget(name ?? '', ['answer']);
    const second = await post('/clusters', creation('after-503'), headers);
    expect(second.status).toBe(200);
    expect(second.body.cluster.id).toBe(first.body.cluster.id);
    expect(await api.store.clusters.find('t1', 'after-503')).toHaveLength(1);
  });

  it('of a wrong form is refused', async () => {
    const { status } = await post('/clusters', creation('form'), { 'idempotency-key': 'a b' });
    expect(status).toBe(400);
    expect(await api.store.clusters.find('t1', 'form')).toHaveLength(0);
  });

  it('never has a secret stored: neither join token nor password', async () => {
    const external = await startApi({ provisioner: 'external' });
    try {
      const users = [{ name: 'u', password: 'pa55-of-mine', databases: [] }];
      const json = { cluster: { ...creation('secret').cluster, datastore: { type: 'postgresql' }, users } };
      const request = { method: 'POST', json, headers: key() };
      const first = await ask(`${external.url}/clusters`, request);
      const { join_token, ...rest } = first.body.cluster;
      expect(join_token).toBeTypeOf('string');
      const kept = JSON.stringify(await external.keyspace());
      expect(kept).not.toContain(join_token);
      expect(kept).not.toContain('pa55-of-mine');
      const second = await ask(`${external.url}/clusters`, request);
      expect(second.headers.get('idempotency-replayed')).toBe('true');
      expect(second.body).toEqual({ cluster: rest });
    } finally {
      await external.close();
    }
  });
});

describe('reset-status', () => {
  const reset = (id: string) => post(`/clusters/${id}`, { 'reset-status': {} });

  it('ends an upgrade at once as cancelled, and frees the cluster', async () => {
    const id = await buildCluster(api, 'reset');
    const upgrade = await beginUpgrade(api, id);
    await happen(api.store, upgrade, 'started', { name: 'running', started: Date.now() });
    const { status, body } = await reset(id);
    expect(status).toBe(202);
    expect(body.cluster).toMatchObject({ id, task: { name: 'NONE' }, upgrade_id: upgrade });
    const { body: shown } = await ask(`${api.url}/upgrades/${upgrade}`);
    expect(shown.upgrade).toMatchObject({ state: 'cancelled', actions: ['retry'], estimated_end: null });
    expect(shown.upgrade.status).toContain('status reset by an operator');
    expect((await reset(id)).status).toBe(202);
    expect((await post(`/clusters/${id}`, upgradeTo('1.1'))).status).toBe(202);
  });

  it('counts a cluster that is being built as built', async () => {
    const json = { cluster: { name: 'never-built', datastore: { type: 'simulated' }, instances: [{}] } };
    const { body } = await post('/clusters', json);
    const client = createClient({ endpoint: api.url });
    expect((await client.clusters.resetStatus(body.cluster)).task.name).toBe('NONE');
  });

  it('is refused while the cluster is being deleted, and for clusters of others', async () => {
    const id = await buildCluster(api, 'deleting');
    await ask(`${api.url}/clusters/${id}`, { method: 'DELETE' });
    const refused = await reset(id);
    expect(refused.status).toBe(422);
    expect(refused.body.unprocessableEntity.error).toBe('cluster_busy');
    const theirs = await buildCluster(api, 'theirs', 't2');
    expect((await reset(theirs)).status).toBe(404);
  });
});

/** Of what Redis holds, the part that says something about clusters and upgrades. */
function onlyRecords(keyspace: Readonly<Record<string, unknown>>) {
  return Object.fromEntries(Object.entries(keyspace).filter(([key]) => !key.includes(':idempotency:')));
}
