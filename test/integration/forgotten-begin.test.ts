/**
 * A Redis that fails over to a replica which lagged has lost the begin of an upgrade that was accepted. Its cast is in
 * RabbitMQ, and begins the same upgrade again. Real api, Redis and RabbitMQ, and a taskmanager's handlers. Not covered:
 * guests that have carried out orders of the upgrade that was lost.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ask, buildCluster, EVERYBODY, type Harness, happen, startApi } from './api-harness.ts';

let api: Harness;
beforeAll(async () => {
  api = await startApi({
    authenticate: async (request, project_id) => ({
      ...(await EVERYBODY.authenticate(request, project_id)),
      user: 'ann',
    }),
  });
});
afterAll(() => api.close());

const POLICY = {
  max_unavailable: '50%',
  canary: 2,
  soak_seconds: 30,
  step_timeout_seconds: 120,
  timeout_seconds: 7_200,
  retries: 5,
  on_failure: 'rollback',
  not_before: '2199-01-01T00:00:00.000Z',
  window: { cron: '0 2 * * *', duration_seconds: 7_200, time_zone: 'Europe/Berlin' },
  overrides: [{ gate: 'replication_caught_up', reason: 'known to lag' }],
};

/** Has somebody ask for something; then Redis forgets the begin, and a taskmanager takes the cast. */
async function loseBegin(request: () => ReturnType<typeof ask>) {
  const goBack = await api.remember();
  const sent = api.casts.length;
  const { status, headers } = await request();
  expect(status).toBe(202);
  const upgrade_id = headers.get('location')?.split('/').at(-1) ?? '';
  await vi.waitFor(() => expect(api.casts.length).toBe(sent + 1), { timeout: 15_000 });
  const accepted = await api.store.upgrades.get(upgrade_id);
  await goBack();
  expect(await api.store.upgrades.get(upgrade_id)).toBeNull();
  const cast = api.casts.at(-1);
  if (!cast || !accepted) throw new Error('nothing was accepted');
  await api.taskmanager()(cast);
  const again = await api.store.upgrades.get(upgrade_id);
  return { accepted, again, cast };
}

const patch = (cluster: string, policy: object) =>
  ask(`${api.url}/clusters/${cluster}`, {
    method: 'PATCH',
    json: { datastore_version: '1.1', policy },
  });
/** Everything that people have asked for; not when. */
const askedFor = (upgrade: object | null) => {
  const { id, cluster_id, instance_id, tenant_id, from_version, to_version, policy, requested_by, ...rest } =
    upgrade as Record<string, unknown>;
  const { direction, follows } = rest;
  return {
    ...{ id, cluster_id, instance_id, tenant_id, from_version, to_version },
    ...{ policy, requested_by, direction, follows },
  };
};

describe('an upgrade whose begin Redis has lost', () => {
  it.each([
    ['every field of a policy', POLICY],
    ['no policy', {}],
  ])('is begun again from its cast with %s', async (title, policy) => {
    const cluster = await buildCluster(api, `lost-${title.length}`);
    const { accepted, again } = await loseBegin(() => patch(cluster, policy));
    expect(accepted.policy).toMatchObject({ canary: 'canary' in policy ? 2 : 0 });
    expect(accepted.requested_by).toMatchObject({ user: 'ann', via: 'rest' });
    expect(askedFor(again)).toEqual(askedFor(accepted));
    expect(await api.store.outbox.pendingCasts(Date.now(), 10)).toEqual([]);
  });

  it('of one instance is begun again for that instance alone', async () => {
    const cluster = await buildCluster(api, 'lost-instance');
    const instance = (await api.store.clusters.get(cluster))?.instances[1]?.id;
    const { accepted, again } = await loseBegin(() =>
      ask(`${api.url}/instances/${instance}`, {
        method: 'PATCH',
        json: { instance: { datastore_version: '1.1' } },
      }),
    );
    expect(accepted.instance_id).toBe(instance);
    expect(askedFor(again)).toEqual(askedFor(accepted));
  });

  it.each(['retry', 'rollback'] as const)('that is a %s goes the same way again', async (as) => {
    const cluster = await buildCluster(api, `lost-${as}`);
    const { headers } = await patch(cluster, { soak_seconds: 7 });
    const ended = headers.get('location')?.split('/').at(-1) ?? '';
    const times = { started: Date.now(), ended: Date.now() };
    await happen(api.store, ended, 'failed', { name: 'failed', ...times, message: 'it went wrong' });
    const { accepted, again, cast } = await loseBegin(() =>
      ask(`${api.url}/upgrades/${ended}`, { method: 'POST', json: { [as]: {} } }),
    );
    const versions = await api.store.catalogue.get();
    const goal = versions.versions.find(({ id }) => id === cast.args['datastore_version_id']);
    // A peer that knows no `follows` must not take the cluster forward.
    expect(goal?.name).toBe(as === 'rollback' ? '1.0' : '1.1');
    expect(accepted).toMatchObject({ follows: { as, upgrade_id: ended }, policy: { soak_seconds: 7 } });
    expect(askedFor(again)).toEqual(askedFor(accepted));
  });

  it('that takes up one of another cluster is refused, and nothing begins', async () => {
    const [one, other] = [await buildCluster(api, 'lost-one'), await buildCluster(api, 'lost-other')];
    const { accepted, cast } = await loseBegin(() => patch(one, {}));
    const args = {
      ...cast.args,
      ...{ cluster_id: other, upgrade_id: '5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a' },
      follows: { upgrade_id: accepted.id, as: 'retry' },
    };
    await expect(api.taskmanager()({ ...cast, args })).rejects.toMatchObject({ code: 'upgrade_not_found' });
    expect((await api.store.clusters.get(other))?.task).toBe('NONE');
  });
});
