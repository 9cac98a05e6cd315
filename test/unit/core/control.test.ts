/** What a person can do: each action is idempotent, or refused with the reason (G8); time that waits for a person is free. */
import { describe, expect, it } from 'vitest';
import { ACTIONS } from '../../../src/core/upgrade/inputs.ts';
import { versionOf } from './versions.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const BAD = { error: 'no space left on device' };
const members = { manager: 'cassandra' };

describe('pause', () => {
  it('lets the instance in flight finish and starts no other (M6)', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    it.act('pause');
    it.pass(600);
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'requested' });
    expect(it.step('db-1').phase.name).toBe('done');
    expect(it.told('pre_upgrade')).toEqual(['db-1']);
    expect(it.message).toBe('paused by ann: resume it, or cancel it');
  });

  it('holds the next attempt of a step back as well', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: BAD } } });
    it.reach('db-1', 'backoff');
    it.act('pause');
    it.pass(600);
    expect(it.step('db-1').attempt).toBe(1);
    it.act('resume');
    expect(it.step('db-1').attempt).toBe(2);
  });

  it('is not undone by a copy of an earlier resume that comes late (G8)', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    const resume = { type: 'action', id: 'm-1', action: 'resume', by: 'ann' } as const;
    it.feed(resume);
    it.act('pause');
    expect(it.feed(resume).verdict).toBe('stale');
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'requested' });
    expect(it.feed({ ...resume, id: 'm-2' }).verdict).toBe('applied');
    expect(it.upgrade.state.name).toBe('running');
  });

  it('remembers a few messages only', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    for (let n = 0; n < 20; n++) it.feed({ type: 'action', id: `m-${n}`, action: 'resume', by: 'ann' });
    expect(it.upgrade.acted).toEqual(Array.from({ length: 8 }, (_, n) => `m-${n + 12}`));
  });

  it('twice is the same as once', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    it.act('pause');
    const { state } = it.upgrade;
    expect(it.act('pause').verdict).toBe('stale');
    expect(it.upgrade.state).toBe(state);
  });

  it('is refused before it has started', () => {
    expect(world(members).act('pause')).toMatchObject({
      verdict: 'refused',
      reason: expect.stringContaining('not started') as string,
    });
  });

  it('is not talked over by what would have paused it anyway', () => {
    const it = world({ ...members, already_upgraded: ['db-3'], policy: { step_timeout_seconds: 60 } });
    it.reach('db-2', 'verifying');
    it.guest('db-3').sickUntil = Infinity;
    it.speak(it.guest('db-3'));
    it.act('pause');
    const { state } = it.upgrade;
    it.pass(200);
    expect(it.upgrade.state).toEqual(state);
    expect(it.eventsOf('paused')).toHaveLength(1);
  });

  it('in the middle of a switchover lets it finish, and the old primary come back', () => {
    const it = world();
    it.reach('db-1', 'demoting', 'switchover');
    it.act('pause');
    it.pass(600);
    expect(it.guest('db-1')).toMatchObject({ isUp: true, role: 'replica' });
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('gives way to a failure: the message names what is to be done about that (G1)', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: BAD } }, policy: { retries: 0 } });
    it.reach('db-1', 'upgrading');
    it.act('pause');
    const since = it.now;
    it.pass(60);
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure', since });
    expect(it.message).toContain('no space left on device: retry it');
  });
});

describe('a failure while something else is in flight', () => {
  it('asks for a retry, whatever it was paused for (G1)', () => {
    const slow = { upgrade: { ms: 300_000 } };
    const it = world({
      ...members,
      policy: { retries: 0, max_unavailable: 2 },
      scripts: { 'db-1': { upgrade: BAD }, 'db-2': slow },
    });
    it.reach('db-1', 'upgrading');
    it.act('pause');
    it.reach('db-1', 'failed');
    expect(it.step('db-2').phase.name).toBe('upgrading');
    expect(it.message).toContain('no space left on device: retry it, or cancel it');
    expect(it.act('resume').verdict).toBe('refused');
    expect(it.act('retry').verdict).toBe('applied');
  });
});

