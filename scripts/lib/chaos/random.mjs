// @ts-check

/**
 * Dice from a seed: the same seed gives the same sequence. Each part of a run has dice of its own (`fork`),
 * so that the number of throws in one part changes nothing for another.
 *
 * @typedef {object} Dice
 * @property {(min: number, max: number) => number} between a whole number, both ends included
 * @property {(probability: number) => boolean} chance
 * @property {<T>(list: readonly T[]) => T} pick
 * @property {<T>(list: readonly T[]) => T[]} shuffle a shuffled copy
 * @property {(name: string) => Dice} fork
 */

/**
 * @param {string | number} seed
 * @returns {Dice}
 */
export function createDice(seed) {
  const next = mulberry32(hashOf(String(seed)));
  const between = (/** @type {number} */ min, /** @type {number} */ max) =>
    min + Math.floor(next() * (max - min + 1));
  return {
    between,
    chance: (probability) => next() < probability,
    pick: (list) => /** @type {any} */ (list[between(0, list.length - 1)]),
    shuffle(list) {
      const copy = [...list];
      for (let at = copy.length - 1; at > 0; at--) {
        const other = between(0, at);
        [copy[at], copy[other]] = /** @type {any} */ ([copy[other], copy[at]]);
      }
      return copy;
    },
    fork: (name) => createDice(`${seed}/${name}`),
  };
}

/** @param {number} state */
function mulberry32(state) {
  let now = state;
  return () => {
    now = (now + 0x6d2b79f5) | 0;
    let mixed = Math.imul(now ^ (now >>> 15), 1 | now);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @param {string} text FNV-1a */
function hashOf(text) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return hash;
}
