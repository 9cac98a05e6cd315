/** What a person can have a batch do, and what is refused with which reason. */
import { describe, expect, it } from 'vitest';
import type { AskedOfBatch } from '../../../src/core/batch/record.ts';
import { type BatchWorld, type Script, T0 } from './world.ts';
import { batchWorlds, FAIL } from './worlds.ts';

const world = batchWorlds();

const FAIL_ONCE: readonly Script[] = [{ end: 'failed' }, {}];
const ONE_BY_ONE = [{ max_concurrent: 1, failure_budget: 0 }];

describe('pause and resume', () => {
  it('let what runs end, begin nothing, and go on (B7)', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE });
    it.pass(1);
    it.act({ action: 'pause' });
    expect(it.act({ action: 'pause' }).verdict).toBe('stale');
    it.pass(60);
    expect([it.countOf('succeeded'), it.countOf('queued')]).toEqual([1, 2]);
    it.act({ action: 'resume' });
    expect(it.act({ action: 'resume' }).verdict).toBe('stale');
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'succeeded', started: T0, ended: it.now });
  });

  it('may come before it is taken up: it says that it starts when it does, and once', () => {
    const it = world({ clusters: 1, waves: [{}] });
    it.act({ action: 'pause' });
    expect(it.batch.state).toMatchObject({ name: 'paused', started: null });
    it.pass(60);
    expect(it.eventsOf('started')).toEqual([]);
    it.act({ action: 'resume' });
    const started = it.now;
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'succeeded', started });
    expect(it.eventsOf('started')).toMatchObject([{ at: started, message: '1 cluster to 1.1 in 1 wave' }]);
    expect(it.eventsOf('resumed')).toHaveLength(1);
  });

  it('may come before it is taken up, and then a cancel: it has never started', () => {
    const it = world({ clusters: 2, waves: [{}] });
    it.act({ action: 'pause' });
    it.act({ action: 'cancel' });
    expect(it.batch.state.name).toBe('cancelled');
    expect(it.eventsOf('started')).toEqual([]);
    const unpaused = world({ clusters: 2, waves: [{}] });
    unpaused.act({ action: 'cancel' });
    expect(unpaused.batch.state).toMatchObject({ name: 'cancelled', started: unpaused.now });
    expect(unpaused.eventsOf('started')).toEqual([]);
  });

  it('and a retry before it is taken up has it start, and say so', () => {
    const it = world({ clusters: 2, waves: [{}] });
    it.act({ action: 'pause' });
    it.act({ action: 'skip', clusters: ['id-c-1'] });
    it.act({ action: 'retry', clusters: ['id-c-1'] });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.eventsOf('started')).toHaveLength(1);
  });

  it('may come before it is taken up, and before a wave that waits for approval', () => {
    const it = world({ clusters: 1, waves: [{ approval: true }] });
    it.act({ action: 'pause' });
    it.act({ action: 'resume' });
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'approval' });
  });
});

describe('retry', () => {
  it('tries again what failed, under a new upgrade, and goes on', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE, scripts: { 'c-1': FAIL_ONCE } });
    it.settle();
    const first = it.member('c-1').upgrade_id;
    it.act({ action: 'retry' });
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
    expect(it.member('c-1')).toMatchObject({ tries: 2 });
    expect(it.member('c-1').upgrade_id).not.toBe(first);
  });

  it('goes back to the wave of what is tried again, and soaks again after it', () => {
    const waves = [{ share: 2, failure_budget: 1, soak_seconds: 10 }, { approval: true }];
    const it = world({ clusters: 3, waves, scripts: { 'c-1': FAIL_ONCE } });
    it.settle();
    expect(it.batch).toMatchObject({ wave: 1, state: { reason: 'approval' } });
    it.act({ action: 'retry' });
    expect(it.batch.wave).toBe(0);
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'approval' });
    expect(it.eventsOf('soaking')).toHaveLength(2);
    it.act({ action: 'approve' });
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
    it.act({ action: 'retry', clusters: ['id-c-2'] });
    it.settle();
    expect(it.batch.state).toMatchObject({
      name: 'incomplete',
      message: '3 succeeded, 1 failed, 0 skipped, 0 cancelled',
    });
  });

  it('is refused for what has not failed, what is not in the batch, and where nothing has failed', () => {
    const it = world({ clusters: 2, waves: ONE_BY_ONE });
    it.pass(1);
    expect(it.act({ action: 'retry' }).reason).toBe('no cluster has failed: there is nothing to retry');
    expect(it.act({ action: 'retry', clusters: ['id-c-1'] }).reason).toContain('c-1 is running');
    expect(it.act({ action: 'retry', clusters: ['id-c-9'] }).reason).toBe('id-c-9 is not in this batch');
  });
});

