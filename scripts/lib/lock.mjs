// @ts-check
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, Stopped } from './problem.mjs';
import { identify, isAlive } from './processes.mjs';

/**
 * A lock is a file that names its holder. One whose holder is gone (a crash) is void.
 *
 * @typedef {import('./processes.mjs').Identity} Identity
 * @typedef {{ holder: Identity } | { release: () => void }} Attempt
 */

/**
 * @param {string} path
 * @returns {Attempt} a way to release it, or who holds it
 */
export function tryLock(path) {
  // The path is in it because a lock in a copy of the folder is not a lock of the copy.
  const self = { ...identify(process.pid), path };
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, JSON.stringify(self));
  try {
    return take(path, draft);
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Who holds the lock right now.
 * @param {string} path
 * @returns {Identity | undefined}
 */
export function holderNow(path) {
  const holder = holderOf(path);
  return holder && isAlive(holder) ? holder : undefined;
}

/**
 * Waits for its turn.
 * @param {string} path
 * @param {{ signal?: AbortSignal | undefined, onWait: (holder: Identity) => void }} options
 */
export async function lockWhenFree(path, { signal, onWait }) {
  for (;;) {
    const attempt = tryLock(path);
    if ('release' in attempt) return attempt.release;
    onWait(attempt.holder);
    await sleep(200);
    if (signal?.aborted) throw new Stopped();
  }
}

/**
 * A hard link either appears with its whole content or not at all.
 * @param {string} path
 * @param {string} draft
 * @returns {Attempt}
 */
function take(path, draft) {
  for (;;) {
    try {
      linkSync(draft, path);
      return { release: () => releaseOwn(path) };
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    const holder = holderNow(path);
    if (holder) return { holder };
    discard(path);
  }
}

/**
 * Two processes may find the same void lock; the slower must not throw away the faster one's new lock.
 * So it is moved aside first, looked at again, and put back if it turns out to be alive.
 * @param {string} path
 */
function discard(path) {
  const aside = `${path}.${process.pid}.void`;
  try {
    renameSync(path, aside);
  } catch {
    return; // the other was faster
  }
  const holder = holderOf(aside, path);
  try {
    if (holder && isAlive(holder)) linkSync(aside, path);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** @param {string} path */
function releaseOwn(path) {
  if (holderOf(path)?.pid === process.pid) rmSync(path, { force: true });
}

/**
 * @param {string} path
 * @param {string} [lockPath] where it lay when it was taken
 * @returns {Identity | undefined}
 */
function holderOf(path, lockPath = path) {
  try {
    const holder = JSON.parse(readFileSync(path, 'utf8'));
    return holder.path === lockPath ? holder : undefined;
  } catch {
    return undefined;
  }
}
