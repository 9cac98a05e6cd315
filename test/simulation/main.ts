/**
 * One worker of `npm run simulate`: runs the seeds from `first` to `end`, every `stride`th. It writes lines
 * of JSON: its progress, and each seed that broke a guarantee with the reason; with `tell`, every seed. With
 * `batches` the schedules are schedules of batches.
 */
// Thousands of errors are part of a run, and nobody reads where they came from.
Error.stackTraceLimit = 0;

import { simulateBatches } from './batch-run.ts';
import { simulate } from './run.ts';

const EVERY = 25;

const [first = 0, end = 1, stride = 1] = process.argv.slice(2, 5).map(Number);
const words = process.argv.slice(5);
const isTelling = words.includes('tell');
const run = words.includes('batches') ? simulateBatches : simulate;

const write = (news: object) => void process.stdout.write(`${JSON.stringify(news)}\n`);
const nothing = () => ({ seeds: 0, steps: 0, virtual_ms: 0, states: {} as Record<string, number> });
let sum = nothing();

for (let seed = first; seed < end; seed += stride) {
  const { violations, hash, history, steps, virtual_ms, states } = await run(seed);
  if (violations.length > 0 || isTelling) write({ seed, violations, hash, history });
  sum.seeds += 1;
  sum.steps += steps;
  sum.virtual_ms += virtual_ms;
  for (const state of states) sum.states[state] = (sum.states[state] ?? 0) + 1;
  if (sum.seeds < EVERY) continue;
  write(sum);
  sum = nothing();
}
write(sum);
