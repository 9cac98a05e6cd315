// @ts-check
// npm run prove [-- NAME …]: can the checkers of the simulation fail? Each patch in test/simulation/bugs
// puts one bug into a copy of the sources, and some seed must catch it. Exit 0 only if every bug is caught.
import './lib/node-version.mjs';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { mustRun } from './lib/command.mjs';
import { setUp } from './lib/install.mjs';
import { projectRoot } from './lib/paths.mjs';
import { Problem, report } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { handleSignals } from './lib/signals.mjs';
import { compileSimulation, runSeeds } from './lib/simulation.mjs';

const SEEDS = 2_000;
const BUGS = join(projectRoot, 'test/simulation/bugs');
const COPIED = [
  ...['src', 'api', 'taskmanager', 'guestagent', 'test/simulation'],
  ...['package.json', 'tsconfig.json', 'tsconfig.simulation.json'],
];

const aborter = new AbortController();
const { signal } = aborter;
const progress = createProgress();

async function main() {
  handleSignals({ onStop: () => aborter.abort(), onForce: () => process.exit(1) });
  await setUp({ progress, signal, what: 'modules' });
  const names = namesOf(process.argv.slice(2));
  let missed = 0;
  for (const name of names) {
    const { caught, line } = await prove(name);
    process.stdout.write(`${line}\n`);
    if (!caught) missed += 1;
  }
  process.stdout.write(`${names.length - missed} of ${names.length} bugs are caught within ${SEEDS} seeds\n`);
  process.exitCode = missed > 0 ? 1 : 0;
}

/** @param {readonly string[]} wanted */
function namesOf(wanted) {
  const all = readdirSync(BUGS).map((file) => basename(file, '.patch'));
  const unknown = wanted.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new Problem(`no such bug: ${unknown}`, `Bugs: ${all.sort().join(', ')}.`);
  return (wanted.length > 0 ? [...wanted] : all).sort();
}

/** @param {string} name */
async function prove(name) {
  const root = mkdtempSync(join(tmpdir(), 'coffer-bug-'));
  try {
    for (const path of COPIED) cpSync(join(projectRoot, path), join(root, path), { recursive: true });
    symlinkSync(join(projectRoot, 'node_modules'), join(root, 'node_modules'));
    const patch = join(BUGS, `${name}.patch`);
    await mustRun('git', ['apply', '-C1', patch], {
      cwd: root,
      signal,
      failure: `the bug ${name} does not fit the sources any more`,
      remedy: `Make test/simulation/bugs/${name}.patch anew: it says what the bug is.`,
    });
    const script = await compileSimulation({ root, signal });
    const workers = availableParallelism();
    const { findings } = await progress.step(`Looking for ${name}`, () =>
      runSeeds(script, { from: 0, seeds: SEEDS, workers, until: 'first', signal }),
    );
    return { caught: findings.length > 0, line: lineOf(name, readFileSync(patch, 'utf8'), findings[0]) };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/**
 * @param {string} name
 * @param {string} patch its first line says what the bug does
 * @param {import('./lib/simulation.mjs').Finding | undefined} finding
 */
function lineOf(name, patch, finding) {
  const [what = ''] = patch.split('\n', 1);
  return finding
    ? `✓ ${name}: ${what}\n    seed ${finding.seed} breaks ${finding.violations[0]}`
    : `✗ ${name}: ${what}\n    not caught`;
}

main().then(
  () => process.exit(),
  (error) => {
    report(error);
    process.exit(1);
  },
);
