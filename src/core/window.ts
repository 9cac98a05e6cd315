/**
 * Maintenance windows. A cron expression says when a window opens, a duration says how long it stays open, and
 * a time zone says by whose clock. The library `croner` provides the calendar. It is only ever asked about
 * instants that are given to it (docs/decisions/0018): the rules of time zones are data, and nothing here reads
 * a clock.
 */
import { Cron, CronPattern } from 'croner';
import type { Instant } from './domain.ts';

export interface Window {
  /** `minute hour day-of-month month day-of-week`, e.g. `0 2 * * 6,0`. */
  readonly cron: string;
  readonly duration_seconds: number;
  /** A name of the IANA database, e.g. `Europe/Berlin`. */
  readonly time_zone: string;
}

/** `closes` while the window is open, else `opens`; null for a window that cannot be read. */
type WindowState =
  | { readonly name: 'open'; readonly closes: Instant }
  | { readonly name: 'closed'; readonly opens: Instant | null };

const FIELDS = [
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of month', min: 1, max: 31 },
  { name: 'month', min: 1, max: 12 },
  // 7 is Sunday too, as usual for cron.
  { name: 'day of week', min: 0, max: 7 },
] as const;
const NAMES = /\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b/gi;
const SYNTAX = { mode: '5-part', sloppyRanges: true } as const;
/** From January to December, in a leap year. */
const LONGEST_MONTHS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Whether a window is open at `now`: if so, until when; if not, when it opens next. */
export function windowAt(window: Window, now: Instant): WindowState {
  const duration_ms = window.duration_seconds * 1000;
  return (
    ask(window, (cron) => {
      // A window that opened a whole duration ago has just closed: only a later opening can keep it open now.
      const first = cron.nextRun(new Date(now - duration_ms))?.getTime() ?? null;
      if (first === null || first > now) return { name: 'closed', opens: first };
      const [last] = cron.previousRuns(1, new Date(now + 1));
      return { name: 'open', closes: (last?.getTime() ?? first) + duration_ms };
    }) ?? { name: 'closed', opens: null }
  );
}

/**
 * When the window opens next after `now`, whether it is open now or not; null for a window that cannot be read.
 */
export function nextOpening(window: Window, now: Instant): Instant | null {
  return ask(window, (cron) => cron.nextRun(new Date(now))?.getTime() ?? null);
}

/** What is wrong with a window, in words; null if nothing is. */
export function windowProblem({ cron, time_zone }: Window): string | null {
  const words = wordsOf(cron);
  if (words.length !== FIELDS.length) return `a cron expression has 5 fields, not ${words.length}`;
  const pattern = patternOf(cron);
  if (!pattern) return misfitOf(words);
  if (!opensEver(pattern, cron))
    return `a window of '${cron.trim()}' never opens: no such month has such a day`;
  return isTimeZone(time_zone)
    ? null
    : `'${time_zone}' is not a time zone of the IANA database, such as Europe/Berlin`;
}

/** The first field that cannot be read, and which values it may have. */
function misfitOf(words: readonly string[]): string {
  const isMisfit = (index: number) =>
    patternOf(FIELDS.map((_, other) => (other === index ? words[index] : '*')).join(' ')) === null;
  const index = Math.max(
    0,
    FIELDS.findIndex((_, each) => isMisfit(each)),
  );
  const { name, min, max } = FIELDS[index] ?? FIELDS[0];
  return `'${words[index]}' does not fit the ${name} (${min} to ${max}, lists, ranges and steps)`;
}

/** Null for a window that cannot be read. */
function ask<T>(window: Window, question: (calendar: Cron) => T): T | null {
  const { cron, time_zone: timezone } = window;
  if (!isCrontab(cron)) return null;
  // A window whose time is skipped in spring opens at once afterwards. A time that comes twice in autumn counts
  // once.
  const options = {
    ...SYNTAX,
    timezone,
    domAndDow: !isEitherDay(cron),
    fixedTimeRule: 'no-wildcard' as const,
  };
  try {
    return question(new Cron(cron, options));
  } catch (err) {
    if (windowProblem(window) === null) throw err;
    return null;
  }
}

/** The expression as croner reads it; null if croner cannot. */
function patternOf(cron: string): CronPattern | null {
  if (!isCrontab(cron)) return null;
  try {
    return new CronPattern(cron, undefined, SYNTAX);
  } catch {
    return null;
  }
}

/**
 * Croner knows more than crontab(5) (`?`, `L`, `W`, `#`, `+`, `/5`, `@daily`, dates). To accept more would be a
 * promise to keep.
 */
function isCrontab(cron: string): boolean {
  const numbers = cron.replace(NAMES, '1');
  return /^[\s\d*,/-]+$/.test(numbers) && !/(^|[\s,])\//.test(numbers);
}

/** A day of the week comes in every month; a day of the month may be one that none of the chosen months has. */
function opensEver(pattern: CronPattern, cron: string): boolean {
  const hasDay = (month: number) =>
    pattern.day.some((isChosen, index) => isChosen && index < (LONGEST_MONTHS[month] ?? 0));
  return isEitherDay(cron) || pattern.month.some((isChosen, month) => isChosen && hasDay(month));
}

/**
 * True if both kinds of day are named: then either one fits. A field that begins with a star names none, as in
 * crontab(5).
 */
function isEitherDay(cron: string): boolean {
  const [, , day = '*', , weekday = '*'] = wordsOf(cron);
  return !day.startsWith('*') && !weekday.startsWith('*');
}

function wordsOf(cron: string): readonly string[] {
  return cron.trim().split(/\s+/);
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
