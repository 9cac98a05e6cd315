// @ts-check
import { existsSync } from 'node:fs';
import { aptCommand, installUnasked } from './packages.mjs';
import { messageOf, Stopped } from './problem.mjs';

/**
 * PostgreSQL as Debian packages it, for the tests that take over servers which Coffer did not make.
 *
 * @typedef {import('./progress.mjs').Progress} Progress
 */
const MAJOR = '15';
const PACKAGES = [
  { title: 'pg_createcluster', apt: 'postgresql-common', unit: 'postgresql' },
  { title: `PostgreSQL ${MAJOR}`, apt: `postgresql-${MAJOR}` },
];

/**
 * Finds the packages, or installs them where no question to the user is needed. Missing packages are not an
 * error: the suites that need them are skipped then, and say why.
 * @param {{ progress: Progress, signal?: AbortSignal | undefined }} options
 * @returns {Promise<{ COFFER_TEST_DEBIAN_MISSING?: string }>} for the tests' environment: why there are none
 */
export async function findDebianPostgresql({ progress, signal }) {
  if (process.platform !== 'linux')
    return missing(`they are Debian packages, and this is ${process.platform}`);
  if (isThere()) return {};
  try {
    if (!(await installUnasked(PACKAGES, { progress, signal }))) {
      return missing(`not installed: ${aptCommand(PACKAGES)}`);
    }
  } catch (error) {
    if (error instanceof Stopped) throw error;
    return missing(String(messageOf(error).split('\n', 1)[0]));
  }
  return isThere() ? {} : missing(`apt has installed PostgreSQL ${MAJOR}, and its programs are not there`);
}

function isThere() {
  return existsSync('/usr/bin/pg_createcluster') && existsSync(`/usr/lib/postgresql/${MAJOR}/bin/initdb`);
}

/** @param {string} reason */
function missing(reason) {
  return { COFFER_TEST_DEBIAN_MISSING: reason };
}
