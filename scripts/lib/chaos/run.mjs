// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { runBatches } from './batches.mjs';
import { sleepOr } from './faults.mjs';
import { injectFaults } from './injector.mjs';
import { POSTGRESQL, SIMULATED } from './kinds.mjs';
import { Load } from './load.mjs';
import { LogReader } from './logs.mjs';

/**
 * One chaos run over a running stack: load, faults, time to settle, a last check.
 *
 * @typedef {object} RunOptions
 * @property {import('../stack.mjs').Stack} stack
 * @property {import('./network.mjs').Network} network
 * @property {string} guests
 * @property {import('./random.mjs').Dice} dice
 * @property {number} minutes
 * @property {number} simulated clusters at a time
 * @property {number} postgresql clusters at a time
 * @property {string | undefined} only
 * @property {AbortSignal} signal a person wants it to stop
 * @property {(line: string) => void} tell
 */

/** Faults begin after this time, when there is something to hit. */
const WARM_UP_MS = 60_000;
const SETTLE_MS = 120_000;
/** Guests send a heartbeat every two seconds: after this time the record holds everything that has happened. */
const HEARTBEATS_MS = 5_000;

/** @param {RunOptions} options */
export async function runChaos({
  stack,
  network,
  guests,
  dice,
  minutes,
  simulated,
  postgresql,
  only,
  signal,
  tell,
}) {
  const closing = new AbortController();
  const over = new AbortController();
  signal.addEventListener('abort', () => {
    closing.abort();
    over.abort();
  });
  const logs = new LogReader(stack.log_dir);
  const load = new Load({
    api_url: stack.api_url,
    guests,
    dice,
    closing: closing.signal,
    over: over.signal,
  });
  const kinds = [...Array(simulated).fill(SIMULATED), ...Array(postgresql).fill(POSTGRESQL)];
  const batching = runBatches({ api_url: stack.api_url, closing: closing.signal, over: over.signal });
  const slots = Promise.all([
    ...kinds.map((kind, index) => load.run(kind, dice.fork(`cluster ${index}`))),
    batching,
  ]);
  slots.catch(() => over.abort());

  await warmUp(load, postgresql > 0, signal);
  // A timer of our own: Node.js may collect AbortSignal.timeout() within AbortSignal.any() as garbage.
  const enough = new AbortController();
  closing.signal.addEventListener('abort', () => enough.abort());
  const timer = setTimeout(() => enough.abort(), minutes * 60_000);
  const world = { pids: stack.pids, network, dice: dice.fork('faults'), signal: enough.signal };
  const moments = await injectFaults({ world, api_url: stack.api_url, only, tell });
  clearTimeout(timer);
  network.heal();

  closing.abort();
  tell(`no more faults; ${load.accepted} upgrades so far, those under way have ${SETTLE_MS / 1000} s to end`);
  const settled = new AbortController();
  await Promise.race([slots.finally(() => settled.abort()), sleepOr(settled.signal, SETTLE_MS)]);
  over.abort();
  await slots;
  if (!signal.aborted) {
    await sleep(HEARTBEATS_MS);
    await load.finish();
  }
  logs.stop();
  return { load, logs, moments, batches: await batching };
}

/**
 * @param {Load} load
 * @param {boolean} isPostgresql whether to wait for a cluster of PostgreSQL, too
 * @param {AbortSignal} signal
 */
async function warmUp(load, isPostgresql, signal) {
  const deadline = Date.now() + WARM_UP_MS;
  const isWarm = () =>
    load.accepted > 0 && (!isPostgresql || load.stories.some(({ manager }) => manager === 'postgresql'));
  while (!isWarm() && Date.now() < deadline && !signal.aborted) await sleepOr(signal, 100);
}
