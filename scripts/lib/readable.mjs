// @ts-check
/**
 * Makes logs readable for people: a line of JSON becomes time, level, process and message, and then the
 * details.
 */

/** @type {Record<number, string>} */
const LEVELS = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' };
const INFO = 30;
/** As wide as `guest-simulated`. */
const NAME = 15;
/** Fields that are of no use in a line of one process on this machine. */
const LEFT_OUT = ['level', 'time', 'pid', 'hostname', 'name', 'msg', 'err'];

/**
 * Shows lines of logs as they are written.
 * @param {(text: string) => void} write
 * @param {{ all: boolean }} options all: also lines of RabbitMQ and Redis, and fields that only
 *   help to find a fault
 * @returns {(name: string, line: string) => void}
 */
export function showLines(write, { all }) {
  return (name, line) => {
    const entry = parse(line);
    if (entry && (all || entry.level >= INFO)) write(readable(name, entry));
    else if (!entry && all) write(`${name} | ${line}`);
  };
}

/**
 * @typedef {{ level: number, time: string, msg?: string, err?: { message?: string, stack?: string } }} Entry
 * @param {string} line
 * @returns {Entry & Record<string, unknown> | null} null if it is no line of ours
 */
function parse(line) {
  if (!line.startsWith('{')) return null;
  try {
    const entry = JSON.parse(line);
    return typeof entry.level === 'number' && typeof entry.time === 'string' ? entry : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {Entry & Record<string, unknown>} entry
 */
function readable(name, entry) {
  const { level, time, msg = '', err } = entry;
  // The name of an agent of one instance contains the instance's id: showing the id once is enough, and its
  // beginning identifies the instance.
  const about = Object.entries(entry).flatMap(([key, value]) =>
    LEFT_OUT.includes(key) || name === `guest-${value}` ? [] : [`${key}=${textOf(value)}`],
  );
  const who = name.replace(/^(guest-[0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, '$1');
  // hh:mm:ss.mmm in local time, as on the wall clock.
  const at = new Date(time);
  const clock = `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, '0')}`;
  const head = `${clock} ${(LEVELS[level] ?? String(level)).padEnd(5)} ${who.padEnd(NAME)} ${msg}`;
  const cause = err ? `\n    ${(err.stack ?? err.message ?? '').replaceAll('\n', '\n    ')}` : '';
  return `${[head, ...about].join('  ')}${cause}`;
}

/** @param {unknown} value */
function textOf(value) {
  return typeof value === 'string' && /^[^\s"]+$/.test(value) ? value : JSON.stringify(value);
}
