// @ts-check
import { existsSync, mkdirSync, readdirSync, rmdirSync, watch } from 'node:fs';
import { join } from 'node:path';

/**
 * Guest agents come and go with what is wanted of this host. The provisioner writes it down as
 * `<guests>/<process>/<instance>.json`; here one supervised process is kept for each sub-folder, for as
 * long as the folder wants something (a .json file) or remembers something (`state/`).
 *
 * @typedef {import('./supervisor.mjs').Supervisor} Supervisor
 * @typedef {import('./supervisor.mjs').Spec} Spec
 */

/** Watching is only a hint that may be lost; looking is what counts. */
const RESCAN_MS = 1_000;

/**
 * @param {object} options
 * @param {string} options.folder
 * @param {Supervisor} options.supervisor
 * @param {(process: string, folder: string) => Spec} options.specOf
 */
export function superviseGuests({ folder, supervisor, specOf }) {
  /** @type {Map<string, Promise<void>>} those that are being stopped, by process */
  const stopping = new Map();
  /** @type {Map<string, import('node:fs').FSWatcher>} empty sub-folders, where the first file is awaited */
  const awaited = new Map();
  let isOpen = true;

  const look = () => {
    if (!isOpen) return;
    const wanted = new Set(subFolders(folder).filter((name) => isInUse(join(folder, name))));
    for (const name of wanted) {
      if (!stopping.has(name)) supervisor.start(specOf(name, join(folder, name)));
    }
    for (const name of guestsOf(supervisor)) if (!wanted.has(name)) dismiss(name);
    awaitFiles(wanted);
  };

  /** @param {string} name */
  const dismiss = (name) => {
    if (stopping.has(name)) return;
    const gone = supervisor.stop(processName(name)).then(() => {
      stopping.delete(name);
      removeIfEmpty(join(folder, name));
    });
    stopping.set(name, gone);
  };

  /** @param {Set<string>} wanted */
  const awaitFiles = (wanted) => {
    const empty = subFolders(folder).filter((name) => !wanted.has(name));
    for (const [name, watcher] of awaited) {
      if (empty.includes(name)) continue;
      watcher.close();
      awaited.delete(name);
    }
    for (const name of empty) {
      const watcher = awaited.has(name) ? undefined : tryWatch(join(folder, name), look);
      if (watcher) awaited.set(name, watcher);
    }
  };

  mkdirSync(folder, { recursive: true });
  const watcher = tryWatch(folder, look);
  const timer = setInterval(look, RESCAN_MS);
  look();

  return {
    /** Ends the watch and all guest agents; what is on disk stays for the next start. */
    async stop() {
      isOpen = false;
      clearInterval(timer);
      watcher?.close();
      for (const each of awaited.values()) each.close();
      await Promise.all(guestsOf(supervisor).map((name) => supervisor.stop(processName(name))));
    },
  };
}

/** @param {string} name of the sub-folder */
export function processName(name) {
  return `guest-${name}`;
}

/** @param {Supervisor} supervisor */
function guestsOf(supervisor) {
  return supervisor
    .names()
    .flatMap((name) => (name.startsWith('guest-') ? [name.slice('guest-'.length)] : []));
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
    return false; // it vanished meanwhile
  }
}

/** @param {string} folder */
function removeIfEmpty(folder) {
  try {
    rmdirSync(folder);
  } catch {
    // Gone already, or something is in it again: the next look decides.
  }
}

/**
 * @param {string} folder
 * @param {() => void} onChange
 */
function tryWatch(folder, onChange) {
  try {
    const watcher = watch(folder, onChange);
    watcher.on('error', () => watcher.close()); // the folder is gone, or there are no watches left
    return watcher;
  } catch {
    return undefined;
  }
}
