// @ts-check
import { probeHttp } from '../probe.mjs';
import { FAULTS, sleepOr } from './faults.mjs';

/**
 * Injects faults, one or two at a time, a few seconds apart. Faults are drawn like cards from a shuffled
 * deck, so that each comes up about as often as any other.
 *
 * @typedef {import('./faults.mjs').Injected} Injected
 * @typedef {readonly Injected[]} Moment what was injected at once: one fault, or two
 */

const CALM_MS = /** @type {const} */ ([500, 3_000]);
const TWO_AT_ONCE = 0.3;
/** After this time the next fault is injected, whether the api is ready again or not. */
const READY_MS = 10_000;

/**
 * @param {object} options
 * @param {import('./faults.mjs').World} options.world `signal` ends the injection
 * @param {string} options.api_url
 * @param {string | undefined} options.only a part of the names of the faults to inject
 * @param {(line: string) => void} options.tell
 * @returns {Promise<Moment[]>}
 */
export async function injectFaults({ world, api_url, only, tell }) {
  const { dice, signal } = world;
  const chosen = FAULTS.filter(({ name }) => !only || name.includes(only));
  /** @type {Moment[]} */
  const moments = [];
  /** @type {import('./faults.mjs').Fault[]} */
  let deck = [];
  const deal = () => {
    if (deck.length === 0) deck = dice.shuffle(chosen);
    return deck.pop()?.aim(world);
  };
  while (!signal.aborted) {
    await sleepOr(signal, dice.between(...CALM_MS));
    if (signal.aborted) break;
    const count = dice.chance(TWO_AT_ONCE) ? 2 : 1;
    const hits = Array.from({ length: count }, deal).filter((hit) => hit !== undefined);
    const done = await Promise.all(hits.map((hit) => hit()));
    for (const one of done) tell(`${one.fault}: ${one.target}`);
    if (done.length > 0) moments.push(done);
    await awaitApi(api_url, signal);
  }
  return moments;
}

/**
 * @param {string} api_url
 * @param {AbortSignal} signal
 */
async function awaitApi(api_url, signal) {
  const deadline = Date.now() + READY_MS;
  while (Date.now() < deadline && !signal.aborted) {
    const isReady = await probeHttp(`${api_url}/health/ready`).then(
      () => true,
      () => false,
    );
    if (isReady) return;
    await sleepOr(signal, 100);
  }
}
