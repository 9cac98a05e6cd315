// @ts-check
// npm test: sets everything up, starts a RabbitMQ and a Redis only for the tests, runs the static checks
// and vitest, and prints the counts. Arguments are passed to vitest: npm test -- test/unit
import '../bin/node-version.mjs';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkNothingLeft, runStaticChecks } from './lib/checks.mjs';
import { findChromium } from './lib/chromium.mjs';
import { runVisibly } from './lib/command.mjs';
import { answerHelp } from './lib/command-line.mjs';
import { findDebianPostgresql } from './lib/debian-postgresql.mjs';
import { setUp } from './lib/install.mjs';
import { findInterop } from './lib/interop.mjs';
import { NEWEST_NODE, newestNode } from './lib/newest-node.mjs';
import { defaultHome, projectRoot } from './lib/paths.mjs';
import { report, Stopped } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { startServices } from './lib/services.mjs';
import { openSession } from './lib/session.mjs';
import { handleSignals } from './lib/signals.mjs';
import { countVitest, sum, summary } from './lib/test-report.mjs';

const USAGE = `usage: npm test [-- FILE …]

Sets everything up, starts a RabbitMQ and a Redis for the tests alone, and runs the static checks and all tests, or
those in the files whose paths hold a FILE. Other arguments are vitest's (npx vitest --help), such as -t TEXT for
the tests whose names hold it.

  npm test -- test/unit
  npm test -- test/integration/cli.test.ts -t interrupted`;

/** Every process that the tests start inherits this variable. */
const TEST_MARK = 'COFFER_TEST_RUN';
/** Settings that do not belong to a running Coffer: where downloads are kept, and how large a tested fleet is. */
const PASSED_ON = ['COFFER_CACHE_DIR', 'COFFER_TEST_FLEET'];

const progress = createProgress();
const aborter = new AbortController();
const { signal } = aborter;

async function main() {
  answerHelp(process.argv.slice(2), USAGE);
  await setUp({ progress, signal });
  // A separate home: a stack that `npm start` keeps running is not disturbed.
  const session = await openSession({ home: join(defaultHome(), 'test'), fresh: true, progress });
  handleSignals({
    onStop(reason) {
      progress.line(`stopping (${reason})`);
      aborter.abort();
    },
    onForce() {
      session.supervisor.signalAll('SIGKILL');
      process.exit(1);
    },
  });
  try {
    return await runAll(session);
  } finally {
    await session.close();
  }
}

/** @param {import('./lib/session.mjs').Session} session */
async function runAll({ paths, supervisor }) {
  const starting = startServices({
    paths,
    supervisor,
    progress,
    signal,
    fresh: true,
    yes: false,
    prefix: 'COFFER_TEST',
  });
  const checking = progress.step('Checking format, lint and types', () => runStaticChecks(signal));
  const finding = findPrograms();
  await Promise.allSettled([starting, checking, finding]);
  const services = await starting;
  const checks = await checking;
  checks.forEach(show);

  const environment = { ...services, found: await finding };
  const vitest = [await runVitest(environment, paths.home)];
  // The tests that any change may break on the newest Node.js; the others run only on the Node.js that runs
  // this script.
  if (process.argv.length === 2) vitest.push(await runOnNewestNode(environment, paths.home));
  await services.stop();
  const last = await checkNothingLeft(TEST_MARK, paths.home);
  show(last);
  return sum([...vitest, ...[...checks, last].map(countCheck)]);
}

/**
 * Finds the external programs that some suites need, or the reasons why they are missing. It searches one
 * after the other, because only one apt can run at a time.
 */
async function findPrograms() {
  const interop = await findInterop({ progress, signal });
  const debian = await findDebianPostgresql({ progress, signal });
  return { ...interop, ...debian, ...(await findChromium({ progress, signal })) };
}

/**
 * Runs the unit tests and the demo on the newest Node.js that Coffer supports.
 * @param {{ amqp_url: string, redis_url: string, found: Record<string, string> }} services
 * @param {string} home
 */
async function runOnNewestNode(services, home) {
  const node = await newestNode({ home: defaultHome(), progress, signal });
  progress.line(`the unit tests and the demo once more, on Node.js ${NEWEST_NODE}`);
  return runVitest(services, home, { node, files: ['test/unit', 'test/integration/demo.test.ts'] });
}

/**
 * @param {{ amqp_url: string, redis_url: string, found: Record<string, string> }} services
 * @param {string} home
 * @param {{ node?: string, files?: readonly string[] }} [options]
 */
async function runVitest(
  { amqp_url, redis_url, found },
  home,
  { node = process.execPath, files = process.argv.slice(2) } = {},
) {
  const results = join(home, 'results.json');
  rmSync(results, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
  const vitest = join(projectRoot, 'node_modules/vitest/vitest.mjs');
  const env = {
    ...withoutOwnSettings(process.env),
    COFFER_TEST_AMQP_URL: amqp_url,
    COFFER_TEST_REDIS_URL: redis_url,
    ...found,
    [TEST_MARK]: home,
  };
  const args = [vitest, 'run', ...reporters, ...files];
  const code = await runVisibly(node, args, { cwd: projectRoot, env, signal });
  if (signal.aborted) throw new Stopped();
  return countVitest(results, code);
}

/**
 * Settings that a person made for a stack of their own must not change a test.
 * @param {NodeJS.ProcessEnv} env
 */
function withoutOwnSettings(env) {
  const isOwn = (/** @type {string} */ name) => name.startsWith('COFFER_') && !PASSED_ON.includes(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isOwn(name)));
}

/** @param {import('./lib/checks.mjs').CheckResult} check */
function show({ name, passed, output }) {
  process.stdout.write(` ${passed ? '✓' : '✗'} ${name}\n${passed ? '' : `${output}\n`}`);
}

/** @param {import('./lib/checks.mjs').CheckResult} check */
function countCheck({ passed }) {
  return { passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: 0 };
}

main().then(
  (count) => {
    process.stdout.write(`${summary(count)}\n`);
    process.exit(count.failed === 0 ? 0 : 1);
  },
  (error) => {
    report(error);
    // Nobody must take a run that did not happen for a run that passed.
    process.stdout.write(`${summary({ passed: 0, failed: 1, skipped: 0 })}\n`);
    process.exit(1);
  },
);
