/** The gates `version_active` and `version_path`: before an upgrade, and again before each of its steps. */
import { describe, expect, it } from 'vitest';
import { admissionFindings, type Circumstances, scopeOf } from '../../../src/core/admit.ts';
import type { Cluster, DatastoreVersion } from '../../../src/core/domain.ts';
import { versionOf } from './versions.ts';
import { FROM, TO, World, type WorldOptions } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const members = { manager: 'cassandra' };
const TARGET = versionOf(TO);

function idle(options: WorldOptions = {}): Cluster {
  return { ...new World(options).cluster, task: 'NONE', upgrade_id: null };
}

/** What is found, as `gate: reason`. */
function found(cluster: Cluster, target: DatastoreVersion, circumstances: Partial<Circumstances> = {}) {
  const versions = [versionOf(FROM), target];
  return admissionFindings(cluster, target, { versions, ...circumstances }).map(
    ({ gate, reason }) => `${gate}: ${reason}`,
  );
}

describe('before an upgrade', () => {
  it('each instance is asked what it runs: a mixed cluster is not downgraded either', () => {
    expect(found(idle({ already_upgraded: ['db-3'] }), versionOf('17.8'))).toEqual([
      'version_path: db-3 runs 17.10: 17.8 is older than 17.10, and a cluster is not downgraded',
    ]);
    expect(found(idle({ already_upgraded: ['db-3'] }), TARGET)).toEqual([]);
  });

  it('the rule of a version says what may become it', () => {
    const upgrade_from = '>=17.7';
    expect(found(idle(), versionOf(TO, { upgrade_from }))).toEqual([
      'version_path: 17.10 can be reached from >=17.7 only, and not from 17.6',
    ]);
    expect(found(idle(), versionOf(TO, { upgrade_from: '>=17.0 <17.10' }))).toEqual([]);
  });

  it('a rolling upgrade is refused that would mix what must not run mixed, whichever of them says so', () => {
    const reason = ['version_path: 17.10 must not run beside 17.6 in one cluster'];
    const target = versionOf(TO, { not_mixed_with: '<17.8' });
    expect(found(idle(), target)).toEqual(reason);
    const versions = [versionOf(FROM, { not_mixed_with: '>=17.8' }), TARGET];
    expect(found(idle(), TARGET, { versions })).toEqual(reason);
    expect(found(idle({ instances: 1 }), target), 'one alone is never mixed').toEqual([]);
    const last = idle({ already_upgraded: ['db-2', 'db-3'] });
    expect(found(last, target), 'its step ends the mixture').toEqual([]);
  });

  it('each of the old versions is looked at, and one that may stay hides none that must not', () => {
    const cluster = idle();
    const instances = cluster.instances.map((one) =>
      one.name === 'db-1' && one.report ? { ...one, report: { ...one.report, version: '17.8' } } : one,
    );
    expect(found({ ...cluster, instances }, versionOf(TO, { not_mixed_with: FROM }))).toEqual([
      'version_path: 17.10 must not run beside 17.6 in one cluster',
    ]);
  });

  it('an upgrade of one instance leaves the others beside it for good: they are looked at too', () => {
    const whole = idle({ already_upgraded: ['db-2'] });
    const target = versionOf(TO, { not_mixed_with: FROM });
    const alone = scopeOf([versionOf(FROM), target], whole, 'i-3');
    expect(found(alone, target, { whole })).toEqual([
      'version_path: 17.10 must not run beside 17.6 in one cluster',
    ]);
    const upgraded = idle({ already_upgraded: ['db-1', 'db-2'] });
    const last = scopeOf([versionOf(FROM), target], upgraded, 'i-3');
    expect(found(last, target, { whole: upgraded }), 'then nobody is left on it').toEqual([]);
  });

  it('of an instance that does not say what it runs, the record is believed', () => {
    const cluster = idle();
    const instances = cluster.instances.map((one) => ({ ...one, report: null }));
    const target = versionOf(TO, { not_mixed_with: FROM });
    expect(found({ ...cluster, instances }, target)).toHaveLength(1);
  });

  it('a version of another manager is out of reach', () => {
    expect(found(idle(members), TARGET)).toEqual([
      'version_path: 17.10 is run by the manager postgresql, and the cluster by cassandra',
    ]);
  });

  it('a person may know better, gate by gate', () => {
    const target = versionOf('17.5', { active: false });
    const path = { gate: 'version_path' as const, reason: 'we have tried it' };
    const active = { gate: 'version_active' as const, reason: 'we have tried it' };
    expect(found(idle(), target, { overrides: [path] })).toEqual([
      'version_active: datastore version 17.5 is not active',
    ]);
    expect(found(idle(), target, { overrides: [path, active] })).toEqual([]);
  });
});

/** The catalogue as it is from now on. */
function change(it: World, name: string, fields: Partial<DatastoreVersion>): void {
  it.versions = it.versions.map((version) => (version.name === name ? { ...version, ...fields } : version));
}

