/** What a person can have a batch do, and what is refused with which reason. */
import { describe, expect, it } from 'vitest';
import { possibleBatchActions } from '../../../src/core/batch/actions.ts';
import { BATCH_ACTIONS } from '../../../src/core/batch/orders.ts';
import { type BatchWorld, type BatchWorldOptions, type Script, T0 } from './world.ts';
import { batchWorlds, FAIL } from './worlds.ts';

const world = batchWorlds();

const FAIL_ONCE: readonly Script[] = [{ end: 'failed' }, {}];
const ONE_BY_ONE = [{ max_concurrent: 1, failure_budget: 0 }];

describe('pause and resume', () => {
  it('let what runs end, begin nothing, and go on (B7)', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE });
    it.pass(1);
    it.order({ action: 'pause' });
    expect(it.order({ action: 'pause' }).verdict).toBe('stale');
    it.pass(60);
    expect([it.countOf('succeeded'), it.countOf('queued')]).toEqual([1, 2]);
    it.order({ action: 'resume' });
    expect(it.order({ action: 'resume' }).verdict).toBe('stale');
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('may come before it is taken up', () => {
    const it = world({ clusters: 1, waves: [{ approval: true }] });
    it.order({ action: 'pause' });
    it.order({ action: 'resume' });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'approval' });
  });
});

describe('retry', () => {
  it('tries again what failed, under a new upgrade, and goes on', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE, scripts: { 'c-1': FAIL_ONCE } });
    it.settle();
    const first = it.member('c-1').upgrade_id;
    it.order({ action: 'retry' });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.member('c-1')).toMatchObject({ tries: 2 });
    expect(it.member('c-1').upgrade_id).not.toBe(first);
  });

  it('goes back to the wave of what is tried again, and soaks again after it', () => {
    const waves = [{ share: 2, failure_budget: 1, soak_seconds: 10 }, { approval: true }];
    const it = world({ clusters: 3, waves, scripts: { 'c-1': FAIL_ONCE } });
    it.settle();
    expect(it.batch).toMatchObject({ wave: 1, soaked_wave: 0, state: { reason: 'approval' } });
    it.order({ action: 'retry' });
    expect(it.batch).toMatchObject({ wave: 0, soaked_wave: -1 });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'approval' });
    expect(it.eventsOf('soaking')).toHaveLength(2);
    it.order({ action: 'approve' });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('of named clusters takes those alone', () => {
    const it = world({
      clusters: 4,
      waves: [{ failure_budget: 1 }],
      scripts: { 'c-1': FAIL_ONCE, 'c-2': FAIL_ONCE },
    });
    it.settle();
    it.order({ action: 'retry', clusters: ['id-c-2'] });
    it.settle();
    expect(it.batch.state).toMatchObject({
      name: 'incomplete',
      message: '3 succeeded, 1 failed, 0 skipped, 0 cancelled',
    });
  });

  it('is refused for what has not failed, what is not in the batch, and where nothing has failed', () => {
    const it = world({ clusters: 2, waves: ONE_BY_ONE });
    it.pass(1);
    expect(it.order({ action: 'retry' }).reason).toBe('no cluster has failed: there is nothing to retry');
    expect(it.order({ action: 'retry', clusters: ['id-c-1'] }).reason).toContain('c-1 is running');
    expect(it.order({ action: 'retry', clusters: ['id-c-9'] }).reason).toBe('id-c-9 is not in this batch');
  });
});

describe('skip', () => {
  it('leaves what failed behind, and goes on', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE, scripts: { 'c-1': FAIL } });
    it.settle();
    it.order({ action: 'skip' });
    it.settle();
    expect(it.batch.state).toMatchObject({
      name: 'succeeded',
      message: '2 succeeded, 0 failed, 1 skipped, 0 cancelled',
    });
    expect(it.member('c-1').state).toMatchObject({ name: 'skipped', reason: 'skipped by ann' });
  });

  it('of named clusters takes them out before they begin', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE });
    it.pass(1);
    it.order({ action: 'skip', clusters: ['id-c-3'] });
    expect(it.order({ action: 'skip', clusters: ['id-c-3'] }).verdict).toBe('stale');
    it.settle();
    expect(it.namesIn('skipped')).toEqual(['c-3']);
    expect(it.order({ action: 'skip', clusters: ['id-c-3'] }).reason).toBe('the batch has ended: succeeded');
  });

  it('is refused for what runs or has succeeded', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE });
    it.pass(11);
    expect(it.order({ action: 'skip', clusters: ['id-c-1', 'id-c-2'] }).reason).toContain(
      'c-1 is succeeded, c-2 is running: only what failed or has not begun can be skipped',
    );
    expect(it.order({ action: 'skip' }).reason).toBe('no cluster has failed: name those to skip');
  });
});

