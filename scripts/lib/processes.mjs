// @ts-check
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Processes that are not (or no longer) our children, identified by pid *and* start time: a pid alone may
 * belong to another process by now, and is never signalled.
 *
 * @typedef {{ pid: number, started: string }} Identity
 */

/** Every process of a stack has this environment variable; its value is the stack's home. */
export const MARK = 'COFFER_STACK';

/**
 * @param {number} pid
 * @returns {string | undefined} undefined when there is no such process, or only a zombie
 */
function startOf(pid) {
  return process.platform === 'linux' ? startFromProc(pid) : startFromPs(pid);
}

/** @param {Identity} identity */
export function isAlive({ pid, started }) {
  return startOf(pid) === started;
}

/**
 * @param {number} pid
 * @returns {Identity | undefined}
 */
export function identify(pid) {
  const started = startOf(pid);
  return started === undefined ? undefined : { pid, started };
}

/**
 * Signals a process; a negative pid stands for its group.
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 */
export function send(pid, signal) {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false; // it has ended already
  }
}

/**
 * Ends processes: sends each signal in turn and waits after each, then sends SIGKILL to the group.
 * @param {readonly Identity[]} identities
 * @param {readonly { signal: NodeJS.Signals, waitMs: number }[]} escalation
 */
export async function end(identities, escalation) {
  let left = identities.filter(isAlive);
  for (const { signal, waitMs } of escalation) {
    for (const { pid } of left) send(pid, signal);
    const deadline = Date.now() + waitMs;
    while (left.length > 0 && Date.now() < deadline) {
      await sleep(20);
      left = left.filter(isAlive);
    }
  }
  for (const { pid } of left) if (!send(-pid, 'SIGKILL')) send(pid, 'SIGKILL');
  while (left.some(isAlive)) await sleep(10);
}

/**
 * The processes whose environment holds this variable with this value, grandchildren included. Linux only: on
 * other systems we cannot read another process's environment, and the records on disk must suffice.
 * @param {string} variable
 * @param {string} value
 * @returns {(Identity & { name: string })[]}
 */
export function markedWith(variable, value) {
  if (process.platform !== 'linux') return [];
  const entry = Buffer.from(`\0${variable}=${value}\0`);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => environmentOf(pid).includes(entry))
    .flatMap((pid) => {
      const identity = identify(Number(pid));
      return identity ? [{ ...identity, name: nameOf(pid) }] : [];
    });
}

/**
 * The folder a process works in; undefined when it can't be known.
 * @param {number} pid
 */
export function folderOf(pid) {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

/** @param {string} pid */
function nameOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
  } catch {
    return '';
  }
}

/** @param {string} pid */
function environmentOf(pid) {
  try {
    return Buffer.concat([Buffer.from('\0'), readFileSync(`/proc/${pid}/environ`)]);
  } catch {
    return Buffer.alloc(0);
  }
}

/** @param {number} pid */
function startFromProc(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may contain any character, so fields are counted from the last parenthesis:
    // state is the first field after it, the start time (in ticks since boot) the twentieth.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const isZombie = fields[0] === 'Z' || fields[0] === 'X';
    return isZombie ? undefined : `${bootId()}:${fields[19]}`;
  } catch {
    return undefined;
  }
}

/** @type {string | undefined} */
let boot;

/** Ticks since boot have no meaning after a reboot. */
function bootId() {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return boot;
}

/** @param {number} pid */
function startFromPs(pid) {
  try {
    const [state, ...start] = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .trim()
      .split(/\s+/);
    return !state || state.startsWith('Z') ? undefined : start.join(' ');
  } catch {
    return undefined;
  }
}