describe('between steps', () => {
  const patient = { ...members, policy: { step_timeout_seconds: 100 } };

  it('a version that was deactivated gets no further instance: reported, then paused, then resumed', () => {
    const it = world(patient);
    it.reach('db-1', 'verifying');
    change(it, TO, { active: false });
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    const since = it.now;
    expect(it.step('db-1').phase.name, 'what is in flight ends').toBe('done');
    expect(it.step('db-2').phase).toEqual({
      name: 'pending',
      blocked: { gate: 'version_active', since, reason: 'datastore version 17.10 is not active' },
    });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
    expect(it.now - since).toBe(100_000);
    expect(it.message).toBe(
      'db-2 waits for version_active: datastore version 17.10 is not active; activate it, then resume; or rollback, or cancel',
    );
    expect(it.told('upgrade')).toEqual(['db-1']);
    change(it, TO, { active: true });
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('reactivated before the pause, it goes on by itself', () => {
    const it = world(patient);
    it.reach('db-1', 'verifying');
    change(it, TO, { active: false });
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    change(it, TO, { active: true });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('gate_cleared').map(({ message }) => message)).toEqual(['version_active holds']);
  });

  it('the way back stays open, to a version that is inactive too', () => {
    const it = world(patient);
    it.reach('db-1', 'verifying');
    change(it, TO, { active: false });
    change(it, FROM, { active: false });
    it.settle();
    it.act('rollback');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.guests.map(({ version }) => version)).toEqual([FROM, FROM, FROM]);
  });

  it('no further attempt is made of a step that failed', () => {
    const it = world({ ...patient, scripts: { 'db-1': { upgrade: [{ error: 'no' }] } } });
    it.reach('db-1', 'backoff');
    change(it, TO, { active: false });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
    expect(it.messagesTo('db-1', 'pre_upgrade')).toHaveLength(1);
  });

  it('an old primary that stepped down comes back all the same: it is out of service until then (G8)', () => {
    const it = world({ policy: { step_timeout_seconds: 100 } });
    it.reach('db-1', 'following', 'switchover');
    change(it, TO, { active: false });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('a version that is gone from the catalogue gets no further instance', () => {
    const it = world(patient);
    it.reach('db-1', 'verifying');
    it.versions = it.versions.filter(({ name }) => name !== TO);
    it.settle();
    expect(it.message).toContain('version_active: datastore version 17.10 is no longer in the catalogue');
  });

  it('a rule that comes in mid-run holds for the instances that are still to go', () => {
    const it = world(patient);
    it.reach('db-1', 'verifying');
    change(it, TO, { upgrade_from: '>=17.7' });
    it.settle();
    expect(it.message).toContain('db-2 waits for version_path: 17.10 can be reached from >=17.7 only');
    change(it, TO, { upgrade_from: null, not_mixed_with: FROM });
    it.act('resume');
    it.settle();
    expect(it.message).toContain('version_path: 17.10 must not run beside 17.6 in one cluster');
    change(it, TO, { not_mixed_with: null });
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('the last instance may go although it must not run beside the others: then nothing is mixed', () => {
    const it = world({ ...patient, instances: 2 });
    it.reach('db-1', 'verifying');
    change(it, TO, { not_mixed_with: FROM });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('an instance that turns out to be newer is not downgraded', () => {
    const it = world(patient);
    it.reach('db-1', 'verifying');
    it.guest('db-3').version = '17.11';
    it.speak(it.guest('db-3'));
    it.settle();
    expect(it.message).toContain('db-3 waits for version_path: 17.10 is older than 17.11');
    expect(it.told('upgrade')).toEqual(['db-1', 'db-2']);
  });

  it('an override that came with the request holds between steps too', () => {
    const overrides = [{ gate: 'version_active' as const, reason: 'we know it' }];
    const it = world({ ...members, policy: { overrides } });
    it.reach('db-1', 'verifying');
    change(it, TO, { active: false });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('a rollback of an upgrade that had ended may go to what is older and inactive', () => {
    const it = world(patient);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    change(it, FROM, { active: false, upgrade_from: '>=18' });
    it.takeUp('rollback', 'u-back');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.cluster.datastore_version).toBe(FROM);
  });
});

describe('retry with another version', () => {
  const target = (name: string, fields: Partial<DatastoreVersion> = {}) =>
    versionOf(name, { ...members, ...fields });
  const retried = (version: DatastoreVersion, known = true) => {
    const it = world({
      ...members,
      policy: { retries: 0 },
      scripts: { 'db-2': { upgrade: [{ error: 'no' }] } },
    });
    it.settle();
    if (known) it.versions = [...it.versions, version];
    return it.feed({ type: 'action', action: 'retry', by: 'ann', target: version });
  };

  it.each<[string, DatastoreVersion, string]>([
    ['inactive', target('17.11', { active: false }), 'version_active: datastore version 17.11 is not active'],
    [
      'out of reach',
      target('17.11', { upgrade_from: '18.x' }),
      'version_path: 17.11 can be reached from 18.x',
    ],
    ['older than what the cluster came from', target('17.5'), 'version_path: 17.5 is older than 17.6'],
    ['of another manager', target('17.11', { manager: 'mysql' }), 'version_path: 17.11 is run by'],
  ])('is refused with the gate and the reason if that is %s', (_, version, reason) => {
    expect(retried(version)).toMatchObject({
      verdict: 'refused',
      reason: expect.stringContaining(reason) as string,
    });
  });

  it('is refused if that is older than what an instance runs that has not been told anything', () => {
    const it = world({
      ...members,
      policy: { retries: 0 },
      scripts: { 'db-2': { upgrade: [{ error: 'no' }] } },
    });
    it.guest('db-3').version = '17.9';
    it.speak(it.guest('db-3'));
    it.settle();
    const between = target('17.8');
    it.versions = [...it.versions, between];
    const { reason } = it.feed({ type: 'action', action: 'retry', by: 'ann', target: between });
    expect(reason).toBe(
      'version_path: db-3 runs 17.9: 17.8 is older than 17.9, and a cluster is not downgraded',
    );
  });

  it('is refused if there is no such version', () => {
    expect(retried(target('17.11'), false).reason).toBe('datastore version 17.11 is not in the catalogue');
  });
});
