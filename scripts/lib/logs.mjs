// @ts-check
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/**
 * Log files. Processes write to them directly, not through this process: so their output survives a crash of
 * this process.
 */

const ROTATE_BYTES = 5 * 1024 * 1024;
const FOLLOW_MS = 200;

/**
 * Opens a log for appending; a large log is first renamed to `<name>.log.1`.
 * @param {string} path
 */
export function openLog(path) {
  mkdirSync(dirname(path), { recursive: true });
  if (existsSync(path) && statSync(path).size > ROTATE_BYTES) renameSync(path, `${path}.1`);
  return openSync(path, 'a');
}

/**
 * @param {number} fd
 * @param {string} text
 */
export function note(fd, text) {
  writeSync(fd, `--- ${new Date().toISOString()} ${text}\n`);
}

/**
 * The end of a log.
 * @param {string} path
 * @param {number} [lines]
 */
export function tailOf(path, lines = 20) {
  const size = existsSync(path) ? statSync(path).size : 0;
  const text = readFrom(path, Math.max(0, size - 16_384)).text;
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

/**
 * Shows every line that is appended to a log from now on.
 * @param {string} path
 * @param {(line: string) => void} onLine
 * @returns {() => void} ends it, after a last read
 */
export function follow(path, onLine) {
  let position = existsSync(path) ? statSync(path).size : 0;
  let rest = '';
  const look = () => {
    if (!existsSync(path)) return;
    const { text, end } = readFrom(path, position);
    position = end;
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  };
  const timer = setInterval(look, FOLLOW_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    look();
  };
}

/**
 * @param {string} path
 * @param {number} position a position beyond the end means that the file was rotated: begin anew
 */
function readFrom(path, position) {
  if (!existsSync(path)) return { text: '', end: 0 };
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const start = position > size ? 0 : position;
    const bytes = Buffer.alloc(size - start);
    const length = readSync(fd, bytes, 0, bytes.length, start);
    return { text: bytes.toString('utf8', 0, length), end: start + length };
  } finally {
    closeSync(fd);
  }
}
