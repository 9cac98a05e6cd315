/**
 * Maintenance windows: a cron expression says when one opens, a duration how long it stays open, a
 * time zone by whose clock. Pure: the instant is an input, and the rules of time zones are data.
 */
import type { Instant } from './domain.ts';

export interface Window {
  /** `minute hour day-of-month month day-of-week`, e.g. `0 2 * * 6,0`. */
  readonly cron: string;
  readonly duration_seconds: number;
  /** A name of the IANA database, e.g. `Europe/Berlin`. */
  readonly time_zone: string;
}

/** `closes` while it is open, else `opens`; null if it never opens within a year. */
export type WindowState =
  | { readonly name: 'open'; readonly closes: Instant }
  | { readonly name: 'closed'; readonly opens: Instant | null };

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const FIELDS = [
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of month', min: 1, max: 31 },
  { name: 'month', min: 1, max: 12 },
  // 7 is Sunday too, as everywhere.
  { name: 'day of week', min: 0, max: 7 },
] as const;

interface Cron {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Both given: either fits, as cron has it. */
  readonly isEitherDay: boolean;
}

/** Whether a window is open at `now`, until when, or when it opens next. */
export function windowAt(window: Window, now: Instant): WindowState {
  const cron = parseCron(window.cron);
  if (typeof cron === 'string') return { name: 'closed', opens: null };
  const clock = clockOf(window.time_zone);
  const duration = window.duration_seconds * 1000;
  const thisMinute = Math.floor(now / MINUTE) * MINUTE;
  for (let start = thisMinute; start > now - duration; start -= MINUTE) {
    if (opensAt(cron, clock(start))) return { name: 'open', closes: start + duration };
  }
  return { name: 'closed', opens: nextOpening(cron, clock, thisMinute + MINUTE) };
}

function nextOpening(cron: Cron, clock: Clock, from: Instant): Instant | null {
  for (let at = from; at < from + 366 * DAY; ) {
    const wall = clock(at);
    if (!isDay(cron, wall)) at = nextMultiple(at, HOUR);
    else if (!cron.hours.has(wall.hour)) at = nextMultiple(at, 15 * MINUTE);
    else if (cron.minutes.has(wall.minute)) return at;
    else at += MINUTE;
  }
  return null;
}

/** Time zones differ from UTC by quarters of an hour, so that no opening is jumped over. */
function nextMultiple(at: Instant, step: number): Instant {
  return (Math.floor(at / step) + 1) * step;
}

function opensAt(cron: Cron, wall: Wall): boolean {
  return cron.minutes.has(wall.minute) && cron.hours.has(wall.hour) && isDay(cron, wall);
}

function isDay({ days, months, weekdays, isEitherDay }: Cron, wall: Wall): boolean {
  if (!months.has(wall.month)) return false;
  const [day, weekday] = [days.has(wall.day), weekdays.has(wall.weekday)];
  return isEitherDay ? day || weekday : day && weekday;
}

/** What is wrong with a window, in words; null if nothing is. */
export function windowProblem({ cron, time_zone }: Window): string | null {
  const parsed = parseCron(cron);
  if (typeof parsed === 'string') return parsed;
  try {
    clockOf(time_zone);
    return null;
  } catch {
    return `'${time_zone}' is not a time zone of the IANA database, such as Europe/Berlin`;
  }
}

function parseCron(text: string): Cron | string {
  const words = text.trim().split(/\s+/);
  if (words.length !== FIELDS.length) return `a cron expression has 5 fields, not ${words.length}`;
  const sets: Set<number>[] = [];
  for (const [index, field] of FIELDS.entries()) {
    const set = parseField(words[index] ?? '', field.min, field.max);
    if (!set) {
      const { name, min, max } = field;
      return `'${words[index]}' does not fit the ${name} (${min} to ${max}, lists, ranges and steps)`;
    }
    sets.push(set);
  }
  const [minutes, hours, days, months, weekdays] = sets as [
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
  ];
  if (weekdays.has(7)) weekdays.add(0);
  return { minutes, hours, days, months, weekdays, isEitherDay: words[2] !== '*' && words[4] !== '*' };
}

/** `*`, `5`, `1-5`, `1,3,5`, each with an optional step as in `0-30/10`. */
function parseField(text: string, min: number, max: number): Set<number> | null {
  const found = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part);
    if (!match) return null;
    const [, first, last, step = '1'] = match;
    const from = first === undefined ? min : Number(first);
    const isSingle = first !== undefined && last === undefined && match[3] === undefined;
    const to = isSingle ? from : last === undefined ? max : Number(last);
    if (from < min || to > max || from > to || Number(step) === 0) return null;
    for (let value = from; value <= to; value += Number(step)) found.add(value);
  }
  return found;
}

/** What a clock on the wall shows. */
interface Wall {
  readonly minute: number;
  readonly hour: number;
  readonly day: number;
  readonly month: number;
  readonly weekday: number;
}
type Clock = (at: Instant) => Wall;

const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

function clockOf(time_zone: string): Clock {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: time_zone,
    hourCycle: 'h23',
    minute: 'numeric',
    hour: 'numeric',
    day: 'numeric',
    month: 'numeric',
    weekday: 'short',
  });
  return (at) => {
    const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type as string, value]));
    const number = (type: string) => Number(parts.get(type));
    return {
      minute: number('minute'),
      hour: number('hour'),
      day: number('day'),
      month: number('month'),
      weekday: WEEKDAYS.indexOf(parts.get('weekday') ?? ''),
    };
  };
}
