import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { nextOpening, type Window, windowAt, windowProblem } from '../../../src/core/window.ts';
import { tried } from './properties.ts';

const at = (iso: string) => Date.parse(iso);
const nightly: Window = { cron: '0 2 * * *', duration_seconds: 3 * 3600, time_zone: 'UTC' };

/** When it opens, `count` times from then on. */
function openings(window: Window, from: string, count: number): readonly (string | null)[] {
  const found: (string | null)[] = [];
  for (let now: number | null = at(from); now !== null && found.length < count; ) {
    now = nextOpening(window, now);
    found.push(now === null ? null : new Date(now).toISOString());
  }
  return found;
}

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

  it('with a month opens in that month alone, however many years that takes', () => {
    const newYear = { cron: '0 0 1 1 *', duration_seconds: 60, time_zone: 'UTC' };
    expect(windowAt(newYear, at('2026-01-01T00:01:00Z'))).toEqual({
      name: 'closed',
      opens: at('2027-01-01T00:00:00Z'),
    });
    const leapDay = { ...newYear, cron: '0 0 29 2 *' };
    expect(windowProblem(leapDay)).toBeNull();
    expect(openings(leapDay, '2026-11-30T00:00:00Z', 3)).toEqual([
      '2028-02-29T00:00:00.000Z',
      '2032-02-29T00:00:00.000Z',
      '2036-02-29T00:00:00.000Z',
    ]);
    // The last year of a century is no leap year.
    expect(openings(leapDay, '2096-03-01T00:00:00Z', 1)).toEqual(['2104-02-29T00:00:00.000Z']);
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

  it('opens next after the present opening, too', () => {
    expect(nextOpening(nightly, at('2026-11-23T02:00:00Z'))).toBe(at('2026-11-24T02:00:00Z'));
    expect(nextOpening(nightly, at('2026-11-23T01:59:59.999Z'))).toBe(at('2026-11-23T02:00:00Z'));
    expect(nextOpening({ ...nightly, cron: 'at night' }, 0)).toBeNull();
    expect(nextOpening({ ...nightly, time_zone: 'Europe/Atlantis' }, 0)).toBeNull();
  });

  it.each([
    '0 2 31 2 *',
    '0 0 30 2 *',
    '* * 30-31 FEB *',
    '0 0 31 4,6,9,11 *',
    '0 0 31 2 */2',
    ' 0 0\t31 2 * ',
  ])('is refused when it would never open: %s', (cron) => {
    expect(windowProblem({ ...nightly, cron })).toBe(
      `a window of '${cron.trim()}' never opens: no such month has such a day`,
    );
  });

  it.each(['0 0 31 2 1', '0 0 31 1,2 *', '0 0 */29 2 1', '0 0 29 2 */3'])('may open rarely: %s', (cron) => {
    expect(windowProblem({ ...nightly, cron })).toBeNull();
    expect(nextOpening({ ...nightly, cron }, at('2026-11-23T02:00:00Z'))).not.toBeNull();
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

  it.each([
    '0 2 L * *',
    '0 2 15W * *',
    '0 2 ? * *',
    '/5 2 * * *',
    '0 2 * * +1',
    '0 2 * * SUN#2',
    '0 2 * * 6L',
  ])('takes nothing that crontab(5) does not know: %s', (cron) => {
    expect(windowProblem({ ...nightly, cron })).toMatch(/does not fit the/);
    expect(windowAt({ ...nightly, cron }, 0)).toEqual({ name: 'closed', opens: null });
  });

  it('knows months and days of the week by their names', () => {
    const cron = '0 2 * jan-mar,Dec MON-fri';
    expect(windowProblem({ ...nightly, cron })).toBeNull();
    expect(openings({ ...nightly, cron }, '2026-12-31T02:00:00Z', 2)).toEqual([
      '2027-01-01T02:00:00.000Z',
      '2027-01-04T02:00:00.000Z',
    ]);
  });

  it('says what is wrong with a time zone', () => {
    expect(windowProblem({ ...nightly, time_zone: 'Europe/Atlantis' })).toBe(
      "'Europe/Atlantis' is not a time zone of the IANA database, such as Europe/Berlin",
    );
    expect(windowProblem(nightly)).toBeNull();
  });
});

describe('a window where the clock is changed', () => {
  const berlin: Window = { cron: '30 2 * * 0', duration_seconds: 3600, time_zone: 'Europe/Berlin' };

  it('opens once on the Sunday whose 02:30 is skipped, when the clock has jumped', () => {
    expect(openings(berlin, '2026-03-23T00:00:00Z', 2)).toEqual([
      '2026-03-29T01:00:00.000Z',
      '2026-04-05T00:30:00.000Z',
    ]);
    const closes = at('2026-03-29T02:00:00Z');
    expect(windowAt(berlin, at('2026-03-29T01:00:00Z'))).toEqual({ name: 'open', closes });
    expect(windowAt(berlin, closes - 1)).toEqual({ name: 'open', closes });
    expect(windowAt(berlin, closes)).toEqual({ name: 'closed', opens: at('2026-04-05T00:30:00Z') });
  });

  it('opens once on the Sunday that has 02:30 twice', () => {
    expect(openings(berlin, '2026-10-19T00:00:00Z', 2)).toEqual([
      '2026-10-25T00:30:00.000Z',
      '2026-11-01T01:30:00.000Z',
    ]);
    expect(windowAt(berlin, at('2026-10-25T01:30:00Z'))).toEqual({
      name: 'closed',
      opens: at('2026-11-01T01:30:00Z'),
    });
  });

  it.each([
    [
      '30 2,14 * * 0',
      'Europe/Berlin',
      '2026-03-29T00:00:00Z',
      ['2026-03-29T01:00:00.000Z', '2026-03-29T12:30:00.000Z'],
    ],
    [
      '0,30 2 * * 0',
      'Europe/Berlin',
      '2026-10-25T00:00:00Z',
      ['2026-10-25T00:30:00.000Z', '2026-11-01T01:00:00.000Z'],
    ],
    [
      '30 2 * * *',
      'America/New_York',
      '2026-03-08T06:00:00Z',
      ['2026-03-08T07:00:00.000Z', '2026-03-09T06:30:00.000Z'],
    ],
    [
      '15 2 * * *',
      'Australia/Lord_Howe',
      '2026-10-03T12:00:00Z',
      ['2026-10-03T15:30:00.000Z', '2026-10-04T15:15:00.000Z'],
    ],
    [
      '0 0 * * 0',
      'America/Sao_Paulo',
      '2018-11-03T12:00:00Z',
      ['2018-11-04T03:00:00.000Z', '2018-11-11T02:00:00.000Z'],
    ],
    [
      '*/30 2 * * 0',
      'Europe/Berlin',
      '2026-03-28T12:00:00Z',
      ['2026-04-05T00:00:00.000Z', '2026-04-05T00:30:00.000Z'],
    ],
    [
      '0 * * * *',
      'Europe/Berlin',
      '2026-10-24T23:00:00Z',
      ['2026-10-25T00:00:00.000Z', '2026-10-25T01:00:00.000Z'],
    ],
  ])('%s in %s', (cron, time_zone, from, expected) => {
    expect(openings({ cron, time_zone, duration_seconds: 60 }, from, 2)).toEqual(expected);
  });
});

describe('a window on some days of the month', () => {
  it('that a star and a step choose must fit the day of the week as well', () => {
    const cron = '0 2 */2 * 0';
    expect(openings({ ...nightly, cron }, '2026-12-01T00:00:00Z', 3)).toEqual([
      '2026-12-13T02:00:00.000Z',
      '2026-12-27T02:00:00.000Z',
      '2027-01-03T02:00:00.000Z',
    ]);
    expect(openings({ ...nightly, cron: '0 2 1-7 * */6' }, '2026-12-01T00:00:00Z', 3)).toEqual([
      '2026-12-05T02:00:00.000Z',
      '2026-12-06T02:00:00.000Z',
      '2027-01-02T02:00:00.000Z',
    ]);
  });
});

describe('any window', () => {
  const field = (min: number, max: number) => {
    const number = fc.integer({ min, max });
    const range = fc.tuple(number, number).map((two) => `${Math.min(...two)}-${Math.max(...two)}`);
    const step = fc.integer({ min: 1, max: Math.min(max, 12) });
    return fc.oneof(
      { weight: 3, arbitrary: fc.constant('*') },
      number.map(String),
      range,
      fc.tuple(fc.oneof(fc.constant('*'), range), step).map(([what, by]) => `${what}/${by}`),
      fc.array(number, { minLength: 1, maxLength: 3 }).map((some) => some.join(',')),
    );
  };
  const window = fc.record({
    cron: fc
      .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
      .map((fields) => fields.join(' ')),
    duration_seconds: fc.integer({ min: 60, max: 86_400 }),
    time_zone: fc.constantFrom(
      'UTC',
      'Europe/Berlin',
      'America/St_Johns',
      'Australia/Lord_Howe',
      'Asia/Kathmandu',
    ),
  });
  const instant = fc.integer({ min: at('2020-01-01T00:00:00Z'), max: at('2040-01-01T00:00:00Z') });

  it('is refused, or opens again and again, and is open from there for its whole duration', () => {
    fc.assert(
      fc.property(window, instant, fc.double({ min: 0, max: 1, noNaN: true }), (it, now, part) => {
        const opens = nextOpening(it, now);
        expect(opens === null, `${it.cron} is refused, and only then never opens`).toBe(
          windowProblem(it) !== null,
        );
        if (opens === null) return;
        expect(opens).toBeGreaterThan(now);
        const duration_ms = it.duration_seconds * 1000;
        const within = opens + Math.floor(part * (duration_ms - 1));
        const state = windowAt(it, within);
        if (state.name !== 'open') throw new Error(`closed at ${new Date(within).toISOString()}`);
        // Another opening may have come meanwhile.
        expect(state.closes).toBeGreaterThanOrEqual(opens + duration_ms);
        expect(state.closes).toBeLessThanOrEqual(within + duration_ms);
        const before = windowAt(it, now);
        if (before.name === 'closed') expect(before.opens).toBe(opens);
        else expect(windowAt(it, before.closes - 1).name).toBe('open');
      }),
      tried(400),
    );
  });

  it('is the same whatever the clock of this machine says', () => {
    const berlin = { ...nightly, time_zone: 'Europe/Berlin' };
    const now = at('2026-03-28T12:00:00Z');
    const asked = () => [
      windowAt(berlin, now),
      windowAt(berlin, now + 14 * 3_600_000),
      nextOpening(berlin, now),
    ];
    const answers = ['1999-12-31T23:00:00Z', '2099-06-01T00:00:00Z'].map((clock) => {
      vi.useFakeTimers({ now: at(clock), toFake: ['Date'] });
      const answer = asked();
      vi.useRealTimers();
      return answer;
    });
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toEqual(asked());
  });
});