describe('skip', () => {
  it('leaves what failed behind, and goes on', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE, scripts: { 'c-1': FAIL } });
    it.settle();
    it.act({ action: 'skip' });
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
    const { members } = it.act({ action: 'skip', clusters: ['id-c-3'] });
    expect(members.map(({ before, after }) => [before.state.name, after.state.name])).toEqual([
      ['queued', 'skipped'],
    ]);
    expect(it.act({ action: 'skip', clusters: ['id-c-3'] }).verdict).toBe('stale');
    it.settle();
    expect(it.namesIn('skipped')).toEqual(['c-3']);
    expect(it.act({ action: 'skip', clusters: ['id-c-3'] }).reason).toBe('the batch has ended: succeeded');
  });

  it('is refused for what runs or has succeeded', () => {
    const it = world({ clusters: 3, waves: ONE_BY_ONE });
    it.pass(11);
    expect(it.act({ action: 'skip', clusters: ['id-c-1', 'id-c-2'] }).reason).toContain(
      'c-1 is succeeded, c-2 is running: only what failed or has not begun can be skipped',
    );
    expect(it.act({ action: 'skip' }).reason).toBe('no cluster has failed: name those to skip');
  });
});

describe('rollback', () => {
  it('takes back what succeeded, failed or runs, cancels the rest of the wave, and pauses', () => {
    const waves = [{ share: 4, max_concurrent: 2, failure_budget: 0 }, {}];
    const scripts = { 'c-2': FAIL, 'c-3': [{ takes_s: 500 }] };
    const it = world({ clusters: 6, waves, scripts });
    it.pass(11);
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'failures' });
    it.act({ action: 'resume' });
    it.pass(1);
    it.act({ action: 'rollback' });
    expect(it.batch.state).toMatchObject({ name: 'rolling_back', wave: 0 });
    expect(it.act({ action: 'rollback' }).verdict).not.toBe('refused');
    expect(it.act({ action: 'pause' }).reason).toBe(
      'it takes a wave back, and pauses afterwards: cancel it, or wait',
    );
    expect(it.act({ action: 'retry' }).reason).toBe('it takes a wave back: wait until that is done');
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'rolled_back' });
    for (const name of ['c-1', 'c-3']) {
      expect(it.member(name).state).toMatchObject({ name: 'cancelled', reason: 'rolled back to 1.0' });
    }
    expect(it.namesIn('queued')).toEqual(['c-5', 'c-6']);
    it.act({ action: 'resume' });
    it.settle();
    expect(it.batch.state.name).toBe('incomplete');
  });

  it('keeps to max_concurrent', () => {
    const it = world({ clusters: 9, waves: [{ share: 8, max_concurrent: 3 }, { approval: true }] });
    it.settle();
    it.act({ action: 'rollback' });
    it.pass(1);
    expect(it.countOf('running')).toBe(3);
    it.settle();
    expect(it.countOf('cancelled')).toBe(8);
  });

  it('leaves alone what its upgrade left as it was, and cancels what has not begun', () => {
    const waves = [{ share: 4, max_concurrent: 1 }, {}];
    const it = world({ clusters: 4, waves, scripts: { 'c-1': [{ end: 'cancelled' }] } });
    it.pass(21);
    expect([it.stateOf('c-1'), it.stateOf('c-2'), it.stateOf('c-3')]).toEqual([
      'cancelled',
      'succeeded',
      'running',
    ]);
    it.act({ action: 'rollback' });
    expect(it.member('c-4').state).toMatchObject({ name: 'cancelled', ended: it.now });
    it.settle();
    expect(it.batch.state.name).toBe('paused');
    expect(
      it.members.map(({ tries }) => tries),
      'c-2 by another upgrade, c-3 by its own',
    ).toEqual([1, 2, 1, 0]);
  });

  it('waits for no window: what is on the wrong version goes back at once', () => {
    const window = { cron: '0 8 * * *', duration_seconds: 60, time_zone: 'UTC' };
    const it = world({ clusters: 2, policy: { window }, waves: [{ share: 1 }, { approval: true }] });
    it.pass(600);
    it.act({ action: 'rollback' });
    it.pass(1);
    expect(it.member('c-1').state).toMatchObject({ name: 'running', way: 'back' });
  });

  it('of a cluster that does not get back is a failure', () => {
    const it = world({
      clusters: 2,
      waves: [{ share: 1 }, { approval: true }],
      scripts: { 'c-1': [{}, { end: 'failed' }, {}] },
    });
    it.settle();
    it.act({ action: 'rollback', wave: 0 });
    it.settle();
    expect(it.member('c-1').state).toMatchObject({
      name: 'failed',
      reason: 'its way back: failed by script',
    });
    it.act({ action: 'retry' });
    it.settle();
    expect(it.stateOf('c-1')).toBe('succeeded');
  });

  it('is refused for a wave that has not started or has nothing to take back', () => {
    const it = world({ clusters: 2, waves: [{ share: 1 }, {}] });
    it.pass(1);
    expect(it.act({ action: 'rollback', wave: 1 }).reason).toBe('there is no wave 2 that has started');
    const other = world({ clusters: 1, waves: [{}], busy_s: { 'c-1': 99 } });
    other.pass(1);
    expect(other.act({ action: 'rollback' }).reason).toContain('no cluster that could go back');
  });
});

