/** The sentence that says what an upgrade is doing. It must be true at every moment. */
import { expect, it, describe as suite } from 'vitest';
import { isInFlight, type Upgrade } from '../../../src/core/record.ts';
import { describe, estimatedEnd } from '../../../src/core/status.ts';
import { World, type WorldOptions } from './world.ts';

const say = ({ upgrade, cluster, now }: World) => describe(upgrade, cluster, now);
const endOf = ({ upgrade, cluster, now }: World) => estimatedEnd(upgrade, cluster, now);
const members = (options: WorldOptions = {}) => new World({ manager: 'simulated', instances: 3, ...options });
const inPhase = (world: World, name: string) => () =>
  world.upgrade.steps.some((step) => step.phase.name === name);

suite('the status of an upgrade', () => {
  it('before it is taken up says for whom it waits', () => {
    const world = members();
    expect(say(world)).toBe('accepted 0 s ago, and waits for a taskmanager; a person can: cancel');
    const not_before = world.now + 60_000;
    const later = { ...world.upgrade, policy: { ...world.upgrade.policy, not_before } };
    expect(describe(later, world.cluster, world.now)).toContain(
      `starts no step before ${new Date(not_before).toISOString()}`,
    );
  });

  it('says how far it is, what is in flight since when, what follows, and what a person can do', () => {
    const world = members();
    world.until(() => world.upgrade.steps.filter((step) => step.phase.name === 'done').length === 1);
    world.until(inPhase(world, 'upgrading'));
    const { upgrade, cluster, now } = world;
    expect(describe(upgrade, cluster, now + 4_000)).toMatch(
      /^1 of 3 done; now db-2: upgrading for 4 s; next: db-3; a person can: pause, cancel, rollback$/,
    );
    world.until(() => world.upgrade.steps.filter((step) => step.phase.name === 'done').length === 2);
    world.until(inPhase(world, 'upgrading'));
    expect(say(world)).toContain('2 of 3 done; now db-3: upgrading for 0 s; next: nothing;');
  });

  it.each([
    [-5_000, '0 s'],
    [1_499, '1 s'],
    [119_000, '119 s'],
    [120_000, '2 min'],
    [7_199_000, '120 min'],
    [7_200_000, '2 h'],
    [36 * 3_600_000, '36 h'],
  ])('tells %d ms roughly, and never a time before now', (ms, text) => {
    const { upgrade, cluster, now } = members();
    expect(describe(upgrade, cluster, now + ms)).toContain(`accepted ${text} ago, and waits`);
  });

  it('no longer names the time before which it does not start once that has come', () => {
    const { upgrade, cluster, now } = members();
    const due = { ...upgrade, policy: { ...upgrade.policy, not_before: now } };
    expect(describe(due, cluster, now)).toContain('waits for a taskmanager');
  });

  it('names all that are in flight', () => {
    const world = members({ policy: { max_unavailable: 2 } });
    world.until(inPhase(world, 'preparing'));
    expect(say(world)).toContain('now db-1: preparing for 0 s, db-2: preparing for 0 s; next: db-3;');
  });

  it('to be cancelled: what ends first, and that nothing is left to do', () => {
    const world = members();
    world.until(inPhase(world, 'upgrading'));
    world.act('cancel');
    expect(say(world)).toBe(
      '0 of 3 done; now db-1: upgrading for 0 s; then it ends as cancelled; nothing is left for a person to do',
    );
  });

  it('to be cancelled, with nothing in flight any more: just that', () => {
    const { upgrade, cluster, now } = members();
    const state = { name: 'running', started: now } as const;
    expect(describe({ ...upgrade, state, cancelling: true }, cluster, now)).toBe(
      '0 of 0 done; being cancelled; nothing is left for a person to do',
    );
  });

  it('between two plans: that it is being planned', () => {
    const { upgrade, cluster, now } = members();
    const state = { name: 'running', started: now } as const;
    expect(describe({ ...upgrade, state }, cluster, now)).toContain('0 of 0 done; being planned;');
    const planned = { ...upgrade, state, planned_round: 0 };
    expect(describe(planned, cluster, now)).toContain(
      'waits for every instance to report that it is healthy',
    );
  });

  it('with a step that has failed beside one that is done, waits for nothing', () => {
    const world = members({ scripts: { 'db-2': { upgrade: { error: 'no' } } }, policy: { retries: 0 } });
    world.settle();
    const { cluster, now } = world;
    const [first, second] = world.upgrade.steps;
    if (!first || !second) throw new Error('no steps');
    const state = { name: 'running', started: now } as const;
    const text = describe({ ...world.upgrade, state, steps: [first, second] }, cluster, now);
    expect(text).toContain('1 of 2 done; being planned;');
  });

  it('paused while something is in flight: what that is', () => {
    const world = members();
    world.until(inPhase(world, 'upgrading'));
    world.act('pause');
    expect(say(world)).toMatch(
      /paused since \S+: paused by ann: resume it, or cancel it; now db-1: upgrading for 0 s; next: db-2;/,
    );
    world.until(() => !inPhase(world, 'upgrading')() && !inPhase(world, 'verifying')());
    expect(say(world)).toMatch(
      /^1 of 3 done; paused since \S+: paused by ann: resume it, or cancel it; a person/,
    );
  });

  it('waiting for its window: when it goes on by itself', () => {
    const world = members({
      policy: { window: { cron: '0 * * * *', duration_seconds: 60, time_zone: 'UTC' } },
    });
    world.now += 120_000;
    world.until(() => world.upgrade.state.name === 'paused');
    expect(say(world)).toContain(
      'it goes on by itself at 2027-01-15T09:00:00.000Z; a person can: pause, cancel',
    );
  });

  it('on the way back counts the steps back, and says so', () => {
    const world = members();
    world.until(() => world.upgrade.steps.filter((step) => step.phase.name === 'done').length === 1);
    world.until(inPhase(world, 'upgrading'));
    world.act('rollback');
    expect(say(world)).toContain(
      '0 of 0 done on the way back; now db-2: upgrading for 0 s; next: a new plan;',
    );
    world.until(() => world.upgrade.planned_round === 1);
    expect(say(world)).toContain('0 of 2 done on the way back; now db-2: preparing for 0 s; next: db-1;');
  });

  it('with every step done says what it still waits for', () => {
    const world = members({ already_upgraded: ['db-3'] });
    world.until(() => world.messagesTo('db-2', 'upgrade').length > 0);
    world.guest('db-3').sickUntil = world.now + 60_000;
    world.speak(world.guest('db-3'));
    world.until(() => world.upgrade.steps.every((step) => step.phase.name === 'done'));
    expect(say(world)).toContain('2 of 2 done; waits for every instance to report that it is healthy;');
  });

  it('names the switchover', () => {
    const world = new World({ instances: 3 });
    world.until(inPhase(world, 'demoting'));
    expect(say(world)).toContain('now switchover from db-1: demoting');
  });

  it('names a gate that holds it back, and since when', () => {
    const world = members();
    world.until(() => world.upgrade.steps.length > 0);
    const [first, ...rest] = world.upgrade.steps;
    if (!first) throw new Error('no step');
    const blocked = { gate: 'guests_alive', reason: 'start it', since: world.now - 12_000 } as const;
    const steps = [{ ...first, phase: { name: 'pending' as const, blocked } }, ...rest];
    const held: Upgrade = { ...world.upgrade, steps };
    expect(describe(held, world.cluster, world.now)).toContain(
      '0 of 3 done; db-1 waits for guests_alive since 12 s: start it;',
    );
  });

  it('paused: since when, why, and the way on first', () => {
    const world = members({
      scripts: { 'db-1': { upgrade: { error: 'no disk' } } },
      policy: { retries: 0 },
    });
    world.until(() => world.upgrade.state.name === 'paused');
    const { state } = world.upgrade;
    if (state.name !== 'paused') throw new Error('not paused');
    expect(say(world)).toContain(`paused since ${new Date(state.since).toISOString()}: ${state.message}`);
    expect(say(world)).toContain('a person can: retry, cancel');
    expect(endOf(world)).toBeNull();
  });

  it('waiting for its next attempt: when, and after what', () => {
    const world = members({ scripts: { 'db-1': { upgrade: [{ error: 'no disk' }] } } });
    world.until(inPhase(world, 'backoff'));
    expect(say(world)).toMatch(/^0 of 3 done; db-1 tries again in 1 s after: no disk;/);
    // Its time has come, and it is something else that holds it back.
    expect(describe(world.upgrade, world.cluster, world.now + 2_000)).toContain('0 of 3 done; next: db-1;');
  });

  it('ended: how', () => {
    const world = members();
    world.until(() => world.upgrade.state.name === 'succeeded');
    expect(say(world)).toBe('succeeded; 3 of 3 done; a person can: rollback');
    const cancelled = members();
    cancelled.act('cancel');
    expect(say(cancelled)).toBe('cancelled: cancelled before it started; a person can: retry');
  });

  it('says something of any upgrade, cluster or not', () => {
    const world = members();
    do {
      expect(say(world)).not.toMatch(/undefined|null|NaN|-\d+ s/);
      expect(describe(world.upgrade, null, world.now)).not.toMatch(/undefined|null|NaN/);
      world.tick();
    } while (world.upgrade.state.name !== 'succeeded');
  });
});

