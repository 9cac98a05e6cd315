/** When a record wants to be looked at again: no later than time moves it on, and no more often than helps (G1). */
import { describe, expect, it } from 'vitest';
import { wakeAt } from '../../../src/core/upgrade/wake.ts';
import { T0, type World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const one = { manager: 'cassandra', instances: 1 };
const seconds = ({ upgrade, now }: World) => ((wakeAt(upgrade, now) ?? Number.NaN) - now) / 1000;

describe('an upgrade is looked at again', () => {
  it('when its time comes, if it may not start before', () => {
    expect(seconds(world({ ...one, policy: { not_before: T0 + 3_600_000 } }))).toBe(3_600);
    expect(seconds(world({ ...one, policy: { not_before: T0 - 3_600_000 } }))).toBe(2);
  });

  it('when what was said to a guest is due to be said again', () => {
    const it = world({ ...one, scripts: { 'db-1': { upgrade: { ms: 60_000 } } } });
    it.reach('db-1', 'upgrading');
    expect(seconds(it)).toBe(2);
    const { id, attempt } = it.step('db-1');
    it.say('db-1', { step: id, attempt, action: 'upgrade', status: 'running' });
    expect(seconds(it)).toBe(15);
  });

  it('at the deadline of an attempt, if that comes first', () => {
    const it = world({ ...one, policy: { step_timeout_seconds: 1 } });
    it.reach('db-1', 'preparing');
    expect(seconds(it)).toBe(1);
  });

  it('when the next attempt may be made', () => {
    const it = world({ ...one, scripts: { 'db-1': { upgrade: [{}, { error: 'no' }] } } });
    it.guest('db-1').script = { upgrade: { error: 'no' } };
    const { phase } = it.reach('db-1', 'backoff');
    if (phase.name !== 'backoff') throw new Error(phase.name);
    expect(wakeAt(it.upgrade, it.now)).toBe(Math.min(phase.until, it.now + 1_000));
    expect(phase.until - it.now).toBeLessThan(1_250);
  });

  it('every second while an instance is to say that it is well, and at the deadline for that', () => {
    const it = world({ ...one, policy: { step_timeout_seconds: 30 } });
    it.reach('db-1', 'verifying');
    it.guest('db-1').sickUntil = Infinity;
    it.speak(it.guest('db-1'));
    const { phase } = it.reach('db-1', 'settling');
    expect(seconds(it)).toBe(1);
    if (phase.name !== 'settling') throw new Error(phase.name);
    expect(wakeAt(it.upgrade, phase.deadline - 400)).toBe(phase.deadline);
  });

  it('every second while health has to hold, and when it has held', () => {
    const it = world({ ...one, policy: { soak_seconds: 30 } });
    const { phase } = it.reach('db-1', 'soaking');
    expect(seconds(it)).toBe(1);
    if (phase.name !== 'soaking') throw new Error(phase.name);
    expect(wakeAt(it.upgrade, phase.until - 400)).toBe(phase.until);
  });

  it('when its window opens', () => {
    const window = { cron: '30 0 * * *', duration_seconds: 600, time_zone: 'UTC' };
    const it = world({ ...one, policy: { window } });
    it.settle();
    const { state } = it.upgrade;
    if (state.name !== 'paused' || state.until === null) throw new Error(state.name);
    expect(wakeAt(it.upgrade, state.until - 1_000)).toBe(state.until);
    expect(seconds(it)).toBe(60);
  });

  it('paused, while something is in flight, as often as that needs', () => {
    const it = world({ ...one, scripts: { 'db-1': { upgrade: { ms: 60_000 } } } });
    it.reach('db-1', 'upgrading');
    it.act('pause');
    expect(seconds(it)).toBe(2);
  });

  it('when all its time is up', () => {
    const it = world({
      ...one,
      policy: { timeout_seconds: 60 },
      scripts: { 'db-1': { upgrade: { ms: 300_000 } } },
    });
    it.reach('db-1', 'upgrading');
    const { state } = it.upgrade;
    if (state.name !== 'running') throw new Error(state.name);
    expect(wakeAt({ ...it.upgrade, steps: [] }, state.started + 59_600)).toBe(state.started + 60_000);
  });

  it('never once it has ended', () => {
    const it = world(one);
    it.settle();
    expect(wakeAt(it.upgrade, it.now)).toBeNull();
  });
});
