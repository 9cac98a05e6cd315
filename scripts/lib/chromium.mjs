// @ts-check
import { run, which } from './command.mjs';
import { aptCommand, installUnasked } from './packages.mjs';
import { messageOf, Stopped } from './problem.mjs';

/**
 * The browser in which test/dashboard opens the dashboard.
 *
 * @typedef {import('./progress.mjs').Progress} Progress
 * @typedef {{ COFFER_TEST_CHROMIUM: string } | { COFFER_TEST_CHROMIUM_MISSING: string }} Found
 */

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const PACKAGES = [{ title: 'Chromium', apt: 'chromium' }];

/**
 * Finds a browser, or installs Debian's where no question to the user is needed. A missing browser is not an
 * error: the suites that need it are skipped then, and say why.
 * @param {{ progress: Progress, signal?: AbortSignal | undefined }} options
 * @returns {Promise<Found>} for the tests' environment
 */
export async function findChromium({ progress, signal }) {
  const before = await runnable(signal);
  if (before) return { COFFER_TEST_CHROMIUM: before };
  if (process.platform !== 'linux') return missing('there is no Chromium or Chrome on PATH');
  try {
    if (!(await installUnasked(PACKAGES, { progress, signal }))) {
      return missing(`not installed: ${aptCommand(PACKAGES)}`);
    }
  } catch (error) {
    if (error instanceof Stopped) throw error;
    return missing(String(messageOf(error).split('\n', 1)[0]));
  }
  const after = await runnable(signal);
  // Ubuntu's package only leads to a snap, which a container can't have.
  return after ? { COFFER_TEST_CHROMIUM: after } : missing('the package chromium brought none that runs');
}

/** @param {AbortSignal | undefined} signal */
async function runnable(signal) {
  for (const name of NAMES) {
    const path = which(name);
    if (path && (await run(path, ['--version'], { signal })).code === 0) return path;
  }
  return undefined;
}

/** @param {string} reason */
function missing(reason) {
  return { COFFER_TEST_CHROMIUM_MISSING: reason };
}
