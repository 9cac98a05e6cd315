// @ts-check
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readJson, writeJson } from './json-file.mjs';

/** The clone that this script belongs to. */
export const projectRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * The paths of one stack. Everything except the guests' folder and the cache is inside `home`.
 *
 * @typedef {object} Paths
 * @property {string} home
 * @property {string} logs one file per process
 * @property {string} run one record per running process, for the clean-up after a crash
 * @property {string} lock held while a stack runs over this home
 * @property {string} stackFile the file from which programs learn the running stack
 * @property {string} portsFile
 * @property {string} rabbitmq
 * @property {string} redis
 * @property {string} guests
 * @property {string} cache downloaded database packages, shared between clones
 */

/** `.coffer` in the clone, or the path in COFFER_HOME. */
export function defaultHome() {
  return resolve(projectRoot, process.env['COFFER_HOME'] || '.coffer');
}

/**
 * Creates the home if needed and returns all its paths.
 * @param {string} [home]
 * @returns {Paths}
 */
export function openHome(home = defaultHome()) {
  // As root, Coffer runs database servers as another user. That user must be able to enter every folder that
  // is created from here on, whatever umask root had.
  if (isRoot()) process.umask(0o022);
  makeFolder(home);
  const paths = {
    home,
    logs: join(home, 'logs'),
    run: join(home, 'run'),
    lock: join(home, 'stack.lock'),
    stackFile: join(home, 'stack.json'),
    portsFile: join(home, 'ports.json'),
    rabbitmq: join(home, 'rabbitmq'),
    redis: join(home, 'redis'),
    guests: chooseGuestsFolder(home),
    cache: cacheFolder(),
  };
  for (const folder of [paths.logs, paths.run, paths.guests]) makeFolder(folder);
  return paths;
}

/** @param {string} text */
export function shortHash(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

function isRoot() {
  return process.getuid?.() === 0;
}

/**
 * Git must ignore a home, wherever COFFER_HOME puts it.
 * @param {string} folder
 */
function makeFolder(folder) {
  if (!existsSync(folder)) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o755);
  }
  const ignore = join(folder, '.gitignore');
  if (folder.endsWith('.coffer') && !existsSync(ignore)) writeFileSync(ignore, '*\n');
}

/**
 * PostgreSQL refuses to run as root, so as root its servers run as `nobody`, who can't enter a clone under
 * root's own home. The choice is recorded, because instances live in the chosen folder.
 * @param {string} home
 */
function chooseGuestsFolder(home) {
  const file = join(home, 'guests.json');
  const remembered = /** @type {{ home?: string, guests?: string }} */ (readJson(file) ?? {});
  // A record that names another home that still exists came along in a copy of that home: the guests belong
  // to the other home. If the named home is gone, this home has been moved, and its guests have not.
  const isOurs = remembered.home === home || !existsSync(remembered.home ?? '/');
  if (remembered.guests && isOurs && !remembered.guests.startsWith(`${remembered.home}/`)) {
    return remembered.guests;
  }
  const isReachable = !isRoot() || isOpenToOthers(home);
  const guests = isReachable ? join(home, 'guests') : `/var/lib/coffer/${shortHash(home)}/guests`;
  writeJson(file, { home, guests });
  return guests;
}

/**
 * An empty folder outside of the home would stay for ever once the clone is removed.
 * @param {Paths} paths
 */
export function leaveNoEmptyGuestsFolder({ home, guests }) {
  if (guests.startsWith(`${home}/`)) return;
  try {
    rmdirSync(guests);
    rmdirSync(dirname(guests));
  } catch {
    // The folder is not empty: instances live there.
  }
}

/**
 * Whether any user can enter this folder.
 * @param {string} folder
 * @returns {boolean}
 */
function isOpenToOthers(folder) {
  const mayWalk = (statSync(folder).mode & 0o001) !== 0;
  const parent = dirname(folder);
  return mayWalk && (parent === folder || isOpenToOthers(parent));
}

function cacheFolder() {
  const given = process.env['COFFER_CACHE_DIR'];
  if (given) return resolve(given);
  if (isRoot()) return '/var/cache/coffer';
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'coffer');
}

/** @param {string} path */
export function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}