describe('cancel', () => {
  it('ends once what runs has ended; each cluster is accounted for (B1)', () => {
    const it = world({ clusters: 5, waves: [{ max_concurrent: 2 }] });
    it.pass(1);
    it.act({ action: 'cancel' });
    expect(it.act({ action: 'cancel' }).verdict).toBe('stale');
    expect(it.act({ action: 'resume' }).reason).toBe('it is being cancelled');
    it.settle();
    expect(it.batch.state).toMatchObject({
      name: 'cancelled',
      message: '2 succeeded, 0 failed, 0 skipped, 3 cancelled',
    });
  });

  it('ends upgrades that wait for a person', () => {
    const it = world({ clusters: 2, waves: ONE_BY_ONE, scripts: { 'c-1': [{ pauses: 'failure' }] } });
    it.settle(30);
    it.act({ action: 'cancel' });
    it.settle();
    expect(it.batch.state.name).toBe('cancelled');
    expect(it.countOf('cancelled')).toBe(2);
  });

  it('ends one that nobody has taken up', () => {
    const it = world();
    it.act({ action: 'cancel' });
    expect(it.batch.state.name).toBe('cancelled');
    expect(it.countOf('cancelled')).toBe(3);
  });

  it('takes what waits for a busy cluster with it', () => {
    const it = world({ clusters: 1, waves: [{}], busy_s: { 'c-1': 1_000 } });
    it.pass(1);
    it.act({ action: 'cancel' });
    it.settle();
    expect(it.batch.state.name).toBe('cancelled');
  });
});

/** What was told from here on, by type and text. */
const told = (it: BatchWorld, from: number) =>
  it.events.slice(from).map(({ type, message }) => `${type}: ${message}`);

