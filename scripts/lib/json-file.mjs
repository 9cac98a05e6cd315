// @ts-check
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/**
 * What the file holds; undefined if there is none or it is not JSON (then it is as good as none: each
 * of our files can be made again).
 * @param {string} path
 * @returns {unknown}
 */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * A reader sees the old content or the new one, never a half.
 * @param {string} path
 * @param {unknown} value
 */
export function writeJson(path, value) {
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(draft, path);
}
