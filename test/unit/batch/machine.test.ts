/** The batch machine: waves, budgets, soaks, what people ask for. What is checked after every step is in `invariants.ts`. */
import { describe, expect, it } from 'vitest';
import { possibleBatchActions } from '../../../src/core/batch/actions.ts';
import { failuresAllowed } from '../../../src/core/batch/record.ts';
import { type Script, T0 } from './world.ts';
import { batchWorlds, FAIL } from './worlds.ts';

const world = batchWorlds();

const names = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `c-${from + i}`);
const all = (from: number, to: number, script: readonly Script[]) =>
  Object.fromEntries(names(from, to).map((name) => [name, script]));

describe('waves', () => {
  it('are a canary, a tenth and the rest where nothing else is said', () => {
    const it = world({ clusters: 41 });
    expect(it.batch.waves.map(({ size }) => size)).toEqual([1, 5, 35]);
    expect(it.batch.waves[0]?.failure_budget).toBe(0);
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.countOf('succeeded')).toBe(41);
  });

  it('start one after the other', () => {
    const it = world({ clusters: 3, waves: [{ share: 2, max_concurrent: 1 }, {}] });
    it.pass(5);
    expect(it.namesIn('running')).toEqual(['c-1']);
    it.pass(10);
    expect(it.namesIn('running')).toEqual(['c-2']);
    it.pass(10);
    expect(it.namesIn('running')).toEqual(['c-3']);
    expect(it.eventsOf('wave_started').map(({ wave }) => wave)).toEqual([0, 1]);
    expect(it.eventsOf('wave_done').map(({ message }) => message)).toEqual(['wave 1: 2 succeeded']);
  });

  it('without a cluster are passed over, their soak and approval too', () => {
    const it = world({
      clusters: 1,
      waves: [{ share: 1 }, { share: '10%', approval: true, soak_seconds: 99 }, {}],
    });
    expect(it.batch.waves.map(({ size }) => size)).toEqual([1, 0, 0]);
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('leave out what no wave takes, and say so', () => {
    const it = world({ clusters: 3, waves: [{ share: 2 }] });
    expect(it.member('c-3').state).toMatchObject({ name: 'skipped', reason: 'no wave takes it' });
    it.settle();
    expect(it.eventsOf('started')[0]?.message).toBe('2 clusters to 1.1 in 1 wave');
    expect(it.batch.state).toMatchObject({
      name: 'succeeded',
      message: '2 succeeded, 0 failed, 1 skipped, 0 cancelled',
    });
  });

  it('leave out what runs the target already, from the start', () => {
    const it = world({ clusters: 2, versions: { 'c-1': '2.0' } });
    expect(it.member('c-1')).toMatchObject({ wave: null, state: { name: 'skipped' } });
    expect(it.batch.waves[0]?.size).toBe(1);
    expect(it.stateOf('c-2')).toBe('queued');
  });

  it('wait for a person where that is asked for, before the first too', () => {
    const it = world({ clusters: 2, waves: [{ share: 1, approval: true }, { approval: true }] });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'approval' });
    expect(it.countOf('queued')).toBe(2);
    expect(possibleBatchActions(it.batch)[0]).toBe('approve');
    expect(it.act({ action: 'resume' }).reason).toContain('approve it');
    it.act({ action: 'approve' });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'approval' });
    expect(it.namesIn('succeeded')).toEqual(['c-1']);
    it.act({ action: 'approve' });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.eventsOf('approved').map(({ wave }) => wave)).toEqual([0, 1]);
  });

  it('may be approved before they are due, once', () => {
    const it = world({ clusters: 2, waves: [{ share: 1 }, { approval: true }] });
    it.pass(1);
    it.act({ action: 'approve' });
    expect(it.act({ action: 'approve' }).verdict).toBe('stale');
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.eventsOf('paused')).toEqual([]);
  });

  it('refuse an approval that no wave needs', () => {
    const it = world();
    expect(it.act({ action: 'approve' })).toMatchObject({ verdict: 'refused' });
  });
});

