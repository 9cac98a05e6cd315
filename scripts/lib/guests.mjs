// @ts-check
import { existsSync, mkdirSync, readdirSync, rmdirSync, watch } from 'node:fs';
import { join } from 'node:path';

/**
 * Guest agents start and stop as this host's instances require. The provisioner writes each instance to
 * `<guests>/<process>/<instance>.json`. This class keeps one supervised process for each sub-folder, for as
 * long as the folder requires an instance (a .json file) or holds state (`state/`).
 *
 * @typedef {import('./supervisor.mjs').Supervisor} Supervisor
 * @typedef {import('./supervisor.mjs').Spec} Spec
 */

/** File events are only hints, which may be lost; the regular scans are what counts. */
const RESCAN_MS = 1_000;
/**
 * When a fleet is built, files appear by the thousand: one scan handles all files that appeared within this
 * time.
 */
const GATHER_MS = 20;
const PREFIX = 'guest-';

export class GuestKeeper {
  /** The processes that are being stopped. */
  #leaving = new Set();
  /** @type {Map<string, import('node:fs').FSWatcher>} empty sub-folders that wait for their first file */
  #awaited = new Map();
  #isOpen = true;
  #folder;
  #supervisor;
  #specOf;
  #watcher;
  #timer;
  /** @type {NodeJS.Timeout | undefined} */
  #due;

  /**
   * @param {object} options
   * @param {string} options.folder
   * @param {Supervisor} options.supervisor
   * @param {(process: string, folder: string) => Spec} options.specOf
   */
  constructor({ folder, supervisor, specOf }) {
    this.#folder = folder;
    this.#supervisor = supervisor;
    this.#specOf = specOf;
    mkdirSync(folder, { recursive: true });
    this.#watcher = tryWatch(folder, () => this.#lookSoon());
    this.#timer = setInterval(() => this.#look(), RESCAN_MS);
    this.#look();
  }

  /** Ends the watch and all guest agents; the files stay on disk for the next start. */
  async stop() {
    this.#isOpen = false;
    clearInterval(this.#timer);
    clearTimeout(this.#due);
    this.#watcher?.close();
    for (const watcher of this.#awaited.values()) watcher.close();
    await Promise.all(this.#running().map((name) => this.#supervisor.stop(processName(name))));
  }

  #lookSoon() {
    this.#due ??= setTimeout(() => this.#look(), GATHER_MS);
  }

  #look() {
    clearTimeout(this.#due);
    this.#due = undefined;
    if (!this.#isOpen) return;
    const all = subFolders(this.#folder);
    const wanted = all.filter((name) => isInUse(join(this.#folder, name)));
    for (const name of wanted) {
      if (!this.#leaving.has(name)) this.#supervisor.start(this.#specOf(name, join(this.#folder, name)));
    }
    for (const name of this.#running()) if (!wanted.includes(name)) this.#dismiss(name);
    this.#awaitFiles(all.filter((name) => !wanted.includes(name)));
  }

  /** @param {string} name */
  #dismiss(name) {
    if (this.#leaving.has(name)) return;
    this.#leaving.add(name);
    void this.#supervisor.stop(processName(name)).then(() => {
      this.#leaving.delete(name);
      removeIfEmpty(join(this.#folder, name));
    });
  }

  /** @param {readonly string[]} empty */
  #awaitFiles(empty) {
    for (const [name, watcher] of this.#awaited) {
      if (empty.includes(name)) continue;
      watcher.close();
      this.#awaited.delete(name);
    }
    for (const name of empty) {
      if (this.#awaited.has(name)) continue;
      const watcher = tryWatch(join(this.#folder, name), () => this.#lookSoon());
      if (watcher) this.#awaited.set(name, watcher);
    }
  }

  #running() {
    const names = this.#supervisor.names().filter((name) => name.startsWith(PREFIX));
    return names.map((name) => name.slice(PREFIX.length));
  }
}

/** @param {string} name of the sub-folder */
export function processName(name) {
  return `${PREFIX}${name}`;
}

/** @param {string} folder */
function subFolders(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name);
}

/** @param {string} folder */
function isInUse(folder) {
  try {
    return readdirSync(folder).some((name) => name === 'state' || /^[^.].*\.json$/.test(name));
  } catch {
    return false; // it has vanished meanwhile
  }
}

/** @param {string} folder */
function removeIfEmpty(folder) {
  try {
    rmdirSync(folder);
  } catch {
    // The folder is gone already, or has files again: the next scan decides.
  }
}

/**
 * @param {string} folder
 * @param {() => void} onChange
 */
function tryWatch(folder, onChange) {
  try {
    const watcher = watch(folder, onChange);
    watcher.on('error', () => watcher.close()); // the folder is gone, or the system has no watches left
    return watcher;
  } catch {
    return undefined;
  }
}
