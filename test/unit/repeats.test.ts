import { expect, it } from 'vitest';
import type { AttemptId } from '../../src/core/domain.ts';
import { Repeats } from '../../taskmanager/repeats.ts';

const FIRST: AttemptId = { upgrade_id: 'u', step: 1, attempt: 1, action: 'upgrade' };
const SECOND: AttemptId = { ...FIRST, attempt: 2 };

function slow(ms: number, ...others: readonly number[]): Repeats {
  const repeats = new Repeats();
  for (const each of [ms, ...others]) repeats.answered(each);
  return repeats;
}

it('holds nothing back while nobody knows how long an answer takes, or the quickest comes at once', () => {
  for (const repeats of [new Repeats(), slow(60_000, 2)]) {
    expect(repeats.admit('a', FIRST, 1_000)).toBe(true);
    expect(repeats.admit('a', FIRST, 2_000)).toBe(true);
  }
});

it('waits three times as long as the quickest answer took, ten seconds at most', () => {
  const repeats = slow(2_000, 40_000);
  expect(repeats.admit('a', FIRST, 0)).toBe(true);
  expect(repeats.admit('a', FIRST, 5_999)).toBe(false);
  expect(repeats.admit('a', FIRST, 6_000)).toBe(true);
  const slower = slow(50_000);
  expect(slower.admit('a', FIRST, 0)).toBe(true);
  expect(slower.admit('a', FIRST, 9_999)).toBe(false);
  expect(slower.admit('a', FIRST, 10_000)).toBe(true);
});

it('holds back neither another attempt, nor what is for another instance, nor what did not go out', () => {
  const repeats = slow(5_000);
  expect(repeats.admit('a', FIRST, 0)).toBe(true);
  expect(repeats.admit('b', FIRST, 1)).toBe(true);
  expect(repeats.admit('a', SECOND, 2)).toBe(true);
  expect(repeats.admit('a', FIRST, 3)).toBe(true);
  repeats.withdraw('a');
  expect(repeats.admit('a', FIRST, 4)).toBe(true);
});

it('goes by the last twenty answers, and holds nothing for ever when a clock is set back', () => {
  const repeats = slow(1, ...Array.from({ length: 20 }, () => 5_000));
  expect(repeats.admit('a', FIRST, 100_000)).toBe(true);
  expect(repeats.admit('a', FIRST, 101_000)).toBe(false);
  expect(repeats.admit('a', FIRST, 50_000)).toBe(true);
});
