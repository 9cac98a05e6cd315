// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { setUp } from './install.mjs';
import { readJson } from './json-file.mjs';
import { holderNow } from './lock.mjs';
import { openHome } from './paths.mjs';
import { probeHttp } from './probe.mjs';
import { messageOf, Problem, Stopped } from './problem.mjs';
import { createProgress } from './progress.mjs';
import { startStack } from './stack.mjs';

/**
 * For scripts that need a stack, whether it runs already or is their own.
 *
 * @typedef {import('./stack.mjs').Stack} Stack
 * @typedef {import('./stack.mjs').StackOptions} StackOptions
 * @typedef {Stack & { isOurs: boolean }} SharedStack `isOurs`: whether stop() ends it
 */

const PATIENCE_MS = 120_000;

/**
 * Returns the stack that runs over this home, or else starts one.
 * @param {StackOptions} [options]
 * @returns {Promise<SharedStack>}
 */
export async function attachOrStart(options = {}) {
  const { signal, progress = createProgress(), fresh = false } = options;
  const paths = openHome(options.home);
  // An empty start needs a new stack: if a stack runs already, startStack says what to do.
  const running = fresh ? undefined : await runningStack(paths, progress, signal);
  if (!running) return { ...(await startStack({ ...options, progress })), isOurs: true };

  await setUp({ progress, signal });
  await probeHttp(`${running.api_url}/health/ready`).catch((error) => {
    throw new Problem(
      `the stack that runs (pid ${running.pid}) is not ready: ${messageOf(error)}`,
      `Its logs are in ${paths.logs}.`,
    );
  });
  const { api_url, amqp_url, redis_url } = running;
  const leave = async () => {};
  const pids = () => /** @type {any} */ (readJson(paths.stackFile))?.pids ?? {};
  return { api_url, amqp_url, redis_url, log_dir: paths.logs, pids, stop: leave, kill: leave, isOurs: false };
}

/**
 * Waits for a stack that is starting. Waits also for one that is stopping: afterwards there is none.
 * @param {import('./paths.mjs').Paths} paths
 * @param {import('./progress.mjs').Progress} progress
 * @param {AbortSignal | undefined} signal
 */
async function runningStack(paths, progress, signal) {
  const look = () => {
    const holder = holderNow(paths.lock);
    const stack = /** @type {(import('./stack.mjs').StackFile) | undefined} */ (readJson(paths.stackFile));
    if (!holder) return 'none';
    return stack?.pid === holder.pid ? stack : 'between';
  };
  const found = look();
  if (found === 'none') return undefined;
  if (found !== 'between') return found;
  return progress.step('Waiting for the stack that is starting or stopping', async () => {
    const deadline = Date.now() + PATIENCE_MS;
    while (Date.now() < deadline) {
      if (signal?.aborted) throw new Stopped();
      const now = look();
      if (now === 'none') return undefined;
      if (now !== 'between') return now;
      await sleep(100);
    }
    throw new Problem(
      `process ${holderNow(paths.lock)?.pid} holds ${paths.lock}, but no stack comes up`,
      'Stop that process, then try again.',
    );
  });
}
