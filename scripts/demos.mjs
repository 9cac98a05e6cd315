// @ts-check
// npm run demos [-- N]: the demo N times in a row (20 by default) over one stack, each with a new
// cluster. Prints a line per run and a summary; exit 0 only if nothing was lost, every run had one
// switchover, and the write outage was at most 500 ms in all and 200 ms in the median.
import '../bin/node-version.mjs';
import { attachOrStart } from './lib/attach.mjs';
import { answerHelp } from './lib/command-line.mjs';
import { demoPorts, runDemo } from './lib/demo.mjs';
import { Problem, report } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { handleSignals } from './lib/signals.mjs';

const MAX_OUTAGE_MS = 500;
const MAX_MEDIAN_MS = 200;
const USAGE = `usage: npm run demos [-- N]

The demo N times in a row (20 when not said) over one stack, each with a new cluster. Exits 0 only if nothing
was lost, every run had one switchover, and the write outage was at most ${MAX_OUTAGE_MS} ms in all and ${MAX_MEDIAN_MS} ms in the median.`;

/** @type {import('./lib/progress.mjs').Progress} */
const silent = { step: (_title, work) => work(() => {}), line: () => {}, pause: (work) => work() };

function readCount() {
  const argv = process.argv.slice(2);
  answerHelp(argv, USAGE);
  const [word = '20', ...more] = argv;
  const count = Number(word);
  if (more.length === 0 && Number.isInteger(count) && count > 0) return count;
  throw new Problem(`not a number of runs: ${argv.join(' ')}`, 'usage: npm run demos [-- N]');
}

async function main() {
  const count = readCount();
  const aborter = new AbortController();
  handleSignals({ onStop: () => aborter.abort(), onForce: () => process.exit(1) });
  const { signal } = aborter;
  const stack = await attachOrStart({ ports: await demoPorts(), progress: createProgress(), signal });
  const results = [];
  let isGood = true;
  try {
    while (results.length < count && !signal.aborted) {
      const run = await runDemo({ stack, progress: silent, signal, quiet: true });
      results.push(run.result);
      isGood &&= run.isGood && run.result.switchovers === 1 && run.result.write_outage_ms <= MAX_OUTAGE_MS;
      process.stdout.write(`${JSON.stringify({ run: results.length, ...run.result })}\n`);
    }
  } finally {
    await stack.stop();
  }
  const outages = results.map((result) => result.write_outage_ms).sort((a, b) => a - b);
  const median = outages[Math.floor(outages.length / 2)] ?? 0;
  const sum = {
    runs: results.length,
    acknowledged_writes: results.reduce((total, result) => total + result.acknowledged_writes, 0),
    lost_writes: results.reduce((total, result) => total + result.lost_writes, 0),
    write_outage_ms: { min: outages[0], median, max: outages.at(-1) },
  };
  process.stdout.write(`${JSON.stringify(sum)}\n`);
  process.exitCode = isGood && results.length === count && median <= MAX_MEDIAN_MS ? 0 : 1;
}

main().then(
  () => process.exit(),
  (error) => {
    report(error);
    process.exit(1);
  },
);
