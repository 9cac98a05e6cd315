/** What becomes of a cluster whose upgrade could not begin, is held, or ends otherwise than it was to. */
import { describe, expect, it } from 'vitest';
import { seenOf } from '../../../src/core/batch/advance.ts';
import type { Refusal } from '../../../src/core/batch/inputs.ts';
import type { PauseReason } from '../../../src/core/record.ts';
import { World } from '../core/world.ts';
import { type BatchWorld, T0 } from './world.ts';
import { batchWorlds } from './worlds.ts';

const world = batchWorlds();
const waves = [{ max_concurrent: 1, failure_budget: 5 }];

function refuse(it: BatchWorld, fields: Partial<Refusal>) {
  const { position, cluster_id, upgrade_id } = it.member('c-1');
  const told = { verdict: 'failed', reason: 'no such version' } as const;
  const refusal = { position, cluster_id, upgrade_id: upgrade_id ?? '', ...told, ...fields };
  return it.feed({ type: 'refused', refusals: [refusal] });
}

describe('an upgrade that could not begin', () => {
  const begun = () => {
    const it = world({ clusters: 2, waves });
    it.pass(1);
    return it;
  };

  it.each([
    ['needless', 'skipped'],
    ['gone', 'skipped'],
    ['failed', 'failed'],
  ] as const)('being %s, makes its cluster %s with the reason, and the next one begins', (verdict, name) => {
    const it = begun();
    refuse(it, { verdict, reason: 'as it is' });
    const state = { name, ended: it.now, reason: 'as it is' };
    expect(it.member('c-1')).toMatchObject({ state, tries: 0, upgrade_id: null });
    const [told] = it.eventsOf(`cluster_${name}`);
    expect(told).toMatchObject({ wave: 0, cluster_id: 'id-c-1', message: 'c-1: as it is' });
    expect(told, 'there is no such upgrade').not.toHaveProperty('upgrade_id');
    expect(it.stateOf('c-2')).toBe('running');
  });

  it('for good leaves nothing to take back, and may be tried again under the same id (B5)', () => {
    const it = world({ clusters: 1, waves: [{ failure_budget: 0 }] });
    it.pass(1);
    const { upgrade_id } = it.member('c-1');
    refuse(it, { verdict: 'failed' });
    expect(it.act({ action: 'rollback' }).reason).toBe('wave 1 has no cluster that could go back');
    it.act({ action: 'retry' });
    it.pass(1);
    expect(it.member('c-1')).toMatchObject({ tries: 1, upgrade_id, state: { name: 'running' } });
  });

  it('to take a cluster back that is back already has nothing left to do', () => {
    const it = world({ clusters: 1, waves: [{ soak_seconds: 0 }], scripts: { 'c-1': [{ takes_s: 99 }] } });
    it.pass(1);
    it.act({ action: 'rollback' });
    refuse(it, { verdict: 'needless', reason: 'all of c-1 runs 1.0 already' });
    const reason = 'rolled back: all of c-1 runs 1.0 already';
    expect(it.member('c-1')).toMatchObject({ undo: null, state: { name: 'cancelled', reason } });
  });

  it('to take a cluster back leaves it where its last upgrade has taken it, and says so', () => {
    const it = world({ clusters: 2, waves: [{ share: 1 }, { approval: true }] });
    it.settle();
    const { upgrade_id } = it.member('c-1');
    it.act({ action: 'rollback' });
    it.feed({ type: 'wake' });
    refuse(it, { reason: 'a later upgrade of the cluster is u-7' });
    const reason = 'its way back: a later upgrade of the cluster is u-7';
    expect(it.member('c-1')).toMatchObject({
      tries: 1,
      upgrade_id,
      undo: null,
      state: { name: 'failed', reason },
    });
    it.settle();
    it.act({ action: 'rollback', wave: 0 });
    expect(it.member('c-1'), 'it can be asked for again').toMatchObject({ undo: upgrade_id });
  });

  it('is no news once another one has taken its place (B5)', () => {
    const it = begun();
    expect(refuse(it, { upgrade_id: 'another' }).verdict).toBe('stale');
    it.pass(20);
    expect(it.stateOf('c-1')).toBe('succeeded');
    expect(refuse(it, {}).verdict).toBe('stale');
  });

  it('as its cluster is busy is tried again, the later the longer that lasts, and holds no place (B8)', () => {
    const it = world({ clusters: 1, waves, busy_s: { 'c-1': 600 } });
    const waits: number[] = [];
    let last = T0;
    for (let at_s = 0; at_s < 600; at_s += 0.25) {
      it.pass(T0 / 1000 + at_s - it.now / 1000);
      const { state } = it.member('c-1');
      if (state.name !== 'waiting' || state.until === last) continue;
      waits.push((state.until - it.now) / 1000);
      last = state.until;
    }
    expect(waits.slice(0, 5)).toEqual([5, 5, 5, 7.5, 11.25]);
    expect(Math.ceil(Math.max(...waits))).toBe(60);
    expect(it.member('c-1')).toMatchObject({ tries: 0, upgrade_id: null, waiting_since: expect.any(Number) });
    it.settle();
    expect(it.member('c-1')).toMatchObject({ tries: 1, waiting_since: null, state: { name: 'succeeded' } });
  });

  it('as its cluster is busy with a try that came before has that one for its last (B5)', () => {
    const it = world({
      clusters: 1,
      waves: [{ failure_budget: 0 }],
      scripts: { 'c-1': [{ end: 'failed' }, {}] },
    });
    it.settle();
    const first = it.member('c-1').upgrade_id;
    it.act({ action: 'retry' });
    it.pass(1);
    const second = it.member('c-1').upgrade_id;
    refuse(it, { verdict: 'later', reason: 'busy' });
    expect(it.member('c-1')).toMatchObject({ tries: 1, upgrade_id: first });
    it.pass(10);
    expect(it.member('c-1')).toMatchObject({ tries: 2, upgrade_id: second });
  });
});

