// @ts-check
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Reads the logs of all processes while they are written, and counts the executions that guests report (G4).
 *
 * @typedef {{ done: number, taken_up: number }} Executions how often an attempt was done, and how often it
 *   was taken up again because its agent had died in the middle of it
 */

const LOOK_MS = 500;

export class LogReader {
  /** @type {Map<string, Executions>} by `<instance> <upgrade>/<step>/<attempt>/<action>` */
  executions = new Map();
  /** @type {Map<string, { count: number, example: string }>} what processes log as errors, by its text */
  errors = new Map();
  /** @type {Map<string, Follower>} */
  #followers = new Map();
  #folder;
  #since = Date.now();
  #timer;

  /** @param {string} folder */
  constructor(folder) {
    this.#folder = folder;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#look();
    for (const follower of this.#followers.values()) follower.close();
  }

  #look() {
    for (const file of readdirSync(this.#folder).filter((name) =>
      /^(api|taskmanager|guest).*\.log$/.test(name),
    )) {
      const follower = this.#followers.get(file) ?? new Follower(join(this.#folder, file));
      this.#followers.set(file, follower);
      for (const line of follower.lines()) this.#take(file, line);
    }
  }

  /**
   * @param {string} file
   * @param {string} line
   */
  #take(file, line) {
    const entry = parse(line);
    if (!entry || Date.parse(entry.time) < this.#since) return;
    if (entry.level >= 50) {
      const known = this.errors.get(entry.msg) ?? { count: 0, example: `${file}: ${line}` };
      this.errors.set(entry.msg, { ...known, count: known.count + 1 });
    }
    const { instance_id, upgrade_id, step, attempt, action, msg } = entry;
    const isDone = msg === `${action} done`;
    if (!action || !(isDone || msg.startsWith('taking up the attempt'))) return;
    const key = `${instance_id} ${upgrade_id}/${step}/${attempt}/${action}`;
    const { done, taken_up } = this.executions.get(key) ?? { done: 0, taken_up: 0 };
    this.executions.set(key, isDone ? { done: done + 1, taken_up } : { done, taken_up: taken_up + 1 });
  }
}

/** A log file that grows. It may be moved away for a new one when its process starts again. */
class Follower {
  #path;
  #fd;
  #rest = '';

  /** @param {string} path */
  constructor(path) {
    this.#path = path;
    this.#fd = openSync(path, 'r');
  }

  /** @returns {string[]} complete lines since the last read */
  lines() {
    let text = readOn(this.#fd);
    if (existsSync(this.#path) && statSync(this.#path).ino !== fstatSync(this.#fd).ino) {
      text += readOn(this.#fd);
      this.close();
      this.#fd = openSync(this.#path, 'r');
      text += readOn(this.#fd);
    }
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines;
  }

  close() {
    closeSync(this.#fd);
  }
}

/** @param {number} fd */
function readOn(fd) {
  const parts = [];
  for (;;) {
    const bytes = Buffer.alloc(65_536);
    const length = readSync(fd, bytes, 0, bytes.length, null);
    if (length === 0) return Buffer.concat(parts).toString('utf8');
    parts.push(bytes.subarray(0, length));
  }
}

/**
 * @param {string} line
 * @returns {any} undefined for a line that is no entry, e.g. one that its process died in the middle of
 */
function parse(line) {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
