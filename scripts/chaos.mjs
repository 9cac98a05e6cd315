// @ts-check
// npm run chaos -- --minutes M [--seed S]: hundreds of upgrades, of simulated clusters and of PostgreSQL,
// while processes are killed and stalled and connections are cut. Prints a table of the faults and the
// outcome of every accepted request; exit 0 only if every guarantee was kept.
//
// lib/chaos/: run.mjs the course of a run · load.mjs clusters and their upgrades · kinds.mjs kinds of clusters ·
// batches.mjs a fleet and its batches · injector.mjs, faults.mjs the faults · network.mjs, proxy.mjs the network
// between the processes · availability.mjs, guests.mjs, logs.mjs observers · story.mjs what is recorded ·
// history.mjs which guarantees were kept · fault-table.mjs · random.mjs.
import '../bin/node-version.mjs';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { faultTable, renderTable } from './lib/chaos/fault-table.mjs';
import { FAULTS } from './lib/chaos/faults.mjs';
import { isGood, judge } from './lib/chaos/history.mjs';
import { openNetwork } from './lib/chaos/network.mjs';
import { createDice } from './lib/chaos/random.mjs';
import { defaultHome, openHome } from './lib/paths.mjs';
import { messageOf, Problem, report, Stopped } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { handleSignals } from './lib/signals.mjs';
import { startStack, taskmanagerNames } from './lib/stack.mjs';

const USAGE = `usage: npm run chaos -- [options]

  --minutes M      how long faults are injected; default 1
  --seed S         the same faults and clusters again; the moments differ
  --simulated N    simulated clusters at a time; default 8
  --postgresql N   PostgreSQL clusters at a time; default 1
  --taskmanagers N with 1, whoever is killed has nobody beside it; default 2
  --only TEXT      only faults with this in their name
  --json           one JSON object on stdout instead of Markdown`;

function readOptions() {
  const word = /** @type {const} */ ({ type: 'string' });
  const flag = /** @type {const} */ ({ type: 'boolean', default: false });
  const options = {
    minutes: word,
    seed: word,
    simulated: word,
    postgresql: word,
    taskmanagers: word,
    only: word,
    json: flag,
    help: flag,
  };
  try {
    const { values } = parseArgs({ options });
    const number = (/** @type {string | undefined} */ text, /** @type {number} */ usual) => {
      const value = text === undefined ? usual : Number(text);
      if (Number.isFinite(value) && value >= 0) return value;
      throw new Problem(`not a number: ${text}`, USAGE);
    };
    return {
      ...values,
      minutes: number(values.minutes, 1),
      simulated: number(values.simulated, 8),
      postgresql: number(values.postgresql, 1),
      taskmanagers: Math.max(1, Math.floor(number(values.taskmanagers, 2))),
      seed: values.seed ?? String(randomInt(1_000_000)),
    };
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(messageOf(error), USAGE);
  }
}

async function main() {
  const options = readOptions();
  if (options.help) return void process.stdout.write(`${USAGE}\n`);
  // The run kills servers, so they must be our own.
  delete process.env['COFFER_AMQP_URL'];
  delete process.env['COFFER_REDIS_URL'];
  const aborter = new AbortController();
  const { signal } = aborter;
  const progress = createProgress();
  /** @type {Awaited<ReturnType<typeof startStack>> | undefined} */
  let stack;
  handleSignals({
    onStop(reason) {
      progress.line(`stopping (${reason}); once more to force it`);
      aborter.abort();
    },
    onForce: () => void Promise.resolve(stack?.kill()).finally(() => process.exit(1)),
  });
  // A separate home: a stack that `npm start` keeps running is not disturbed.
  const home = process.env['COFFER_HOME'] ? defaultHome() : join(defaultHome(), 'chaos');
  const { taskmanagers } = options;
  const network = await openNetwork(['api', ...taskmanagerNames(taskmanagers)]);
  try {
    const { environmentOf } = network;
    const ports = { api: 0 };
    stack = await startStack({
      home,
      fresh: true,
      ports,
      progress,
      signal,
      environmentOf,
      taskmanagers,
    });
    // Imported only now: the set-up has just installed and built the module.
    const { runChaos } = await import('./lib/chaos/run.mjs');
    progress.line(`seed ${options.seed}; logs in ${stack.log_dir}`);
    const dice = createDice(options.seed);
    const { guests } = openHome(home);
    const began = Date.now();
    const tell = (/** @type {string} */ line) =>
      progress.line(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${line}`);
    const ran = await runChaos({
      ...options,
      only: options.only,
      stack,
      network,
      guests,
      dice,
      signal,
      tell,
    });
    if (signal.aborted) throw new Stopped();
    conclude(options, ran);
  } finally {
    await stack?.stop();
    await network.close();
  }
}

/**
 * @param {{ json: boolean, seed: string, minutes: number }} options
 * @param {Awaited<ReturnType<import('./lib/chaos/run.mjs')['runChaos']>>} ran
 */
function conclude({ json, seed, minutes }, { load, logs, moments, batches }) {
  const upgrades = load.stories.flatMap((story) => [...story.upgrades.values()]);
  const names = FAULTS.map(({ name }) => name);
  const faults = faultTable(names, moments, upgrades);
  const verdict = judge({ stories: load.stories, stuck: load.stuck, executions: logs.executions, batches });
  process.exitCode = isGood(verdict) ? 0 : 1;
  if (json) {
    const errors = Object.fromEntries(logs.errors);
    process.stdout.write(`${JSON.stringify({ seed, minutes, ...verdict, faults, errors })}\n`);
    return;
  }
  const { violations, ...kept } = verdict;
  const lines = Object.entries(kept).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  const counts = Object.entries(violations).map(([name, found]) => `${name} ${found.length}`);
  const details = Object.entries(violations).flatMap(([name, found]) =>
    found.map((text) => `  ${name}: ${text}`),
  );
  const errors = [...logs.errors].map(
    ([text, { count, example }]) => `  ${count} × ${text}\n      ${example.slice(0, 600)}`,
  );
  process.stdout.write(
    [
      renderTable(faults),
      '',
      `seed: ${seed}, minutes: ${minutes}`,
      ...lines,
      counts.join(', '),
      ...details,
      ...(errors.length > 0 ? ['errors that processes logged:', ...errors] : []),
      '',
    ].join('\n'),
  );
}

main().then(
  () => process.exit(),
  (error) => {
    report(error);
    process.exit(1);
  },
);
