/** In which order instances are upgraded: design, section 5. Which of them run side by side is the machine's part. */
import { describe, expect, it } from 'vitest';
import type { Placement, Role, ServiceStatus } from '../../../src/core/domain.ts';
import { planSteps } from '../../../src/core/plan.ts';
import type { Step } from '../../../src/core/record.ts';
import { T0, TO, World, type WorldOptions } from './world.ts';

const FORWARD = { to_version: TO, direction: 'forward', round: 0, first_id: 0 } as const;

/** The plan as text: `stage name`, with what is special about the step. */
function plan(options: WorldOptions): string[] {
  const world = new World(options);
  return textOf(world, planSteps(world.cluster, FORWARD, T0));
}

function textOf(world: World, steps: readonly Step[]): string[] {
  return steps.map(
    (step) =>
      `${step.stage} ${world.nameOf(step.instance_id)}` +
      `${step.kind === 'instance' ? '' : ` ${step.kind}`}${step.repair ? ' repair' : ''}`,
  );
}

describe('an instance that may still carry an old order out', () => {
  const withDoubt = (
    in_doubt: boolean,
    name: string,
    options: WorldOptions = {},
    fault = 'it went wrong',
  ) => {
    const world = new World(options);
    const instances = world.cluster.instances.map((one) =>
      one.name === name ? { ...one, task: 'UPGRADING_ERROR' as const, fault, in_doubt } : one,
    );
    return textOf(world, planSteps({ ...world.cluster, instances }, FORWARD, T0));
  };
  const inDoubt = (name: string, options: WorldOptions = {}) => withDoubt(true, name, options);

  it('goes first and alone, also if it runs the version already: a newer order ends the old one', () => {
    expect(inDoubt('db-3')).toEqual(['-1 db-3', '1 db-2', '3 db-1 switchover', '4 db-1']);
    expect(inDoubt('db-3', { already_upgraded: ['db-3'] })[0]).toBe('-1 db-3');
    expect(inDoubt('db-2', { manager: 'cassandra' })[0]).toBe('-1 db-2');
  });

  it('that serves as the primary is fenced first, and not taken down for that (G6)', () => {
    const forward = ['1 db-2', '1 db-3', '3 db-1 switchover', '4 db-1'];
    expect(inDoubt('db-1')).toEqual(['-2 db-1 fence', ...forward]);
    const replicas = inDoubt('db-1', { already_upgraded: ['db-1'] });
    expect(replicas).toEqual(['-2 db-1 fence', '1 db-2', '1 db-3']);
  });

  it('is not one whose failure its guest has told, in whatever words', () => {
    const words = [
      'it went wrong',
      'its status was reset while it was being upgraded',
      'the guest agent did not finish upgrading within 600 s; it may still be at work on its order',
    ];
    for (const fault of words) {
      expect(withDoubt(false, 'db-3', { already_upgraded: ['db-3'] }, fault)[0]).toBe('1 db-2');
      expect(withDoubt(false, 'db-3', {}, fault)[0]).toBe('1 db-2');
    }
  });
});

describe('primary and replicas', () => {
  it('replicas, a switchover, the old primary last', () => {
    expect(plan({})).toEqual(['1 db-2', '1 db-3', '3 db-1 switchover', '4 db-1']);
  });

  it('the replica that is behind least goes first, one whose lag is unknown last', () => {
    const lag_bytes = { 'db-2': null, 'db-3': 900, 'db-4': 20 };
    expect(plan({ instances: 4, lag_bytes }).slice(0, 3)).toEqual(['1 db-4', '1 db-3', '1 db-2']);
  });

  it('synchronous replicas go after all asynchronous ones', () => {
    const lag_bytes = { 'db-2': 0, 'db-3': 900 };
    expect(plan({ synchronous: ['db-2'], lag_bytes }).slice(0, 2)).toEqual(['1 db-3', '2 db-2']);
  });

  it('a broken replica goes first, as a repair', () => {
    expect(plan({ broken: ['db-3'] })).toEqual(['0 db-3 repair', '1 db-2', '3 db-1 switchover', '4 db-1']);
  });

  it('a replica that runs the version already is left alone', () => {
    expect(plan({ already_upgraded: ['db-2'] })).toEqual(['1 db-3', '3 db-1 switchover', '4 db-1']);
  });

  it('a primary that runs the version already is not switched over', () => {
    expect(plan({ already_upgraded: ['db-1', 'db-2'] })).toEqual(['1 db-3']);
  });

  it('a primary without replicas is upgraded in place: nobody could take over', () => {
    expect(plan({ instances: 1 })).toEqual(['4 db-1']);
  });

  it('a broken primary is mended in place and first: it can not hand over', () => {
    // Standbys that have nobody to stream from find themselves failed too.
    expect(plan({ broken: ['db-1'] })).toEqual(['0 db-1 repair', '0 db-2 repair', '0 db-3 repair']);
  });

  it('nothing is to be done when every instance runs the version', () => {
    expect(plan({ already_upgraded: ['db-1', 'db-2', 'db-3'] })).toEqual([]);
  });

  it('with no primary, or two, there are no roles to respect', () => {
    for (const role of ['replica', 'primary'] as const) {
      const world = new World();
      const instances = world.cluster.instances.map((each) => ({
        ...each,
        report: each.report && { ...each.report, role },
      }));
      const kinds = planSteps({ ...world.cluster, instances }, FORWARD, T0).map(
        ({ kind, stage }) => `${kind} ${stage}`,
      );
      expect(kinds).toEqual(['instance 1', 'instance 1', 'instance 1']);
    }
  });
});

