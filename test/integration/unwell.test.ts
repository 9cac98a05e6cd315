/** Why an instance is not well, as its guest agent says: in the documents of the API and on the command line. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { coffer } from '../support/cli.ts';
import { ask, beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

const REASON = 'the server does not answer: connect ECONNREFUSED 127.0.0.1:5432';

let api: Harness;
let cluster: string;
let instance: string;

beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
  cluster = await buildCluster(api, 'shop');
  const found = await api.store.clusters.get(cluster);
  instance = found?.instances[1]?.id ?? '';
  const report = { service_status: 'failed', version: '1.0', role: 'member', message: REASON } as const;
  await api.store.clusters.heartbeat(instance, { ...report, sent: Date.now() + 1 }, Date.now());
});
afterAll(() => api.close());

const here = (args: string) => `${args} --endpoint ${api.origin} --tenant t1`;

describe('an instance that its guest agent finds failed', () => {
  it('says why in the documents of its cluster, of itself and of the health report', async () => {
    const why = { status: 'ERROR', service_status: 'failed', service_message: REASON };
    const shown = (await ask(`${api.url}/clusters/${cluster}`)).body.cluster.instances;
    expect(shown[1]).toMatchObject({ ...why, heard: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}$/) });
    expect(shown[0]).toMatchObject({ status: 'ACTIVE', service_message: null });
    expect((await ask(`${api.url}/clusters`)).body.clusters[0].instances[1]).toMatchObject(why);
    expect((await ask(`${api.url}/instances/${instance}`)).body.instance).toMatchObject(why);
    const { guests } = (await ask(`${api.url}/health`)).body.health;
    expect(guests.unwell).toMatchObject([{ instance_name: 'shop-member-2', message: REASON, fault: null }]);
  });

  it('says why on the command line: of its cluster, of itself, and while an upgrade is watched', async () => {
    const said = `shop-member-2 is ERROR: ${REASON}\n`;
    expect((await coffer(here('cluster-show shop'))).stdout).toContain(said);
    expect((await coffer(here('cluster-show shop'), { isTTY: true })).stdout).toContain(said);
    const shown = await coffer(here('instance-show shop-member-2'));
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout).toContain(`why\t${REASON}\n`);
    expect(JSON.parse((await coffer(here('instance-show shop-member-2 --json'))).stdout)).toMatchObject({
      instance: { name: 'shop-member-2', service_message: REASON },
    });
    const id = await beginUpgrade(api, cluster);
    const since = Date.now();
    await happen(api.store, id, 'paused', {
      ...{
        name: 'paused',
        started: since,
        since,
        reason: 'gate',
        message: 'an instance is down',
        until: null,
      },
    });
    const watched = await coffer(here(`upgrade-watch ${id} --wait`));
    expect(watched.stdout).toContain(`${said}To go on: coffer upgrade-resume ${id}\n`);
    const drawn = await coffer(here(`upgrade-watch ${id} --wait`), { isTTY: true });
    expect(drawn.stdout).toMatch(/shop-member-2 .* the server does not answer/);
  });
});

describe('the upgrade that is the task of a cluster', () => {
  it('is told with the cluster while it is not over: state, reason, since and until when', async () => {
    const other = await buildCluster(api, 'night');
    const id = await beginUpgrade(api, other);
    const read = async () => (await ask(`${api.url}/clusters/${other}`)).body.cluster;
    expect((await read()).upgrade).toMatchObject({ state: 'scheduled', to: '1.1', since: null, until: null });
    const [since, until] = [Date.now() - 5_000, Date.now() + 3_600_000];
    const message = 'the window is closed';
    const paused = { name: 'paused', started: since, since, reason: 'window', message, until } as const;
    await happen(api.store, id, 'paused', paused);
    const told = {
      ...{ state: 'paused', reason: 'window', message },
      ...{ since: new Date(since).toISOString(), until: new Date(until).toISOString() },
    };
    expect((await read()).upgrade).toEqual({ ...told, to: '1.1', cancelling: false, silent: false });
    const listed = (await ask(`${api.url}/clusters`)).body.clusters;
    const of = (name: string) => listed.find((each: { readonly name: string }) => each.name === name);
    expect(of('night').upgrade).toMatchObject(told);
    expect((await ask(`${api.url}/upgrades/${id}`)).body.upgrade).toMatchObject(told);
    // It goes on by itself: no command is named that would.
    expect((await coffer(here('upgrade-show night'))).stdout).not.toContain('To go on');
    await happen(api.store, id, 'cancelled', {
      ...{ name: 'cancelled', started: since, ended: Date.now(), message: 'cancelled' },
    });
    expect(await read()).not.toHaveProperty('upgrade');
  });
});
