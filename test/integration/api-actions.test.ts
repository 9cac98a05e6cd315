/**
 * Actions on an upgrade, from the request to the record: real api, real handlers of a taskmanager, no
 * guest. Not covered: what each action does to the steps (unit tests of the core).
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createClient } from '../../client/index.ts';
import { UpgradeAnswer } from '../../src/contract/upgrade-documents.ts';
import { ACTIONS } from '../../src/core/upgrade/inputs.ts';
import { ask, beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

let api: Harness;
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
});
afterAll(() => api.close());

const act = (upgrade: string, json: unknown, tenant = 't1') =>
  ask(`${api.origin}/v1.0/${tenant}/upgrades/${upgrade}`, { method: 'POST', json });

/** An upgrade that a taskmanager has taken up; no guest will ever answer it. */
async function started(name: string): Promise<string> {
  const id = await beginUpgrade(api, await buildCluster(api, name));
  await happen(api.store, id, 'started', { name: 'running', started: Date.now() });
  return id;
}

const typesOf = async (id: string) =>
  (await api.store.upgrades.events(id, 0, { limit: 100, wait_ms: 0 })).map(({ type }) => type);

describe('an action', () => {
  it('is answered 202 with the upgrade as it is afterwards, and the actions that are next', async () => {
    const id = await started('paused');
    const paused = await act(id, { pause: {} });
    expect(paused.status).toBe(202);
    expect(UpgradeAnswer.parse(paused.body)).toEqual(paused.body);
    expect(paused.body.upgrade).toMatchObject({
      id,
      state: 'paused',
      reason: 'requested',
      message: 'paused by an operator: resume it, or cancel it',
      actions: ['resume', 'cancel', 'rollback'],
      cancelling: false,
    });
    const resumed = await act(id, { resume: {} });
    expect(resumed.body.upgrade).toMatchObject({
      state: 'running',
      actions: ['pause', 'cancel', 'rollback'],
    });
  });

  it('that was carried out already is answered in the same way, and changes nothing', async () => {
    const id = await started('paused-twice');
    const [first, second] = [await act(id, { pause: {} }), await act(id, { pause: {} })];
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(second.body).toEqual(first.body);
    expect(await typesOf(id)).toEqual(['accepted', 'started', 'paused']);
  });

  it('asked for twenty times at once is carried out once', async () => {
    const id = await started('paused-often');
    const all = await Promise.all(Array.from({ length: 20 }, () => act(id, { pause: {} })));
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([202]));
    expect(await typesOf(id)).toEqual(['accepted', 'started', 'paused']);
  });

  it('ends an upgrade that nobody has taken up', async () => {
    const id = await beginUpgrade(api, await buildCluster(api, 'cancelled-early'));
    const { status, body } = await act(id, { cancel: {} });
    expect(status).toBe(202);
    expect(body.upgrade).toMatchObject({ state: 'cancelled', actions: ['retry'], cancelling: true });
    const { body: shown } = await ask(`${api.url}/clusters/cancelled-early`);
    expect(shown.cluster.task.name).toBe('NONE');
  });

  it.each([
    ['pause', 'scheduled', 'it has not started yet: cancel it instead', async () => undefined],
    ['approve', 'scheduled', 'its policy has no canary to approve', async () => undefined],
    [
      'retry',
      'running',
      'no step has failed: there is nothing to retry',
      (id: string) => happen(api.store, id, 'started', { name: 'running', started: Date.now() }),
    ],
  ] as const)(
    '%s is refused when the upgrade is %s, with the reason',
    async (action, state, reason, before) => {
      const id = await beginUpgrade(api, await buildCluster(api, `refused-${action}`));
      await before(id);
      const record = await api.store.upgrades.get(id);
      const { status, body } = await act(id, { [action]: {} });
      expect(status).toBe(422);
      expect(body.unprocessableEntity).toEqual({
        code: 422,
        error: 'action_refused',
        message: `Upgrade ${id} is ${state}, and '${action}' is refused: ${reason}.`,
      });
      expect(await api.store.upgrades.get(id)).toEqual(record);
    },
  );

  it.each([
    ['pause', 'the upgrade has ended: succeeded'],
    ['resume', 'the upgrade has ended: succeeded'],
    ['approve', 'the upgrade has ended: succeeded'],
    ['cancel', 'the upgrade has ended: succeeded'],
    ['retry', 'it has succeeded: there is nothing to retry'],
  ])('%s is refused once the upgrade has ended, with its state', async (action, reason) => {
    const id = await started(`ended-${action}`);
    await happen(api.store, id, 'succeeded', { name: 'succeeded', started: Date.now(), ended: Date.now() });
    const { status, body } = await act(id, { [action]: {} });
    expect(status).toBe(422);
    expect(body.unprocessableEntity.message).toBe(
      `Upgrade ${id} is succeeded, and '${action}' is refused: ${reason}.`,
    );
  });

  it.each([
    ['retry', 'failed', 'forward'],
    ['rollback', 'succeeded', 'back'],
  ] as const)('%s of an upgrade that has %s begins another one, once', async (action, name, direction) => {
    const id = await started(`taken-up-${action}`);
    const times = { started: Date.now(), ended: Date.now() };
    await happen(
      api.store,
      id,
      name,
      name === 'failed' ? { name, ...times, message: 'no disk' } : { name, ...times },
    );
    const { body: before } = await ask(`${api.url}/upgrades/${id}`);
    expect(before.upgrade.actions).toContain(action);
    const { status, body, headers } = await act(id, { [action]: {} });
    expect(status).toBe(202);
    expect(UpgradeAnswer.parse(body)).toEqual(body);
    expect(body.upgrade.id).not.toBe(id);
    expect(headers.get('location')).toBe(`${api.url}/upgrades/${body.upgrade.id}`);
    expect(body.upgrade.follows).toEqual({ upgrade_id: id, as: action });
    expect((await api.store.upgrades.get(body.upgrade.id))?.direction).toBe(direction);
    const again = await act(id, { [action]: {} });
    expect([again.status, again.body.upgrade.id]).toEqual([202, body.upgrade.id]);
    await act(body.upgrade.id, { cancel: {} });
    const later = await act(id, { [action]: {} });
    expect(later.status).toBe(422);
    expect(later.body.unprocessableEntity.message).toContain(
      `'${action}' is refused: a later upgrade of the cluster is ${body.upgrade.id}`,
    );
  });

  it('retry of a failed upgrade may name another version', async () => {
    const id = await started('corrected');
    const state = { name: 'failed', started: Date.now(), ended: Date.now(), message: 'no disk' } as const;
    await happen(api.store, id, 'failed', state);
    const { status, body } = await act(id, { retry: { datastore_version: '2.0' } });
    expect(status).toBe(202);
    expect(body.upgrade).toMatchObject({ to: { name: '2.0' }, follows: null });
    const again = await act(id, { retry: { datastore_version: '2.0' } });
    expect(again.status).toBe(422);
    expect(again.body.unprocessableEntity.message).toContain(
      `'retry' is refused: a later upgrade of the cluster is ${body.upgrade.id}`,
    );
  });

  it("retry of one instance's upgrade with another version is about that instance, under the same policy", async () => {
    const cluster_id = await buildCluster(api, 'corrected-alone');
    const [, second] = (await api.store.clusters.get(cluster_id))?.instances ?? [];
    const policy = { retries: 7, soak_seconds: 5, not_before: '2099-01-01T00:00:00Z' };
    const json = { instance: { datastore_version: '1.1', policy } };
    await ask(`${api.url}/instances/${second?.id}`, { method: 'PATCH', json });
    const id = (await api.store.clusters.get(cluster_id))?.upgrade_id ?? '';
    expect((await act(id, { cancel: {} })).body.upgrade.state).toBe('cancelled');
    const { status, body } = await act(id, { retry: { datastore_version: '2.0' } });
    expect(status).toBe(202);
    expect(body.upgrade).toMatchObject({
      instance_id: second?.id,
      to: { name: '2.0' },
      policy: { retries: 7, soak_seconds: 5, not_before: null },
    });
    await expect
      .poll(() => api.casts.at(-1))
      .toMatchObject({ method: 'upgrade', args: { instance_id: second?.id } });
  });

  it('retry of an upgrade that has succeeded is refused, whatever version it names', async () => {
    const id = await started('corrected-for-nothing');
    await happen(api.store, id, 'succeeded', { name: 'succeeded', started: Date.now(), ended: Date.now() });
    const { status, body } = await act(id, { retry: { datastore_version: '2.0' } });
    expect(status).toBe(422);
    expect(body.unprocessableEntity.message).toContain('it has succeeded: there is nothing to retry');
  });

  it('retry of a failed upgrade is refused in a window that has become too short for a step', async () => {
    const cluster_id = await buildCluster(api, 'too-short');
    const window = { cron: '0 2 * * *', duration_seconds: 60 };
    const json = { upgrade: { datastore_version: '1.1', policy: { window } } };
    const { body } = await ask(`${api.url}/clusters/${cluster_id}`, { method: 'POST', json });
    const id: string = body.cluster.upgrade_id;
    await happen(api.store, id, 'failed', { name: 'failed', started: 1, ended: 2, message: 'no disk' });
    const measured = vi.spyOn(api.store.upgrades, 'measuredTimes');
    measured.mockResolvedValue({ instance: [90_000], switchover: [] });
    const { status, body: answer } = await act(id, { retry: {} });
    measured.mockRestore();
    expect(status).toBe(400);
    expect(answer.badRequest.message).toContain('open for 60 s, and a step is expected to take up to 90 s');
  });

  it("of another tenant's upgrade, or of none, is answered 404", async () => {
    const id = await started('not-yours');
    for (const answer of [await act(id, { pause: {} }, 't2'), await act(randomUUID(), { pause: {} })]) {
      expect(answer.status).toBe(404);
      expect(answer.body.itemNotFound.error).toBe('upgrade_not_found');
    }
    expect((await act('nope', { pause: {} })).status).toBe(404);
    expect((await api.store.upgrades.get(id))?.state.name).toBe('running');
  });

  it.each([
    [{}, 'exactly one action'],
    [null, 'exactly one action'],
    [{ pause: {}, resume: {} }, 'exactly one action'],
    [{ bogus: {} }, 'Action bogus not supported'],
    [{ toString: {} }, 'Action toString not supported'],
    [{ pause: null }, "pause null is not of type 'object'"],
    [{ pause: true }, "pause true is not of type 'object'"],
    [{ pause: { for: 5 } }, "Additional properties are not allowed ('for' was unexpected)"],
  ])('asked for with %j is answered 400', async (json, message) => {
    const id = (await api.store.clusters.find('t1', 'wrong'))[0] ?? (await buildCluster(api, 'wrong'));
    const upgrade_id = (await api.store.clusters.get(id))?.upgrade_id ?? (await beginUpgrade(api, id));
    const { status, body } = await act(upgrade_id, json);
    expect(status).toBe(400);
    expect(body.badRequest.message).toContain(message);
    expect((await api.store.upgrades.get(upgrade_id))?.revision).toBe(1);
  });

  it('is a method of the client, which rejects with a code that is stable', async () => {
    const client = createClient({ endpoint: api.url });
    const id = await started('by-client');
    expect((await client.upgrades.pause({ id })).state).toBe('paused');
    expect((await client.upgrades.resume(id)).state).toBe('running');
    for (const action of ['approve', 'retry'] as const) {
      await expect(client.upgrades[action](id)).rejects.toMatchObject({
        code: 'action_refused',
        status: 422,
      });
    }
    expect(await client.upgrades.cancel(id)).toMatchObject({
      state: 'cancelled',
      message: expect.stringContaining('1.1 runs on 0 of 3 instances'),
    });
  });

  it('is described in OpenAPI with all its forms', async () => {
    const { body } = await ask(`${api.origin}/openapi.json`);
    const { post } = body.paths['/v1.0/{tenant_id}/upgrades/{upgrade_id}'];
    const { schema } = post.requestBody.content['application/json'];
    expect(Object.keys(schema.properties)).toEqual([...ACTIONS]);
  });
});

