/** What a person is told who asks for what can't be: the reason, and what to do instead. The record stays as it is. */
import { describe, expect, it } from 'vitest';
import type { Action, Input } from '../../../src/core/upgrade/inputs.ts';
import type { World, WorldOptions } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const members = { manager: 'cassandra' };
const BAD = { error: 'no space left on device' };
const FIXED = { id: 'v-fixed', name: '17.11' };

const fresh = () => world(members);
const atWork = (options: WorldOptions = {}) => {
  const it = world({ ...members, ...options });
  it.reach('db-1', 'upgrading');
  return it;
};
const settled = (options: WorldOptions) => {
  const it = world({ ...members, ...options });
  it.settle();
  return it;
};
const after = (it: World, action: Action) => {
  it.act(action);
  return it;
};
const retarget: Input = { type: 'action', action: 'retry', by: 'ann', target: FIXED };
const WINDOW = { cron: '30 9 * * *', duration_seconds: 600, time_zone: 'UTC' };

function expectRefused(it: World, input: Input, reason: string): void {
  const before = it.upgrade;
  expect(it.feed(input)).toMatchObject({ verdict: 'refused', reason, events: [], effects: [] });
  expect(it.upgrade).toBe(before);
}

describe.each<[Action, string, () => World, string]>([
  ['pause', 'before it has started', fresh, 'it has not started yet: cancel it instead'],
  ['rollback', 'before it has started', fresh, 'it has not started yet: cancel it instead'],
  ['retry', 'before it has started', fresh, 'no step has failed: there is nothing to retry'],
  ['retry', 'at work', atWork, 'no step has failed: there is nothing to retry'],
  [
    'retry',
    'paused by a person',
    () => after(atWork(), 'pause'),
    'no step has failed: there is nothing to retry',
  ],
  ['rollback', 'to be cancelled', () => after(atWork(), 'cancel'), 'it is being cancelled'],
  ['pause', 'to be cancelled', () => after(atWork(), 'cancel'), 'it is being cancelled'],
  [
    'approve',
    'to be cancelled',
    () => after(atWork({ policy: { canary: 1 } }), 'cancel'),
    'it is being cancelled',
  ],
  [
    'approve',
    'on its way back',
    () => after(atWork({ policy: { canary: 1 } }), 'rollback'),
    'it is on its way back, which waits for no approval',
  ],
  [
    'resume',
    'at its canary',
    () => settled({ policy: { canary: 1 } }),
    'it waits for approval after its canary: approve it, or cancel it',
  ],
  [
    'resume',
    'outside its window',
    () => settled({ policy: { window: WINDOW } }),
    'its window is closed; it opens at 2027-01-15T09:30:00.000Z: it goes on by itself; until then: pause it, roll it back, or cancel it',
  ],
])('%s', (action, when, make, reason) => {
  it(`${when} is refused`, () => {
    expectRefused(make(), { type: 'action', action, by: 'ann' }, reason);
  });
});

describe('a retry with another version', () => {
  it.each<[string, () => World, string]>([
    ['before it has started', fresh, 'it has not started yet: cancel it, and ask for the other version'],
    ['to be cancelled', () => after(atWork(), 'cancel'), 'it is being cancelled'],
    [
      'on its way back',
      () => after(atWork(), 'rollback'),
      'it is on its way back: start a new upgrade once it has ended',
    ],
  ])('%s is refused', (_when, make, reason) => {
    expectRefused(make(), retarget, reason);
  });

  it('that is the same version is a plain retry', () => {
    const it = settled({ scripts: { 'db-1': { upgrade: [BAD] } }, policy: { retries: 0 } });
    const { to_version_id: id, to_version: name } = it.upgrade;
    it.feed({ type: 'action', action: 'retry', by: 'ann', target: { id, name } });
    expect(it.upgrade).toMatchObject({ round: 0, state: { name: 'running' } });
    expect(it.eventsOf('retargeted')).toEqual([]);
    expect(it.eventsOf('resumed').map(({ message }) => message)).toEqual(['retried by ann']);
  });
});

describe('what has nothing to change is no refusal', () => {
  it('a retry of what has failed while others are at work', () => {
    const scripts = { 'db-1': { upgrade: [BAD] }, 'db-2': { upgrade: { ms: 300_000 } } };
    const policy = { retries: 0, max_unavailable: 2, on_failure: 'fail' } as const;
    const it = world({ ...members, scripts, policy });
    it.reach('db-1', 'failed');
    expect(it.act('retry').verdict).toBe('applied');
    expect(it.step('db-1')).toMatchObject({ attempt: 2, phase: { name: 'preparing' } });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('a pause while it waits for its window: it would go on by itself', () => {
    const it = after(settled({ policy: { window: WINDOW } }), 'pause');
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'requested', until: null });
    it.pass(7_200);
    expect(it.told('pre_upgrade')).toEqual([]);
  });

  it('a pause at the canary: it waits for approval all the same', () => {
    const it = settled({ policy: { canary: 1 } });
    expect(it.act('pause').verdict).toBe('stale');
    expect(it.upgrade.state).toMatchObject({ reason: 'canary' });
  });
});
