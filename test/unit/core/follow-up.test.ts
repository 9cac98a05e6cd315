/** What can be asked of an upgrade that has ended, and what becomes of it. */
import { describe, expect, it } from 'vitest';
import { followUpRefusal, followUpUpgrade, retargetedRequest } from '../../../src/core/follow-up.ts';
import { possibleActions } from '../../../src/core/upgrade/actions.ts';
import { FROM, TO, type World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const BAD = { error: 'no space left on device' };
const actionsOf = ({ upgrade, cluster }: World) => possibleActions(upgrade, cluster);
const versionsOf = (it: World) => it.guests.map(({ version }) => version);

function ended(it: World): World {
  it.settle();
  expect(it.cluster.task, it.upgrade.state.name).toBe('NONE');
  return it;
}

/** One instance of three runs the new version; the upgrade has failed, and the cluster is free. */
function failed(): World {
  const policy = { retries: 0, on_failure: 'fail' } as const;
  return ended(world({ manager: 'cassandra', policy, scripts: { 'db-2': { upgrade: [BAD] } } }));
}

describe('an upgrade that has failed', () => {
  it('leaves the cluster free, its record true, and offers a retry and the way back', () => {
    const it = failed();
    expect(it.upgrade.state.name).toBe('failed');
    expect(it.cluster.datastore_version).toBe(FROM);
    expect(it.cluster.instances.map(({ task }) => task)).toEqual(['NONE', 'UPGRADING_ERROR', 'NONE']);
    expect(actionsOf(it)).toEqual(['retry', 'rollback']);
  });

  it('is retried by another upgrade, which does the rest', () => {
    const it = failed();
    it.takeUp('retry', 'u2');
    expect(it.upgrade).toMatchObject({ follows: { upgrade_id: 'u', as: 'retry' }, direction: 'forward' });
    expect(it.upgrade).toMatchObject({ id: 'u2', cluster_id: 'c', tenant_id: 't', batch: null });
    expect(it.upgrade).not.toHaveProperty('instance_id');
    const message = 'retry of upgrade u of shop accepted';
    expect(it.events).toEqual([{ seq: 1, at: it.now, type: 'accepted', message }]);
    expect(it.upgrade.policy.on_failure).toBe('fail');
    ended(it);
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(versionsOf(it)).toEqual([TO, TO, TO]);
    expect(it.upgrade.steps.map((step) => it.nameOf(step.instance_id))).toEqual(['db-2', 'db-3']);
    expect(it.cluster.datastore_version).toBe(TO);
  });

  it('is rolled back by another upgrade', () => {
    const it = failed();
    it.takeUp('rollback', 'u2');
    ended(it);
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.eventsOf('started').at(-1)?.message).toBe(`back to ${FROM}`);
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
    expect(it.cluster).toMatchObject({ datastore_version: FROM, task: 'NONE' });
    expect(actionsOf(it), 'back where it came from').toEqual([]);
    expect(followUpRefusal(it.upgrade, it.cluster, 'rollback')).toBe(`it is back at ${FROM} already`);
  });
});

describe('an upgrade that has succeeded', () => {
  it('can be taken back, the last one first, through the same switchover', () => {
    const it = ended(world());
    expect(actionsOf(it)).toEqual(['rollback']);
    expect(followUpRefusal(it.upgrade, it.cluster, 'retry')).toMatch(/nothing to retry/);
    it.takeUp('rollback', 'u2');
    it.until(() => it.upgrade.steps.length > 0);
    expect(it.cluster.datastore_version, 'until all are back').toBe(TO);
    ended(it);
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
    expect(it.eventsOf('switched_over')).toHaveLength(1);
    expect(it.cluster.datastore_version).toBe(FROM);
  });

  it('keeps its version in the record when the way back is cancelled', () => {
    const it = ended(world({ manager: 'cassandra' }));
    it.takeUp('rollback', 'u2');
    it.reach('db-2', 'upgrading');
    it.act('cancel');
    ended(it);
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.cluster.datastore_version).toBe(TO);
    expect(versionsOf(it), 'what was in flight has ended').toEqual([TO, FROM, FROM]);
    it.takeUp('retry', 'u3');
    expect(it.upgrade.direction, 'goes on with what was cancelled').toBe('back');
    ended(it);
    expect(versionsOf(it)).toEqual([FROM, FROM, FROM]);
  });

  it('can not be taken back past a step that can not be undone', () => {
    const it = world({ manager: 'cassandra' });
    const { id, attempt } = it.reach('db-2', 'preparing');
    it.feed({ type: 'answered', step: id, attempt, action: 'pre_upgrade', info: { reversible: false } });
    ended(it);
    expect(actionsOf(it)).toEqual([]);
    expect(followUpRefusal(it.upgrade, it.cluster, 'rollback')).toMatch(/db-2 was upgraded irreversibly/);
  });
});

