/** Another goal in mid-run: the way back, a corrected version; and time: not before, and within a window. */
import { describe, expect, it } from 'vitest';
import { isInFlight } from '../../../src/core/record.ts';
import { versionOf } from './versions.ts';
import { FROM, T0, TO, type World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const BAD = { error: 'no space left on device' };
const members = { manager: 'cassandra' };
const FIXED = versionOf('17.11', { id: 'v-fixed', ...members });
const versionsOf = (it: World) => it.guests.map(({ version }) => version);
/** Names in the order in which they were upgraded, from the first step of a round on. */
const toldIn = (it: World, round: number) =>
  it.upgrade.steps
    .filter((step) => step.round === round && step.attempt > 0)
    .map((step) => it.nameOf(step.instance_id));

describe('rollback', () => {
  it('ends what is in flight, then takes back what was upgraded, the last one first', () => {
    const it = world(members);
    it.reach('db-2', 'upgrading');
    it.act('rollback');
    expect(it.upgrade.direction).toBe('back');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(toldIn(it, 1)).toEqual(['db-2', 'db-1']);
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
    expect(it.cluster).toMatchObject({ task: 'NONE', datastore_version: FROM });
    expect(it.cluster.instances.map(({ task }) => task)).toEqual(['NONE', 'NONE', 'NONE']);
  });

  it('past the switchover goes by the same rule: the primary last, by a switchover to one that went back', () => {
    const it = world();
    it.reach('db-1', 'upgrading');
    it.act('rollback');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
    expect(it.guests.filter(({ role, isUp }) => role === 'primary' && isUp)).toHaveLength(1);
    expect(it.eventsOf('switched_over')).toHaveLength(2);
  });

  it('before the switchover leaves the primary alone', () => {
    const it = world();
    it.reach('db-2', 'done');
    it.act('rollback');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.eventsOf('switched_over')).toEqual([]);
    expect(it.told('demote')).toEqual([]);
  });

  it('past the switchover takes down nobody once it is paused: that round has no switchover yet (G8)', () => {
    const it = world();
    it.reach('db-1', 'upgrading');
    it.act('rollback');
    it.act('pause');
    it.pass(600);
    expect(it.upgrade.planned_round).toBe(1);
    expect(it.upgrade.steps.filter(({ round, attempt }) => round === 1 && attempt > 0)).toEqual([]);
    expect(it.guests.map(({ isUp }) => isUp)).toEqual([true, true, true]);
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
  });

  it('is planned anew when an instance that was unheard is heard again, from what this round has begun', () => {
    const it = world({ ...members, scripts: { 'db-3': { upgrade: [{ ms: 30_000 }] } } });
    it.reach('db-3', 'upgrading');
    it.guest('db-2').awayUntil = it.now + 60_000;
    it.act('rollback');
    it.until(() => it.upgrade.planned_round === 1);
    expect(toldIn(it, 1), 'db-2 is away').toEqual([]);
    it.settle();
    expect(it.eventsOf('planned')).toHaveLength(3);
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
    const ids = it.upgrade.steps.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('of an upgrade that has failed is a way out of the pause', () => {
    const it = world({ ...members, policy: { retries: 0 }, scripts: { 'db-2': { upgrade: [BAD] } } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    it.act('rollback');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
  });

  it('begins by itself where the policy says so', () => {
    const policy = { retries: 0, on_failure: 'rollback' } as const;
    const it = world({ ...members, policy, scripts: { 'db-3': { upgrade: [BAD] } } });
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    // db-3 too: whoever was given up may be at work on it all the while.
    expect(toldIn(it, 1)).toEqual(['db-3', 'db-2', 'db-1']);
  });

  it('that fails itself asks a person, whatever the policy says (G1)', () => {
    const policy = { retries: 0, on_failure: 'rollback' } as const;
    const scripts = { 'db-1': { upgrade: [{}, BAD] }, 'db-2': { upgrade: [BAD] } };
    const it = world({ ...members, policy, scripts });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.message).toContain('db-1');
    it.act('retry');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
  });

  it('is refused past an irreversible step, with the reason', () => {
    const it = world(members);
    const { id, attempt } = it.reach('db-1', 'preparing');
    it.feed({ type: 'answered', step: id, attempt, action: 'pre_upgrade', info: { reversible: false } });
    expect(it.act('rollback')).toMatchObject({
      verdict: 'refused',
      reason: expect.stringContaining('db-1 was upgraded irreversibly') as string,
    });
  });

  it('twice is the same as once, and before the start it is refused', () => {
    const it = world(members);
    expect(it.act('rollback').verdict).toBe('refused');
    it.reach('db-1', 'upgrading');
    it.act('rollback');
    expect(it.act('rollback').verdict).toBe('stale');
    expect(it.eventsOf('rolling_back')).toHaveLength(1);
  });

  it('can be paused and cancelled like any other (G8)', () => {
    const it = world(members);
    it.reach('db-3', 'upgrading');
    it.act('rollback');
    it.until(() => it.upgrade.steps.some((step) => step.round === 1 && step.phase.name === 'upgrading'));
    it.act('cancel');
    it.settle();
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.cluster.task).toBe('NONE');
  });
});

describe('retry with another version', () => {
  it('replaces a failing one: who has it is upgraded again', () => {
    const it = world({ ...members, policy: { retries: 0 }, scripts: { 'db-2': { upgrade: [BAD] } } });
    it.settle();
    it.versions = [...it.versions, FIXED];
    it.feed({ type: 'action', action: 'retry', by: 'ann', target: FIXED });
    it.settle();
    expect(it.upgrade).toMatchObject({ to_version: '17.11', to_version_id: 'v-fixed' });
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(versionsOf(it)).toEqual(['17.11', '17.11', '17.11']);
    expect(it.cluster.datastore_version).toBe('17.11');
  });

  it('may name one in between: who has the failing one goes back to it', () => {
    const it = world({ ...members, policy: { retries: 0 }, scripts: { 'db-2': { upgrade: [BAD] } } });
    it.settle();
    const between = { ...FIXED, id: 'v-between', name: '17.8' };
    it.versions = [...it.versions, between];
    it.feed({ type: 'action', action: 'retry', by: 'ann', target: between });
    it.settle();
    expect(it.upgrade.state.name, it.message).toBe('succeeded');
    expect(versionsOf(it)).toEqual(['17.8', '17.8', '17.8']);
    expect(it.eventsOf('gate_blocked')).toEqual([]);
  });

  it('is refused on the way back', () => {
    const it = world(members);
    it.reach('db-2', 'upgrading');
    it.act('rollback');
    it.versions = [...it.versions, FIXED];
    const next = it.feed({ type: 'action', action: 'retry', by: 'ann', target: FIXED });
    expect(next.reason).toContain('on its way back');
  });
});

describe('time', () => {
  it('not_before holds the start, and nothing else', () => {
    const it = world({ ...members, policy: { not_before: T0 + 3_600_000 } });
    it.pass(3_599);
    expect(it.upgrade.state.name).toBe('scheduled');
    expect(it.messages).toEqual([]);
    it.pass(60);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('not_before is the very instant at which it starts', () => {
    const not_before = T0 + 3_600_000;
    const it = world({ ...members, policy: { not_before } });
    it.now = not_before - 1;
    expect(it.feed({ type: 'wake' }).verdict).toBe('stale');
    it.now = not_before;
    expect(it.feed({ type: 'wake' }).upgrade.state).toEqual({ name: 'running', started: not_before });
  });

  it('an upgrade that waits for its time can be cancelled', () => {
    const it = world({ ...members, policy: { not_before: T0 + 3_600_000 } });
    it.pass(10);
    it.act('cancel');
    expect(it.upgrade.state).toEqual({
      ...{ name: 'cancelled', message: 'cancelled before it started' },
      ...{ started: it.now, ended: it.now },
    });
  });

  const window = { cron: '*/10 * * * *', duration_seconds: 200, time_zone: 'UTC' };

  it('starts steps only within the window, parks between two, and goes on by itself', () => {
    // Slow enough that the window closes after the first instance.
    const scripts = { 'db-1': { upgrade: { ms: 190_000 } } };
    const it = world({
      ...members,
      policy: { window, step_timeout_seconds: 1_200, timeout_seconds: 1_400 },
      scripts,
    });
    it.pass(250);
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'window' });
    expect(it.message).toContain('opens at');
    expect(it.act('resume').verdict).toBe('refused');
    expect(it.step('db-1').phase.name).toBe('done');
    expect(it.told('pre_upgrade')).toEqual(['db-1']);
    it.until(() => it.told('pre_upgrade').length > 1, 700);
    expect(it.now % 600_000).toBeLessThan(200_000);
    it.until(() => it.upgrade.state.name === 'succeeded', 700);
    expect(it.upgrade.state.name).toBe('succeeded');
  });
});

describe('a pause while it waits for its window', () => {
  it('holds beyond the opening of the window, until it is resumed (G8)', () => {
    // It begins on the hour, when a window of five minutes past the hour is closed.
    const window = { cron: '5 * * * *', duration_seconds: 1_200, time_zone: 'UTC' };
    const it = world({ ...members, policy: { window } });
    it.until(() => it.upgrade.state.name === 'paused', 60);
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'window' });
    expect(it.act('pause').verdict).toBe('applied');
    it.pass(600);
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'requested', until: null });
    expect(it.told('pre_upgrade')).toEqual([]);
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });
});

