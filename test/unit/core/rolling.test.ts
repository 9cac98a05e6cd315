/** An upgrade on its good days: who is told what, in which order, and how many at once. */
import { describe, expect, it } from 'vitest';
import { TO, type World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();

/** How many instances were ever between `upgrade` and their end of step at the same time. */
function mostAtOnce(it: World): number {
  let most = 0;
  const ends = new Map(it.eventsOf('step_done').map(({ instance_id, at }) => [instance_id, at]));
  const starts = it.messages.filter(({ attempt }) => attempt.action === 'upgrade');
  for (const { at } of starts) {
    const running = starts.filter((each) => each.at <= at && (ends.get(each.instance_id) ?? Infinity) > at);
    most = Math.max(most, new Set(running.map(({ instance_id }) => instance_id)).size);
  }
  return most;
}

describe('members that are all alike', () => {
  it('are upgraded one after the other, in creation order', () => {
    const it = world({ manager: 'cassandra', instances: 4 });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('upgrade')).toEqual(['db-1', 'db-2', 'db-3', 'db-4']);
    expect(mostAtOnce(it)).toBe(1);
  });

  it('are upgraded two at a time with max_unavailable 2, never three (G2)', () => {
    const it = world({ manager: 'cassandra', instances: 5, policy: { max_unavailable: 2 } });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(mostAtOnce(it)).toBe(2);
  });

  it('each hear pre_upgrade, upgrade and post_upgrade, and what pre_upgrade answered is handed back', () => {
    const it = world({ manager: 'cassandra', instances: 1 });
    it.settle();
    expect(it.messages.map(({ kind, attempt }) => `${kind} ${attempt.action}`)).toEqual([
      'call pre_upgrade',
      'cast upgrade',
      'call post_upgrade',
    ]);
    const told = { reversible: true, role: 'member', lag_bytes: null, service_status: 'healthy' };
    const info = { ...told, datastore_version: TO, primary: null };
    expect(it.messagesTo('db-1', 'upgrade')[0]?.args).toEqual(info);
    expect(it.messagesTo('db-1', 'post_upgrade')[0]?.args).toEqual(info);
  });
});

describe('a primary and its replicas', () => {
  it('replicas first, then the switchover, the old primary last as a standby of the new one', () => {
    const it = world();
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('upgrade')).toEqual(['db-2', 'db-3', 'db-1']);
    const successor = it.guests.find(({ role }) => role === 'primary');
    expect(it.messagesTo('db-1', 'upgrade')[0]?.args['primary']).toEqual(successor?.endpoint);
    expect(it.guest('db-1').upstream).toBe(successor);
    expect(it.guests.filter(({ role }) => role === 'primary')).toEqual([successor]);
  });

  it('while replicas are upgraded they are told who the primary is', () => {
    const it = world();
    it.reach('db-2', 'done');
    expect(it.messagesTo('db-2', 'upgrade')[0]?.args['primary']).toEqual(it.guest('db-1').endpoint);
  });

  it('a primary without replicas is upgraded in place', () => {
    const it = world({ instances: 1 });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('demote')).toEqual([]);
    expect(it.guest('db-1').role).toBe('primary');
  });

  it('nothing is taken down for an instance that runs the version already', () => {
    const it = world({ already_upgraded: ['db-2'] });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.messagesTo('db-2', 'upgrade')).toEqual([]);
  });

  it('an upgrade with nothing to do succeeds at once, without a word to a guest', () => {
    const it = world({ already_upgraded: ['db-1', 'db-2', 'db-3'] });
    it.tick();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.messages).toEqual([]);
    expect(it.eventsOf('planned')[0]?.message).toContain('nothing to do');
  });
});