describe('places', () => {
  it('are never more than max_concurrent', () => {
    const it = world({ clusters: 20, waves: [{ max_concurrent: 4 }] });
    it.pass(1);
    expect(it.countOf('running')).toBe(4);
    it.settle();
    expect(it.countOf('succeeded')).toBe(20);
  });

  it('are shared with other batches', () => {
    const it = world({ clusters: 20, waves: [{ max_concurrent: 20 }], max_concurrent_total: 10 });
    it.others = [{ batch_id: 'other', tenant_id: 'u', running: 3, wants: 30 }];
    it.pass(1);
    expect(it.countOf('running')).toBe(5);
    it.others = [];
    it.pass(2);
    expect(it.countOf('running')).toBe(10);
  });

  it('are free again while an upgrade waits for its window', () => {
    const it = world({
      clusters: 3,
      waves: [{ max_concurrent: 1 }],
      scripts: { 'c-1': [{ pauses: 'window' }] },
    });
    it.pass(11);
    expect(it.batch.waves[0]?.parked).toBe(1);
    expect(it.namesIn('running')).toEqual(['c-1', 'c-2']);
    it.pass(30);
    expect(it.namesIn('succeeded')).toEqual(['c-2', 'c-3']);
    expect(it.batch.state.name).toBe('running');
    it.mend('c-1');
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });
});

