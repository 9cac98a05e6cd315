/**
 * Clusters that Trove's own guest agents speak for: no version, no role, no attempt in their reports,
 * and every copy of an order is carried out. Not covered: the wire (test/interop/trove-guests.test.ts).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAlive, versionOf } from '../../../src/core/domain.ts';
import { isActive } from '../../../src/core/record.ts';
import type { Outcome } from './guest.ts';
import { tried } from './properties.ts';
import { FROM, TO, World, type WorldOptions } from './world.ts';

const names = ['db-1', 'db-2', 'db-3'] as const;
const newWorld = (options: WorldOptions = {}) =>
  new World({ manager: 'cassandra', trove: names, policy: { max_unavailable: 1 }, ...options });
const versions = (world: World) => world.cluster.instances.map(versionOf);
const slow = { upgrade: { ms: 8_000 } };

describe('Trove guests', () => {
  it('are upgraded one after the other, and told what Trove tells', () => {
    const world = newWorld({ scripts: { 'db-1': slow, 'db-2': slow, 'db-3': slow } });
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
    expect(world.told('upgrade')).toEqual(['db-1', 'db-2', 'db-3']);
    expect(versions(world)).toEqual([TO, TO, TO]);
    expect(world.cluster.datastore_version).toBe(TO);
    expect(world.messages.every(({ dialect }) => dialect === 'trove')).toBe(true);
    const [order] = world.messagesTo('db-1', 'upgrade');
    expect(order?.args).toMatchObject({ role: 'whatever', device: '/dev/vdb', datastore_version: TO });
    expect(world.violations).toEqual([]);
  });

  it('name no primary, so nobody hands over: they go in the order of their creation', () => {
    const world = newWorld({ manager: 'mysql' });
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
    expect(world.upgrade.steps.map(({ kind }) => kind)).toEqual(['instance', 'instance', 'instance']);
  });

  it('need not be caught while they are down: health that lasts is enough', () => {
    const world = newWorld({ scripts: { 'db-1': { upgrade: { ms: 1 } } } });
    world.reach('db-1', 'upgrading');
    const { now } = world;
    world.reach('db-1', 'done');
    expect(world.now - now).toBeGreaterThanOrEqual(10_000);
    expect(world.messagesTo('db-1', 'upgrade')).toHaveLength(1);
  });

  it('are not taken for done by the health that they had when the order came', () => {
    const world = newWorld({ scripts: { 'db-1': { upgrade: { ms: 60_000 } } } });
    world.reach('db-1', 'upgrading');
    world.pass(50);
    expect(world.step('db-1').phase).toMatchObject({ name: 'upgrading', accepted: true });
    expect(versions(world)).toEqual([null, FROM, FROM]);
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
  });

  it('say nothing by a message that is no heartbeat', () => {
    const world = newWorld({ scripts: { 'db-1': { upgrade: { ms: 60_000 } } } });
    world.reach('db-1', 'upgrading');
    const { upgrade } = world;
    expect(world.feed({ type: 'reported', instance_id: 'i-1', report: null }).verdict).toBe('stale');
    expect(world.upgrade).toBe(upgrade);
  });

  it('hear an order once per attempt, however long they take, and whoever starts again', () => {
    const world = newWorld({ scripts: { 'db-1': { upgrade: { ms: 300_000 } } } });
    world.reach('db-1', 'upgrading');
    world.feed({ type: 'recover' });
    world.pass(100);
    world.act('pause');
    world.act('resume');
    world.feed({ type: 'recover' });
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
    expect(world.messagesTo('db-1', 'upgrade')).toHaveLength(1);
    expect(world.violations).toEqual([]);
  });

  it('that lose an order get it in another attempt, once its time is up', () => {
    const world = newWorld({
      policy: { step_timeout_seconds: 60, retries: 1 },
      scripts: { 'db-1': { upgrade: [{ silent: true, leaves_down: true }], pre_upgrade: [{}, {}] } },
    });
    world.reach('db-1', 'upgrading');
    world.guest('db-1').turn('down');
    world.pass(70);
    expect(world.step('db-1').attempt).toBe(2);
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
  });

  it('that do not come back leave the record saying that nobody knows their version', () => {
    const world = newWorld({
      policy: { step_timeout_seconds: 60, retries: 0 },
      scripts: { 'db-2': { upgrade: { error: 'no image', leaves_down: true } } },
    });
    world.settle();
    expect(world.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(versions(world)).toEqual([TO, null, FROM]);
    expect(world.cluster.datastore_version).toBe(FROM);
  });

  it('go back to the version that they came from', () => {
    const world = newWorld({
      policy: { step_timeout_seconds: 60, retries: 0, on_failure: 'rollback' },
      scripts: { 'db-2': { upgrade: [{ error: 'no image', leaves_down: true }] } },
    });
    world.settle();
    expect(world.upgrade.state.name).toBe('rolled_back');
    expect(versions(world)).toEqual([FROM, FROM, FROM]);
    expect(world.guests.map(({ version }) => version)).toEqual([FROM, FROM, FROM]);
  });

  it('speak rarely, and are alive for as long as Trove would have it', () => {
    const world = newWorld();
    const [instance] = world.cluster.instances;
    if (!instance) throw new Error('no instance');
    const heard = { ...instance, heard: world.now };
    expect(isAlive(heard, world.now + 90_000)).toBe(true);
    expect(isAlive(heard, world.now + 90_001)).toBe(false);
    const ours = { ...heard, report: { service_status: 'healthy' as const, sent: 1, agent: 'coffer/0.1' } };
    expect(isAlive(ours, world.now + 15_000)).toBe(true);
    expect(isAlive(ours, world.now + 15_001)).toBe(false);
    const rare = { ...ours, report: { ...ours.report, heartbeat_ms: 20_000 } };
    expect(isAlive(rare, world.now + 60_000)).toBe(true);
    expect(isAlive(rare, world.now + 60_001)).toBe(false);
    const hardlyEver = { ...ours, report: { ...ours.report, heartbeat_ms: 3_600_000 } };
    expect(isAlive(hardlyEver, world.now + 90_001)).toBe(false);
  });

  it('end, whatever they take and however often they fail, without a second copy of an order', () => {
    const outcome: fc.Arbitrary<Outcome> = fc.oneof(
      fc.record({ ms: fc.integer({ min: 1, max: 90_000 }) }),
      fc.constant({ error: 'it went wrong' }),
      fc.constant({ silent: true }),
    );
    const script = fc.record({ upgrade: fc.array(outcome, { maxLength: 2 }) });
    const scenario = fc.record({
      scripts: fc.record({ 'db-1': script, 'db-2': script, 'db-3': script }),
      trove: fc.subarray([...names], { minLength: 1 }),
      recover_s: fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 3 }),
      max_unavailable: fc.integer({ min: 1, max: 2 }),
    });
    fc.assert(
      fc.property(scenario, ({ scripts, trove, recover_s, max_unavailable }) => {
        const policy = { max_unavailable, step_timeout_seconds: 120, retries: 2 };
        const world = new World({ manager: 'cassandra', trove, scripts, policy });
        for (const at_s of recover_s) world.later(at_s * 1000, () => void world.feed({ type: 'recover' }));
        world.settle();
        const copies = trove.flatMap((name) => world.messagesTo(name, 'upgrade'));
        const attempts = new Set(copies.map(({ attempt }) => `${attempt.step}/${attempt.attempt}`));
        expect(copies).toHaveLength(attempts.size);
        expect(world.violations).toEqual([]);
        expect(isActive(world.upgrade)).toBe(world.upgrade.state.name === 'paused');
      }),
      tried(60),
    );
  });
});
