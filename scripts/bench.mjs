// @ts-check
// npm run bench [-- --json] [--quick] [--only NAME]: measures speed and the use of resources. Each figure stands
// beside the floor of the same run: what a bare program does on this machine. Exits 0 even if a target is
// missed: a benchmark measures, tests assert.
//
// lib/bench/: cases.mjs the measurements · floor.mjs, floor-peer.mjs, floor-http.mjs the bare programs ·
// fleet.mjs clusters and their upgrades · stored.mjs clusters that are only stored · http-load.mjs ·
// wire.mjs · cpu.mjs · memory.mjs · figures.mjs.
import '../bin/node-version.mjs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultHome } from './lib/paths.mjs';
import { messageOf, Problem, report, Stopped } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { handleSignals } from './lib/signals.mjs';
import { startStack } from './lib/stack.mjs';

const CASES = { flow: 1, http: 1, batch: 1, takeover: 2 };
const USAGE = `usage: npm run bench -- [options]

  --only NAME   only this part: ${Object.keys(CASES).join(', ')}
  --quick       small numbers, to see that it runs; its figures mean little
  --json        one JSON object per figure and line on stdout instead of a table`;
const PREFIX = 'coffer';

function readOptions() {
  const flag = /** @type {const} */ ({ type: 'boolean', default: false });
  try {
    const { values } = parseArgs({
      options: { only: { type: 'string' }, quick: flag, json: flag, help: flag },
    });
    if (values.only === undefined || Object.hasOwn(CASES, values.only)) return values;
    throw new Problem(`there is no part ${values.only}`, USAGE);
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(messageOf(error), USAGE);
  }
}

async function main() {
  const options = readOptions();
  if (options.help) return void process.stdout.write(`${USAGE}\n`);
  // The benchmark needs servers of its own: empty, and without other load.
  delete process.env['COFFER_AMQP_URL'];
  delete process.env['COFFER_REDIS_URL'];
  const aborter = new AbortController();
  const progress = createProgress();
  /** @type {Awaited<ReturnType<typeof startStack>> | undefined} */
  let stack;
  handleSignals({
    onStop(reason) {
      progress.line(`stopping (${reason}); once more to force it`);
      aborter.abort();
      void stack?.stop().then(() => process.exit(130));
    },
    onForce: () => void Promise.resolve(stack?.kill()).finally(() => process.exit(1)),
  });
  /** @type {import('./lib/bench/figures.mjs').Figure[]} */
  const figures = [];
  for (const [name, taskmanagers] of Object.entries(CASES)) {
    if (options.only !== undefined && options.only !== name) continue;
    const home = join(defaultHome(), 'bench');
    const { signal } = aborter;
    stack = await startStack({ home, fresh: true, ports: { api: 0 }, progress, signal, taskmanagers });
    try {
      figures.push(...(await measure(name, stack, options, progress)));
    } finally {
      await stack.stop();
    }
    if (signal.aborted) throw new Stopped();
  }
  await print(figures, options);
}

/**
 * @param {string} name
 * @param {import('./lib/stack.mjs').Stack} stack
 * @param {{ quick: boolean }} options
 * @param {import('./lib/progress.mjs').Progress} progress
 */
async function measure(name, stack, { quick }, progress) {
  // Imported only now: the set-up has just installed and built the modules.
  const { Redis } = await import('ioredis');
  const { openHttp } = await import('./lib/bench/http-load.mjs');
  const cases = await import('./lib/bench/cases.mjs');
  // A figure that was measured over a broken connection is worthless.
  const redis = new Redis(stack.redis_url, { retryStrategy: () => null });
  const http = openHttp(stack.api_url);
  const tools = { http, redis, prefix: PREFIX, openHttp };
  const began = performance.now();
  const tell = (/** @type {string} */ text) =>
    progress.line(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${name}: ${text}`);
  try {
    const run = cases[/** @type {keyof typeof CASES} */ (name)];
    return await run({ tools, stack, sizes: quick ? cases.QUICK : cases.FULL, tell });
  } finally {
    http.close();
    redis.disconnect();
  }
}

/**
 * @param {readonly import('./lib/bench/figures.mjs').Figure[]} figures
 * @param {{ json: boolean }} options
 */
async function print(figures, { json }) {
  const { renderFigures } = await import('./lib/bench/figures.mjs');
  const text = json ? figures.map((each) => JSON.stringify(each)).join('\n') : renderFigures(figures);
  process.stdout.write(`${text}\n`);
}

main().then(
  () => process.exit(),
  (error) => {
    report(error);
    process.exit(1);
  },
);