describe('who asked for what is told', () => {
  it.each<[AskedOfBatch, readonly string[]]>([
    [{ action: 'resume' }, ['resumed: resumed by ann']],
    [{ action: 'retry' }, ['cluster_queued: c-1: tried again, by ann', 'resumed: retried by ann']],
    [{ action: 'skip' }, ['cluster_skipped: c-1: skipped by ann', 'resumed: failures skipped by ann']],
    [{ action: 'approve' }, ['approved: wave 2 approved by ann']],
    [
      { action: 'rollback' },
      [
        'cluster_cancelled: c-2: its wave was taken back by ann',
        'rolling_back: wave 1 is taken back by ann: 1 cluster',
      ],
    ],
    [{ action: 'cancel' }, ['cancelling: cancelled by ann: what is in flight ends first']],
  ])('%j', (asked, expected) => {
    const waves = [{ share: 2, max_concurrent: 1, failure_budget: 0 }, { approval: true }];
    const it = world({ clusters: 3, waves, scripts: { 'c-1': FAIL_ONCE } });
    it.settle();
    const from = it.events.length;
    it.act(asked);
    expect(told(it, from).slice(0, expected.length)).toEqual(expected);
  });

  it('with a pause too, whose message says what to do then', () => {
    const it = world({ waves: ONE_BY_ONE });
    it.pass(1);
    it.act({ action: 'pause' });
    const message = 'paused by ann: resume it, or cancel it';
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'requested', message });
  });
});

describe('an approval', () => {
  const refusal = 'no further wave needs an approval';

  it('is of the next wave that asks for one and has a cluster', () => {
    const waves = [{ share: 1 }, { share: '1%' as const, approval: true }, {}, { share: 1, approval: true }];
    const it = world({ clusters: 3, waves });
    expect(it.batch.waves.map(({ size }) => size)).toEqual([1, 1, 1, 0]);
    it.pass(1);
    it.act({ action: 'approve' });
    expect(it.batch.approved_wave).toBe(1);
    it.pass(12);
    expect(it.batch.wave).toBe(1);
    expect(it.act({ action: 'approve' })).toMatchObject({ verdict: 'refused', reason: refusal });
  });

  it('of one that has started is none: the one after it is meant', () => {
    const waves = [{ share: 1, approval: true }, { approval: true }];
    const it = world({ clusters: 2, waves });
    it.pass(1);
    it.act({ action: 'approve' });
    it.pass(1);
    it.act({ action: 'approve' });
    expect(it.batch.approved_wave).toBe(1);
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });

  it('in advance ends no pause that has another reason', () => {
    const it = world({ clusters: 2, waves: [{ share: 1 }, { approval: true }] });
    it.pass(1);
    it.act({ action: 'pause' });
    it.act({ action: 'approve' });
    expect(it.batch).toMatchObject({ approved_wave: 1, state: { name: 'paused', reason: 'requested' } });
  });
});

