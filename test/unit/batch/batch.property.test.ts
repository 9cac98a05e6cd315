/**
 * Any batch over any clusters, with begins that get lost and people who ask for anything at any time: every
 * invariant holds after every input, and once people and faults leave it alone it ends, each of its clusters
 * in exactly one end (B1).
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type AskedOfBatch, BATCH_ACTIONS, isBatchActive } from '../../../src/core/batch/record.ts';
import type { WaveRequest } from '../../../src/core/batch/selection.ts';
import { PAUSE_REASONS } from '../../../src/core/record.ts';
import { tried } from '../core/properties.ts';
import { BatchWorld, type Script } from './world.ts';

const MAX_CLUSTERS = 12;

const wave: fc.Arbitrary<WaveRequest> = fc.record(
  {
    share: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom('10%' as const, '50%' as const)),
    max_concurrent: fc.integer({ min: 1, max: 4 }),
    failure_budget: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant('30%' as const)),
    write_outage_budget_seconds: fc.integer({ min: 1, max: 3 }),
    soak_seconds: fc.constantFrom(0, 20),
    approval: fc.boolean(),
  },
  { requiredKeys: [] },
);
const script: fc.Arbitrary<Script> = fc.record(
  {
    takes_s: fc.integer({ min: 1, max: 40 }),
    end: fc.constantFrom('succeeded', 'succeeded', 'failed', 'rolled_back', 'cancelled'),
    pauses: fc.constantFrom(...PAUSE_REASONS),
    outage_ms: fc.integer({ min: 0, max: 1_500 }),
  },
  { requiredKeys: [] },
);
const name = fc.integer({ min: 1, max: MAX_CLUSTERS }).map((n) => `c-${n}`);
const asked: fc.Arbitrary<AskedOfBatch> = fc.record(
  {
    action: fc.constantFrom(...BATCH_ACTIONS),
    clusters: fc.array(
      name.map((one) => `id-${one}`),
      { maxLength: 3 },
    ),
    wave: fc.integer({ min: 0, max: 3 }),
  },
  { requiredKeys: ['action'] },
);
type Step =
  | { readonly wait_s: number }
  | { readonly asked: AskedOfBatch }
  | { readonly toggle: string }
  | { readonly mend: string };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ wait_s: fc.integer({ min: 0, max: 30 }) }) },
  { weight: 2, arbitrary: fc.record({ asked }) },
  { weight: 1, arbitrary: fc.record({ toggle: name }) },
  { weight: 1, arbitrary: fc.record({ mend: name }) },
);

it('every invariant holds after every input, and left alone it ends with each cluster accounted for (B1, G1)', () => {
  fc.assert(
    fc.property(
      fc.record({
        clusters: fc.integer({ min: 1, max: MAX_CLUSTERS }),
        waves: fc.array(wave, { minLength: 1, maxLength: 4 }),
        scripts: fc.dictionary(name, fc.array(script, { minLength: 1, maxLength: 3 })),
        busy_s: fc.dictionary(name, fc.integer({ min: 1, max: 300 })),
        total: fc.integer({ min: 1, max: 8 }),
        losses: fc.array(fc.boolean(), { maxLength: 20 }),
        steps: fc.array(step, { maxLength: 25 }),
      }),
      ({ clusters, waves, scripts, busy_s, total, losses, steps }) => {
        const left = [...losses];
        const world = new BatchWorld({
          clusters,
          waves: [...waves, {}],
          scripts,
          busy_s,
          max_concurrent_total: total,
          loses: () => left.shift() ?? false,
        });
        for (const one of steps) carryOut(world, one);
        expect(world.violations).toEqual([]);
        leaveAlone(world);
        expect(world.violations).toEqual([]);
        expect(isBatchActive(world.batch)).toBe(false);
      },
    ),
    tried(300),
  );
});

function carryOut(world: BatchWorld, step: Step): void {
  if ('wait_s' in step) return world.pass(step.wait_s);
  if ('asked' in step) return void world.act(step.asked);
  if ('mend' in step) return mendIfHeld(world, step.mend);
  if (!world.unwell.delete(step.toggle)) world.unwell.add(step.toggle);
}

function mendIfHeld(world: BatchWorld, name: string): void {
  const member = world.members.find((one) => one.cluster_name === name);
  if (member?.state.name === 'running' && member.state.held) world.mend(name);
}

/** A person who mends everything and wants it to end. */
function leaveAlone(world: BatchWorld): void {
  world.unwell.clear();
  for (let rounds = 0; rounds < 100 && isBatchActive(world.batch); rounds++) {
    world.pass(600);
    for (const { cluster_name } of world.members) mendIfHeld(world, cluster_name);
    const { state } = world.batch;
    if (state.name !== 'paused') continue;
    world.act({ action: state.reason === 'approval' ? 'approve' : 'resume' });
  }
}