describe('rollback', () => {
  it('takes back what succeeded, failed or runs, cancels the rest of the wave, and pauses', () => {
    const waves = [{ share: 4, max_concurrent: 2, failure_budget: 0 }, {}];
    const scripts = { 'c-2': FAIL, 'c-3': [{ takes_s: 500 }] };
    const it = world({ clusters: 6, waves, scripts });
    it.pass(11);
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'failures' });
    it.order({ action: 'resume' });
    it.pass(1);
    it.order({ action: 'rollback' });
    expect(it.batch.state).toMatchObject({ name: 'rolling_back', wave: 0 });
    expect(it.order({ action: 'rollback' }).verdict).not.toBe('refused');
    expect(it.order({ action: 'pause' }).verdict).toBe('refused');
    expect(it.order({ action: 'retry' }).verdict).toBe('refused');
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'rolled_back' });
    for (const name of ['c-1', 'c-3']) {
      expect(it.member(name).state).toMatchObject({ name: 'cancelled', reason: 'rolled back to 1.0' });
    }
    expect(it.namesIn('queued')).toEqual(['c-5', 'c-6']);
    it.order({ action: 'resume' });
    it.settle();
    expect(it.batch.state.name).toBe('incomplete');
  });

  it('keeps to max_concurrent', () => {
    const it = world({ clusters: 9, waves: [{ share: 8, max_concurrent: 3 }, { approval: true }] });
    it.settle();
    it.order({ action: 'rollback' });
    it.pass(1);
    expect(it.countOf('running')).toBe(3);
    it.settle();
    expect(it.countOf('cancelled')).toBe(8);
  });

  it('of a cluster that does not get back is a failure', () => {
    const it = world({
      clusters: 2,
      waves: [{ share: 1 }, { approval: true }],
      scripts: { 'c-1': [{}, { end: 'failed' }, {}] },
    });
    it.settle();
    it.order({ action: 'rollback', wave: 0 });
    it.settle();
    expect(it.member('c-1').state).toMatchObject({
      name: 'failed',
      reason: 'its way back: failed by script',
    });
    it.order({ action: 'retry' });
    it.settle();
    expect(it.stateOf('c-1')).toBe('succeeded');
  });

  it('is refused for a wave that has not started or has nothing to take back', () => {
    const it = world({ clusters: 2, waves: [{ share: 1 }, {}] });
    it.pass(1);
    expect(it.order({ action: 'rollback', wave: 1 }).reason).toBe('there is no wave 2 that has started');
    const other = world({ clusters: 1, waves: [{}], busy_s: { 'c-1': 99 } });
    other.pass(1);
    expect(other.order({ action: 'rollback' }).reason).toContain('no cluster that could go back');
  });
});

describe('cancel', () => {
  it('ends once what runs has ended; each cluster is accounted for (B1)', () => {
    const it = world({ clusters: 5, waves: [{ max_concurrent: 2 }] });
    it.pass(1);
    it.order({ action: 'cancel' });
    expect(it.order({ action: 'cancel' }).verdict).toBe('stale');
    expect(it.order({ action: 'resume' }).reason).toBe('it is being cancelled');
    it.settle();
    expect(it.batch.state).toMatchObject({
      name: 'cancelled',
      message: '2 succeeded, 0 failed, 0 skipped, 3 cancelled',
    });
  });

  it('ends upgrades that wait for a person', () => {
    const it = world({ clusters: 2, waves: ONE_BY_ONE, scripts: { 'c-1': [{ pauses: 'failure' }] } });
    it.settle(30);
    it.order({ action: 'cancel' });
    it.settle();
    expect(it.batch.state.name).toBe('cancelled');
    expect(it.countOf('cancelled')).toBe(2);
  });

  it('ends one that nobody has taken up', () => {
    const it = world();
    it.order({ action: 'cancel' });
    expect(it.batch.state.name).toBe('cancelled');
    expect(it.countOf('cancelled')).toBe(3);
  });

  it('takes what waits for a busy cluster with it', () => {
    const it = world({ clusters: 1, waves: [{}], busy_s: { 'c-1': 1_000 } });
    it.pass(1);
    it.order({ action: 'cancel' });
    it.settle();
    expect(it.batch.state.name).toBe('cancelled');
  });
});

describe('what a person can do', () => {
  const options: BatchWorldOptions = {
    clusters: 4,
    waves: [{ share: 2, failure_budget: 0 }, { approval: true }],
    scripts: { 'c-1': FAIL_ONCE },
  };
  /** After so many seconds: it runs, it is over its budget, it waits for approval, it runs again, it has ended. */
  const moments: readonly (readonly [number, (it: BatchWorld) => void])[] = [
    [0, () => undefined],
    [5, () => undefined],
    [30, () => undefined],
    [60, (it) => it.order({ action: 'retry' })],
    [65, (it) => it.order({ action: 'approve' })],
    [99, () => undefined],
  ];

  it.each(BATCH_ACTIONS)('is what is not refused: %s', (action) => {
    for (let stop = 0; stop < moments.length; stop++) {
      const it = world(options);
      for (const [second, act] of moments.slice(0, stop + 1)) {
        it.pass(second - (it.now - T0) / 1000);
        act(it);
        it.pass(0);
      }
      const isPossible = possibleBatchActions(it.batch).includes(action);
      const open = it.members.find(({ state }) => state.name === 'queued' || state.name === 'failed');
      const clusters = action === 'skip' && open ? { clusters: [open.cluster_id] } : {};
      const { verdict } = it.order({ action, ...clusters });
      if (isPossible) expect([stop, verdict]).toEqual([stop, 'applied']);
      else expect([stop, verdict]).not.toEqual([stop, 'applied']);
    }
  });
});
