/** What is late, repeated or not meant for the step in flight changes nothing: the very same record (G4, M1). */
import { describe, expect, it } from 'vitest';
import type { Next } from '../../../src/core/upgrade/inputs.ts';
import type { World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const upgrading = { step: 0, attempt: 1, action: 'upgrade', status: 'succeeded' } as const;

/** db-1 is told to upgrade and works on it. */
function atWork(): World {
  const it = world({ manager: 'cassandra', scripts: { 'db-1': { upgrade: { ms: 60_000 } } } });
  it.reach('db-1', 'upgrading');
  it.pass(4);
  return it;
}

function expectStale(it: World, feed: () => Next): void {
  const before = it.upgrade;
  const next = feed();
  expect(next).toMatchObject({ verdict: 'stale', effects: [], events: [] });
  expect(next.upgrade).toBe(before);
}

describe('a report', () => {
  it.each([
    ['of an older attempt', { ...upgrading, attempt: 0 }],
    ['of an attempt that was never made', { ...upgrading, attempt: 2 }],
    ['of another step', { ...upgrading, step: 1 }],
    ['of a step that does not exist', { ...upgrading, step: 9 }],
    ['of another action', { ...upgrading, action: 'demote' }],
    ['of a call, whose end is its answer', { ...upgrading, action: 'post_upgrade' }],
    ['of another upgrade', { ...upgrading, upgrade_id: 'another' }],
    ['that the work goes on, said again', { ...upgrading, status: 'running' }],
  ] as const)('%s is stale', (_, report) => {
    const it = atWork();
    expectStale(it, () => it.say('db-1', report));
  });

  it('of somebody whom the step is not about is stale', () => {
    const it = atWork();
    expectStale(it, () => it.say('db-2', upgrading));
  });

  it('without an attempt is stale while nothing waits for it', () => {
    const it = atWork();
    expectStale(it, () => it.feed({ type: 'reported', instance_id: 'i-1', report: null }));
  });

  it('is applied once, and is stale when it comes again', () => {
    const it = atWork();
    expect(it.say('db-1', upgrading).verdict).toBe('applied');
    expectStale(it, () => it.say('db-1', upgrading));
  });

  it('of an attempt that was given up is stale while the next one waits', () => {
    const it = world({
      manager: 'cassandra',
      scripts: { 'db-1': { upgrade: { ms: 60_000 } } },
      policy: { step_timeout_seconds: 5 },
    });
    it.reach('db-1', 'backoff');
    expectStale(it, () => it.say('db-1', upgrading));
  });

  it('after the end is stale', () => {
    const it = world({ manager: 'cassandra' });
    it.settle();
    expectStale(it, () => it.say('db-1', { ...upgrading, status: 'failed' }));
  });
});

describe('an answer', () => {
  const answer = { type: 'answered', step: 0, attempt: 1, action: 'pre_upgrade', info: {} } as const;
  const failure = { type: 'call_failed', step: 0, attempt: 1, error: 'no', permanent: true } as const;

  it('to a call that was answered before is stale', () => {
    const it = atWork();
    expectStale(it, () => it.feed(answer));
    expectStale(it, () => it.feed({ ...failure, action: 'pre_upgrade' }));
  });

  it('to a call that was not made yet is stale', () => {
    const it = atWork();
    expectStale(it, () => it.feed({ ...answer, action: 'post_upgrade' }));
    expectStale(it, () => it.feed({ ...failure, action: 'post_upgrade' }));
  });

  it('of another attempt or step is stale', () => {
    const it = world({ manager: 'cassandra', scripts: { 'db-1': { pre_upgrade: { silent: true } } } });
    it.reach('db-1', 'preparing');
    for (const about of [{ attempt: 2 }, { attempt: 0 }, { step: 1 }]) {
      expectStale(it, () => it.feed({ ...answer, ...about }));
      expectStale(it, () => it.feed({ ...failure, action: 'pre_upgrade', ...about }));
    }
  });
});

describe('waking', () => {
  it('before anything is due changes nothing', () => {
    const it = atWork();
    expectStale(it, () => it.feed({ type: 'wake' }));
  });

  it('after the end changes nothing', () => {
    const it = world({ manager: 'cassandra' });
    it.settle();
    expectStale(it, () => it.feed({ type: 'wake' }));
    expectStale(it, () => it.feed({ type: 'recover' }));
    expect(it.due).toBeNull();
  });
});

describe('a process that starts', () => {
  it('says again what is outstanding, under the same attempt number', () => {
    const it = world({
      manager: 'cassandra',
      instances: 4,
      scripts: { 'db-1': { upgrade: { ms: 60_000 } }, 'db-2': { pre_upgrade: { ms: 60_000 } } },
      policy: { max_unavailable: 2 },
    });
    it.reach('db-1', 'upgrading');
    const said = it.feed({ type: 'recover' }).effects;
    expect(said).toMatchObject([
      { kind: 'cast', instance_id: 'i-1', attempt: { action: 'upgrade', attempt: 1 } },
      { kind: 'call', instance_id: 'i-2', attempt: { action: 'pre_upgrade', attempt: 1 } },
    ]);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('takes up what nobody has taken up', () => {
    const it = world({ manager: 'cassandra' });
    expect(it.feed({ type: 'recover' }).upgrade.state.name).toBe('running');
  });

  it('has nothing to say while nothing is outstanding', () => {
    const it = world({ manager: 'cassandra', policy: { canary: 1 } });
    it.settle();
    expectStale(it, () => it.feed({ type: 'recover' }));
  });
});