describe('a retry of named clusters', () => {
  it('takes along what was skipped or cancelled, but nothing that no wave has', () => {
    const versions = { 'c-1': '2.0' };
    const it = world({ clusters: 4, versions, waves: [{ max_concurrent: 1, failure_budget: 9 }] });
    it.pass(1);
    it.act({ action: 'skip', clusters: ['id-c-3', 'id-c-4'] });
    const left_out = it.act({ action: 'retry', clusters: ['id-c-1'] });
    expect(left_out).toMatchObject({
      ...{ verdict: 'refused', members: [], effects: [], events: [] },
      reason: 'c-1 is skipped: only what failed, was skipped or cancelled can be tried again',
    });
    it.act({ action: 'retry', clusters: ['id-c-3'] });
    it.settle();
    expect(it.eventsOf('resumed'), 'it was not paused').toEqual([]);
    expect([it.stateOf('c-3'), it.stateOf('c-4')]).toEqual(['succeeded', 'skipped']);
  });

  it('takes along what a rollback has cancelled', () => {
    const it = world({ clusters: 3, waves: [{ share: 2, max_concurrent: 1 }, { approval: true }] });
    it.pass(1);
    it.act({ action: 'rollback' });
    it.settle();
    it.act({ action: 'retry', clusters: ['id-c-1', 'id-c-2'] });
    it.settle();
    expect(it.namesIn('succeeded')).toEqual(['c-1', 'c-2']);
    expect(it.member('c-1'), 'it began for the first time then').toMatchObject({ tries: 2, started: T0 });
  });

  it('has them wait anew, if they have to', () => {
    const scripts = { 'c-2': [{ takes_s: 90 }] };
    const it = world({ clusters: 2, waves: [{ max_concurrent: 1 }], busy_s: { 'c-1': 30 }, scripts });
    it.pass(1);
    expect(it.member('c-1').waiting_since).toBe(T0);
    const clusters = ['id-c-1'];
    it.act({ action: 'skip', clusters });
    it.act({ action: 'retry', clusters });
    expect(it.member('c-1')).toMatchObject({ waiting_since: null, state: { name: 'queued' } });
  });

  it('goes back to the earliest wave that has one of them, and on from there', () => {
    const waves = [{ share: 1, failure_budget: 1 }, { share: 2, failure_budget: 1 }, { approval: true }];
    const scripts = { 'c-1': FAIL_ONCE, 'c-3': FAIL_ONCE };
    const it = world({ clusters: 4, waves, scripts });
    it.settle();
    expect(it.batch.wave).toBe(2);
    it.act({ action: 'retry', clusters: ['id-c-3'] });
    expect([it.batch.wave, it.batch.waves[1]?.ended]).toEqual([1, null]);
    it.settle();
    it.act({ action: 'retry', clusters: ['id-c-1'] });
    expect(it.batch.wave).toBe(0);
    it.settle();
    expect(it.batch).toMatchObject({ wave: 2, state: { reason: 'approval' } });
    expect(it.countOf('succeeded')).toBe(3);
  });

  it('in the middle of a soak has the whole soak after it (B3)', () => {
    const waves = [{ share: 2, failure_budget: 1, soak_seconds: 60 }, {}];
    const it = world({ clusters: 3, waves, scripts: { 'c-1': [{ end: 'failed' }, { takes_s: 90 }] } });
    it.pass(40);
    it.act({ action: 'retry' });
    it.pass(140);
    expect([it.stateOf('c-1'), it.stateOf('c-3')]).toEqual(['succeeded', 'queued']);
    it.pass(60);
    expect(it.stateOf('c-3')).not.toBe('queued');
  });

  it('before the batch is taken up only puts them back in their place', () => {
    const it = world({ clusters: 2 });
    it.act({ action: 'pause' });
    it.act({ action: 'skip', clusters: ['id-c-2'] });
    expect(it.batch.state, 'no failure was skipped').toMatchObject({ name: 'paused', reason: 'requested' });
  });
});

