import { describe, expect, it } from 'vitest';
import { type Window, windowAt, windowProblem } from '../../../src/core/window.ts';

const at = (iso: string) => Date.parse(iso);
const nightly: Window = { cron: '0 2 * * *', duration_seconds: 3 * 3600, time_zone: 'UTC' };

describe('a window', () => {
  it('is open from its start to the end of its duration', () => {
    const closes = at('2026-11-23T05:00:00Z');
    expect(windowAt(nightly, at('2026-11-23T02:00:00Z'))).toEqual({ name: 'open', closes });
    expect(windowAt(nightly, at('2026-11-23T04:59:59.999Z'))).toEqual({ name: 'open', closes });
    expect(windowAt(nightly, closes)).toEqual({ name: 'closed', opens: at('2026-11-24T02:00:00Z') });
    expect(windowAt(nightly, at('2026-11-23T01:59:59Z'))).toEqual({
      name: 'closed',
      opens: at('2026-11-23T02:00:00Z'),
    });
  });

  it('goes by the clock of its time zone, summer and winter', () => {
    const berlin = { ...nightly, time_zone: 'Europe/Berlin' };
    expect(windowAt(berlin, at('2026-01-10T12:00:00Z'))).toEqual({
      name: 'closed',
      opens: at('2026-01-11T01:00:00Z'),
    });
    expect(windowAt(berlin, at('2026-07-10T12:00:00Z'))).toEqual({
      name: 'closed',
      opens: at('2026-07-11T00:00:00Z'),
    });
    const kathmandu = { ...nightly, time_zone: 'Asia/Kathmandu' };
    expect(windowAt(kathmandu, at('2026-01-10T12:00:00Z'))).toEqual({
      name: 'closed',
      opens: at('2026-01-10T20:15:00Z'),
    });
  });

  it('may last past midnight', () => {
    const weekend = { cron: '0 22 * * 6', duration_seconds: 10 * 3600, time_zone: 'UTC' };
    expect(windowAt(weekend, at('2026-11-22T07:59:00Z'))).toEqual({
      name: 'open',
      closes: at('2026-11-22T08:00:00Z'),
    });
  });

  it('knows lists, ranges, steps, and both kinds of day', () => {
    const office = { cron: '*/20 9-17 * * 1-5', duration_seconds: 60, time_zone: 'UTC' };
    expect(windowAt(office, at('2026-11-21T12:00:00Z'))).toEqual({
      name: 'closed',
      opens: at('2026-11-23T09:00:00Z'),
    });
    const either = { cron: '0 0 1 * 7', duration_seconds: 60, time_zone: 'UTC' };
    expect(windowAt(either, at('2026-11-23T12:00:00Z'))).toEqual({
      name: 'closed',
      opens: at('2026-11-29T00:00:00Z'),
    });
    expect(windowAt(either, at('2026-11-29T12:00:00Z'))).toEqual({
      name: 'closed',
      opens: at('2026-12-01T00:00:00Z'),
    });
  });

  it('may never open', () => {
    const never = { cron: '0 0 31 2 *', duration_seconds: 60, time_zone: 'UTC' };
    expect(windowAt(never, at('2026-11-23T12:00:00Z'))).toEqual({ name: 'closed', opens: null });
  });

  it.each([
    ['0 2 * *', /5 fields/],
    ['60 2 * * *', /not a minute/],
    ['0 24 * * *', /not a hour/],
    ['0 2 0 * *', /day of month/],
    ['0 2 * 13 *', /month/],
    ['0 2 * * 8', /day of week/],
    ['5-1 2 * * *', /minute/],
    ['*/0 2 * * *', /minute/],
    ['x 2 * * *', /minute/],
  ])('says what is wrong with %s', (cron, problem) => {
    expect(windowProblem({ ...nightly, cron })).toMatch(problem);
  });

  it('says what is wrong with a time zone', () => {
    expect(windowProblem({ ...nightly, time_zone: 'Europe/Atlantis' })).toMatch(/Europe\/Atlantis/);
    expect(windowProblem(nightly)).toBeNull();
  });
});
