// @ts-check
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { end, folderOf, identify } from './processes.mjs';

/**
 * PostgreSQL servers belong to their guest agents, which take them back after a crash and stop them on
 * SIGTERM. This function is for the cases in which no agent can do so: the agent was killed and nobody will
 * start it again.
 *
 * It first asks for a fast shutdown (SIGINT), then for an immediate one (SIGQUIT), which loses nothing that
 * was committed.
 * @param {string} guestsFolder
 * @returns {Promise<number>} how many there were
 */
export async function endDatabaseServers(guestsFolder) {
  const servers = dataFolders(guestsFolder, 6).flatMap((folder) => serverIn(folder) ?? []);
  await end(servers, [
    { signal: 'SIGINT', waitMs: 10_000 },
    { signal: 'SIGQUIT', waitMs: 5_000 },
  ]);
  return servers.length;
}

/**
 * Data folders of servers that run or have crashed: such folders hold a pid file.
 * @param {string} folder
 * @param {number} depth
 * @returns {string[]}
 */
function dataFolders(folder, depth) {
  if (!existsSync(folder)) return [];
  if (existsSync(join(folder, 'postmaster.pid'))) return [folder];
  if (depth === 0 || existsSync(join(folder, 'PG_VERSION'))) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => dataFolders(join(folder, entry.name), depth - 1));
}

/**
 * The pid in the file may belong to another process by now; a server always works inside its data folder.
 * @param {string} folder
 */
function serverIn(folder) {
  const pid = Number.parseInt(readFileSync(join(folder, 'postmaster.pid'), 'utf8'), 10);
  return pid > 1 && folderOf(pid) === realpathSync(folder) ? identify(pid) : undefined;
}
