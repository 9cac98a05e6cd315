// @ts-check
// npm run simulate -- --seeds N [--seed S] [--workers W]: all of Coffer in virtual time, with faults, and
// every guarantee checked after every step (test/simulation/). One seed, one schedule; exit 0 only if
// no guarantee was broken.
import '../bin/node-version.mjs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { counted } from './lib/counted.mjs';
import { setUp } from './lib/install.mjs';
import { messageOf, Problem, report } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { handleSignals } from './lib/signals.mjs';
import { compileSimulation, runSeeds } from './lib/simulation.mjs';

const USAGE = `usage: npm run simulate -- [options]

  --seeds N    how many schedules; default 2000, or 1 if --seed is given
  --seed S     the first of them; default 0. One alone is told from start to end
  --workers W  processes; default one for each core`;
/** This many histories are shown in full; of the others only the seeds. */
const SHOWN = 3;

/** @returns {{ seeds: number, from: number, workers: number } | undefined} */
function readOptions() {
  const word = /** @type {const} */ ({ type: 'string' });
  try {
    const { values } = parseArgs({
      options: { seeds: word, seed: word, workers: word, help: { type: 'boolean' } },
    });
    if (values.help) return undefined;
    const number = (/** @type {string | undefined} */ text, /** @type {number} */ usual) => {
      const value = text === undefined ? usual : Number(text);
      if (Number.isSafeInteger(value) && value >= 0) return value;
      throw new Problem(`not a whole number: ${text}`, USAGE);
    };
    return {
      seeds: number(values.seeds, values.seed === undefined ? 2_000 : 1),
      from: number(values.seed, 0),
      workers: Math.max(1, number(values.workers, availableParallelism())),
    };
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(messageOf(error), USAGE);
  }
}

async function main() {
  const options = readOptions();
  if (!options) return void process.stdout.write(`${USAGE}\n`);
  const { seeds, from, workers } = options;
  const aborter = new AbortController();
  const { signal } = aborter;
  handleSignals({ onStop: () => aborter.abort(), onForce: () => process.exit(1) });
  const progress = createProgress();
  await setUp({ progress, signal, what: 'modules' });
  const script = await progress.step('Compiling the simulation', () => compileSimulation({ signal }));
  const began = performance.now();
  const result = await progress.step(`Simulating ${counted(seeds, 'schedule')}`, (update) =>
    runSeeds(script, {
      ...{ from, seeds, workers, signal, tell: seeds === 1 },
      onProgress: (done) => update(`${done} done`),
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const broken = result.findings.filter(({ violations }) => violations.length > 0);
  for (const finding of result.findings.slice(0, SHOWN)) show(finding);
  process.stdout.write(`${summary(result, broken, seconds)}\n`);
  process.exitCode = broken.length > 0 ? 1 : 0;
}

/** @param {import('./lib/simulation.mjs').Finding} finding */
function show({ seed, violations, history }) {
  process.stdout.write(`${history.join('\n')}\n`);
  for (const violation of violations) process.stdout.write(`seed ${seed} breaks ${violation}\n`);
  process.stdout.write('\n');
}

/**
 * @param {import('./lib/simulation.mjs').Result} result
 * @param {readonly import('./lib/simulation.mjs').Finding[]} broken
 * @param {number} seconds
 */
function summary({ findings, seeds, steps, virtual_ms, states }, broken, seconds) {
  const ended = Object.entries(states)
    .sort()
    .map(([state, count]) => `${count} ${state}`);
  const lines = [
    `${counted(seeds, 'schedule')} in ${seconds.toFixed(1)} s (${Math.round((seeds / seconds) * 60)} a minute): ` +
      `${steps} steps, ${(virtual_ms / 3_600_000).toFixed(1)} hours of virtual time; upgrades: ${ended.join(', ')}`,
    ...(seeds === 1 ? [`the history's hash: ${findings[0]?.hash}`] : []),
    ...broken.map(({ seed, violations }) => `seed ${seed} breaks ${violations.join('; ')}`),
    ...(broken[0] ? [`to see it again: npm run simulate -- --seed ${broken[0].seed}`] : []),
    `${broken.length} of ${counted(seeds, 'schedule')} broke a guarantee`,
  ];
  return lines.join('\n');
}

main().then(
  () => process.exit(),
  (error) => {
    report(error);
    process.exit(1);
  },
);