describe('resume', () => {
  it('goes on', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    it.act('pause');
    it.pass(600);
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('resumed')[0]?.message).toBe('resumed by ann');
  });

  it('of what runs changes nothing', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    expect(it.act('resume').verdict).toBe('stale');
  });

  it('is refused while a step has failed: that is retried', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: BAD } }, policy: { retries: 0 } });
    it.settle();
    expect(it.act('resume')).toMatchObject({
      verdict: 'refused',
      reason: 'a step has failed: retry it, or cancel',
    });
  });

  it('is refused after a canary: that is approved', () => {
    const it = world({ ...members, policy: { canary: 1 } });
    it.settle();
    expect(it.act('resume')).toMatchObject({
      verdict: 'refused',
      reason: expect.stringContaining('approve') as string,
    });
  });
});

describe('retry', () => {
  it('is refused while nothing has failed', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    expect(it.act('retry')).toMatchObject({
      verdict: 'refused',
      reason: expect.stringContaining('no step') as string,
    });
  });

  it('starts the failed step again at once', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: [BAD] } }, policy: { retries: 0 } });
    it.settle();
    it.act('retry');
    expect(it.step('db-1')).toMatchObject({ attempt: 2, phase: { name: 'preparing' } });
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING', fault: null });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });
});

describe('cancel', () => {
  it('before anybody took it up ends it there and then, with nothing changed', () => {
    const it = world(members);
    it.act('cancel');
    expect(it.upgrade.state).toMatchObject({ name: 'cancelled', message: 'cancelled before it started' });
    expect(it.cluster).toMatchObject({ task: 'NONE', datastore_version: '17.6' });
    expect(it.messages).toEqual([]);
  });

  it('lets the instance in flight finish, starts no other, and leaves the old version (G5, G8)', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    it.act('cancel');
    it.settle();
    expect(it.upgrade.state).toMatchObject({
      name: 'cancelled',
      message: 'cancelled; 17.10 runs on 1 of 3 instances',
    });
    expect(it.told('pre_upgrade')).toEqual(['db-1']);
    expect(it.cluster).toMatchObject({
      task: 'NONE',
      datastore_version: '17.6',
      datastore_version_id: 'v-from',
    });
    expect(it.instance('db-1').task).toBe('NONE');
  });

  it('is not followed by a pause: what is in flight ends, and the upgrade with it', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    it.act('cancel');
    expect(it.act('pause')).toMatchObject({ verdict: 'refused', reason: 'it is being cancelled' });
    it.until(() => it.cluster.task === 'NONE');
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.eventsOf('paused')).toEqual([]);
  });

  it('twice is the same as once', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    it.act('cancel');
    expect(it.act('cancel').verdict).toBe('stale');
  });

  it('ends what is paused at once when nothing is in flight', () => {
    const it = world({ ...members, policy: { canary: 1 } });
    it.settle();
    const { started } = it.upgrade.state as { started: number };
    it.pass(60);
    it.act('cancel');
    expect(it.upgrade.state).toMatchObject({ name: 'cancelled', started, ended: it.now });
    const [resumed] = it.eventsOf('resumed');
    expect(resumed?.message).toBe('cancelled by ann: what is in flight ends first');
  });

  it('of what was to be retried and could not start yet leaves it as it is: its last attempt has failed', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: [BAD] } }, policy: { retries: 0 } });
    it.settle();
    it.guest('db-1').awayUntil = Infinity;
    it.pass(60);
    it.act('retry');
    expect(it.step('db-1').phase).toMatchObject({ name: 'pending', blocked: { gate: 'guests_alive' } });
    it.act('cancel');
    expect(it.cluster.instances.map(({ task, fault }) => [task, fault])).toEqual([
      ['UPGRADING_ERROR', 'its last attempt failed'],
      ['NONE', null],
      ['NONE', null],
    ]);
  });

  it('does not wait for another attempt, and leaves no instance UPGRADING', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: BAD } } });
    it.reach('db-1', 'backoff');
    it.act('cancel');
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING_ERROR', fault: BAD.error });
  });

  it('does not wait for a soak of a day', () => {
    const it = world({ ...members, policy: { soak_seconds: 86_400 } });
    it.reach('db-1', 'soaking');
    it.act('cancel');
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.step('db-1').phase.name).toBe('done');
  });

  it('in the middle of a switchover still brings the old primary back first (G8)', () => {
    const it = world({ scripts: { 'db-1': { upgrade: [BAD] } } });
    it.reach('db-1', 'promoting', 'switchover');
    it.act('cancel');
    it.settle();
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.guest('db-1')).toMatchObject({ isUp: true, role: 'replica', demotedLsn: null });
    expect(it.cluster.datastore_version).toBe('17.6');
  });

  it('while the guest of a demoted primary is away waits for it, and says so', () => {
    const it = world({ policy: { step_timeout_seconds: 30 } });
    it.reach('db-1', 'following', 'switchover');
    it.guest('db-1').awayUntil = it.now + 300_000;
    it.act('cancel');
    it.pass(200);
    expect(it.upgrade.state).toMatchObject({ name: 'paused' });
    expect(it.message).toContain('db-1');
    it.until(() => it.upgrade.state.name === 'cancelled', 600);
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.guest('db-1').isUp).toBe(true);
  });
});