describe('an upgrade that is held', () => {
  const held = (reason: PauseReason) => {
    const it = world({ clusters: 2, waves, scripts: { 'c-1': [{ pauses: reason }] } });
    it.pass(12);
    return it;
  };

  it.each([
    ['failure', 1, 0],
    ['gate', 1, 0],
    ['window', 0, 1],
    ['requested', 0, 0],
    ['canary', 0, 0],
  ] as const)('by its %s is counted as what it is', (reason, troubled, parked) => {
    const it = held(reason);
    expect(it.batch.waves[0]).toMatchObject({ troubled, parked });
    expect(it.member('c-1').state).toMatchObject({ held: { reason, message: `paused for ${reason}` } });
    expect(it.eventsOf('cluster_held')).toHaveLength(troubled + parked);
    expect(it.stateOf('c-2'), 'has the place only of one that waits for its window').toBe(
      parked > 0 ? 'running' : 'queued',
    );
  });

  it('is told of once, and again when it goes on', () => {
    const it = held('gate');
    it.pass(30);
    it.mend('c-1');
    it.feed({ type: 'wake' });
    expect(it.eventsOf('cluster_held').map(({ message }) => message)).toEqual([
      'c-1: paused for gate',
      'c-1: goes on',
    ]);
    expect(it.batch.waves[0]).toMatchObject({ troubled: 0 });
  });
});

