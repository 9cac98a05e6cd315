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

  it.each([
    ['5/20', [5, 25, 45]],
    ['10-30/10', [10, 20, 30]],
    ['*/30', [0, 30]],
    ['7,58-59', [7, 58, 59]],
    ['0', [0]],
  ])('minutes %s are %j', (minutes, expected) => {
    const hour = at('2026-11-23T12:00:00Z');
    const window = { cron: `${minutes} * * * *`, duration_seconds: 60, time_zone: 'UTC' };
    const open = Array.from({ length: 60 }, (_, minute) => minute).filter(
      (minute) => windowAt(window, hour + minute * 60_000).name === 'open',
    );
    expect(open).toEqual(expected);
  });

  it('knows every day of the week by its number, Sunday by two', () => {
    const sunday = at('2026-11-22T12:00:00Z');
    for (const day of [0, 1, 2, 3, 4, 5, 6, 7]) {
      const window = { cron: `0 12 * * ${day}`, duration_seconds: 60, time_zone: 'UTC' };
      expect(windowAt(window, sunday - 3_600_000), `day ${day}`).toEqual({
        name: 'closed',
        opens: sunday + (day % 7) * 24 * 3_600_000,
      });
    }
  });

  it('with a month opens in that month alone, a year from now at the most', () => {
    const newYear = { cron: '0 0 1 1 *', duration_seconds: 60, time_zone: 'UTC' };
    expect(windowAt(newYear, at('2026-01-01T00:01:00Z'))).toEqual({
      name: 'closed',
      opens: at('2027-01-01T00:00:00Z'),
    });
    const leapDay = { ...newYear, cron: '0 0 29 2 *' };
    expect(windowAt(leapDay, at('2027-01-01T00:00:00Z'))).toEqual({ name: 'closed', opens: null });
    expect(windowAt(leapDay, at('2027-03-01T00:00:00Z'))).toEqual({
      name: 'closed',
      opens: at('2028-02-29T00:00:00Z'),
    });
  });

  it('that overlaps itself closes with its last start', () => {
    const hourly = { cron: '0 * * * *', duration_seconds: 2 * 3600, time_zone: 'UTC' };
    expect(windowAt(hourly, at('2026-11-23T12:30:00Z'))).toEqual({
      name: 'open',
      closes: at('2026-11-23T14:00:00Z'),
    });
  });

  it('that nobody can read is closed for ever', () => {
    const broken = { ...nightly, cron: 'at night' };
    expect(windowAt(broken, at('2026-11-23T02:00:00Z'))).toEqual({ name: 'closed', opens: null });
  });

  it('may never open', () => {
    const never = { cron: '0 0 31 2 *', duration_seconds: 60, time_zone: 'UTC' };
    expect(windowAt(never, at('2026-11-23T12:00:00Z'))).toEqual({ name: 'closed', opens: null });
  });

  it.each([
    ['0 2 * *', 'a cron expression has 5 fields, not 4'],
    ['0 2 * * * *', 'a cron expression has 5 fields, not 6'],
    ['60 2 * * *', "'60' does not fit the minute (0 to 59, lists, ranges and steps)"],
    ['0 24 * * *', "'24' does not fit the hour (0 to 23, lists, ranges and steps)"],
    ['0 2 0 * *', "'0' does not fit the day of month (1 to 31, lists, ranges and steps)"],
    ['0 2 32 * *', "'32' does not fit the day of month (1 to 31, lists, ranges and steps)"],
    ['0 2 * 0 *', "'0' does not fit the month (1 to 12, lists, ranges and steps)"],
    ['0 2 * 13 *', "'13' does not fit the month (1 to 12, lists, ranges and steps)"],
    ['0 2 * * 8', "'8' does not fit the day of week (0 to 7, lists, ranges and steps)"],
  ])('says what is wrong with %s', (cron, problem) => {
    expect(windowProblem({ ...nightly, cron })).toBe(problem);
  });

  it.each(['5-1', '50-60', '*/0', 'x', '5x', 'x5', '100', '1-', '-1', '1,', '5-10-15', '*5', '1/2/3'])(
    'takes no %s for minutes',
    (minutes) => {
      expect(windowProblem({ ...nightly, cron: `${minutes} 2 * * *` })).toMatch(/does not fit the minute/);
    },
  );

  it('takes the first and the last of each field, and space of any kind between them', () => {
    expect(windowProblem({ ...nightly, cron: ' 0-59  0-23\t1-31 1-12 0-7 ' })).toBeNull();
  });

  it('says what is wrong with a time zone', () => {
    expect(windowProblem({ ...nightly, time_zone: 'Europe/Atlantis' })).toBe(
      "'Europe/Atlantis' is not a time zone of the IANA database, such as Europe/Berlin",
    );
    expect(windowProblem(nightly)).toBeNull();
  });
});
