/**
 * The machine and any input at all, likely or not: from guests that lie, of steps that don't exist, with
 * a clock that jumps. It must not throw, and what is true of every record must stay true.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { GUEST_ACTIONS, ROLES, SERVICE_STATUSES } from '../../../src/core/domain.ts';
import { ACTIONS, type Input } from '../../../src/core/upgrade/inputs.ts';
import { tried } from './properties.ts';
import { FROM, TO, World } from './world.ts';

const about = { step: fc.integer({ min: 0, max: 4 }), attempt: fc.integer({ min: 0, max: 4 }) };
const call = fc.constantFrom('pre_upgrade' as const, 'post_upgrade' as const);
const instance_id = fc.constantFrom('i-1', 'i-2', 'i-3', 'stranger');

const attemptReport = fc.record({
  ...about,
  upgrade_id: fc.constantFrom('u', 'u', 'u', 'another'),
  action: fc.constantFrom(...GUEST_ACTIONS),
  status: fc.constantFrom('running' as const, 'succeeded' as const, 'failed' as const),
  permanent: fc.boolean(),
  result: fc.constantFrom(null, { lsn: '0/1' }, { lsn: 7 }),
});
const input: fc.Arbitrary<Input> = fc.oneof(
  fc.constantFrom<Input>({ type: 'wake' }, { type: 'recover' }),
  fc.record({
    type: fc.constant('action' as const),
    action: fc.constantFrom(...ACTIONS),
    by: fc.constant('ann'),
  }),
  fc.record({ type: fc.constant('reported' as const), instance_id, report: fc.option(attemptReport) }),
  fc.record({
    type: fc.constant('answered' as const),
    ...about,
    action: call,
    info: fc.record({ role: fc.constantFrom(...ROLES) }),
  }),
  fc.record({
    type: fc.constant('call_failed' as const),
    ...about,
    action: call,
    error: fc.constant('no'),
    permanent: fc.boolean(),
  }),
);
const seen = fc.record({
  instance_id,
  service_status: fc.constantFrom(...SERVICE_STATUSES, 'healthy' as const, 'healthy' as const),
  version: fc.constantFrom(FROM, TO, TO, null),
  role: fc.constantFrom(...ROLES, null),
  lag_bytes: fc.constantFrom(0, 5_000_000, null),
});
const happening = fc.record({
  input,
  seen: fc.option(seen),
  after_ms: fc.oneof(
    fc.constant(0),
    fc.integer({ min: 0, max: 3_000 }),
    fc.integer({ min: 0, max: 2_000_000 }),
  ),
});
/** About the step that is in flight, so that more than the fence is tried. */
const isAimed = fc.boolean();

/** What is only so if the guests' word is true: three that lie about their version get it believed. */
const TRUTH = /^(G2|G3|G5: at the goal|G6|G8|M5|two primaries)/;

it('any input leaves a record that is sound (M1, M6, G1, G9)', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('postgresql', 'cassandra'),
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.tuple(happening, isAimed), { maxLength: 60 }),
      (manager, max_unavailable, happenings) => {
        const world = new World({ manager, policy: { max_unavailable, canary: 1, soak_seconds: 5 } });
        // These guests are liars: nobody listens to the scripted ones, and the truth is not at stake.
        world.network = () => [];
        for (const [each, aimed] of happenings) {
          world.now += each.after_ms;
          if (each.seen) look(world, each.seen);
          world.feed(aimed ? aim(world, each.input) : each.input);
        }
        expect(world.violations.filter((text) => !TRUTH.test(text))).toEqual([]);
      },
    ),
    tried(1_000),
  );
});

function look(
  world: World,
  { instance_id, ...fields }: typeof seen extends fc.Arbitrary<infer T> ? T : never,
): void {
  const endpoint = { host: instance_id, port: 5432 };
  const report = { ...fields, sent: world.now, endpoint };
  const instances = world.cluster.instances.map((each) =>
    each.id === instance_id ? { ...each, report, heard: world.now } : each,
  );
  world.cluster = { ...world.cluster, instances };
}

/** The same input, about what was said last. */
function aim(world: World, input: Input): Input {
  const last = world.messages.at(-1);
  if (!last) return input;
  const { step, attempt, action } = last.attempt;
  if (input.type === 'answered' || input.type === 'call_failed') return { ...input, step, attempt };
  if (input.type !== 'reported' || !input.report) return input;
  return {
    ...input,
    instance_id: last.instance_id,
    report: { ...input.report, upgrade_id: 'u', step, attempt, action },
  };
}
