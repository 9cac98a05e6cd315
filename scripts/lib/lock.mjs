// @ts-check
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, Stopped } from './problem.mjs';
import { identify, isAlive } from './processes.mjs';

/**
 * A lock is a file that names its holder. A lock whose holder no longer exists (after a crash) is void.
 *
 * @typedef {import('./processes.mjs').Identity} Identity
 * @typedef {{ holder: Identity } | { release: () => void }} Attempt
 */

/**
 * @param {string} path
 * @returns {Attempt} a function that releases the lock, or the holder
 */
export function tryLock(path) {
  // The lock names its own path, because a lock file that came along in a copy of the folder does not lock
  // the copy.
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
 * Waits until the lock is free, and takes it.
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
 * A hard link appears with its whole content or not at all.
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
 * Two processes may find the same void lock; the slower one must not remove the faster one's new lock. So the
 * lock is first moved aside, checked again, and put back if its holder turns out to be alive.
 * @param {string} path
 */
function discard(path) {
  const aside = `${path}.${process.pid}.void`;
  try {
    renameSync(path, aside);
  } catch {
    return; // the other process was faster
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
 * @param {string} [lockPath] the path at which it was taken
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