suite('the estimated end', () => {
  const measured = (options: WorldOptions = {}) =>
    members({ measured: { instance: [60_000], switchover: [] }, ...options });

  /** One instance after the other, a minute each. */
  const atWork = () => {
    const world = measured({ scripts: { 'db-1': { upgrade: { ms: 50_000 } } } });
    world.until(inPhase(world, 'upgrading'));
    return world;
  };

  it('takes off what the step in flight has used of its time, and no more than that', () => {
    const world = atWork();
    const started = world.step('db-1').started ?? 0;
    for (const [after_ms, left_ms] of [
      [10_000, 170_000],
      [60_000, 120_000],
      [90_000, 120_000],
    ] as const) {
      const now = started + after_ms;
      expect(estimatedEnd(world.upgrade, world.cluster, now)).toBe(now + left_ms);
    }
  });

  it('takes off what the one has used that has used least, of several in flight', () => {
    const policy = { max_unavailable: 3 };
    const world = measured({ policy, scripts: { 'db-1': { upgrade: { ms: 50_000 } } } });
    world.until(inPhase(world, 'upgrading'));
    const { cluster, upgrade, now } = world;
    const steps = upgrade.steps.map((step, index) => ({ ...step, started: now - (index + 1) * 5_000 }));
    expect(upgrade.steps.filter(isInFlight)).toHaveLength(3);
    expect(estimatedEnd({ ...upgrade, steps }, cluster, now)).toBe(now + 55_000);
  });

  it('is not known while it is held, is to be cancelled or has no plan, or when its cluster is gone', () => {
    const world = atWork();
    expect(estimatedEnd(world.upgrade, null, world.now)).toBeNull();
    world.act('pause');
    expect(endOf(world)).toBeNull();
    world.act('resume');
    expect(endOf(world)).not.toBeNull();
    const cancelled = atWork();
    cancelled.act('cancel');
    expect(endOf(cancelled)).toBeNull();
    world.act('rollback');
    expect(endOf(world)).toBeNull();
  });

  it('is not known before such steps were measured', () => {
    const world = members();
    while (world.upgrade.state.name !== 'succeeded') {
      expect(endOf(world)).toBeNull();
      world.tick();
    }
  });

  it('is known while it runs, comes nearer, and is never in the past', () => {
    const world = measured();
    expect(endOf(world), 'not before it has a plan').toBeNull();
    world.until(() => world.upgrade.steps.length > 0);
    expect((endOf(world) ?? 0) - world.now).toBeGreaterThan(2 * 60_000);
    expect((endOf(world) ?? 0) - world.now).toBeLessThanOrEqual(3 * 60_000);
    const first = endOf(world) ?? 0;
    world.until(() => world.upgrade.steps.filter((step) => step.phase.name === 'done').length === 2);
    expect(endOf(world)).toBeLessThan(first);
    expect(estimatedEnd(world.upgrade, world.cluster, world.now + 3_600_000)).toBeGreaterThanOrEqual(
      world.now + 3_600_000,
    );
    world.until(() => world.upgrade.state.name === 'succeeded');
    expect(endOf(world)).toBeNull();
  });
});
