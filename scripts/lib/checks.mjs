// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './command.mjs';
import { projectRoot } from './paths.mjs';
import { end, markedWith } from './processes.mjs';

/**
 * Checks outside of vitest. Each counts as one test.
 *
 * @typedef {{ name: string, passed: boolean, output: string }} CheckResult
 */

const STATIC_CHECKS = [
  { name: 'format and lint (biome ci .)', command: ['biome', 'ci', '--colors=off', '.'] },
  { name: 'typed lint (eslint .)', command: ['eslint', '.'] },
  { name: 'types (tsc --noEmit)', command: ['tsc', '--noEmit', '-p', 'tsconfig.json'] },
  { name: 'types of the dashboard (tsc -p dashboard)', command: ['tsc', '-p', 'dashboard'] },
];

/** Processes that a test has started may need a moment to end after the test. */
const LEAVE_MS = 5_000;

/**
 * Runs all checks at the same time: each keeps one core busy for a few seconds.
 * @param {AbortSignal} signal
 * @returns {Promise<CheckResult[]>}
 */
export function runStaticChecks(signal) {
  // Their output is shown only after a failure, and may end up in a file.
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined };
  return Promise.all(
    STATIC_CHECKS.map(async ({ name, command: [tool, ...args] }) => {
      const program = `${projectRoot}/node_modules/.bin/${tool}`;
      const { code, tail } = await run(program, args, { cwd: projectRoot, env, signal });
      return { name, passed: code === 0, output: tail };
    }),
  );
}

/**
 * Every process that the tests start carries a mark; after the tests no process with the mark may be left.
 * Processes that are left are ended, so that they do not disturb the next run.
 * @param {string} variable
 * @param {string} value
 * @returns {Promise<CheckResult>}
 */
export async function checkNothingLeft(variable, value) {
  const deadline = Date.now() + LEAVE_MS;
  let left = markedWith(variable, value);
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(50);
    left = markedWith(variable, value);
  }
  await end(left, [{ signal: 'SIGTERM', waitMs: 5_000 }]);
  return {
    name: 'no process is left behind by the tests',
    passed: left.length === 0,
    output: left.map(({ pid, name }) => `still running after the tests: ${name} (pid ${pid})`).join('\n'),
  };
}
