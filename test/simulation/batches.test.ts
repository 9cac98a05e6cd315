/**
 * Hundreds of schedules of batches, each from its seed. `COFFER_TEST_BATCH_SEED=n` runs only that seed and
 * shows its history from start to end; `COFFER_TEST_BATCH_SEEDS=n` sets how many seeds run.
 */
import { describe, expect, it } from 'vitest';
import { simulateBatches } from './batch-run.ts';

const SEEDS = Number(process.env['COFFER_TEST_BATCH_SEEDS'] ?? 400);
const ONE = process.env['COFFER_TEST_BATCH_SEED'];
describe('the simulation of batches', () => {
  it('goes the same way twice from the same seed', async () => {
    for (const seed of [1, 2, 3])
      expect((await simulateBatches(seed)).hash).toBe((await simulateBatches(seed)).hash);
  });

  it(`breaks no guarantee in ${SEEDS} schedules, and every batch ends`, async () => {
    const ends = new Map<string, number>();
    const seeds = ONE === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(ONE)];
    for (const seed of seeds) {
      const { violations, states, history } = await simulateBatches(seed);
      if (ONE !== undefined) process.stdout.write(`${history.join('\n')}\n`);
      expect({ seed, violations }).toEqual({ seed, violations: [] });
      for (const state of states) ends.set(state, (ends.get(state) ?? 0) + 1);
    }
    if (ONE !== undefined) return;
    // The schedules must contain batches that end in every possible way.
    for (const state of ['succeeded', 'incomplete', 'cancelled']) {
      expect([state, (ends.get(state) ?? 0) > SEEDS / 50]).toEqual([state, true]);
    }
  }, 600_000);
});
