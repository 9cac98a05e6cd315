// @ts-check
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Problem, Stopped } from './problem.mjs';

/** The number of lines of a command's output that are kept for a message. */
const TAIL_LINES = 40;

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {AbortSignal | undefined} [signal] ends the command
 * @property {(line: string) => void} [onLine] each line of its output
 * @property {'inherit' | 'ignore'} [stdin]
 */

/**
 * Runs a command to its end.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<{ code: number, tail: string }>} its exit code and the end of its output
 */
export function run(command, args, { cwd, env, signal, onLine, stdin = 'ignore' } = {}) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new Stopped());
    const child = spawn(command, args, { cwd, env: env ?? process.env, stdio: [stdin, 'pipe', 'pipe'] });
    const end = () => void child.kill('SIGTERM');
    signal?.addEventListener('abort', end, { once: true });

    /** @type {string[]} */
    const lines = [];
    const take = lineSplitter((line) => {
      lines.push(line);
      if (lines.length > TAIL_LINES) lines.shift();
      onLine?.(line);
    });
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    child.once('error', (error) => reject(new Problem(`can't run ${command}: ${error.message}`)));
    child.once('close', (code) => {
      signal?.removeEventListener('abort', end);
      if (signal?.aborted) reject(new Stopped());
      else resolve({ code: code ?? 1, tail: lines.join('\n') });
    });
  });
}

/**
 * Runs a command that shows its output itself.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv, signal?: AbortSignal | undefined }} options
 * @returns {Promise<number>} its exit code
 */
export function runVisibly(command, args, { cwd, env, signal }) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new Stopped());
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] });
    const end = () => void child.kill('SIGTERM');
    signal?.addEventListener('abort', end, { once: true });
    child.once('error', (error) => reject(new Problem(`can't run ${command}: ${error.message}`)));
    child.once('close', (code) => resolve(code ?? 1));
  });
}

/**
 * Runs a command that must succeed.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions & { failure: string, remedy?: string }} options `failure` says what a failure means
 */
export async function mustRun(command, args, { failure, remedy, ...options }) {
  const { code, tail } = await run(command, args, options);
  if (code === 0) return tail;
  throw new Problem(`${failure} (\`${[command, ...args].join(' ')}\` ended with ${code}):\n${tail}`, remedy);
}

/**
 * The full path of a program: on PATH, or in one of the extra folders.
 * @param {string} name
 * @param {readonly string[]} [extraDirs]
 * @returns {string | undefined}
 */
export function which(name, extraDirs = []) {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
  return [...onPath, ...extraDirs].map((dir) => join(dir, name)).find(isProgram);
}

/** @param {string} path */
export function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Turns chunks into lines; text that npm and apt redraw with carriage returns counts as lines too.
 * @param {(line: string) => void} onLine
 */
function lineSplitter(onLine) {
  let rest = '';
  return (/** @type {Buffer} */ chunk) => {
    const lines = (rest + chunk.toString('utf8')).split(/[\r\n]+/);
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim()) onLine(line);
  };
}