describe('creation order', () => {
  it('is for every manager of which nothing better is known, even one named like a part of an object', () => {
    for (const manager of ['couchdb', 'constructor', '__proto__']) {
      expect(plan({ manager })).toEqual(['1 db-1', '1 db-2', '1 db-3']);
    }
  });

  it('broken ones come first, in the order in which they were made', () => {
    expect(plan({ manager: 'couchdb', instances: 4, broken: ['db-2', 'db-4'] })).toEqual([
      '0 db-2 repair',
      '0 db-4 repair',
      '1 db-1',
      '1 db-3',
    ]);
  });
});

describe.each([
  ['couchdb', {}, ['0 db-2 repair', '0 db-3 repair', '1 db-1', '1 db-4']],
  ['postgresql', {}, ['0 db-2 repair', '0 db-3 repair', '1 db-4', '3 db-1 switchover', '4 db-1']],
  ['cassandra', { rack: 'a' }, ['0 db-2 repair', '0 db-3 repair', '1 db-1', '1 db-4']],
  ['mariadb', {}, ['0 db-2 repair', '1 db-3 repair', '2 db-1', '3 db-4']],
  ['mongodb', { shard: 'a' }, ['0 db-2 repair', '0 db-3 repair', '1 db-1', '2 db-4']],
])('%s', (manager, place, expected) => {
  it('instances whose guests were never heard count as broken, wherever they stand', () => {
    const placement = { 'db-1': place, 'db-4': place };
    const world = new World({ manager, instances: 4, placement });
    const instances = world.cluster.instances.map((each) =>
      ['db-2', 'db-3'].includes(each.name) ? { ...each, report: null, heard: null } : each,
    );
    expect(textOf(world, planSteps({ ...world.cluster, instances }, FORWARD, T0))).toEqual(expected);
  });
});

describe('cassandra', () => {
  const racks = (placement: Readonly<Record<string, Placement>>, options: WorldOptions = {}) =>
    plan({ manager: 'cassandra', instances: 5, placement, ...options });

  it('seeds go first, then rack by rack; those of one rack share a stage', () => {
    const [a, b] = [{ rack: 'a' }, { rack: 'b' }];
    const placement = {
      ...{ 'db-1': a, 'db-2': b, 'db-3': a },
      ...{ 'db-4': { ...b, seed: true }, 'db-5': { ...a, seed: true } },
    };
    expect(racks(placement)).toEqual(['1 db-5', '2 db-4', '3 db-1', '3 db-3', '4 db-2']);
  });

  it('seeds go first where no guest names its rack', () => {
    expect(racks({ 'db-4': { seed: true } }, { instances: 4 })).toEqual([
      ...['1 db-4', '2 db-1', '3 db-2', '4 db-3'],
    ]);
  });

  it('one rack without seeds is one stage', () => {
    const placement = Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`db-${n}`, { rack: 'a', seed: false }]));
    expect(racks(placement)).toEqual(['1 db-1', '1 db-2', '1 db-3', '1 db-4', '1 db-5']);
  });

  it('an instance that names no rack goes alone, even beside a rack of its name', () => {
    const placement = { 'db-1': { rack: 'i-2' }, 'db-4': { rack: 'i-2' }, 'db-5': { seed: true } };
    expect(racks(placement)).toEqual(['1 db-5', '2 db-1', '2 db-4', '3 db-2', '4 db-3']);
  });

  it('broken ones go first, a seed or not, and leave no gap', () => {
    const placement = { 'db-1': { rack: 'a', seed: true }, 'db-2': { rack: 'b' }, 'db-3': { rack: 'a' } };
    const options = { instances: 3, broken: ['db-1', 'db-2'] };
    expect(racks(placement, options)).toEqual(['0 db-1 repair', '0 db-2 repair', '1 db-3']);
  });

  it('a rack that is done is not waited for', () => {
    const placement = { 'db-1': { rack: 'a' }, 'db-2': { rack: 'b' }, 'db-3': { rack: 'c' } };
    expect(racks(placement, { instances: 3, already_upgraded: ['db-1'] })).toEqual(['1 db-2', '2 db-3']);
  });

  it('is creation order where no guest says where it stands', () => {
    expect(racks({})).toEqual(['1 db-1', '1 db-2', '1 db-3', '1 db-4', '1 db-5']);
  });
});

