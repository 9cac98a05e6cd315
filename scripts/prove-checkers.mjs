// @ts-check
// npm run prove [-- NAME …]: proves that the checkers of the simulation can fail. Each patch in test/simulation/bugs
// puts one bug into a copy of the sources, and some seed must catch it. Exit 0 only if every bug is caught.
// Patches whose name begins with batch- are for the simulation of batches.
// --check only checks that every patch still fits the sources. This check is a part of npm test.
import '../bin/node-version.mjs';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { mustRun, run } from './lib/command.mjs';
import { answerHelp } from './lib/command-line.mjs';
import { counted } from './lib/counted.mjs';
import { setUp } from './lib/install.mjs';
import { projectRoot } from './lib/paths.mjs';
import { Problem, report } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { handleSignals } from './lib/signals.mjs';
import { compileFile, compileSimulation, runSeeds } from './lib/simulation.mjs';

const SEEDS = 2_000;
const USAGE = `usage: npm run prove [-- NAME …]

Puts bugs into a copy of the sources, one at a time (all of test/simulation/bugs if none is named), and simulates
up to ${SEEDS} schedules with each until one breaks a guarantee. Exits 0 only if every bug is caught.

  --check  only: do the bugs fit the sources still?`;
const BUGS = join(projectRoot, 'test/simulation/bugs');
/** Lines around a change may have moved, as long as one on each side is the same. */
const FIT = ['apply', '-C1'];

const aborter = new AbortController();
const { signal } = aborter;
const progress = createProgress();

async function main() {
  handleSignals({ onStop: () => aborter.abort(), onForce: () => process.exit(1) });
  const wanted = process.argv.slice(2);
  answerHelp(wanted, USAGE);
  const names = namesOf(wanted.filter((word) => word !== '--check'));
  await mustFit(names);
  if (wanted.includes('--check')) return void process.stdout.write(`${names.length} bugs fit the sources\n`);
  await setUp({ progress, signal, what: 'modules' });
  const script = await progress.step('Compiling the simulation', () => compileSimulation({ signal }));
  let missed = 0;
  for (const name of names) {
    const { caught, line } = await prove(name, script);
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
function patchOf(name) {
  const path = join(BUGS, `${name}.patch`);
  const text = readFileSync(path, 'utf8');
  return { path, text, files: [...text.matchAll(/^\+\+\+ b\/(.+)$/gm)].map(([, file = '']) => file) };
}

/**
 * A bug whose patch no longer fits proves nothing: all such patches are named at once, before anything is
 * run.
 * @param {readonly string[]} names
 */
async function mustFit(names) {
  const drifted = [];
  for (const name of names) {
    const { path, text } = patchOf(name);
    const { code, tail } = await run('git', [...FIT, '--check', path], { cwd: projectRoot, signal });
    if (code !== 0) drifted.push(`${name}\n${tail}`);
    else if (!/^.+\nBreaks: .+\n\n--- /.test(text)) drifted.push(`${name}: it must begin with what it does`);
  }
  if (drifted.length === 0) return;
  throw new Problem(
    `${counted(drifted.length, 'bug does', 'bugs do')} not fit the sources any more:\n${drifted.join('\n')}`,
    'Make them anew in test/simulation/bugs: the first line of each says what the bug is.',
  );
}

/**
 * @param {string} name
 * @param {string} script the compiled simulation without a bug
 */
async function prove(name, script) {
  const { text } = patchOf(name);
  // Inside the project, where Node.js finds the project's modules.
  const out = mkdtempSync(join(projectRoot, '.coffer/bug-'));
  try {
    const buggy = await compileWith(name, script, out);
    const workers = availableParallelism();
    const of = name.startsWith('batch-') ? 'batches' : 'upgrades';
    const { findings } = await progress.step(`Looking for ${name}`, () =>
      runSeeds(buggy, { from: 0, seeds: SEEDS, workers, of, until: 'first', signal }),
    );
    return { caught: findings.length > 0, line: lineOf(name, text, findings[0]) };
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/**
 * Compiles only the files that the patch changes. The patch is applied outside of the project: inside the
 * project, git would look for the project's own files.
 *
 * @param {string} name
 * @param {string} script
 * @param {string} out
 */
async function compileWith(name, script, out) {
  const { path, files } = patchOf(name);
  const sources = mkdtempSync(join(tmpdir(), 'coffer-bug-'));
  try {
    for (const file of files) {
      mkdirSync(join(sources, dirname(file)), { recursive: true });
      cpSync(join(projectRoot, file), join(sources, file));
    }
    await mustRun('git', [...FIT, path], {
      cwd: sources,
      signal,
      failure: `the bug ${name} does not fit the sources any more`,
      remedy: `Make test/simulation/bugs/${name}.patch anew: it says what the bug is.`,
    });
    const root = join(dirname(script), '../..');
    cpSync(root, out, { recursive: true });
    for (const file of files) {
      writeFileSync(join(out, file.replace(/\.ts$/, '.js')), await compileFile(join(sources, file)));
    }
    return join(out, 'test/simulation', basename(script));
  } finally {
    rmSync(sources, { recursive: true, force: true });
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