describe('a cluster that has to wait', () => {
  it('because it is busy does not hold up the others, and says when it is asked again', () => {
    const it = world({ clusters: 3, waves: [{ max_concurrent: 1 }], busy_s: { 'c-1': 60 } });
    it.pass(1);
    expect(it.member('c-1').state).toMatchObject({
      name: 'waiting',
      reason: expect.stringContaining('BUILDING'),
    });
    expect(it.namesIn('running')).toEqual(['c-2']);
    it.pass(40);
    expect(it.namesIn('succeeded')).toEqual(['c-2', 'c-3']);
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.member('c-1')).toMatchObject({ tries: 1, state: { name: 'succeeded' } });
    expect(it.eventsOf('cluster_waiting')).toHaveLength(1);
  });

  it('for its window waits until that opens, while the others go on', () => {
    const opens = T0 + 3_600_000;
    const it = world({ clusters: 2, policies: { 'c-1': { not_before: opens } }, waves: [{}] });
    it.pass(60);
    const reason = 'it is not to start before 2027-01-15T09:00:00.000Z';
    expect(it.member('c-1').state).toEqual({ name: 'waiting', until: opens, reason });
    expect(it.namesIn('succeeded')).toEqual(['c-2']);
    it.pass(3_600);
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('is one of many: that is told once', () => {
    const window = { cron: '0 2 * * *', duration_seconds: 3_600, time_zone: 'UTC' };
    const it = world({ clusters: 7, policy: { window }, waves: [{ max_concurrent: 100 }] });
    it.pass(2);
    expect(it.countOf('waiting')).toBe(7);
    expect(it.eventsOf('cluster_waiting')).toHaveLength(1);
    expect(it.eventsOf('cluster_waiting')).toMatchObject([
      {
        message:
          '7 clusters wait: its window is closed; it opens at 2027-01-16T02:00:00.000Z (c-1, c-2, c-3, c-4, c-5 and 2 more)',
        wave: 0,
      },
    ]);
  });

  it('is one of five: all are named', () => {
    const window = { cron: '0 2 * * *', duration_seconds: 3_600, time_zone: 'UTC' };
    const it = world({ clusters: 5, policy: { window }, waves: [{}] });
    it.pass(1);
    expect(it.eventsOf('cluster_waiting')[0]?.message).toMatch(/\(c-1, c-2, c-3, c-4, c-5\)$/);
  });

  it('for ever, as its window never opens, is looked at once a day and told of once', () => {
    const window = { cron: '0 2 31 2 *', duration_seconds: 3_600, time_zone: 'UTC' };
    const it = world({ clusters: 2, policies: { 'c-1': { window } }, waves: [{}] });
    it.pass(1);
    expect(it.member('c-1').state).toMatchObject({ name: 'waiting', until: T0 + 86_400_000 });
    it.pass(90_000);
    expect(it.member('c-1')).toMatchObject({ waiting_since: T0, state: { until: T0 + 2 * 86_400_000 } });
    expect(it.eventsOf('cluster_waiting')).toMatchObject([
      { message: 'c-1: its window never opens', cluster_id: 'id-c-1', wave: 0 },
    ]);
  });
});

describe('the failure budget', () => {
  it('spent to the last changes nothing but the end', () => {
    const it = world({ clusters: 4, waves: [{ failure_budget: 2 }], scripts: all(1, 2, FAIL) });
    it.settle();
    expect(it.batch.state).toMatchObject({
      name: 'incomplete',
      message: '2 succeeded, 2 failed, 0 skipped, 0 cancelled',
    });
    expect(it.eventsOf('wave_done').map(({ message }) => message)).toEqual(['wave 1: 2 succeeded, 2 failed']);
  });

  it('exceeded pauses: what runs ends, nothing begins', () => {
    const it = world({
      clusters: 6,
      waves: [{ failure_budget: 0, max_concurrent: 2 }],
      scripts: { 'c-1': [{ end: 'failed', takes_s: 1 }], 'c-2': [{ takes_s: 20 }] },
    });
    it.pass(3);
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'failures' });
    expect(it.batch.state).toHaveProperty('message', expect.stringContaining('its failure budget is 0'));
    expect(it.namesIn('running')).toEqual(['c-2']);
    it.pass(60);
    expect(it.namesIn('succeeded')).toEqual(['c-2']);
    expect(it.countOf('queued')).toBe(4);
    expect(possibleBatchActions(it.batch)).toEqual(['retry', 'resume', 'skip', 'rollback', 'cancel']);
  });

  it('is a percentage of the wave, rounded down', () => {
    const it = world({
      clusters: 19,
      waves: [{ failure_budget: '10%', max_concurrent: 1 }],
      scripts: all(1, 2, FAIL),
    });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'failures' });
    expect(it.batch.state).toHaveProperty('message', expect.stringContaining('budget is 1 (10% of 19)'));
    expect(it.countOf('queued')).toBe(17);
  });

  it.each([
    ['5%', 9, 1],
    ['1%', 1, 1],
    ['0.5%', 150, 1],
    ['5%', 40, 2],
    ['0%', 9, 0],
    ['0.0%', 9, 0],
    [0, 9, 0],
    [3, 9, 3],
  ] as const)(
    'of %s of %i clusters is %i: a percentage above zero is at least one',
    (failure_budget, size, allowed) => {
      expect(failuresAllowed({ failure_budget, size })).toBe(allowed);
    },
  );

  it('of a small wave, in percent, forgives one failure', () => {
    const it = world({ clusters: 9, waves: [{ failure_budget: '5%' }], scripts: all(1, 1, FAIL) });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'incomplete' });
  });

  it('counts an upgrade that waits for a person, for as long as it does', () => {
    const it = world({
      clusters: 3,
      waves: [{ failure_budget: 0, max_concurrent: 1 }],
      scripts: { 'c-1': [{ pauses: 'failure' }] },
    });
    it.pass(30);
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'failures' });
    expect(it.eventsOf('cluster_held')).toHaveLength(1);
    it.mend('c-1');
    it.pass(10);
    expect(it.stateOf('c-1')).toBe('succeeded');
    it.act({ action: 'resume' });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('once forgiven is not asked for again, whatever else ends', () => {
    const it = world({
      clusters: 3,
      waves: [{ failure_budget: 0 }],
      scripts: { 'c-1': FAIL, 'c-2': [{ pauses: 'gate' }], 'c-3': [{ takes_s: 30 }] },
    });
    it.pass(12);
    it.act({ action: 'resume' });
    it.pass(30);
    expect(it.namesIn('succeeded')).toEqual(['c-3']);
    expect(it.eventsOf('paused')).toHaveLength(1);
  });

  it('is whole again after resume', () => {
    const it = world({
      clusters: 6,
      waves: [{ failure_budget: 1, max_concurrent: 1 }],
      scripts: all(1, 4, FAIL),
    });
    it.settle();
    expect(it.countOf('failed')).toBe(2);
    it.act({ action: 'resume' });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'failures' });
    expect(it.countOf('failed')).toBe(4);
    it.act({ action: 'resume' });
    it.settle();
    expect(it.batch.state.name).toBe('incomplete');
  });
});

