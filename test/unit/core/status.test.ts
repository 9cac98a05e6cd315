/** The sentence that says what an upgrade is doing. It must be true at every moment. */
import { expect, it, describe as suite } from 'vitest';
import type { Upgrade } from '../../../src/core/record.ts';
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
    expect(say(world)).toMatch(/db-1 tries again in \d s after: /);
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
  it('is known while it runs, comes nearer, and is never in the past', () => {
    const world = members();
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