describe('repair by upgrade', () => {
  it('a broken replica goes first and costs no availability: another may be down besides', () => {
    const it = world({ broken: ['db-3'] });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('upgrade')).toEqual(['db-3', 'db-2', 'db-1']);
  });

  it('while one is broken and can not be upgraded, no healthy one is taken down (G2)', () => {
    const script = { upgrade: { error: 'no disk', leaves_down: true } };
    const it = world({ manager: 'cassandra', broken: ['db-3'], scripts: { 'db-3': script } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.told('upgrade')).toEqual(['db-3']);
  });

  it('two broken ones are upgraded one after the other with max_unavailable 1', () => {
    const it = world({ manager: 'cassandra', instances: 4, broken: ['db-2', 'db-4'] });
    it.settle();
    expect(it.told('upgrade')).toEqual(['db-2', 'db-4', 'db-1', 'db-3']);
    expect(mostAtOnce(it)).toBe(1);
  });

  it('a broken primary is mended in place, then its replicas', () => {
    const it = world({ broken: ['db-1'] });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('upgrade')).toEqual(['db-1', 'db-2', 'db-3']);
    expect(it.eventsOf('switched_over')).toEqual([]);
  });
});

describe('a plan that was made blindly', () => {
  it('is made anew once the guests are heard: no primary is upgraded in place for being unheard (G6)', () => {
    const it = world({ last_heard_s_ago: 60 });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('planned').length).toBeGreaterThan(1);
    expect(it.told('upgrade')).toEqual(['db-2', 'db-3', 'db-1']);
    expect(it.eventsOf('switched_over')).toHaveLength(1);
  });

  it('is not made anew while a person has paused the upgrade, but as soon as it goes on (G8)', () => {
    const it = world({ last_heard_s_ago: 60 });
    it.until(() => it.upgrade.steps.length > 0);
    it.act('pause');
    const { steps } = it.upgrade;
    it.pass(60);
    expect(it.cluster.instances.map(({ report }) => report?.service_status)).not.toContain('unknown');
    expect(it.upgrade.steps.map(({ id }) => id)).toEqual(steps.map(({ id }) => id));
    it.act('resume');
    expect(it.told('pre_upgrade')).toEqual(['db-2']);
    it.settle();
    expect(it.told('upgrade')).toEqual(['db-2', 'db-3', 'db-1']);
  });

  it('keeps what has begun, and gives no number of a step to another', () => {
    const it = world({ broken: ['db-2'], scripts: { 'db-2': { upgrade: { ms: 30_000 } } } });
    it.guest('db-1').awayUntil = it.now + 25_000;
    it.pass(16);
    it.guest('db-3').sickUntil = it.now + 3_500;
    const begun = it.reach('db-2', 'upgrading');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.step('db-2').id).toBe(begun.id);
    expect(it.eventsOf('switched_over'), 'the primary was only away').toHaveLength(1);
    expect(new Set(it.upgrade.steps.map(({ id }) => id)).size).toBe(it.upgrade.steps.length);
  });

  it('is made anew without what came to nothing: the primary was broken, and serves again (G6)', () => {
    const refused = { error: 'no room on the disk', permanent: true };
    const policy = { canary: 1 } as const;
    const it = world({ broken: ['db-1'], policy, scripts: { 'db-1': { pre_upgrade: [refused] } } });
    it.settle();
    expect(it.step('db-1')).toMatchObject({ repair: true, phase: { name: 'failed' } });
    it.guest('db-1').turn('up');
    it.pass(6);
    it.act('retry');
    it.settle();
    expect(it.message).toBe('17.10 runs on 1 of 3 instances: approve it to go on, or cancel it');
    it.act('approve');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('upgrade')).toEqual(['db-2', 'db-3', 'db-1']);
    expect(it.eventsOf('switched_over')).toHaveLength(1);
    expect(it.eventsOf('planned').map(({ message }) => message)).toEqual([
      'db-1, db-2, db-3',
      'db-2, db-3, switchover, db-1',
    ]);
  });

  it('is not made anew once the switchover has begun', () => {
    const it = world();
    it.reach('db-1', 'demoting', 'switchover');
    const { steps } = it.upgrade;
    it.settle();
    expect(it.upgrade.steps.map(({ id }) => id)).toEqual(steps.map(({ id }) => id));
    expect(it.eventsOf('planned')).toHaveLength(1);
  });
});
