/**
 * The actions that a batch offers are those that `advanceBatch` takes, the one that ends the wait first. Not
 * covered: what each of them does (act.test.ts).
 */
import { describe, expect, it } from 'vitest';
import { membersFor } from '../../../src/core/batch/act.ts';
import { possibleBatchActions } from '../../../src/core/batch/actions.ts';
import { BATCH_ACTIONS, type BatchAction } from '../../../src/core/batch/record.ts';
import type { BatchWorld, BatchWorldOptions } from './world.ts';
import { batchWorlds, FAIL } from './worlds.ts';

const world = batchWorlds();
const SLOW = [{ takes_s: 500 }];
const closed = { cron: '0 2 * * *', duration_seconds: 3_600, time_zone: 'UTC' };

/** A batch of so many clusters after so many seconds, with what people have asked of it by then. */
const after = (seconds: number, options: BatchWorldOptions, ...orders: readonly BatchAction[]) => {
  const it = world(options);
  it.pass(seconds);
  for (const action of orders) {
    it.act({ action });
    it.pass(0);
  }
  return it;
};
/** The first wave is done, the second waits for its approval. */
const approval: BatchWorldOptions = { clusters: 3, waves: [{ share: 1 }, { approval: true }] };
const overBudget: BatchWorldOptions = {
  clusters: 3,
  waves: [{ share: 2, max_concurrent: 1, failure_budget: 0 }, {}],
  scripts: { 'c-1': FAIL },
};

const STATES: readonly (readonly [string, () => BatchWorld, readonly BatchAction[]])[] = [
  [
    'that waits for its first approval',
    () => after(1, { waves: [{ approval: true }] }),
    ['approve', 'skip', 'cancel'],
  ],
  ['that waits for its next approval', () => after(20, approval), ['approve', 'skip', 'rollback', 'cancel']],
  [
    'that will need an approval',
    () => after(1, approval),
    ['pause', 'approve', 'skip', 'rollback', 'cancel'],
  ],
  [
    'that was approved in advance',
    () => after(1, approval, 'approve'),
    ['pause', 'skip', 'rollback', 'cancel'],
  ],
  [
    'that needs an approval of nobody',
    () => after(1, { clusters: 1, waves: [{}, { approval: true }] }),
    ['pause', 'rollback', 'cancel'],
  ],
  [
    'whose clusters all wait for their window',
    () => after(1, { policy: { window: closed }, waves: [{}] }),
    ['pause', 'skip', 'cancel'],
  ],
  [
    'that a person has paused',
    () => after(1, { waves: [{ max_concurrent: 1 }] }, 'pause'),
    ['resume', 'skip', 'rollback', 'cancel'],
  ],
  ['that is over its budget', () => after(30, overBudget), ['retry', 'resume', 'skip', 'rollback', 'cancel']],
  [
    'that failed and goes on',
    () => after(30, overBudget, 'resume'),
    ['pause', 'retry', 'skip', 'rollback', 'cancel'],
  ],
  [
    'that was approved in advance, and will need another approval later',
    () =>
      after(
        1,
        { clusters: 3, waves: [{ share: 1 }, { share: 1, approval: true }, { approval: true }] },
        'approve',
      ),
    ['pause', 'skip', 'rollback', 'cancel'],
  ],
  [
    'that takes a wave back after one with a failure',
    () =>
      after(
        30,
        {
          clusters: 3,
          waves: [{ share: 1, failure_budget: 1 }, { share: 1 }, { approval: true }],
          scripts: { 'c-1': FAIL },
        },
        'rollback',
      ),
    ['approve', 'skip', 'cancel'],
  ],
  ['that takes a wave back', () => after(20, approval, 'rollback'), ['approve', 'skip', 'cancel']],
  [
    'that has taken a wave back',
    () => after(60, approval, 'rollback').settle(),
    ['resume', 'approve', 'skip', 'cancel'],
  ],
  ['that is being cancelled', () => after(1, { clusters: 1, scripts: { 'c-1': SLOW } }, 'cancel'), []],
  ['that was cancelled', () => after(1, {}, 'cancel').settle(), []],
  ['that has succeeded', () => after(1, {}).settle(), []],
];

it('a batch that nobody has taken up can be paused, thinned out or cancelled before it begins', () => {
  expect(possibleBatchActions(world().batch)).toEqual(['pause', 'skip', 'cancel']);
});

describe.each(STATES)('a batch %s', (_, make, expected) => {
  it('offers what there is to do, the way on first', () => {
    expect(possibleBatchActions(make().batch)).toEqual(expected);
  });

  it.each(BATCH_ACTIONS)('takes a request to %s if it offers that, and only then changes', (action) => {
    const it = make();
    const open = it.members.find(({ state }) => state.name === 'queued' || state.name === 'waiting');
    const failed = it.members.some(({ state }) => state.name === 'failed');
    const clusters = action === 'skip' && open && !failed ? { clusters: [open.cluster_id] } : {};
    const { verdict } = it.act({ action, ...clusters });
    expect(verdict === 'applied').toBe(expected.includes(action));
  });
});

describe('what has to be read for a request', () => {
  it.each([
    ['pause', []],
    ['resume', []],
    ['approve', []],
    ['retry', ['failed']],
    ['skip', ['failed']],
    ['rollback', ['queued', 'waiting', 'running', 'succeeded', 'failed']],
    ['cancel', ['queued', 'waiting', 'running']],
  ] as const)('to %s are the members that are %j', (action, states) => {
    expect(membersFor({ action })).toEqual(states);
  });

  it('are those that it names, if it does', () => {
    expect(membersFor({ action: 'retry', clusters: ['id-c-1'] })).toEqual([]);
    expect(membersFor({ action: 'skip', clusters: ['id-c-1'] })).toEqual([]);
  });
});