describe('canary', () => {
  it('waits for approval after so many instances, then goes on with all', () => {
    const it = world({ ...members, policy: { canary: 2 } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'canary' });
    expect(it.message).toBe('17.10 runs on 2 of 3 instances: approve it to go on, or cancel it');
    expect(it.told('upgrade')).toEqual(['db-1', 'db-2']);
    it.act('approve');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is not exceeded by instances that run side by side', () => {
    const it = world({ ...members, instances: 4, policy: { canary: 1, max_unavailable: 3 } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'canary' });
    expect(it.told('pre_upgrade')).toEqual(['db-1']);
  });

  it('gets its retries without approval', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: [BAD] } }, policy: { canary: 1 } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'canary' });
    expect(it.step('db-1')).toMatchObject({ attempt: 2, phase: { name: 'done' } });
  });

  it('before the switchover stops before the switchover', () => {
    const it = world({ policy: { canary: 2 } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'canary' });
    expect(it.guest('db-1').role).toBe('primary');
    it.act('approve');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('of all instances asks for nothing', () => {
    const it = world({ ...members, policy: { canary: 3 } });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('approved while a person has paused the upgrade lets it wait for that person', () => {
    const it = world({ ...members, policy: { canary: 1 } });
    it.reach('db-1', 'upgrading');
    it.act('pause');
    it.act('approve');
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'requested' });
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('can be approved in advance, and twice', () => {
    const it = world({ ...members, policy: { canary: 1 } });
    it.reach('db-1', 'upgrading');
    it.act('approve');
    expect(it.act('approve').verdict).toBe('stale');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is approved for one version: whoever sends the upgrade to another is asked again', () => {
    const it = world({
      ...members,
      policy: { canary: 1, retries: 0 },
      scripts: { 'db-2': { upgrade: [BAD] } },
    });
    it.settle();
    it.act('approve');
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    const target = versionOf('17.11', { id: 'v-fixed', ...members });
    it.versions = [...it.versions, target];
    it.feed({ type: 'action', action: 'retry', by: 'ann', target });
    expect(it.upgrade.approved).toBe(false);
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'canary' });
    expect(it.guests.map(({ version }) => version).filter((version) => version === '17.11')).toHaveLength(1);
    it.act('approve');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is not approved by whoever looked at another version', () => {
    const it = world({ ...members, policy: { canary: 1 } });
    it.settle();
    const approve = (id: string, name: string) =>
      it.feed({ type: 'action', action: 'approve', by: 'ann', target: { id, name } });
    expect(approve('v-old', '17.9')).toMatchObject({
      verdict: 'refused',
      reason: 'it goes to 17.10 by now, and 17.9 was approved',
    });
    expect(it.upgrade.approved).toBe(false);
    expect(approve('v-to', '17.10').verdict).toBe('applied');
  });

  it('stays approved when the same version is tried again', () => {
    const it = world({
      ...members,
      policy: { canary: 1, retries: 0 },
      scripts: { 'db-2': { upgrade: [BAD] } },
    });
    it.settle();
    it.act('approve');
    it.settle();
    it.act('retry');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('that the policy has not can not be approved', () => {
    const it = world(members);
    it.reach('db-1', 'upgrading');
    expect(it.act('approve')).toMatchObject({
      verdict: 'refused',
      reason: 'its policy has no canary to approve',
    });
  });
});

describe('the time for all', () => {
  /** At work for long, with 60 s for all of it; answers the seconds from now until that is up. */
  const hanging = () => {
    const it = world({
      ...members,
      instances: 1,
      scripts: { 'db-1': { upgrade: { ms: 3_000_000 } } },
      policy: { timeout_seconds: 60, step_timeout_seconds: 10_000 },
    });
    it.until(() => it.upgrade.state.name === 'running');
    return it;
  };
  const secondsLeft = (it: ReturnType<typeof hanging>) => {
    const from = it.now;
    it.settle();
    expect(it.message).toBe('not done within 60 s: resume it, or cancel it');
    return (it.now - from) / 1000;
  };

  it('stands still while a person is waited for, and goes on from there', () => {
    const it = hanging();
    it.pass(20);
    it.act('pause');
    it.pass(1_000);
    it.act('resume');
    expect(secondsLeft(it)).toBe(40);
  });

  it('goes on from there each time: what was waited for before does not count either', () => {
    const it = hanging();
    for (const worked_s of [20, 15]) {
      it.pass(worked_s);
      it.act('pause');
      it.pass(1_000);
      it.act('resume');
    }
    expect(secondsLeft(it)).toBe(25);
  });

  it('begins anew when it was up and a person resumes it, and when the goal is another one', () => {
    const it = hanging();
    expect(secondsLeft(it)).toBe(60);
    it.pass(500);
    it.act('resume');
    expect(secondsLeft(it)).toBe(60);
    it.act('resume');
    it.pass(50);
    it.act('rollback');
    expect(secondsLeft(it)).toBe(60);
    expect(it.eventsOf('paused')).toHaveLength(3);
  });

  it('is counted once when a paused upgrade is rolled back, or sent to another version', () => {
    for (const action of ['rollback', 'retry'] as const) {
      const it = hanging();
      it.versions = [...it.versions, versionOf('17.11', { id: 'v-fixed', ...members })];
      it.pass(20);
      it.act('pause');
      it.pass(1_000);
      it.feed({ type: 'action', action, by: 'ann', target: { id: 'v-fixed', name: '17.11' } });
      expect(secondsLeft(it), action).toBe(60);
    }
  });

  it('is up: the upgrade waits for a person, what is in flight ends', () => {
    const it = world({
      ...members,
      scripts: { 'db-2': { upgrade: { ms: 50_000 } } },
      policy: { timeout_seconds: 30 },
    });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.message).toBe('not done within 30 s: resume it, or cancel it');
    it.pass(120);
    expect(it.step('db-2').phase.name).toBe('done');
    expect(it.told('upgrade')).toEqual(['db-1', 'db-2']);
  });

  it('is watched to the second while all wait for a long back-off', () => {
    const it = world({
      ...members,
      instances: 1,
      scripts: { 'db-1': { upgrade: BAD } },
      policy: { timeout_seconds: 200, retries: 20 },
    });
    it.network = (what) => (what === 'heartbeat' && it.step('db-1').phase.name === 'backoff' ? [] : [10]);
    it.settle();
    const { state } = it.upgrade;
    if (state.name !== 'paused') throw new Error(state.name);
    expect((state.since - state.started) / 1000).toBe(200);
  });

  it('does not run while a person is waited for', () => {
    const it = world({ ...members, policy: { timeout_seconds: 30, canary: 1 } });
    it.settle();
    it.pass(10_000);
    it.act('approve');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.upgrade.waited_ms).toBeGreaterThanOrEqual(10_000_000);
  });

  it('is given whole again by whoever resumes it', () => {
    const it = world({
      ...members,
      scripts: { 'db-1': { upgrade: { ms: 40_000 } } },
      policy: { timeout_seconds: 30 },
    });
    it.settle();
    it.pass(60);
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is of no matter once it is to be cancelled', () => {
    const it = world({
      ...members,
      scripts: { 'db-1': { upgrade: { ms: 60_000 } } },
      policy: { timeout_seconds: 30 },
    });
    it.reach('db-1', 'upgrading');
    it.act('cancel');
    it.settle();
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.eventsOf('paused')).toEqual([]);
  });
});

it('once it has ended every action is refused, and nothing moves', () => {
  const it = world(members);
  it.settle();
  const ended = it.upgrade;
  for (const action of ACTIONS) {
    expect(it.act(action)).toMatchObject({ verdict: 'refused', reason: 'the upgrade has ended: succeeded' });
  }
  expect(it.upgrade).toBe(ended);
});