describe('what a batch goes by', () => {
  it('is the state of an upgrade, with the words that it has for it', () => {
    const { upgrade } = new World({ manager: 'cassandra' });
    const rest = { direction: 'forward', cancelling: false, write_outage_ms: 0 };
    expect(seenOf(upgrade)).toEqual({ state: 'scheduled', reason: null, message: 'scheduled', ...rest });
    const times = { started: T0, since: T0, ended: T0 };
    const message = 'db-1: no space left';
    const paused = { ...times, name: 'paused', reason: 'failure', message, until: null } as const;
    expect(seenOf({ ...upgrade, state: paused, cancelling: true })).toEqual({
      ...{ state: 'paused', reason: 'failure', message, ...rest, cancelling: true },
    });
    const failed = { ...times, name: 'failed', message } as const;
    expect(seenOf({ ...upgrade, state: failed, direction: 'back', write_outage_ms: 70 })).toEqual({
      ...{
        state: 'failed',
        reason: null,
        message,
        cancelling: false,
        direction: 'back',
        write_outage_ms: 70,
      },
    });
  });

  it('is told again when its words change', () => {
    const it = world({ clusters: 1, waves, scripts: { 'c-1': [{ pauses: 'gate' }] } });
    it.pass(12);
    const id = it.member('c-1').upgrade_id ?? '';
    const upgrade = it.upgrades.get(id);
    if (!upgrade) throw new Error('nothing runs');
    for (const seen of [{ message: 'db-2 waits' }, { reason: 'failure' as const, message: 'db-2 waits' }]) {
      it.upgrades.set(id, { ...upgrade, seen: { ...upgrade.seen, ...seen } });
      it.feed({ type: 'wake' });
      expect(it.member('c-1').state).toMatchObject({ held: { reason: 'gate', ...seen } });
    }
    expect(it.eventsOf('cluster_held')).toHaveLength(3);
  });
});

describe('the end of an upgrade', () => {
  it.each([
    ['succeeded', { name: 'succeeded' }],
    ['failed', { name: 'failed', reason: 'failed by script' }],
    ['rolled_back', { name: 'failed', reason: 'rolled_back by script' }],
    ['cancelled', { name: 'cancelled', reason: 'cancelled by script' }],
  ] as const)('as %s is that of its cluster', (end, state) => {
    const it = world({ clusters: 1, waves, scripts: { 'c-1': [{ end, outage_ms: 250 }] } });
    it.settle();
    expect(it.member('c-1').state).toEqual({ ...state, ended: T0 + 10_000 });
    expect(it.member('c-1').write_outage_ms).toBe(250);
    expect(it.eventsOf('paused'), 'no budget, no pause').toEqual([]);
    const { upgrade_id } = it.member('c-1');
    expect(it.eventsOf(`cluster_${state.name}`)).toMatchObject([
      { cluster_id: 'id-c-1', wave: 0, upgrade_id },
    ]);
  });

  it('adds up with those before it: what its clusters took no writes is theirs for good', () => {
    const scripts = { 'c-1': [{ end: 'failed', outage_ms: 300 }, { outage_ms: 200 }] } as const;
    const it = world({ clusters: 2, waves: [{ max_concurrent: 1, failure_budget: 0 }], scripts });
    it.settle();
    it.act({ action: 'retry' });
    it.settle();
    expect(it.member('c-1').write_outage_ms).toBe(500);
    expect(it.batch.waves[0]?.write_outage_ms).toBe(500);
    expect(it.eventsOf('cluster_started').map(({ message }) => message)).toContain(
      'c-1: from 1.0 to 1.1, try 2',
    );
  });
});

describe('a begin that nobody has carried out', () => {
  it('is said again after two seconds, and not before: whoever is to do it may be at it', () => {
    let lost = 0;
    const it = world({ clusters: 1, waves, loses: () => ++lost <= 1 });
    it.pass(1.9);
    expect([it.feed({ type: 'wake' }).verdict, lost]).toEqual(['stale', 1]);
    it.pass(0.1);
    expect(it.feed({ type: 'wake' }).effects).toMatchObject([
      { kind: 'begin', member: { cluster_name: 'c-1' } },
    ]);
    expect(lost).toBe(2);
    it.settle();
    expect(it.batch.state.name).toBe('succeeded');
  });
});
