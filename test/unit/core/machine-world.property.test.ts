/**
 * The machine among guests that fail, hang, flap and go away, over a network that loses, doubles,
 * delays and reorders, while a person presses every button. The invariants (`invariants.ts`) hold after
 * every input; and when the faults stop, every upgrade ends (G1).
 *
 * Not covered here: several taskmanagers at once, a store that loses commits (the simulation's part).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GUEST_ACTIONS } from '../../../src/core/domain.ts';
import { isActive } from '../../../src/core/record.ts';
import { ACTIONS, type Action } from '../../../src/core/upgrade/inputs.ts';
import type { Outcome } from './guest.ts';
import { tried } from './properties.ts';
import { type Network, World } from './world.ts';

const TROUBLE_S = 120;
const names = ['db-1', 'db-2', 'db-3', 'db-4', 'db-5'] as const;

const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ ms: fc.integer({ min: 1, max: 9_000 }) }) },
  { weight: 2, arbitrary: fc.constant({ error: 'it went wrong' }) },
  { weight: 1, arbitrary: fc.constant({ error: 'it went wrong', leaves_down: true }) },
  { weight: 1, arbitrary: fc.constant({ error: 'it can not be', permanent: true }) },
  { weight: 2, arbitrary: fc.constant({ silent: true }) },
);
const script = fc.dictionary(fc.constantFrom(...GUEST_ACTIONS), fc.array(outcome, { maxLength: 3 }), {
  maxKeys: 3,
});

type Trouble =
  | { readonly kind: 'away' | 'sick'; readonly at_s: number; readonly name: string; readonly for_s: number }
  | { readonly kind: 'action'; readonly at_s: number; readonly action: Action }
  | { readonly kind: 'recover'; readonly at_s: number }
  | { readonly kind: 'blackout'; readonly at_s: number; readonly for_s: number };

const at_s = fc.integer({ min: 0, max: TROUBLE_S });
const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('away' as const, 'sick' as const),
    at_s,
    name: fc.constantFrom(...names),
    for_s: fc.integer({ min: 1, max: 40 }),
  }),
  fc.record({ kind: fc.constant('action' as const), at_s, action: fc.constantFrom(...ACTIONS) }),
  fc.record({ kind: fc.constant('recover' as const), at_s }),
  fc.record({
    kind: fc.constant('blackout' as const),
    at_s,
    for_s: fc.constantFrom(5, 70, 200),
  }),
);
/** Every few minutes, for hardly longer than a step may take. */
const window = fc.record({
  cron: fc.constantFrom('* * * * *', '*/2 * * * *', '1-59/4 * * * *'),
  duration_seconds: fc.constantFrom(60, 75, 130),
  time_zone: fc.constant('UTC'),
});

const scenario = fc.record({
  manager: fc.constantFrom('postgresql', 'postgresql', 'cassandra'),
  instances: fc.integer({ min: 1, max: 5 }),
  policy: fc.record({
    max_unavailable: fc.integer({ min: 1, max: 3 }),
    canary: fc.constantFrom(0, 0, 1, 2),
    soak_seconds: fc.constantFrom(0, 0, 3, 20),
    step_timeout_seconds: fc.constantFrom(4, 20, 600),
    timeout_seconds: fc.constantFrom(60, 36_000),
    retries: fc.integer({ min: 0, max: 2 }),
    on_failure: fc.constantFrom('pause' as const, 'pause' as const, 'rollback' as const, 'fail' as const),
    window: fc.option(window, { freq: 2 }),
  }),
  broken: fc.subarray([...names], { maxLength: 2 }),
  already_upgraded: fc.subarray([...names], { maxLength: 2 }),
  lag_bytes: fc.dictionary(fc.constantFrom(...names), fc.constantFrom(0, 5_000, 5_000_000, null)),
  scripts: fc.dictionary(fc.constantFrom(...names), script, { maxKeys: 3 }),
  last_heard_s_ago: fc.constantFrom(0, 0, 60),
  troubles: fc.array(trouble, { maxLength: 8 }),
  network: fc.record({
    seed: fc.integer(),
    loss: fc.constantFrom(0, 0.1, 0.4),
    doubled: fc.constantFrom(0, 0.2),
    slowest_ms: fc.constantFrom(20, 500, 6_000),
  }),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

describe('whatever happens', () => {
  it('every invariant holds after every input, and when the faults stop the upgrade ends (G1)', () => {
    fc.assert(
      fc.property(scenario, (it) => {
        const world = new World({ ...it, network: badNetwork(it.network) });
        makeTrouble(world, it);
        world.pass(TROUBLE_S);
        heal(world);
        expect(world.violations).toEqual([]);
        helpUntilItEnds(world);
        expect(world.violations).toEqual([]);
        expect(world.cluster.task).toBe('NONE');
      }),
      tried(400),
    );
  });
});

function makeTrouble(world: World, { troubles }: Scenario): void {
  for (const each of troubles) {
    world.later(each.at_s * 1000, () => {
      if (each.kind === 'action') world.act(each.action);
      else if (each.kind === 'recover') world.feed({ type: 'recover' });
      else if (each.kind === 'blackout') world.blackout(each.for_s);
      else {
        const guest = world.guests.find(({ name }) => name === each.name);
        if (!guest) return;
        if (each.kind === 'away') guest.awayUntil = world.now + each.for_s * 1000;
        else guest.sickUntil = world.now + each.for_s * 1000;
      }
    });
  }
}

/** The faults stop, and a person mends what no upgrade can. */
function heal(world: World): void {
  world.network = () => [10];
  for (const guest of world.guests) {
    guest.script = {};
    guest.sickUntil = Math.min(guest.sickUntil, world.now);
    guest.awayUntil = 0;
    guest.lagBytes = 0;
    if (!guest.isUp && guest.demotedLsn === null && !guest.isBusy) guest.turn('up');
  }
}

/** A person who does what the upgrade asks for. */
function helpUntilItEnds(world: World): void {
  for (let helped = 0; isActive(world.upgrade); helped++) {
    if (helped > 60) throw new Error(`it never ends: ${JSON.stringify(world.upgrade)}`);
    world.pass(30);
    const { state } = world.upgrade;
    if (state.name !== 'paused') continue;
    if (state.reason === 'canary') world.act('approve');
    else if (state.message.includes('start a new upgrade')) world.act('cancel');
    else if (world.act('retry').verdict === 'refused') world.act('resume');
  }
}

/** Loses, doubles, delays and so reorders; one seed, one schedule. */
function badNetwork({ seed, loss, doubled, slowest_ms }: Scenario['network']): Network {
  const random = randomFrom(seed);
  const delay = () => 1 + Math.floor(random() * slowest_ms);
  return () => {
    if (random() < loss) return [];
    return random() < doubled ? [delay(), delay()] : [delay()];
  };
}

/** mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
