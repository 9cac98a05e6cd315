/** In which order instances are upgraded: design, section 5. Which of them run side by side is the machine's part. */
import { describe, expect, it } from 'vitest';
import { planSteps } from '../../../src/core/plan.ts';
import { T0, TO, World, type WorldOptions } from './world.ts';

/** The plan as text: `stage name`, with what is special about the step. */
function plan(options: WorldOptions): string[] {
  const world = new World(options);
  return planSteps(world.cluster, TO, T0).map(
    (step) =>
      `${step.stage} ${world.nameOf(step.instance_id)}` +
      `${step.kind === 'switchover' ? ' switchover' : ''}${step.repair ? ' repair' : ''}`,
  );
}

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
      const kinds = planSteps({ ...world.cluster, instances }, TO, T0).map(
        ({ kind, stage }) => `${kind} ${stage}`,
      );
      expect(kinds).toEqual(['instance 1', 'instance 1', 'instance 1']);
    }
  });
});

describe('creation order', () => {
  it('is for every manager of which nothing better is known, even one named like a part of an object', () => {
    for (const manager of ['cassandra', 'constructor', '__proto__']) {
      expect(plan({ manager })).toEqual(['1 db-1', '1 db-2', '1 db-3']);
    }
  });

  it('broken ones come first, in the order in which they were made', () => {
    expect(plan({ manager: 'cassandra', instances: 4, broken: ['db-2', 'db-4'] })).toEqual([
      '0 db-2 repair',
      '0 db-4 repair',
      '1 db-1',
      '1 db-3',
    ]);
  });

  it('an instance whose guest was never heard counts as broken', () => {
    const world = new World({ manager: 'cassandra', instances: 2 });
    const [first, second] = world.cluster.instances;
    if (!first || !second) throw new Error('two instances');
    const silent = { ...second, report: null, heard: null };
    const steps = planSteps({ ...world.cluster, instances: [first, silent] }, TO, T0);
    expect(steps.map(({ instance_id, repair }) => [instance_id, repair])).toEqual([
      ['i-2', true],
      ['i-1', false],
    ]);
  });
});

it('a step is named by its place in the plan and has nothing behind it yet', () => {
  const steps = planSteps(new World().cluster, TO, T0);
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
