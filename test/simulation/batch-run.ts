import { batchScenarioOf } from './batch-scenario.ts';
import { BatchWorld } from './batch-world.ts';
import type { Outcome } from './run.ts';
import { T0 } from './scheduler.ts';

/** Within this virtual time after the faults have stopped, every batch must have ended. */
const ENDS_WITHIN_MS = 900_000;

/** One seed, one schedule of batches: first faults and checks, then no more faults, and every batch must end. */
export async function simulateBatches(seed: number): Promise<Outcome> {
  const world = new BatchWorld(batchScenarioOf(seed));
  const { scheduler, checks, history } = world;
  const deadline = T0 + world.scenario.heal_ms + ENDS_WITHIN_MS;
  world.start();
  const isOver = () => checks.violations.length > 0 || world.isOver || scheduler.now > deadline;
  checks.must(await scheduler.run(isOver, () => undefined), 'B1: what is done has no end');
  if (checks.violations.length === 0) checks.atTheEnd();
  for (const process of world.taskmanagers) process.life?.end();
  return {
    ...{ seed, violations: checks.violations, history: history.lines, hash: history.hash },
    ...{ steps: scheduler.steps, virtual_ms: scheduler.now - T0 },
    states: [...world.store.batches.data.batches.values()].map(({ state }) => state.name),
  };
}
