/** Numbers and times as people read them. Pure. */

/** `1 cluster`, `2 clusters`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Milliseconds: `88 ms`, `1.4 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  if (ms < 0) return '0 s';
  if (ms > 0 && ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1).replace(/\.0$/, '')} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return parts(seconds, 60, 'min', 's');
  if (seconds < 86_400) return parts(Math.round(seconds / 60), 60, 'h', 'min');
  return parts(Math.round(seconds / 3600), 24, 'd', 'h');
}

function parts(small: number, per: number, big: string, unit: string): string {
  const rest = small % per;
  return `${Math.floor(small / per)} ${big}${rest === 0 ? '' : ` ${rest} ${unit}`}`;
}

/** `0 B`, `16 KiB`, `1.5 MiB`. */
export function bytes(number: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = number < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(number) / 10));
  const value = number / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1).replace(/\.0$/, '')} ${units[power]}`;
}

/** `just now`, `12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`. */
export function ago(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

/** A time of the API as milliseconds since the epoch. Times in Trove's documents are UTC but do not say so. */
export function instant(text: string): number {
  return Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`);
}

/** `14:03:22` in the user's zone, preceded by the day if the day is not today. */
export function clock(at: number, now: number, zone?: string): string {
  const time = format({ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }, zone);
  const day = format({ day: 'numeric', month: 'short' }, zone);
  const year = format({ year: 'numeric' }, zone);
  const isSameYear = year.format(at) === year.format(now);
  if (isSameYear && day.format(at) === day.format(now)) return time.format(at);
  return `${day.format(at)}${isSameYear ? '' : ` ${year.format(at)}`}, ${time.format(at)}`;
}

/** The full time with the zone, for users who need certainty. */
export function fullTime(at: number, zone?: string): string {
  return format({ dateStyle: 'long', timeStyle: 'long' }, zone).format(at);
}

/** `Europe/Berlin (UTC+1)` */
export function zoneName(at: number, zone?: string): string {
  const name = zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const offset = format({ timeZoneName: 'shortOffset' }, zone)
    .formatToParts(at)
    .find(({ type }) => type === 'timeZoneName')?.value;
  const utc = (offset ?? 'UTC').replace('GMT', 'UTC');
  return utc.startsWith(name) ? name : `${name} (${utc})`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Making a formatter takes longer than using it a hundred times. */
function format(options: Intl.DateTimeFormatOptions, zone: string | undefined): Intl.DateTimeFormat {
  const key = JSON.stringify([options, zone]);
  const known = formats.get(key) ?? new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone });
  formats.set(key, known);
  return known;
}
