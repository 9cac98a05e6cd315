/**
 * Clusters that Trove's own guest agents speak for: no version, no role, no attempt in their reports,
 * and every copy of an order is carried out. Not covered: the wire (test/interop/trove-guests.test.ts).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAlive, isInDoubt, versionOf } from '../../../src/core/domain.ts';
import { isActive } from '../../../src/core/record.ts';
import { possibleActions } from '../../../src/core/upgrade/actions.ts';
import { advance } from '../../../src/core/upgrade/advance.ts';
import type { Action } from '../../../src/core/upgrade/inputs.ts';
import {
  awaitsConfirmation,
  isCarriedOut,
  noEvidence,
  withReport,
} from '../../../src/core/upgrade/trove-guest.ts';
import type { Outcome } from './guest.ts';
import { tried } from './properties.ts';
import { FROM, TO, World, type WorldOptions } from './world.ts';

const names = ['db-1', 'db-2', 'db-3'] as const;
const newWorld = (options: WorldOptions = {}) =>
  new World({ manager: 'cassandra', trove: names, policy: { max_unavailable: 1 }, ...options });
const versions = (world: World) => world.cluster.instances.map(versionOf);
const slow = { upgrade: { ms: 8_000 } };
const allSlow = { 'db-1': slow, 'db-2': slow, 'db-3': slow };

describe('Trove guests', () => {
  it('are upgraded one after the other, and told what Trove tells', () => {
    const world = newWorld({ scripts: allSlow });
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
    const world = newWorld({ manager: 'mysql', scripts: allSlow });
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
    expect(world.upgrade.steps.map(({ kind }) => kind)).toEqual(['instance', 'instance', 'instance']);
  });

  it('are not taken for done by the health that they had when the order came', () => {
    const world = newWorld({ scripts: { ...allSlow, 'db-1': { upgrade: { ms: 60_000 } } } });
    world.reach('db-1', 'upgrading');
    world.pass(50);
    expect(world.step('db-1').phase).toMatchObject({ name: 'upgrading', accepted: true });
    expect(versions(world)).toEqual([null, FROM, FROM]);
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
  });

  it('may run either version once they were told, also one that had not reported before its order', () => {
    const { upgrade, cluster } = newWorld({
      policy: {
        overrides: (['guests_alive', 'version_active'] as const).map((gate) => ({ gate, reason: 'known' })),
      },
    });
    const unheard = {
      ...cluster,
      instances: cluster.instances.map((one) =>
        one.name === 'db-1' ? { ...one, report: null, heard: null } : one,
      ),
    };
    const seen = { cluster: unheard, versions: [] };
    const planned = advance(upgrade, { type: 'wake' }, seen, upgrade.created + 1);
    const [step] = planned.upgrade.steps;
    if (!step) throw new Error('nothing was planned');
    expect(step.phase.name).toBe('preparing');
    const { id, attempt, instance_id } = step;
    const input = { type: 'answered', step: id, attempt, action: 'pre_upgrade', info: {} } as const;
    const { effects } = advance(planned.upgrade, input, seen, upgrade.created + 2);
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: 'instance_task', instance_id, task: 'UPGRADING', told_version: null }),
    );
  });

  it('say nothing by a message that is no heartbeat', () => {
    const world = newWorld({ scripts: { ...allSlow, 'db-1': { upgrade: { ms: 60_000 } } } });
    world.reach('db-1', 'upgrading');
    const { upgrade } = world;
    expect(world.feed({ type: 'reported', instance_id: 'i-1', report: null }).verdict).toBe('stale');
    expect(world.upgrade).toBe(upgrade);
  });

  it('hear an order once per attempt, however long they take, and whoever starts again', () => {
    const world = newWorld({ scripts: { ...allSlow, 'db-1': { upgrade: { ms: 300_000 } } } });
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
      scripts: { ...allSlow, 'db-1': { upgrade: [{ silent: true, leaves_down: true }, { ms: 8_000 }] } },
    });
    world.reach('db-1', 'upgrading');
    world.guest('db-1').turn('down');
    world.pass(65);
    expect(world.step('db-1').attempt).toBe(2);
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
  });

  it('that do not come back leave the record saying that nobody knows their version', () => {
    const world = newWorld({
      policy: { step_timeout_seconds: 60, retries: 0 },
      scripts: { ...allSlow, 'db-2': { upgrade: { error: 'no image', leaves_down: true, unheard: true } } },
    });
    world.settle();
    expect(world.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(versions(world)).toEqual([TO, null, FROM]);
    expect(world.cluster.datastore_version).toBe(FROM);
  });

  it('go back to the version that they came from', () => {
    const world = newWorld({
      policy: { step_timeout_seconds: 60, retries: 0, on_failure: 'rollback' },
      scripts: { ...allSlow, 'db-2': { upgrade: [{ error: 'no image', leaves_down: true }, { ms: 8_000 }] } },
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
      fc.constant({ error: 'refused', does_nothing: true, unheard: true }),
      fc.constant({ does_nothing: true }),
      fc.constant({ silent: true }),
    );
    const script = fc.record({ upgrade: fc.array(outcome, { maxLength: 2 }) });
    // A person looks at the server, and says what is so.
    const help = (world: World) => {
      const step = isOffered(world, 'confirm') ? awaitsConfirmation(world.upgrade) : null;
      const guest = world.guests.find(({ id }) => id === step?.instance_id);
      if (guest && guest.version === step?.to_version) world.act('confirm');
    };
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
        for (let times = 0; times < 3; times++) {
          help(world);
          world.settle();
        }
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

const minute = { step_timeout_seconds: 60, retries: 2 };
const isOffered = (world: World, action: Action) =>
  possibleActions(world.upgrade, world.cluster).includes(action);

describe('A Trove guest of which nobody can tell whether it carried its order out', () => {
  const refused = { error: '5.7 to 8.0 is not supported', does_nothing: true };
  const pausedAt = (outcome: Outcome, options: WorldOptions = {}) => {
    const scripts = { ...allSlow, 'db-2': { upgrade: [outcome, { ms: 8_000 }] } };
    const world = newWorld({ policy: minute, scripts, ...options });
    world.settle();
    return world;
  };

  it.each([
    ['refuses where nobody hears it', { ...refused, unheard: true }, 'it did not answer'],
    ['accepts it and does nothing', { does_nothing: true }, 'it answered that it had finished'],
    ['is done before it speaks again', { ms: 1, unheard: true }, 'it did not answer'],
    ['never gets it', { silent: true }, 'it did not answer'],
  ])('%s: no other goes down, and a person is asked at its deadline (G2, G5)', (_, outcome, said) => {
    const world = pausedAt(outcome);
    expect(world.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(world.message).toMatch(
      new RegExp(`^db-2: the guest agent did not finish upgrading within 60 s: ${said}, and its server was `),
    );
    expect(world.message).toContain('Look which version its server runs: confirm it if that is 17.10; else');
    expect(world.messagesTo('db-2', 'upgrade')).toHaveLength(1);
    expect(world.told('upgrade')).toEqual(['db-1', 'db-2']);
    expect(versions(world)).toEqual([TO, null, FROM]);
    expect(world.cluster.datastore_version).toBe(FROM);
    expect(possibleActions(world.upgrade, world.cluster)).toEqual(['retry', 'confirm', 'cancel', 'rollback']);
    expect(world.violations).toEqual([]);
  });

  it('is confirmed by a person who has looked, and the others follow', () => {
    const world = pausedAt({ ms: 1, unheard: true });
    expect(world.act('confirm').verdict).toBe('applied');
    expect(world.eventsOf('resumed')[0]?.message).toBe('ann confirms that db-2 runs 17.10');
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
    expect(versions(world)).toEqual([TO, TO, TO]);
    expect(world.violations).toEqual([]);
  });

  it('is not confirmed by a word that was about another attempt, and comes late', () => {
    const world = pausedAt({ ms: 1, unheard: true });
    const { id: step, attempt } = world.step('db-2');
    const say = (about: { step: number; attempt: number }) =>
      world.feed({ type: 'action', action: 'confirm', by: 'ann', about });
    for (const about of [
      { step, attempt: attempt + 1 },
      { step: step + 1, attempt },
    ])
      expect(say(about)).toMatchObject({ verdict: 'refused', reason: expect.stringContaining('look at') });
    expect(say({ step, attempt }).verdict).toBe('applied');
  });

  it('is told once more when a person asks for it', () => {
    const world = pausedAt({ ...refused, unheard: true });
    world.act('retry');
    world.settle();
    expect(world.upgrade.state.name).toBe('succeeded');
    expect(world.messagesTo('db-2', 'upgrade')).toHaveLength(2);
    expect(world.violations).toEqual([]);
  });

  it('counts as in doubt when the upgrade is cancelled', () => {
    const world = pausedAt({ silent: true });
    world.act('cancel');
    expect(world.upgrade.state.name).toBe('cancelled');
    expect(isInDoubt(world.instance('db-2'))).toBe(true);
  });

  it('is nothing that can be confirmed while it is at work, or after it has refused in words', () => {
    const world = newWorld({ policy: { ...minute, retries: 0 }, scripts: { 'db-1': { upgrade: refused } } });
    world.reach('db-1', 'upgrading');
    expect(world.act('confirm')).toMatchObject({
      verdict: 'refused',
      reason: 'no step waits to be confirmed',
    });
    world.settle();
    expect(world.message).toBe('db-1: 5.7 to 8.0 is not supported: retry it, or cancel it');
    expect(isOffered(world, 'confirm')).toBe(false);
    expect(world.act('confirm').verdict).toBe('refused');
  });

  it('that was broken before is done only when it says so and is healthy', () => {
    const broken = { broken: ['db-2'], scripts: { ...allSlow, 'db-2': { upgrade: { ms: 8_000 } } } };
    const well = newWorld(broken);
    well.settle();
    expect(well.upgrade.state.name).toBe('succeeded');
    const world = newWorld({ ...broken, scripts: { 'db-2': { upgrade: { silent: true } } }, policy: minute });
    world.reach('db-2', 'upgrading');
    world.guest('db-2').turn('up');
    world.settle();
    expect(world.message).toMatch(/^db-2: .* nobody can tell/);
    expect(world.violations).toEqual([]);
  });
});

describe('The evidence of a Trove guest', () => {
  const NOW = 1_800_000_000_000;
  const report = { service_status: 'healthy' as const, sent: NOW - 5_000 };
  const before = noEvidence({ ...newWorld().instance('db-1'), report, heard: NOW - 4_000 }, NOW);

  it('leaves out what it sent before its order: by its own clock if that is ahead, else by ours', () => {
    // Its last report was a second on its way, or its clock is a second behind: what it sent meanwhile may be old.
    expect(before.since).toBe(NOW);
    expect(withReport(before, 'shutdown', NOW - 1)).toBe(before);
    expect(withReport(before, 'shutdown', NOW)).toMatchObject({ has_left: true, reports: 1 });
    const ahead = { ...report, sent: NOW - 1_000 };
    const later = noEvidence({ ...newWorld().instance('db-1'), report: ahead, heard: NOW - 4_000 }, NOW);
    expect(later.since).toBe(NOW + 3_000);
    expect(withReport(later, 'shutdown', NOW + 2_999)).toBe(later);
  });

  it('leaves out a report that a later one has overtaken: its server had not gone down yet', () => {
    const down = withReport(before, 'shutdown', NOW + 2_000);
    expect(withReport(down, 'healthy', NOW + 1_000)).toBe(down);
    expect(isCarriedOut(withReport(down, 'healthy', NOW + 3_000))).toBe(true);
  });

  it('knows of no health before the order where nobody was heard, or a server was neither well nor down', () => {
    const of = (service_status: 'shutdown' | 'unknown', heard: number) =>
      noEvidence({ ...newWorld().instance('db-1'), report: { ...report, service_status }, heard }, NOW)
        .was_healthy;
    expect([of('shutdown', NOW), of('unknown', NOW), of('shutdown', NOW - 600_000)]).toEqual([
      false,
      null,
      null,
    ]);
    const unknown = { ...before, was_healthy: null, answered: true };
    expect(isCarriedOut(withReport(unknown, 'healthy', NOW))).toBe(false);
  });

  it('is a server that was healthy, went, and came back: neither half is enough', () => {
    const gone = withReport(before, 'unknown', NOW);
    expect(isCarriedOut(gone)).toBe(false);
    expect(isCarriedOut(withReport(gone, 'healthy', NOW))).toBe(true);
    expect(isCarriedOut(withReport({ ...before, answered: true }, 'healthy', NOW))).toBe(false);
  });

  it('of one that was ill when it was told begins when it is well', () => {
    const ill = { ...before, was_healthy: false };
    const well = withReport(withReport(ill, 'failed', NOW), 'healthy', NOW);
    expect(isCarriedOut(well)).toBe(false);
    expect(isCarriedOut({ ...well, answered: true })).toBe(true);
    expect(isCarriedOut(withReport(withReport(well, 'shutdown', NOW), 'healthy', NOW))).toBe(true);
  });
});
