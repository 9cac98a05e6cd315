/**
 * Hundreds of schedules of batches, each from its seed. `COFFER_TEST_BATCH_SEED=n` runs that one alone and
 * tells it from start to end; `COFFER_TEST_BATCH_SEEDS=n` runs so many.
 */
import { describe, expect, it } from 'vitest';
import { batchScenarioOf } from './batch-scenario.ts';
import { BatchWorld } from './batch-world.ts';
import { T0 } from './scheduler.ts';

const SEEDS = Number(process.env['COFFER_TEST_BATCH_SEEDS'] ?? 400);
const ONE = process.env['COFFER_TEST_BATCH_SEED'];
/** Within so much virtual time after the faults have stopped every batch must have ended. */
const ENDS_WITHIN_MS = 900_000;

interface Outcome {
  readonly violations: readonly string[];
  readonly states: readonly string[];
  readonly history: readonly string[];
  readonly hash: string;
}

async function simulate(seed: number): Promise<Outcome> {
  const world = new BatchWorld(batchScenarioOf(seed));
  const { scheduler, checks, history } = world;
  const deadline = T0 + world.scenario.heal_ms + ENDS_WITHIN_MS;
  world.start();
  const isOver = () => checks.violations.length > 0 || world.isOver || scheduler.now > deadline;
  await scheduler.run(isOver, () => undefined);
  if (checks.violations.length === 0) checks.atTheEnd();
  for (const process of world.taskmanagers) process.life?.end();
  const states = [...world.store.batches.data.batches.values()].map(({ state }) => state.name);
  return { violations: checks.violations, states, history: history.lines, hash: history.hash };
}

describe('the simulation of batches', () => {
  it('goes the same way twice from the same seed', async () => {
    for (const seed of [1, 2, 3]) expect((await simulate(seed)).hash).toBe((await simulate(seed)).hash);
  });

  it(`breaks no guarantee in ${SEEDS} schedules, and every batch ends`, async () => {
    const ends = new Map<string, number>();
    const seeds = ONE === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(ONE)];
    for (const seed of seeds) {
      const { violations, states, history } = await simulate(seed);
      if (ONE !== undefined) process.stdout.write(`${history.join('\n')}\n`);
      expect({ seed, violations }).toEqual({ seed, violations: [] });
      for (const state of states) ends.set(state, (ends.get(state) ?? 0) + 1);
    }
    if (ONE !== undefined) return;
    // It is about batches in all the ways in which they can end.
    for (const state of ['succeeded', 'incomplete', 'cancelled']) {
      expect([state, (ends.get(state) ?? 0) > SEEDS / 50]).toEqual([state, true]);
    }
  }, 600_000);
});
