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

describe('a way back waits for nothing', () => {
  /** Opens for ten minutes once a day, at the very time at which the upgrade is accepted. */
  const window = { cron: '0 8 * * *', duration_seconds: 600, time_zone: 'UTC' };
  /** One instance runs the new version, and the next window is a day away. */
  const parked = () => {
    const it = world({ ...members, policy: { window }, scripts: { 'db-1': { upgrade: [{ ms: 580_000 }] } } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'window' });
    expect(versionsOf(it)).toEqual([TO, FROM, FROM]);
    return it;
  };

  it('not for its window, asked for while the upgrade waits for that', () => {
    const it = parked();
    it.act('rollback');
    it.pass(120);
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
  });

  it('not for its window, asked for while the last instance in flight is at work', () => {
    const it = world({ ...members, policy: { window }, scripts: { 'db-1': { upgrade: [{ ms: 580_000 }] } } });
    it.reach('db-1', 'upgrading');
    it.act('rollback');
    it.pass(700);
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.eventsOf('paused')).toEqual([]);
  });

  it('not for its window, begun by the policy, with all that it needs: past a switchover, too', () => {
    const scripts = { 'db-1': { upgrade: [{ ms: 700_000, error: 'no space left on device' }] } };
    const policy = { window, retries: 0, on_failure: 'rollback', step_timeout_seconds: 1_200 } as const;
    const it = world({ policy, scripts });
    it.reach('db-1', 'upgrading');
    it.until(() => it.upgrade.direction === 'back', 900);
    it.pass(300);
    expect(it.upgrade.state.name, it.message).toBe('rolled_back');
    expect(it.eventsOf('switched_over')).toHaveLength(2);
    expect(it.eventsOf('paused')).toEqual([]);
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
  });

  it('not for its window or its time, as an upgrade of its own, nor when that is retried', () => {
    const it = parked();
    it.act('cancel');
    it.takeUp('rollback', 'u-2');
    it.guest('db-1').script = { upgrade: [BAD, BAD, BAD] };
    it.settle();
    it.act('cancel');
    it.takeUp('retry', 'u-3');
    expect(it.upgrade.direction).toBe('back');
    it.settle();
    expect(it.upgrade.state.name, it.message).toBe('rolled_back');
  });

  it('not for a soak that nobody needs any more, nor for one of its own', () => {
    const it = world({ ...members, policy: { soak_seconds: 86_400 } });
    it.reach('db-1', 'soaking');
    it.act('rollback');
    it.pass(120);
    expect(it.upgrade.state.name).toBe('rolled_back');
  });

  it('not for an instance that may never be well on the new version', () => {
    const it = world({ ...members, policy: { step_timeout_seconds: 3_600 } });
    it.reach('db-2', 'verifying');
    it.guest('db-2').sickUntil = it.now + 60_000;
    it.speak(it.guest('db-2'));
    it.reach('db-2', 'settling');
    it.act('rollback');
    it.pass(180);
    expect(it.upgrade.state.name, it.message).toBe('rolled_back');
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
  });
});

describe('a window that was missed', () => {
  /** For two minutes in every hour, from five past on. */
  const window = { cron: '5 * * * *', duration_seconds: 120, time_zone: 'UTC' };
  const minutes = (n: number) => T0 + n * 60_000;

  it('is waited for anew, and the message names the next opening', () => {
    const it = world({ ...members, policy: { window } });
    it.pass(60);
    const iso = (at: number) => new Date(at).toISOString();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'window', until: minutes(5) });
    it.blackout(10 * 60);
    it.tick();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'window', until: minutes(65) });
    expect(it.message).toBe(`its window is closed; it opens at ${iso(minutes(65))}: it goes on by itself`);
    expect(it.eventsOf('paused')).toHaveLength(2);
    it.until(() => it.upgrade.state.name === 'running', 3_600);
    expect(it.now).toBe(minutes(65));
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is looked at no more often than one that is to come', () => {
    const it = world({ ...members, policy: { window } });
    it.pass(60);
    it.blackout(10 * 60);
    it.pass(60);
    const { length } = it.events;
    const looks: number[] = [];
    it.until(() => {
      if (it.due !== null && it.due !== looks.at(-1)) looks.push(it.due);
      return it.now > minutes(30);
    });
    expect(looks.length).toBeLessThan(40);
    expect(it.events).toHaveLength(length);
  });

  it('and was seen too late for another step: the next one counts, even where they overlap', () => {
    const often = { cron: '*/2 * * * *', duration_seconds: 130, time_zone: 'UTC' };
    const it = world({ ...members, policy: { window: often } });
    it.now = T0 + 119_000;
    it.feed({ type: 'wake' });
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'window', until: minutes(2) });
    it.settle();
    it.until(() => it.upgrade.state.name === 'succeeded', 600);
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('and is no longer than a step takes, is used by whoever looks soon after its opening', () => {
    const narrow = { cron: '*/5 * * * *', duration_seconds: 60, time_zone: 'UTC' };
    const it = world({ ...members, instances: 1, policy: { window: narrow } });
    it.now = T0 + 2_000;
    it.feed({ type: 'wake' });
    expect(it.upgrade.state.name).toBe('running');
    const late = world({ ...members, instances: 1, policy: { window: narrow } });
    late.now = T0 + 11_000;
    late.feed({ type: 'wake' });
    expect(late.upgrade.state).toMatchObject({ name: 'paused', reason: 'window', until: minutes(5) });
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