describe('the write-outage budget', () => {
  it('adds up per wave, and pauses when it is exceeded', () => {
    const scripts = all(1, 9, [{ outage_ms: 400 }]);
    const it = world({
      clusters: 9,
      waves: [{ write_outage_budget_seconds: 1, max_concurrent: 1 }],
      scripts,
    });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'write_outage' });
    expect(it.batch.state).toHaveProperty('message', expect.stringContaining('no writes for 1.2 s together'));
    expect(it.countOf('succeeded')).toBe(3);
    it.act({ action: 'resume' });
    it.settle();
    expect(it.countOf('succeeded')).toBe(6);
    expect(it.batch.waves[0]?.write_outage_ms).toBe(2_400);
  });

  it('is not exceeded by what is exactly within it', () => {
    const it = world({
      clusters: 2,
      waves: [{ write_outage_budget_seconds: 1 }],
      scripts: all(1, 2, [{ outage_ms: 500 }]),
    });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });
});

describe('a soak', () => {
  const waves = [{ share: 1, soak_seconds: 60 }, {}];

  it('holds the next wave back while health has to hold', () => {
    const it = world({ clusters: 2, waves });
    it.pass(65);
    expect(it.stateOf('c-2')).toBe('queued');
    expect(it.eventsOf('soaking')).toHaveLength(1);
    it.pass(10);
    expect(it.stateOf('c-2')).toBe('running');
  });

  it('starts anew after a bad look', () => {
    const it = world({ clusters: 2, waves });
    it.pass(50);
    it.unwell.add('c-1');
    it.pass(6);
    it.unwell.clear();
    it.pass(62);
    expect(it.stateOf('c-2'), '60 s from the first good look on').toBe('queued');
    it.pass(6);
    expect(it.stateOf('c-2')).toBe('running');
    expect(it.eventsOf('unwell')).toHaveLength(1);
  });

  it('pauses for what stays bad for half a minute, told once, and names it', () => {
    const it = world({ clusters: 2, waves });
    it.pass(20);
    it.unwell.add('c-1');
    it.settle();
    const message = 'not healthy after their upgrade: c-1; mend them, then resume, or cancel';
    expect(it.eventsOf('soaking')).toMatchObject([{ message: 'wave 1: health must hold for 60 s', wave: 0 }]);
    const [unwell, ...again] = it.eventsOf('unwell');
    expect(unwell).toMatchObject({ message: 'not healthy: c-1', wave: 0 });
    expect(again).toEqual([]);
    const since = (unwell?.at ?? 0) + 30_000;
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'health', since, message });
    expect(it.stateOf('c-2')).toBe('queued');
    it.unwell.clear();
    it.act({ action: 'resume' });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('tells of each time that health does not hold', () => {
    const it = world({ clusters: 2, waves });
    for (const well_s of [20, 20]) {
      it.pass(well_s);
      it.unwell.add('c-1');
      it.pass(6);
      it.unwell.clear();
    }
    it.settle();
    expect(it.eventsOf('unwell')).toHaveLength(2);
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('of a wave without a cluster is none', () => {
    const it = world({ clusters: 1, waves: [{ share: 1 }, { share: 1, soak_seconds: 60 }, {}] });
    it.settle();
    expect(it.eventsOf('soaking')).toEqual([]);
    expect(it.eventsOf('wave_done')).toMatchObject([{ message: 'wave 1: 1 succeeded', wave: 0 }]);
    expect(it.batch.waves[0]).toMatchObject({ started: T0, ended: T0 + 10_000 });
  });

  it('is none after the last wave', () => {
    const it = world({ clusters: 1, waves: [{ soak_seconds: 3_600 }] });
    it.pass(12);
    expect(it.batch.state.name).toBe('succeeded');
  });
});

describe('a lost begin', () => {
  it('is said again, and begins once', () => {
    let lost = 0;
    const it = world({ clusters: 5, loses: () => ++lost <= 3 });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.upgrades.size).toBe(5);
  });
});
