// @ts-check
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, run } from './command.mjs';
import { lockWhenFree } from './lock.mjs';
import { projectRoot, readText } from './paths.mjs';
import { Problem } from './problem.mjs';

/**
 * The deterministic simulation (`test/simulation/`): compiled, because Node.js 20 does not run
 * TypeScript, and spread over processes, because one seed needs one core.
 *
 * @typedef {{ seed: number, violations: string[], hash: string, history: string[] }} Finding
 * @typedef {{ findings: Finding[], seeds: number, steps: number, virtual_ms: number, states: Record<string, number> }} Result
 */

const OUT = '.coffer/simulation';
const STAMP = `${OUT}/.sources`;
const CONFIG = 'tsconfig.simulation.json';
const SOURCES = ['src', 'api', 'taskmanager', 'guestagent', 'test/simulation'];

/**
 * Brings the compiled simulation up to date; returns the script to run.
 * @param {{ signal?: AbortSignal | undefined }} [options]
 */
export async function compileSimulation({ signal } = {}) {
  const root = projectRoot;
  const script = join(root, OUT, 'test/simulation/main.js');
  mkdirSync(join(root, '.coffer'), { recursive: true });
  const release = await lockWhenFree(join(root, '.coffer/simulation.lock'), { signal, onWait() {} });
  try {
    const stamp = stampOf(root);
    if (readText(join(root, STAMP)) === stamp) return script;
    rmSync(join(root, OUT), { recursive: true, force: true });
    await mustRun(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', CONFIG], {
      cwd: root,
      signal,
      failure: 'the simulation does not compile',
      remedy: `Correct the errors above; \`npx tsc -p ${CONFIG}\` shows them again.`,
    });
    writeFileSync(join(root, STAMP), stamp);
    return script;
  } finally {
    release();
  }
}

/**
 * Compiles one source as the simulation is compiled, without type checks.
 * @param {string} path
 */
export async function compileFile(path) {
  const { default: ts } = await import('typescript');
  const options = ts.readConfigFile(join(projectRoot, 'tsconfig.json'), ts.sys.readFile).config;
  const { compilerOptions } = options;
  return ts.transpileModule(readFileSync(path, 'utf8'), {
    compilerOptions: {
      ...compilerOptions,
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      noEmit: false,
    },
  }).outputText;
}

/** @param {string} root */
function stampOf(root) {
  const digest = createHash('sha256').update(readFileSync(join(root, CONFIG)));
  for (const folder of SOURCES) {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true, recursive: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const path = join(entry.parentPath, entry.name);
      digest.update(path).update(readFileSync(path));
    }
  }
  return digest.digest('hex');
}

/**
 * Runs the seeds `from` to `from + seeds - 1`, `of` upgrades or of batches; `until` the first finding, or all
 * of them. With `tell` the result holds the history of each seed, whether or not it broke a guarantee.
 *
 * @param {string} script
 * @param {{ from: number, seeds: number, workers: number, of?: 'upgrades' | 'batches', until?: 'first' | 'end', tell?: boolean, onProgress?: (done: number) => void, signal?: AbortSignal | undefined }} options
 * @returns {Promise<Result>}
 */
export async function runSeeds(
  script,
  { from, seeds, workers, of = 'upgrades', until = 'end', tell = false, onProgress, signal },
) {
  /** @type {Result} */
  const result = { findings: [], seeds: 0, steps: 0, virtual_ms: 0, states: {} };
  const found = new AbortController();
  const stop = signal ? AbortSignal.any([signal, found.signal]) : found.signal;
  const onLine = (/** @type {string} */ line) => {
    if (!line.startsWith('{')) return;
    const news = JSON.parse(line);
    if ('violations' in news) {
      result.findings.push(news);
      if (until === 'first') found.abort();
      return;
    }
    result.seeds += news.seeds;
    result.steps += news.steps;
    result.virtual_ms += news.virtual_ms;
    for (const [state, count] of Object.entries(news.states)) {
      result.states[state] = (result.states[state] ?? 0) + Number(count);
    }
    onProgress?.(result.seeds);
  };
  const shares = Array.from({ length: Math.min(workers, seeds) }, (_, index) => index);
  const ends = await Promise.all(
    shares.map((index) => {
      const args = [script, String(from + index), String(from + seeds), String(shares.length)];
      if (of === 'batches') args.push('batches');
      if (tell) args.push('tell');
      return run(process.execPath, args, { onLine, signal: stop }).catch((/** @type {unknown} */ error) => {
        // One finding is enough.
        if (found.signal.aborted && !signal?.aborted) return { code: 0, tail: '' };
        throw error;
      });
    }),
  );
  const failed = ends.find(({ code }) => code !== 0);
  if (failed) throw new Problem(`the simulation itself broke:\n${failed.tail}`);
  result.findings.sort((a, b) => a.seed - b.seed);
  return result;
}