describe.each(['mariadb', 'pxc'])('galera: %s', (manager) => {
  it('each is a stage of its own', () => {
    expect(plan({ manager })).toEqual(['0 db-1', '1 db-2', '2 db-3']);
  });

  it('broken ones go first, one by one too', () => {
    const options = { manager, instances: 4, broken: ['db-2', 'db-4'], already_upgraded: ['db-1'] };
    expect(plan(options)).toEqual(['0 db-2 repair', '1 db-4 repair', '2 db-3']);
  });
});

describe('mongodb', () => {
  type Place = readonly [Placement | undefined, (Role | null)?, (number | null)?, ServiceStatus?];

  /** As `plan`, with what the guests say: where they stand and, if they know, their role and lag. */
  function sharded(places: readonly Place[], options: WorldOptions = {}): string[] {
    const world = new World({ manager: 'mongodb', instances: places.length, ...options });
    const instances = world.cluster.instances.map((each, index) => {
      const [placement, role = null, lag_bytes = null, service_status] = places[index] ?? [];
      const said = {
        role,
        lag_bytes,
        ...(placement && { placement }),
        ...(service_status && { service_status }),
      };
      return { ...each, report: each.report && { ...each.report, ...said } };
    });
    return textOf(world, planSteps({ ...world.cluster, instances }, FORWARD, T0));
  }
  const config: Placement = { kind: 'config' };
  const router: Placement = { kind: 'router' };
  const shard = (name: string): Placement => ({ kind: 'shard', shard: name });

  it('config servers, then per shard secondaries, step-down and old primary, query routers last', () => {
    const places: readonly Place[] = [
      ...([[router], [shard('a'), 'primary'], [shard('a'), 'replica'], [shard('b'), 'replica']] as const),
      ...([[shard('b'), 'primary'], [config, 'primary'], [config, 'replica'], [router]] as const),
    ];
    expect(sharded(places)).toEqual([
      ...['1 db-7', '2 db-6 switchover', '3 db-6'],
      ...['4 db-3', '5 db-2 switchover', '6 db-2'],
      ...['7 db-4', '8 db-5 switchover', '9 db-5'],
      ...['10 db-1', '10 db-8'],
    ]);
  });

  it('secondaries of one shard go one by one, the one that is behind least first', () => {
    const places: readonly Place[] = [
      [shard('a'), 'primary'],
      [shard('a'), 'replica', 900],
      [shard('a'), 'replica', 20],
    ];
    expect(sharded(places)).toEqual(['1 db-3', '2 db-2', '3 db-1 switchover', '4 db-1']);
  });

  it('a primary without secondaries is upgraded in place: nobody could take over', () => {
    const places = [[shard('a'), 'primary'] as const, [shard('b'), 'primary'] as const, [router] as const];
    expect(sharded(places)).toEqual(['1 db-1', '2 db-2', '3 db-3']);
  });

  it('a shard whose roles are not known goes one by one, and no primary of it steps down', () => {
    expect(sharded([[shard('a')], [shard('a')], [router]])).toEqual(['1 db-1', '2 db-2', '3 db-3']);
    const two = [[shard('a'), 'primary'] as const, [shard('a'), 'primary'] as const];
    expect(sharded(two)).toEqual(['1 db-1', '2 db-2']);
  });

  it('broken ones go first, whatever they are; a broken primary is mended in place', () => {
    const places: readonly Place[] = [[shard('a'), 'primary'], [shard('a'), 'replica'], [router]];
    expect(sharded(places, { broken: ['db-1', 'db-3'] })).toEqual([
      '0 db-1 repair',
      '0 db-3 repair',
      '1 db-2',
    ]);
  });

  it('what runs the version already is left alone, a primary too', () => {
    const places: readonly Place[] = [[shard('a'), 'primary'], [shard('a'), 'replica'], [config]];
    expect(sharded(places, { already_upgraded: ['db-1', 'db-3'] })).toEqual(['1 db-2']);
    expect(sharded(places, { already_upgraded: ['db-2', 'db-3'] })).toEqual(['1 db-1 switchover', '2 db-1']);
  });

  it('a router and a broken one that run the version already are left alone', () => {
    const places: readonly Place[] = [[router], [shard('a')], [shard('a')]];
    expect(sharded(places, { already_upgraded: ['db-1'] })).toEqual(['1 db-2', '2 db-3']);
    const sick = [[shard('a'), null, null, 'failed'] as const, [shard('a')] as const];
    expect(sharded(sick, { already_upgraded: ['db-1'] })).toEqual(['1 db-2']);
  });

  it('those that do not say where they stand are a shard of their own beside those that do', () => {
    const places: readonly Place[] = [[undefined, 'primary'], [undefined, 'replica'], [config]];
    expect(sharded(places)).toEqual(['1 db-3', '2 db-2', '3 db-1 switchover', '4 db-1']);
  });

  it('a guest may name its shard alone, or its kind', () => {
    expect(sharded([[{ shard: 'b' }, 'primary'], [{ shard: 'a' }], [{ shard: 'b' }, 'replica']])).toEqual([
      ...['1 db-3', '2 db-1 switchover', '3 db-1', '4 db-2'],
    ]);
    expect(sharded([[router], [{ kind: 'shard' }]])).toEqual(['1 db-2', '2 db-1']);
  });

  it('is one plain replica set where no guest says where it stands', () => {
    expect(
      sharded([
        [undefined, 'primary'],
        [undefined, 'replica'],
      ]),
    ).toEqual([...['1 db-2', '3 db-1 switchover', '4 db-1']]);
    expect(sharded([[undefined], [undefined]])).toEqual(['1 db-1', '1 db-2']);
  });
});

