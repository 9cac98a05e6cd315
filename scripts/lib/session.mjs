// @ts-check
import { rmSync } from 'node:fs';
import { endDatabaseServers } from './database-servers.mjs';
import { readJson } from './json-file.mjs';
import { tryLock } from './lock.mjs';
import { leaveNoEmptyGuestsFolder, openHome } from './paths.mjs';
import { Problem } from './problem.mjs';
import { endLeftovers, Supervisor } from './supervisor.mjs';

/**
 * One set of processes over one home: no other session uses the home at the same time, and no process of an
 * earlier session is left.
 *
 * @typedef {Awaited<ReturnType<typeof openSession>>} Session
 *
 * @param {object} options
 * @param {string | undefined} [options.home]
 * @param {boolean} [options.fresh] also end database servers that lost their guest agent: their data will be deleted
 * @param {(name: string, line: string) => void} [options.show] receives the log lines of the processes
 * @param {import('./progress.mjs').Progress} options.progress
 */
export async function openSession({ home, fresh = false, show, progress }) {
  const paths = openHome(home);
  const lock = tryLock(paths.lock);
  if ('holder' in lock) throw alreadyRunning(paths, lock.holder.pid);

  rmSync(paths.stackFile, { force: true });
  const supervisor = new Supervisor({ paths, log: progress.line, ...(show && { show }) });
  // The last resort, if this process ends without having stopped the others: send SIGTERM, because there is
  // no time to wait.
  const onExit = () => supervisor.signalAll('SIGTERM');
  process.once('exit', onExit);

  const close = async () => {
    for (const name of supervisor.names().reverse()) await supervisor.stop(name);
    await endLeftovers(paths);
    await endDatabaseServers(paths.guests);
    rmSync(paths.stackFile, { force: true });
    leaveNoEmptyGuestsFolder(paths);
    process.removeListener('exit', onExit);
    lock.release();
  };
  try {
    const count = await progress.step('Ending what an earlier run left behind', async () => {
      const processes = await endLeftovers(paths);
      return processes + (fresh ? await endDatabaseServers(paths.guests) : 0);
    });
    if (count > 0) progress.line(`ended ${count} processes that an earlier run left behind`);
  } catch (error) {
    await close();
    throw error;
  }
  return { paths, supervisor, close };
}

/**
 * @param {import('./paths.mjs').Paths} paths
 * @param {number} pid
 */
function alreadyRunning(paths, pid) {
  const stack = /** @type {{ api_url?: string } | undefined} */ (readJson(paths.stackFile));
  const where = stack?.api_url ? `at ${stack.api_url}` : 'and is starting or stopping';
  return new Problem(
    `already running: pid ${pid} ${where}`,
    `Use that one, stop it first (kill ${pid}), or give a second one a folder of its own in COFFER_HOME.`,
  );
}
