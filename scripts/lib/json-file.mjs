// @ts-check
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/**
 * The content of the file; undefined if there is no file or it is not JSON. A file that is not JSON counts as
 * missing, because each of these files can be made again.
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
 * A reader sees the whole old content or the whole new content.
 * @param {string} path
 * @param {unknown} value
 */
export function writeJson(path, value) {
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(draft, path);
}
