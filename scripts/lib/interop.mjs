// @ts-check
import { isProgram, run } from './command.mjs';
import { aptCommand, installUnasked } from './packages.mjs';
import { messageOf, Stopped } from './problem.mjs';

/**
 * The programs of OpenStack that test/interop runs against Coffer. They come from Debian: Debian's python has
 * them, a python of pyenv or Homebrew does not.
 *
 * @typedef {import('./progress.mjs').Progress} Progress
 * @typedef {import('./packages.mjs').DebianPackage & { module: string }} InteropPackage
 */

const PYTHON = '/usr/bin/python3';

/** @type {readonly InteropPackage[]} */
const PACKAGES = [
  { title: 'python-troveclient', apt: 'python3-troveclient', module: 'troveclient' },
  { title: 'the OpenStack command line', apt: 'python3-openstackclient', module: 'openstackclient' },
  { title: 'oslo.messaging', apt: 'python3-oslo.messaging', module: 'oslo_messaging' },
  { title: 'Trove', apt: 'python3-trove', module: 'trove' },
  { title: 'Keystone', apt: 'keystone', module: 'keystone', unit: 'keystone' },
];

/**
 * Finds the programs, or installs them where no question to the user is needed. Missing programs are not an
 * error: the suites that need them are skipped then, and say why.
 * @param {{ progress: Progress, signal?: AbortSignal | undefined }} options
 * @returns {Promise<{ COFFER_TEST_PYTHON: string } | { COFFER_TEST_PYTHON_MISSING: string }>} for the tests'
 *   environment: the python that has all of them, or the reason why there is none
 */
export async function findInterop({ progress, signal }) {
  const before = await missingPackages(signal);
  if (before.length === 0) return { COFFER_TEST_PYTHON: PYTHON };
  if (process.platform !== 'linux')
    return missing(`they are Debian packages, and this is ${process.platform}`);
  try {
    if (!(await installUnasked(before, { progress, signal }))) {
      return missing(`not installed: ${aptCommand(before)}`);
    }
  } catch (error) {
    if (error instanceof Stopped) throw error;
    return missing(String(messageOf(error).split('\n', 1)[0]));
  }
  const after = await missingPackages(signal);
  if (after.length === 0) return { COFFER_TEST_PYTHON: PYTHON };
  return missing(`${PYTHON} does not find ${after.map(({ module }) => module).join(', ')}`);
}

/**
 * Only checks that the modules exist: importing them takes seconds.
 * @param {AbortSignal | undefined} signal
 */
async function missingPackages(signal) {
  if (!isProgram(PYTHON)) return PACKAGES;
  const look = [
    'import importlib.util, sys',
    'for name in sys.argv[1:]: print(name, importlib.util.find_spec(name) is not None)',
  ].join('\n');
  const args = ['-I', '-c', look, ...PACKAGES.map(({ module }) => module)];
  const { tail } = await run(PYTHON, args, { signal });
  const found = new Set(tail.split('\n'));
  return PACKAGES.filter(({ module }) => !found.has(`${module} True`));
}

/** @param {string} reason */
function missing(reason) {
  return { COFFER_TEST_PYTHON_MISSING: reason };
}
