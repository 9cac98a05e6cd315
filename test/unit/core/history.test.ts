/** What steps are expected to take, and what is done with it. */
import { describe, expect, it } from 'vitest';
import { checkWindow } from '../../../src/core/admit.ts';
import { expectedTimes, NOTHING_MEASURED } from '../../../src/core/history.ts';
import { worlds } from './worlds.ts';

const world = worlds();

describe('expected times', () => {
  it('have no usual time as long as nothing was measured; a window gives a step a minute', () => {
    const unknown = { median_ms: null, p95_ms: 60_000 };
    expect(expectedTimes(NOTHING_MEASURED)).toEqual({ instance: unknown, switchover: unknown });
  });

  it.each([
    [[7], 7, 7],
    [[9, 1], 1, 9],
    [[3, 1, 2], 2, 3],
    [Array.from({ length: 20 }, (_, index) => 20 - index), 10, 19],
    [Array.from({ length: 100 }, (_, index) => index + 1), 50, 95],
  ])('of %j: half by %i, 95 of 100 by %i', (instance, median_ms, p95_ms) => {
    expect(expectedTimes({ instance, switchover: [] }).instance).toEqual({ median_ms, p95_ms });
  });

  it('are those of the kind of step', () => {
    const { instance, switchover } = expectedTimes({ instance: [8_000], switchover: [100] });
    expect([instance.p95_ms, switchover.p95_ms]).toEqual([8_000, 100]);
  });
});

describe('a step that is measured', () => {
  const measured = (transcript: readonly string[]) =>
    transcript.filter((line) => /-> the \w+ took \d+ ms/.test(line)).map((line) => line.trim());

  it('is one that succeeded at its first attempt, each once', () => {
    const it = world();
    it.settle();
    const lines = measured(it.transcript);
    expect(lines.filter((line) => line.includes('instance'))).toHaveLength(3);
    expect(lines.filter((line) => line.includes('switchover'))).toHaveLength(1);
  });

  it('is none that needed another attempt', () => {
    const it = world({
      manager: 'cassandra',
      instances: 2,
      scripts: { 'db-1': { upgrade: [{ error: 'x' }] } },
    });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(measured(it.transcript)).toHaveLength(1);
  });

  it('does not count its soak, which is known beforehand', () => {
    const took = (soak_seconds: number) => {
      const it = world({ manager: 'cassandra', instances: 1, policy: { soak_seconds } });
      it.settle();
      return measured(it.transcript);
    };
    expect(took(300)).toEqual(took(0));
  });
});

describe('a window', () => {
  const nightly = { cron: '0 2 * * *', time_zone: 'UTC' };

  it('must be as long as a step may take: nothing could ever be done in it', () => {
    const expected = expectedTimes({ instance: [90_000], switchover: [100] });
    const check = (duration_seconds: number) => () =>
      checkWindow({ window: { ...nightly, duration_seconds } }, expected);
    expect(check(90)).not.toThrow();
    expect(check(89)).toThrow(
      expect.objectContaining({
        code: 'invalid_request',
        message: expect.stringContaining(
          'open for 89 s, and a step is expected to take up to 90 s',
        ) as string,
      }),
    );
    const first = { window: { ...nightly, duration_seconds: 59 } };
    expect(() => checkWindow(first, expectedTimes(NOTHING_MEASURED))).toThrow(
      'and a step that was never measured is given 60 s',
    );
    expect(() => checkWindow({}, expected)).not.toThrow();
    expect(() => checkWindow({ window: null }, expected)).not.toThrow();
  });
});