describe('limits and overrides', () => {
  it('a percentage of the instances may be out of service, one at least', () => {
    const it = world({ ...members, instances: 5, policy: { max_unavailable: '40%' } });
    it.until(() => it.told('pre_upgrade').length > 1, 5);
    expect(it.told('pre_upgrade')).toEqual(['db-1', 'db-2']);
    const alone = world({ ...members, policy: { max_unavailable: '10%' } });
    alone.settle();
    expect(alone.upgrade.state.name).toBe('succeeded');
  });

  it('whoever overrides instances_healthy does not have more taken down at once (G2)', () => {
    const overrides = [{ gate: 'instances_healthy', reason: 'one is away for good' }] as const;
    const it = world({ manager: 'cassandra', policy: { overrides }, broken: ['db-3'] });
    it.reach('db-1', 'upgrading');
    it.pass(0.5);
    expect(it.upgrade.steps.filter(isInFlight)).toHaveLength(1);
  });

  it('a gate that a person overrides holds nothing back', () => {
    const overrides = [{ gate: 'replication_caught_up', reason: 'the replica is on a slow disk' }] as const;
    const lag_bytes = { 'db-2': 10 ** 9, 'db-3': 10 ** 9 };
    const it = world({ policy: { step_timeout_seconds: 5 }, lag_bytes });
    it.settle();
    expect(it.message).toContain('replication_caught_up');
    expect(TO).not.toBe(FROM);
    const bold = world({ policy: { step_timeout_seconds: 5, overrides, retries: 0 }, lag_bytes });
    bold.settle();
    expect(bold.eventsOf('gate_blocked')).toEqual([]);
  });
});
