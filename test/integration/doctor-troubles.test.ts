/** What `coffer doctor` says of instances, upgrades, batches and messages in trouble: each by name, with the next command. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../cli/doctor/findings.ts';
import type { BatchState } from '../../src/core/batch/record.ts';
import type { GuestReport } from '../../src/core/domain.ts';
import type { UpgradeState } from '../../src/core/record.ts';
import { coffer } from '../support/cli.ts';
import { until } from '../support/stack.ts';
import { ask, beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

const AT = Date.now() - 7_200_000;
const paused = { name: 'paused', started: AT, since: AT, message: 'no room', until: null } as const;
const ended = { started: AT, ended: AT, message: 'shop-1 has failed' } as const;

let api: Harness;
const upgrades = new Map<string, string>();
const batches = new Map<string, string>();
const instances = new Map<string, string>();
let letter: string;

beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
  await upgrade('failing', 'paused', { ...paused, reason: 'failure' });
  await upgrade('held', 'paused', { ...paused, reason: 'gate' });
  await upgrade('asked', 'paused', { ...paused, reason: 'requested' });
  await upgrade('window', 'paused', { ...paused, reason: 'window', until: Date.now() + 3_600_000 });
  await upgrade('stuck', 'no_progress', { name: 'running', started: AT }, { silent: true });
  await upgrade('halfway', 'failed', { name: 'failed', ...ended });
  await say('halfway', { service_status: 'healthy', version: '1.1' });
  await cluster('torn', 't2');
  await say('torn', { service_status: 'failed', version: '1.0', message: 'WAL is gone: build it anew' });
  await cluster('quiet');
  await say('quiet', { service_status: 'healthy', version: '1.0' }, Date.now() - 120_000);
  await batch('too many', {
    name: 'paused',
    started: AT,
    since: AT,
    reason: 'failures',
    message: '2 failed',
  });
  await batch('asked', { name: 'paused', started: AT, since: AT, reason: 'requested', message: 'by ann' });
  await batch('short', { name: 'incomplete', started: AT, ended: Date.now(), message: '1 of 2 failed' });
  letter = api.bury('{"no": "message"}');
  await until('it is buried', async () => {
    const { body } = await ask(`${api.url}/dead-letters`);
    return body.total === 1;
  });
});
afterAll(() => api.close());

async function cluster(name: string, tenant = 't1'): Promise<string> {
  const id = await buildCluster(api, name, tenant);
  const found = await api.store.clusters.get(id);
  instances.set(name, found?.instances[1]?.id ?? '');
  return id;
}

async function upgrade(
  name: string,
  type: 'paused' | 'no_progress' | 'failed',
  state: UpgradeState,
  more = {},
) {
  const id = await beginUpgrade(api, await cluster(name));
  upgrades.set(name, id);
  await happen(api.store, id, type, state, undefined, more);
}

async function say(name: string, report: Omit<GuestReport, 'sent'>, heard = Date.now()) {
  const about = { role: 'member', sent: Date.now() + 1, ...report } as const;
  await api.store.clusters.heartbeat(instances.get(name) ?? '', about, heard);
}

async function batch(name: string, state: BatchState) {
  await cluster(`of-${state.name}-${name.replace(' ', '-')}`);
  const json = {
    batch: {
      name,
      datastore_version: '1.1',
      selector: { name: `of-${state.name}-${name.replace(' ', '-')}` },
    },
  };
  const { body } = await ask(`${api.url}/upgrade-batches`, { method: 'POST', json });
  const { id } = body.batch;
  batches.set(name, id);
  const loaded = await api.store.batches.load(id, { now: Date.now(), states: [], cluster_ids: [] });
  if (!loaded) throw new Error('no batch');
  await api.store.batches.commit({
    batch: { ...loaded.batch, revision: loaded.batch.revision + 1, state },
    ...{ members: [], events: [], hints: [], load: null, max_concurrent_total: null },
    ...{ wake_at: 'ended' in state ? null : Date.now() + 60_000, now: Date.now() },
  });
}

async function doctor(): Promise<{ healthy: boolean; findings: readonly Finding[] }> {
  const { stdout } = await coffer(`doctor --json --endpoint ${api.origin} --tenant t1`);
  return JSON.parse(stdout);
}

describe('coffer doctor names', () => {
  it.each([
    ['failing', 'upgrades.paused', 'bad', 'Mend that, then: coffer upgrade-resume ID'],
    ['held', 'upgrades.paused', 'bad', 'Mend that, then: coffer upgrade-resume ID'],
    ['asked', 'upgrades.paused', 'warning', 'coffer upgrade-resume ID'],
    ['stuck', 'upgrades.silent', 'bad', 'Look what it waits for: coffer upgrade-show ID'],
    [
      'halfway',
      'upgrades.failed',
      'bad',
      'Mend that, then: coffer upgrade-retry ID, or coffer upgrade-rollback ID',
    ],
  ])('the upgrade of %s', async (name, check, state, repair) => {
    const found = (await doctor()).findings.filter((one) => one.found.includes(`upgrade of ${name} `));
    const said = repair.replaceAll('ID', upgrades.get(name) ?? '');
    expect(found).toMatchObject([{ check, state, repair: said }]);
    if (name !== 'stuck') expect(found[0]?.found).toMatch(/no room|shop-1 has failed/);
  });

  it('no upgrade that waits for its window: it goes on by itself', async () => {
    expect(JSON.stringify(await doctor())).not.toContain('upgrade of window');
  });

  it('an instance that has failed, with the words of its guest agent, in its tenant', async () => {
    const found = (await doctor()).findings.filter(({ check }) => check === 'guests.failed');
    expect(found).toMatchObject([
      { state: 'bad', found: 'torn-member-2 of torn is failed: WAL is gone: build it anew' },
    ]);
    expect(found[0]?.repair).toContain(`coffer instance-show ${instances.get('torn')} --tenant t2`);
  });

  it('an instance that is not heard', async () => {
    const found = (await doctor()).findings.filter(({ check }) => check === 'guests.silent');
    expect(found).toMatchObject([{ state: 'bad' }]);
    expect(found[0]?.found).toMatch(/^quiet-member-2 of quiet was last heard at /);
    expect(found[0]?.repair).toContain(`coffer instance-show ${instances.get('quiet')}`);
  });

  it.each([
    [
      'too many',
      'batches.paused',
      'bad',
      'coffer batch-report ID says what failed; then: coffer batch-resume ID',
    ],
    ['asked', 'batches.paused', 'warning', 'coffer batch-resume ID'],
    ['short', 'batches.incomplete', 'warning', 'coffer batch-report ID'],
  ])('the batch %s', async (name, check, state, repair) => {
    const found = (await doctor()).findings.filter((one) => one.found.startsWith(`batch '${name}'`));
    expect(found).toMatchObject([{ check, state }]);
    expect(found[0]?.repair).toContain(repair.replaceAll('ID', batches.get(name) ?? ''));
  });

  it('a message that nobody could act on', async () => {
    const found = (await doctor()).findings.filter(({ check }) => check === 'dead_letters');
    expect(found).toMatchObject([{ state: 'warning' }]);
    expect(found[0]?.repair).toContain(`coffer dead-letters show ${letter}`);
  });
});

it('coffer doctor counts what is wrong and what deserves a look', async () => {
  const { findings, healthy } = await doctor();
  const bad = findings.filter(({ state }) => state === 'bad').length;
  expect(healthy).toBe(false);
  const { stdout, code } = await coffer(`doctor --endpoint ${api.origin} --tenant t1`);
  expect(code).toBe(1);
  expect(stdout).not.toContain('Nothing is');
  expect(stdout).toMatch(new RegExp(`\n${bad} things are wrong, and \\d+ things deserve a look\\.\n$`));
});
