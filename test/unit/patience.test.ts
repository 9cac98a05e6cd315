import { expect, it } from 'vitest';
import type { AttemptId } from '../../src/core/domain.ts';
import { Answers } from '../../taskmanager/patience.ts';

const CALL: AttemptId = { upgrade_id: 'u', step: 1, attempt: 1, action: 'pre_upgrade' };
const CAST: AttemptId = { ...CALL, action: 'upgrade' };
const SECOND: AttemptId = { ...CAST, attempt: 2 };
const NONE = { call_ms: 0, cast_ms: 0 };

/** One that has heard so many answers, each after so long. */
function after(attempt: AttemptId, ...times: readonly number[]): Answers {
  const answers = new Answers(0);
  for (const [index, ms] of times.entries()) {
    const earlier = { ...attempt, upgrade_id: `earlier-${index}` };
    answers.sent('earlier', earlier, 0);
    answers.heard('earlier', earlier, ms);
  }
  return answers;
}

it('asks for no patience while no guest has answered', () => {
  const answers = new Answers(0);
  answers.sent('a', CAST, 0);
  expect(answers.patience).toEqual(NONE);
});

it('asks for three times as long as the quickest answer took, half a minute at most', () => {
  expect(after(CAST, 2_000, 40_000).patience).toEqual({ call_ms: 0, cast_ms: 6_000 });
  expect(after(CAST, 50_000).patience).toEqual({ call_ms: 0, cast_ms: 30_000 });
  expect(after(CAST, 60_000, 0).patience).toEqual(NONE);
});

it('measures calls and casts apart: their answers come back by other ways', () => {
  const answers = after(CALL, 1_000);
  answers.sent('a', CAST, 0);
  answers.heard('a', CAST, 5_000);
  expect(answers.patience).toEqual({ call_ms: 3_000, cast_ms: 15_000 });
});

it('counts the first answer to an order only, and only to the last order', () => {
  const answers = new Answers(0);
  answers.sent('a', CAST, 0);
  answers.heard('a', SECOND, 1);
  answers.heard('b', CAST, 1);
  expect(answers.patience).toEqual(NONE);
  answers.heard('a', CAST, 4_000);
  answers.heard('a', CAST, 4_001);
  expect(answers.patience.cast_ms).toBe(12_000);
});

it('measures an answer from the first copy of its order, and the next attempt from its own', () => {
  const answers = new Answers(0);
  answers.sent('a', CAST, 0);
  answers.sent('a', CAST, 2_000);
  answers.heard('a', CAST, 2_001);
  expect(answers.patience.cast_ms).toBe(6_003);
  answers.sent('a', SECOND, 3_000);
  answers.heard('a', SECOND, 4_000);
  expect(answers.patience.cast_ms).toBe(3_000);
});

it('measures nothing where an order did not go out', () => {
  const answers = new Answers(0);
  answers.sent('a', CAST, 0);
  answers.forget('a');
  answers.heard('a', CAST, 5_000);
  expect(answers.patience).toEqual(NONE);
});

it('goes by the last twenty answers, and by none of before the clock was set back', () => {
  expect(after(CAST, 1, ...Array.from({ length: 20 }, () => 5_000)).patience.cast_ms).toBe(15_000);
  expect(after(CAST, -4_000).patience).toEqual(NONE);
});

it('asks for patience while many orders wait, and no longer', () => {
  const answers = new Answers(3);
  answers.sent('quick', SECOND, 0);
  answers.heard('quick', SECOND, 5_000);
  for (const id of ['a', 'b']) answers.sent(id, { ...CAST, upgrade_id: id }, 10_000);
  expect(answers.patience).toEqual(NONE);
  answers.sent('c', { ...CAST, upgrade_id: 'c' }, 10_002);
  expect(answers.patience.cast_ms).toBe(15_000);
  answers.heard('c', { ...CAST, upgrade_id: 'c' }, 10_004);
  expect(answers.patience).toEqual(NONE);
});

it('counts an order once, however often it is repeated, and not for ever', () => {
  const answers = new Answers(2);
  answers.sent('quick', SECOND, 0);
  answers.heard('quick', SECOND, 5_000);
  for (const at of [10_000, 20_000, 35_000]) answers.sent('a', CAST, at);
  expect(answers.patience).toEqual(NONE);
  answers.sent('b', { ...CAST, upgrade_id: 'b' }, 64_000);
  expect(answers.patience.cast_ms).toBe(15_000);
  answers.sent('c', { ...CAST, upgrade_id: 'c' }, 94_001);
  expect(answers.patience).toEqual(NONE);
});
