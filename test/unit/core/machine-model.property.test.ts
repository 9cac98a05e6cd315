/**
 * The machine against a second opinion (`model.ts`): after every command both must be in the same state,
 * have the same instances at work in the same phase, and the same number done. Commands are what guests
 * say, or don't, and what a person asks for, in any order.
 *
 * Not covered: switchovers, retries by itself, soaks, windows (`machine-world.property.test.ts` has them).
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { POLICY_FIELDS } from '../../../src/core/policy.ts';
import { isActive, isInFlight, type Step } from '../../../src/core/record.ts';
import { describe } from '../../../src/core/status.ts';
import { ACTIONS, type Action, type Input, type Next } from '../../../src/core/upgrade/inputs.ts';
import { act, type Limits, type Model, modelOf, settle, workDone, workFailed } from './model.ts';
import { tried } from './properties.ts';
import { FROM, TO, World } from './world.ts';

type Command = fc.Command<Model, World>;
const STEP_TIMEOUT_S = 600;

/** What the guests say of themselves follows from the model: it keeps the truth about them. */
function hear(world: World, { atWork, upgraded }: Model): void {
  const instances = world.cluster.instances.map((each) => {
    const isDown = atWork.get(each.name) === 'upgrading';
    const version = isDown ? null : upgraded.has(each.name) ? TO : FROM;
    const service_status = isDown ? ('upgrading' as const) : ('healthy' as const);
    return { ...each, heard: world.now, report: { service_status, version, sent: world.now } };
  });
  world.cluster = { ...world.cluster, instances };
}

/** The machine and the model go on until neither has anything to do, and then they must agree. */
function agree(world: World, model: Model): void {
  settle(model);
  hear(world, model);
  for (let looks = 0; world.feed({ type: 'wake' }).verdict !== 'stale'; looks++) {
    hear(world, model);
    expect(looks, 'it moves on and on').toBeLessThan(10);
  }
  const { upgrade } = world;
  const { state } = upgrade;
  const doneNow = upgrade.steps.filter(
    ({ phase, round }) => phase.name === 'done' && round === upgrade.planned_round,
  );
  const seen = {
    state: state.name,
    reason: state.name === 'paused' ? state.reason : null,
    atWork: Object.fromEntries(inFlight(world).map((step) => [nameOf(world, step), step.phase.name])),
    done: doneNow.map((step) => nameOf(world, step)).toSorted(),
  };
  const { reason, atWork, done, plan, limits } = model;
  const expected = { state: model.state, reason, atWork: Object.fromEntries(atWork) };
  expect(seen).toEqual({ ...expected, done: [...done].toSorted() });
  expect(atWork.size).toBeLessThanOrEqual(limits.max_unavailable);
  if (isActive(upgrade) && plan) {
    expect(describe(upgrade, world.cluster, world.now)).toMatch(
      new RegExp(`^${done.size} of ${plan.length} done`),
    );
  }
}

function inFlight({ upgrade }: World): readonly Step[] {
  return upgrade.steps.filter(isInFlight);
}

function nameOf(world: World, { instance_id }: Step): string {
  return world.nameOf(instance_id);
}

/** The guest that works on the step says how it went: an answer to a call, or a report. */
function said(step: Step, outcome: 'good' | 'bad'): Input {
  const about = { step: step.id, attempt: step.attempt };
  const error = 'it went wrong';
  if (step.phase.name === 'upgrading') {
    const status = outcome === 'good' ? 'succeeded' : 'failed';
    const report = { ...about, upgrade_id: 'u', action: 'upgrade', status, error } as const;
    return { type: 'reported', instance_id: step.instance_id, report };
  }
  const action = step.phase.name === 'preparing' ? 'pre_upgrade' : 'post_upgrade';
  return outcome === 'good'
    ? { type: 'answered', ...about, action, info: { role: 'member' } }
    : { type: 'call_failed', ...about, action, error, permanent: false };
}

function command(
  text: string,
  run: (model: Model, world: World) => void,
  can = (_model: Model) => true,
): Command {
  return {
    check: (model) => can(model),
    run: (model, world) => {
      run(model, world);
      agree(world, model);
    },
    toString: () => text,
  };
}

const isAnyAtWork = ({ atWork }: Model) => atWork.size > 0;