describe('a wave that is taken back', () => {
  const twoWaves = [{ share: 1 }, { share: 1 }, { approval: true }];

  it('is the last that has begun anything, where none is named', () => {
    const it = world({ clusters: 3, waves: twoWaves });
    it.settle();
    it.act({ action: 'rollback' });
    expect(it.batch).toMatchObject({ wave: 1, state: { name: 'rolling_back', wave: 1 } });
    expect(it.eventsOf('rolling_back')).toMatchObject([{ wave: 1 }]);
    expect(it.act({ action: 'rollback', wave: 0 }).reason).toBe(
      'it takes wave 2 back: wait until that is done',
    );
    it.settle();
    expect(it.namesIn('cancelled')).toEqual(['c-2']);
    expect(it.batch.state).toHaveProperty(
      'message',
      'wave 2 was taken back: 1 succeeded, 0 failed, 0 skipped, 1 cancelled; resume it, or cancel it',
    );
  });

  it('is none that has no cluster, however far the batch is', () => {
    const waves = [{ share: 1 }, { share: 1, selector: { name: 'x' } }, { approval: true }];
    const it = world({ clusters: 2, waves });
    it.settle();
    expect(it.batch.wave).toBe(2);
    it.act({ action: 'rollback' });
    expect(it.batch.state).toMatchObject({ name: 'rolling_back', wave: 0 });
  });

  it('says to the upgrades under way to turn round, once', () => {
    const it = world({ clusters: 1, scripts: { 'c-1': [{ takes_s: 500 }] } });
    it.pass(1);
    const { upgrade_id } = it.member('c-1');
    expect(it.act({ action: 'rollback' }).effects).toEqual([{ kind: 'act', upgrade_id, action: 'rollback' }]);
    it.pass(0.5);
    expect(it.feed({ type: 'wake' }).effects).toEqual([]);
    it.settle();
    expect(it.member('c-1')).toMatchObject({ tries: 1, undo: null });
    expect(it.member('c-1').state).toMatchObject({ name: 'cancelled', reason: 'rolled back to 1.0' });
  });

  it('has another upgrade take back what succeeds before it hears of it', () => {
    const it = world({ clusters: 1, scripts: { 'c-1': [{ takes_s: 5 }, { takes_s: 20 }] } });
    it.pass(1);
    const id = it.member('c-1').upgrade_id ?? '';
    const running = it.upgrades.get(id);
    if (!running) throw new Error('nothing runs');
    // It has ended by now, and the batch has yet to look.
    it.upgrades.set(id, { ...running, seen: { ...running.seen, state: 'succeeded', message: 'done' } });
    it.act({ action: 'rollback' });
    it.pass(1);
    expect(it.member('c-1')).toMatchObject({ tries: 2, undo: id, state: { name: 'running', way: 'back' } });
    it.settle();
    expect(it.member('c-1').state).toMatchObject({ name: 'cancelled', reason: 'rolled back to 1.0' });
  });

  it('waits for a cluster that is busy, and is over only then', () => {
    const it = world({ clusters: 2, waves: [{ share: 1 }, { approval: true }] });
    it.settle();
    it.act({ action: 'rollback' });
    it.feed({ type: 'wake' });
    const { position, cluster_id, upgrade_id } = it.member('c-1');
    const busy = { position, cluster_id, upgrade_id: upgrade_id ?? '', reason: 'busy' };
    it.feed({ type: 'refused', refusals: [{ ...busy, verdict: 'later' }] });
    expect(it.stateOf('c-1')).toBe('waiting');
    expect(it.batch.state.name).toBe('rolling_back');
    it.settle();
    expect(it.batch.state).toMatchObject({ name: 'paused', reason: 'rolled_back' });
  });

  it('leaves out what a person skips meanwhile, and says so of what a cancel leaves as it is', () => {
    const it = world({ clusters: 4, waves: [{ share: 3 }, { approval: true }], max_concurrent_total: 1 });
    it.settle();
    it.act({ action: 'rollback' });
    it.pass(1);
    it.act({ action: 'skip', clusters: ['id-c-2'] });
    expect(it.member('c-2')).toMatchObject({ undo: null, state: { name: 'skipped' } });
    it.act({ action: 'cancel' });
    expect(it.member('c-3')).toMatchObject({
      undo: null,
      state: { name: 'cancelled', reason: 'cancelled by ann: it was not taken back' },
    });
    expect(it.member('c-4').state).toMatchObject({ reason: 'cancelled by ann' });
  });
});

describe('after a cancel', () => {
  it('what turns out to have to wait does not begin any more (B7)', () => {
    const it = world({ clusters: 1, scripts: { 'c-1': [{ takes_s: 500 }] } });
    it.pass(1);
    it.act({ action: 'cancel' });
    const { position, cluster_id, upgrade_id } = it.member('c-1');
    const refusal = { position, cluster_id, upgrade_id: upgrade_id ?? '', reason: 'busy' };
    it.feed({ type: 'refused', refusals: [{ ...refusal, verdict: 'later' }] });
    expect(it.member('c-1').state).toMatchObject({ name: 'cancelled', reason: 'the batch was cancelled' });
    expect(it.batch.state.name).toBe('cancelled');
  });

  it('upgrades that wait for a person are cancelled, once; those that wait for their window go on', () => {
    const scripts = { 'c-1': [{ pauses: 'gate' as const }], 'c-2': [{ pauses: 'window' as const }] };
    const it = world({ clusters: 2, waves: [{}], scripts });
    it.pass(12);
    const { upgrade_id } = it.member('c-1');
    const act = { kind: 'act', upgrade_id, action: 'cancel' };
    expect(it.act({ action: 'cancel' }).effects).toEqual([act]);
    expect(it.feed({ type: 'wake' }).effects).toEqual([]);
    it.pass(30);
    expect([it.stateOf('c-1'), it.stateOf('c-2')]).toEqual(['cancelled', 'running']);
  });
});