describe('taking up an upgrade', () => {
  it('is refused once another one has been asked for, and names it', () => {
    const it = failed();
    const first = it.upgrade;
    it.takeUp('retry', 'u2');
    expect(followUpRefusal(first, it.cluster, 'rollback')).toMatch(/later upgrade of the cluster is u2/);
    expect(possibleActions(first, it.cluster)).toEqual([]);
  });

  it('keeps its place in the batch that asks for it', () => {
    const it = failed();
    const { requested_by } = it.upgrade;
    const batch = { id: 'b', position: 4 };
    const about = { id: 'u2', now: it.now, as: 'retry', requested_by, batch } as const;
    expect(followUpUpgrade(it.upgrade, it.cluster, about).upgrade.batch).toEqual(batch);
  });

  it('goes back as long as the record has the new version, whatever its instances run', () => {
    const it = ended(world({ manager: 'cassandra' }));
    for (const name of ['db-1', 'db-2', 'db-3']) it.heard(name, { version: FROM });
    expect(followUpRefusal(it.upgrade, it.cluster, 'rollback')).toBeNull();
  });

  it('names an instance that is gone by its id', () => {
    const it = world({ manager: 'cassandra' });
    const { id, attempt } = it.reach('db-2', 'preparing');
    it.feed({ type: 'answered', step: id, attempt, action: 'pre_upgrade', info: { reversible: false } });
    ended(it);
    const without = it.cluster.instances.filter(({ name }) => name !== 'db-2');
    const refusal = followUpRefusal(it.upgrade, { ...it.cluster, instances: without }, 'rollback');
    expect(refusal).toMatch(/i-2 was upgraded irreversibly/);
  });

  it('is not offered where the cluster is gone', () => {
    expect(possibleActions(failed().upgrade, null)).toEqual([]);
  });

  it('has nothing to do where every instance is back already', () => {
    const it = world({ manager: 'cassandra' });
    it.act('cancel');
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(actionsOf(it)).toEqual(['retry']);
    expect(followUpRefusal(it.upgrade, it.cluster, 'rollback')).toMatch(
      /every instance runs 17\.\d+ already/,
    );
  });

  it('with another version is about the same, under the same policy, and starts at once', () => {
    const policy = { canary: 1, on_failure: 'fail', not_before: 9_999_999_999_999 } as const;
    const it = world({ manager: 'cassandra', only: 'db-3', policy });
    it.act('cancel');
    const { requested_by } = it.upgrade;
    expect(retargetedRequest(it.upgrade, { id: 'v-fixed' }, requested_by)).toEqual({
      ...{ cluster_id: 'c', tenant_id: 't', instance_id: it.guest('db-3').id, requested_by },
      datastore_version: 'v-fixed',
      policy: { ...it.upgrade.policy, not_before: null },
    });
    const whole = failed();
    expect(retargetedRequest(whole.upgrade, { id: 'v-fixed' }, requested_by)).not.toHaveProperty(
      'instance_id',
    );
  });

  it('with another version is possible after a way back, too, and after nothing else that has gone well', () => {
    const back = failed();
    back.takeUp('rollback', 'u2');
    ended(back);
    expect(followUpRefusal(back.upgrade, back.cluster, 'retry')).toMatch(/back at 17.6 already/);
    expect(followUpRefusal(back.upgrade, back.cluster, 'retry', { id: 'v-fixed' })).toBeNull();
    const well = ended(world({ manager: 'cassandra' }));
    expect(followUpRefusal(well.upgrade, well.cluster, 'retry', { id: 'v-fixed' })).toMatch(
      /nothing to retry/,
    );
  });

  it('starts at once, whatever time the ended one was to start', () => {
    const it = world({ manager: 'cassandra', policy: { not_before: 9_999_999_999_999 } });
    it.act('cancel');
    it.takeUp('retry', 'u2');
    expect(it.upgrade.policy.not_before).toBeNull();
  });
});
