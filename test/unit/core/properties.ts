/**
 * How often a property is tried, and from which seed. With `COFFER_PROPERTY_SEED` set (`npm run mutate`)
 * every run is the same one, and short: a mutant must not be killed, or spared, by the dice, and nobody
 * reads by which smallest case it was.
 */
import type { Parameters } from 'fast-check';

const { COFFER_PROPERTY_RUNS, COFFER_PROPERTY_SEED } = process.env;

export function tried<T>(times: number): Parameters<T> {
  const numRuns = Math.min(times, Number(COFFER_PROPERTY_RUNS ?? times));
  if (COFFER_PROPERTY_SEED === undefined) return { numRuns };
  return { numRuns, seed: Number(COFFER_PROPERTY_SEED), endOnFailure: true };
}
