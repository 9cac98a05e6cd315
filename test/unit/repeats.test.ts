import { expect, it } from 'vitest';
import type { AttemptId } from '../../src/core/domain.ts';
import { Repeats } from '../../taskmanager/repeats.ts';

const CALL: AttemptId = { upgrade_id: 'u', step: 1, attempt: 1, action: 'pre_upgrade' };
const CAST: AttemptId = { ...CALL, action: 'upgrade' };
const SECOND: AttemptId = { ...CAST, attempt: 2 };

/** One that has heard so many answers, each after so long. */
function after(attempt: AttemptId, ...answers: readonly number[]): Repeats {
  const repeats = new Repeats(0);
  for (const [index, ms] of answers.entries()) {
    const earlier = { ...attempt, upgrade_id: `earlier-${index}` };
    repeats.admit('earlier', earlier, -1_000_000);
    repeats.heard('earlier', earlier, -1_000_000 + ms);
  }
  return repeats;
}

it('holds nothing back while nobody knows how long an answer takes, or the quickest comes at once', () => {
  for (const repeats of [new Repeats(0), after(CAST, 60_000, 2)]) {
    expect(repeats.admit('a', CAST, 1_000)).toBe(true);
    expect(repeats.admit('a', CAST, 2_000)).toBe(true);
  }
});

it('waits three times as long as the quickest answer took, half a minute at most', () => {
  const repeats = after(CAST, 2_000, 40_000);
  expect(repeats.admit('a', CAST, 0)).toBe(true);
  expect(repeats.admit('a', CAST, 5_999)).toBe(false);
  expect(repeats.admit('a', CAST, 6_000)).toBe(true);
  const slower = after(CAST, 50_000);
  expect(slower.admit('a', CAST, 0)).toBe(true);
  expect(slower.admit('a', CAST, 29_999)).toBe(false);
  expect(slower.admit('a', CAST, 30_000)).toBe(true);
});

it('goes by calls for calls and by casts for casts, which come back another way', () => {
  const repeats = after(CAST, 5_000);
  expect(repeats.admit('a', CALL, 0)).toBe(true);
  expect(repeats.admit('a', CALL, 1)).toBe(true);
  expect(repeats.admit('a', CAST, 2)).toBe(true);
  expect(repeats.admit('a', CAST, 3)).toBe(false);
});

it('counts the first word about an order only, and only of the last one', () => {
  const repeats = new Repeats(0);
  repeats.admit('a', CAST, 0);
  repeats.heard('a', SECOND, 1);
  repeats.heard('b', CAST, 1);
  repeats.heard('a', CAST, 4_000);
  repeats.heard('a', CAST, 4_001);
  expect(repeats.admit('a', SECOND, 5_000)).toBe(true);
  expect(repeats.admit('a', SECOND, 16_999)).toBe(false);
  expect(repeats.admit('a', SECOND, 17_000)).toBe(true);
  const patient = after(CAST, 3_000);
  patient.admit('a', CAST, 0);
  patient.heard('a', CAST, 9_000);
  expect(patient.admit('a', CAST, 8_999)).toBe(false);
});

it('takes an answer for one to the first time that it was said', () => {
  const repeats = new Repeats(0);
  repeats.admit('a', CAST, 0);
  repeats.admit('a', CAST, 2_000);
  repeats.heard('a', CAST, 2_001);
  expect(repeats.admit('a', SECOND, 3_000)).toBe(true);
  expect(repeats.admit('a', SECOND, 9_002)).toBe(false);
  expect(repeats.admit('a', SECOND, 9_003)).toBe(true);
});

it('holds back neither another attempt, nor what is for another instance, nor what did not go out', () => {
  const repeats = after(CAST, 5_000);
  expect(repeats.admit('a', CAST, 0)).toBe(true);
  expect(repeats.admit('b', CAST, 1)).toBe(true);
  expect(repeats.admit('a', SECOND, 2)).toBe(true);
  expect(repeats.admit('a', CAST, 3)).toBe(true);
  repeats.withdraw('a', CAST);
  expect(repeats.admit('a', CAST, 4)).toBe(true);
});

it('goes by the last twenty answers, and holds nothing for ever when a clock is set back', () => {
  const repeats = after(CAST, 1, ...Array.from({ length: 20 }, () => 5_000));
  expect(repeats.admit('a', CAST, 100_000)).toBe(true);
  expect(repeats.admit('a', CAST, 101_000)).toBe(false);
  expect(repeats.admit('a', CAST, 50_000)).toBe(true);
});

it('says until when an upgrade need not be looked at: as long as its last order is fresh', () => {
  const repeats = after(CAST, 2_000);
  expect(repeats.quietUntil('u', 0)).toBeNull();
  repeats.admit('a', CAST, 1_000);
  expect(repeats.quietUntil('u', 6_999)).toBe(7_000);
  expect(repeats.quietUntil('another', 1_000)).toBeNull();
  expect(repeats.quietUntil('u', 7_000)).toBeNull();
  expect(repeats.quietUntil('u', 500)).toBeNull();
  repeats.withdraw('a', CAST);
  expect(repeats.quietUntil('u', 1_001)).toBeNull();
});

it('forgets what is old', () => {
  const repeats = after(CAST, 60_000);
  for (let each = 0; each < 100; each++)
    repeats.admit(`i-${each}`, { ...CAST, upgrade_id: `u-${each}` }, each);
  repeats.admit('last', CAST, 40_000);
  expect(repeats.waiting).toBe(1);
});

it('holds nothing back before there is a crowd', () => {
  const repeats = new Repeats(3);
  repeats.admit('quick', SECOND, 0);
  repeats.heard('quick', SECOND, 5_000);
  for (const id of ['a', 'b']) repeats.admit(id, { ...CAST, upgrade_id: id }, 10_000);
  expect(repeats.admit('a', { ...CAST, upgrade_id: 'a' }, 10_001)).toBe(true);
  expect(repeats.quietUntil('b', 10_001)).toBeNull();
  repeats.admit('c', { ...CAST, upgrade_id: 'c' }, 10_002);
  expect(repeats.waiting).toBe(3);
  expect(repeats.admit('a', { ...CAST, upgrade_id: 'a' }, 10_003)).toBe(false);
  expect(repeats.quietUntil('b', 10_003)).toBe(25_000);
  repeats.heard('c', { ...CAST, upgrade_id: 'c' }, 10_004);
  expect(repeats.admit('a', { ...CAST, upgrade_id: 'a' }, 10_005)).toBe(true);
});