describe('the way back', () => {
  function back(options: WorldOptions): string[] {
    const world = new World(options);
    return textOf(world, planSteps(world.cluster, { ...FORWARD, direction: 'back' }, T0));
  }

  it('begins with whoever was upgraded last', () => {
    expect(back({ manager: 'couchdb' })).toEqual(['1 db-3', '1 db-2', '1 db-1']);
    expect(back({ manager: 'mariadb' })).toEqual(['1 db-3', '2 db-2', '3 db-1']);
  });

  it('goes rack by rack too, the seeds last', () => {
    const placement = { 'db-1': { rack: 'a', seed: true }, 'db-2': { rack: 'b' }, 'db-3': { rack: 'a' } };
    expect(back({ manager: 'cassandra', placement })).toEqual(['1 db-2', '2 db-3', '3 db-1']);
  });

  it('begins with what is broken, as the way forward does', () => {
    expect(back({ manager: 'couchdb', broken: ['db-2'] })).toEqual(['0 db-2 repair', '1 db-3', '1 db-1']);
  });

  it('of a primary and its replicas ends with the primary, after a switchover (G6)', () => {
    const options = { lag_bytes: { 'db-2': 10, 'db-3': 20 }, synchronous: ['db-3'] };
    expect(back(options)).toEqual(['1 db-2', '2 db-3', '3 db-1 switchover', '4 db-1']);
    expect(back({})).toEqual(['1 db-3', '1 db-2', '3 db-1 switchover', '4 db-1']);
  });

  it('of nothing is nothing', () => {
    expect(back({ already_upgraded: ['db-1', 'db-2', 'db-3'] })).toEqual([]);
  });
});

it('a step is named by its place in the plan and has nothing behind it yet', () => {
  const steps = planSteps(new World().cluster, FORWARD, T0);
  expect(steps.map(({ id }) => id)).toEqual([0, 1, 2, 3]);
  for (const { attempt, phase, started, successor_id } of steps) {
    expect({ attempt, phase, started, successor_id }).toEqual({
      attempt: 0,
      phase: { name: 'pending', blocked: null },
      started: null,
      successor_id: null,
    });
  }
});