describe('deleting a cluster that is being upgraded', () => {
  it('is refused, and the message names the way out', async () => {
    const id = await started('undeletable');
    const refused = await ask(`${api.url}/clusters/undeletable`, { method: 'DELETE' });
    expect(refused.status).toBe(422);
    expect(refused.body.unprocessableEntity.message).toContain(
      `Its upgrade is ${id}: wait for it, or cancel it.`,
    );
    await act(id, { cancel: {} });
    expect((await ask(`${api.url}/clusters/undeletable`, { method: 'DELETE' })).status).toBe(202);
  });
});

describe('with nobody to carry it out', () => {
  const away = {
    code: 503,
    error: 'bus_unavailable',
    message: expect.stringMatching(
      /^No taskmanager has answered: 'pause' may or may not .* twice does no harm\.$/,
    ),
  };

  it('an action is answered 503, and may be asked for again', async () => {
    const deaf = await startApi();
    try {
      const id = await beginUpgrade(deaf, await buildCluster(deaf, 'deaf'));
      const begun = Date.now();
      const answer = await ask(`${deaf.url}/upgrades/${id}`, { method: 'POST', json: { pause: {} } });
      expect(answer.status).toBe(503);
      expect(answer.headers.get('retry-after')).toBe('2');
      expect(answer.body.serviceUnavailable).toEqual(away);
      expect(Date.now() - begun).toBeLessThan(7_000);
    } finally {
      await deaf.close();
    }
  });

  it('it is the same while RabbitMQ is away, and works when it is back', async () => {
    const id = await started('outage');
    api.amqpProxy.refuse();
    await expect.poll(() => api.bus.isConnected()).toBe(false);
    const answer = await act(id, { pause: {} });
    expect(answer.status).toBe(503);
    expect(answer.body.serviceUnavailable).toEqual(away);
    api.amqpProxy.allow();
    await expect.poll(async () => (await act(id, { pause: {} })).status).toBe(202);
  });
});