const guestSays = (which: number, outcome: 'good' | 'bad') =>
  command(
    `guest ${which} says ${outcome}`,
    (model, world) => {
      const steps = inFlight(world);
      const step = steps[which % steps.length];
      if (!step) throw new Error('nobody is at work');
      if (outcome === 'good') workDone(model, nameOf(world, step));
      else workFailed(model, nameOf(world, step));
      hear(world, model);
      expect(world.feed(said(step, outcome)).verdict).toBe('applied');
      agree(world, model);
      // Said again, it is no news.
      expectStale(world, said(step, outcome));
    },
    isAnyAtWork,
  );

const silence = () =>
  command(
    'silence until the deadline',
    (model, world) => {
      for (const name of [...model.atWork.keys()]) workFailed(model, name);
      world.now += STEP_TIMEOUT_S * 1000;
      hear(world, model);
    },
    isAnyAtWork,
  );

const timePasses = (ms: number) =>
  command(`${ms} ms pass`, (model, world) => {
    world.now += ms;
    hear(world, model);
  });

const personSays = (action: Action) =>
  command(action, (model, world) => {
    expect(world.act(action).verdict).toBe(act(model, action));
  });

/** Of another attempt, step or upgrade, or of nothing that was asked for. */
const strangerSays = (change: object) =>
  command(
    `a stranger says ${JSON.stringify(change)}`,
    (_model, world) => {
      const [{ id, attempt, instance_id } = { id: 0, attempt: 1, instance_id: 'i-1' }] = inFlight(world);
      const about = { upgrade_id: 'u', step: id, attempt, action: 'upgrade', status: 'succeeded' } as const;
      expectStale(world, { type: 'reported', instance_id, report: { ...about, ...change } });
    },
    ({ state }) => state !== 'scheduled',
  );

function expectStale(world: World, input: Input): void {
  const before = world.upgrade;
  const next: Next = world.feed(input);
  expect(next).toMatchObject({ verdict: 'stale', effects: [], events: [] });
  expect(world.upgrade).toBe(before);
}

const processStarts = () =>
  command(
    'a process starts',
    (model, world) => {
      const said = world.feed({ type: 'recover' }).effects;
      expect(
        said.map((effect) => 'attempt' in effect && world.nameOf(effect.instance_id)).toSorted(),
      ).toEqual([...model.atWork.keys()].toSorted());
    },
    ({ state }) => state !== 'scheduled',
  );

const commands = fc.commands(
  [
    fc.nat(2).map((which) => guestSays(which, 'good')),
    fc.nat(2).map((which) => guestSays(which, 'good')),
    fc.nat(2).map((which) => guestSays(which, 'good')),
    fc.nat(2).map((which) => guestSays(which, 'bad')),
    fc.constant(null).map(silence),
    fc.nat(1_500).map(timePasses),
    fc.constantFrom(...ACTIONS).map(personSays),
    fc
      .constantFrom({ attempt: 7 }, { step: 99 }, { upgrade_id: 'another' }, { action: 'demote' })
      .map(strangerSays),
    fc.constant(null).map(processStarts),
  ],
  { maxCommands: 60, size: 'max' },
);

const CHOICES = Object.keys(POLICY_FIELDS.on_failure.choices) as Limits['on_failure'][];
const limits: fc.Arbitrary<Limits> = fc.record({
  max_unavailable: fc.integer({ min: 1, max: 3 }),
  canary: fc.constantFrom(0, 0, 1, 2),
  on_failure: fc.constantFrom(...CHOICES),
});

it('does what the model does, whatever guests and people say (G2, G4, G8)', () => {
  fc.assert(
    fc.property(limits, fc.integer({ min: 1, max: 4 }), commands, (policy, instances, sequence) => {
      fc.modelRun(() => {
        const times = { retries: 0, step_timeout_seconds: STEP_TIMEOUT_S, timeout_seconds: 10 ** 6 };
        const world = new World({ manager: 'cassandra', instances, policy: { ...policy, ...times } });
        // The guests of the world are not asked: the commands speak for them.
        world.network = () => [];
        const model = modelOf(
          policy,
          world.guests.map(({ name }) => name),
        );
        hear(world, model);
        return { model, real: world };
      }, sequence);
    }),
    tried(400),
  );
});
