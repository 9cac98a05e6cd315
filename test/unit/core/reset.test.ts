/** A reset ends an upgrade at once; whatever a guest still does for it changes nothing (M7). */
import { describe, expect, it } from 'vitest';
import { ACTIONS } from '../../../src/core/upgrade/inputs.ts';
import { World, type WorldOptions } from './world.ts';

const members = (options: WorldOptions = {}) => new World({ manager: 'simulated', instances: 3, ...options });
const reset = (world: World) => world.feed({ type: 'reset', by: 'ann' });
const inPhase = (world: World, name: string) => () =>
  world.upgrade.steps.some((step) => step.phase.name === name);

describe('a reset', () => {
  it('is no action that people are offered', () => {
    expect(ACTIONS).not.toContain('reset');
  });

  it.each(['preparing', 'upgrading', 'verifying'])('ends an upgrade at once, even while %s', (phase) => {
    const world = members();
    world.until(inPhase(world, phase));
    const next = reset(world);
    expect(world.upgrade.state).toMatchObject({
      name: 'cancelled',
      message: expect.stringContaining('reset by ann'),
    });
    expect(next.effects.filter(({ kind }) => kind === 'call' || kind === 'cast')).toEqual([]);
    expect(world.cluster).toMatchObject({ task: 'NONE', datastore_version: world.upgrade.from_version });
    const tasks = world.cluster.instances.map((one) => [one.task, one.fault !== null]);
    // Who only makes ready serves as before.
    if (phase === 'preparing') expect(tasks).toEqual(tasks.map(() => ['NONE', false]));
    else expect(tasks).toContainEqual(['UPGRADING_ERROR', true]);
    expect(tasks).not.toContainEqual(['UPGRADING', expect.anything()]);
    expect(world.violations).toEqual([]);
  });

  it('ends one that nobody has taken up, and one that is paused', () => {
    const fresh = members();
    reset(fresh);
    expect(fresh.upgrade.state.name).toBe('cancelled');
    const paused = members({ policy: { canary: 1 } });
    paused.until(() => paused.upgrade.state.name === 'paused');
    reset(paused);
    expect(paused.upgrade.state.name).toBe('cancelled');
    expect(paused.cluster.task).toBe('NONE');
  });

  it('M7: fences off whatever guests still do', () => {
    const world = members();
    world.until(inPhase(world, 'upgrading'));
    reset(world);
    const { upgrade, events } = world;
    const told = world.messages.length;
    const count = events.length;
    world.until(() => false, 120);
    expect(world.upgrade).toBe(upgrade);
    expect(world.events.length).toBe(count);
    expect(world.messages.length).toBe(told);
    const [step] = upgrade.steps;
    if (!step) throw new Error('no step');
    const attempt = { step: step.id, attempt: step.attempt };
    for (const status of ['running', 'succeeded', 'failed'] as const) {
      const report = { upgrade_id: upgrade.id, ...attempt, action: 'upgrade' as const, status };
      expect(world.feed({ type: 'reported', instance_id: step.instance_id, report }).verdict).toBe('stale');
    }
    for (const action of ['pre_upgrade', 'post_upgrade'] as const) {
      expect(world.feed({ type: 'answered', ...attempt, action, info: {} }).verdict).toBe('stale');
    }
    expect(world.upgrade).toBe(upgrade);
  });

  it('in a switchover leaves no instance that looks busy', () => {
    for (const phase of ['demoting', 'promoting', 'following']) {
      const world = new World({ instances: 3 });
      world.until(inPhase(world, phase));
      reset(world);
      expect(world.cluster.instances.map(({ task }) => task)).not.toContain('UPGRADING');
      expect(world.upgrade.state.name).toBe('cancelled');
    }
  });

  it('in a switchover tells that there may be no primary, and what to do then (G6)', () => {
    for (const phase of ['demoting', 'promoting'] as const) {
      const world = new World({ lag_bytes: { 'db-3': 9 } });
      world.reach('db-1', phase, 'switchover');
      reset(world);
      expect(world.message).toBe(
        'status reset by ann; 1 step was in flight; db-1 was handing over to db-2: if neither serves as the primary now, promote db-2 by hand, then start a new upgrade',
      );
    }
    const world = new World({ lag_bytes: { 'db-3': 9 } });
    world.reach('db-1', 'following', 'switchover');
    reset(world);
    expect(world.message).not.toContain('by hand');
  });

  it('leaves in doubt what was in flight, and nothing else', () => {
    const world = members();
    world.until(() => world.upgrade.steps.some((step) => step.phase.name === 'done'));
    world.until(inPhase(world, 'upgrading'));
    reset(world);
    const fault = 'its status was reset while it was being upgraded';
    expect(world.cluster.instances.map((one) => [one.name, one.task, one.fault])).toEqual([
      ['db-1', 'NONE', null],
      ['db-2', 'UPGRADING_ERROR', fault],
      ['db-3', 'NONE', null],
    ]);
    expect(world.upgrade.steps.map(({ phase }) => phase.name)).toEqual(['done', 'failed', 'pending']);
    expect(world.step('db-2').phase).toEqual({ name: 'failed', ended: world.now, error: fault });
    expect(world.message).toBe('status reset by ann; 1 step was in flight');
  });

  it('counts an old primary that has yet to come back among what was in flight: it is down (G6)', () => {
    const world = new World({ lag_bytes: { 'db-3': 9 }, scripts: { 'db-3': { follow: { ms: 20_000 } } } });
    world.reach('db-1', 'following', 'switchover');
    world.guest('db-1').awayUntil = Infinity;
    world.reach('db-1', 'done', 'switchover');
    expect(world.step('db-1').phase.name).toBe('pending');
    reset(world);
    expect(world.instance('db-1').task).toBe('UPGRADING_ERROR');
    expect(world.instance('db-2').task).toBe('NONE');
  });

  it('of one that was to go back makes no plan for that any more', () => {
    const world = members();
    world.until(inPhase(world, 'upgrading'));
    world.act('rollback');
    const next = reset(world);
    expect(next.events.map(({ type }) => type)).toEqual(['cancelled']);
    expect(world.upgrade).toMatchObject({ round: 1, planned_round: 0 });
  });

  it('asked for twice changes nothing more', () => {
    const world = members();
    world.until(inPhase(world, 'upgrading'));
    reset(world);
    const { upgrade } = world;
    expect(reset(world).verdict).toBe('stale');
    expect(world.upgrade).toBe(upgrade);
  });
});
