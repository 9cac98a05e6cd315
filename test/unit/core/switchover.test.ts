/**
 * The primary changes: when it may (M3, G6), and what becomes of it when one of the two refuses,
 * hangs or goes away (M4). Whatever happens there are never two primaries: `guest.ts` watches.
 */
import { describe, expect, it } from 'vitest';
import type { Instance } from '../../../src/core/domain.ts';
import { Draft } from '../../../src/core/upgrade/draft.ts';
import { successorOf } from '../../../src/core/upgrade/gates.ts';
import type { Outcome, Script } from './guest.ts';
import { FROM, T0, TO, type World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const BAD: Outcome = { error: 'it went wrong' };
const SILENT: Outcome = { silent: true };
const times = (n: number, outcome: Outcome): readonly Outcome[] => Array.from({ length: n }, () => outcome);
/** All replicas the same, since any of them may be the successor. */
const replicas = (script: Script) => ({ 'db-2': script, 'db-3': script });
const primariesOf = (it: World) =>
  it.guests.filter(({ isUp, role }) => isUp && role === 'primary').map(({ name }) => name);

describe('the successor', () => {
  it('is of the same shard, and only that follows it', () => {
    const [a, b] = [{ shard: 'a' }, { shard: 'b' }];
    const placement = { 'db-1': a, 'db-2': a, 'db-3': b, 'db-4': a };
    const it = world({
      instances: 4,
      placement,
      lag_bytes: { 'db-2': 500, 'db-4': 900 },
      already_upgraded: ['db-3'],
    });
    it.reach('db-1', 'done', 'switchover');
    expect(it.told('promote')).toEqual(['db-2']);
    expect(it.told('follow')).toEqual(['db-4']);
  });

  it('is the upgraded replica that is behind least (M3)', () => {
    const it = world({ lag_bytes: { 'db-2': 500, 'db-3': 20 } });
    it.settle();
    expect(it.told('promote')).toEqual(['db-3']);
    expect(primariesOf(it)).toEqual(['db-3']);
  });

  it.each([
    ['far behind', 5_000_000],
    ['of unknown lag', null],
  ])('is nobody %s: the switchover waits, and says for what (M3, G1)', (_, lag_bytes) => {
    const it = world({ instances: 2, lag_bytes: { 'db-2': lag_bytes } });
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    it.pass(30);
    expect(it.step('db-1', 'switchover').phase).toMatchObject({
      name: 'pending',
      blocked: { gate: 'replication_caught_up' },
    });
    expect(it.told('demote')).toEqual([]);
    it.guest('db-2').lagBytes = 1024 * 1024;
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('gate_cleared')[0]?.message).toBe('replication_caught_up holds');
  });

  it.each(['pause', 'delay', 'session', 'settings'] as const)(
    'is nobody whose replay is held up (%s), however near: the primary stays up, and the reason is said (M3)',
    (kind) => {
      const it = world({ instances: 2 });
      it.guest('db-2').hindrance = { kind, reason: 'its replay is held up' };
      it.until(() => it.eventsOf('gate_blocked').length > 0);
      it.pass(30);
      expect(it.step('db-1', 'switchover').phase).toMatchObject({
        name: 'pending',
        blocked: {
          gate: 'replication_caught_up',
          reason: 'no replica that runs 17.10 can take over from db-1 (db-2: its replay is held up)',
        },
      });
      expect(it.told('demote')).toEqual([]);
      it.guest('db-2').hindrance = null;
      it.settle();
      expect(it.upgrade.state.name).toBe('succeeded');
    },
  );

  it('is another one where there is one that replays, and the old primary is told who (M3)', () => {
    const it = world({ lag_bytes: { 'db-2': 0, 'db-3': 900 } });
    it.guest('db-2').hindrance = { kind: 'session', reason: 'its replay is held up' };
    it.settle();
    expect(it.told('promote')).toEqual(['db-3']);
    expect(it.messagesTo('db-1', 'demote')[0]).toMatchObject({ args: { successor: 'db-3' } });
  });

  it('is nobody who runs another version than the new one (M3)', () => {
    const it = world({ instances: 2, scripts: { 'db-1': { pre_upgrade: [{ ms: 10_000 }] } } });
    it.reach('db-1', 'preparing', 'switchover');
    it.guest('db-2').version = '17.8';
    it.reach('db-1', 'backoff', 'switchover');
    it.pass(60);
    expect(it.step('db-1', 'switchover').phase).toMatchObject({ blocked: { gate: 'replication_caught_up' } });
    expect(it.told('demote')).toEqual([]);
  });

  it('that falls behind while the primary makes ready is not waited for: the primary stays up', () => {
    const it = world({ instances: 2, scripts: { 'db-1': { pre_upgrade: [{ ms: 10_000 }] } } });
    it.reach('db-1', 'preparing', 'switchover');
    it.guest('db-2').lagBytes = 5_000_000;
    it.reach('db-1', 'backoff', 'switchover');
    expect(it.guest('db-1').isUp).toBe(true);
    expect(it.told('demote')).toEqual([]);
  });

  it('is told where the old primary stopped, and is the only one who is told', () => {
    const it = world();
    it.reach('db-1', 'promoting', 'switchover');
    const { demotedLsn } = it.guest('db-1');
    expect(it.messages.filter(({ attempt }) => attempt.action === 'promote')).toMatchObject([
      { args: { lsn: demotedLsn } },
    ]);
  });
});

describe('of two upgraded replicas that are level', () => {
  /** The primary is to step down; `name` reports otherwise than it did. */
  const chosen = (name: string, fields: Partial<NonNullable<Instance['report']>> | null) => {
    const it = world();
    it.reach('db-3', 'done');
    const instances = it.cluster.instances.map((each) =>
      each.name === name ? { ...each, report: fields && each.report && { ...each.report, ...fields } } : each,
    );
    const draft = new Draft(
      it.upgrade,
      { cluster: { ...it.cluster, instances }, versions: it.versions },
      it.now,
    );
    return successorOf(draft, it.step('db-1', 'switchover'))?.name;
  };

  it('the first takes over', () => {
    expect(chosen('db-2', {})).toBe('db-2');
    expect(chosen('db-2', { lag_bytes: 1 })).toBe('db-3');
  });

  it.each([
    ['has become a primary itself', { role: 'primary' }],
    ['replicates from nobody', { role: 'member' }],
    ['does not say what it is', { role: null }],
    ['is ill', { service_status: 'failed' }],
    ['runs the old version', { version: FROM }],
    ['does not say how far behind it is', { lag_bytes: null }],
    ['was never heard', null],
  ] as const)('the other one does, when the first %s (M3)', (_, fields) => {
    expect(chosen('db-2', fields)).toBe('db-3');
  });

  it('never the primary that is to step down, whatever it says of itself', () => {
    expect(chosen('db-1', { role: 'replica', version: TO, lag_bytes: 0 })).toBe('db-2');
  });
});

describe('after the switchover', () => {
  it('the other standbys follow the new primary before the old one comes back as its standby', () => {
    const it = world({ instances: 4, lag_bytes: { 'db-2': 9, 'db-4': 9 } });
    it.settle();
    expect(it.told('follow')).toEqual(['db-2', 'db-4']);
    expect(it.guests.map(({ upstream }) => upstream?.name)).toEqual(['db-3', 'db-3', undefined, 'db-3']);
    expect(it.eventsOf('switched_over')).toHaveLength(1);
  });

  it('of two instances nobody is left to follow', () => {
    const it = world({ instances: 2 });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('follow')).toEqual([]);
  });

  it('the old primary comes back though another instance has failed meanwhile (G8)', () => {
    const it = world({ lag_bytes: { 'db-3': 9 } });
    it.reach('db-1', 'following', 'switchover');
    it.guest('db-3').sickUntil = it.now + 3_600_000;
    it.heard('db-3', { service_status: 'failed' });
    // What was heard of the old primary is from before it stopped.
    it.heard('db-1', { service_status: 'healthy' });
    it.reach('db-1', 'preparing');
    expect(it.eventsOf('gate_blocked')).toEqual([]);
    it.settle();
    expect(it.step('db-1').phase.name).toBe('done');
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
    expect(it.message).toContain('db-3');
  });

  it('the old primary that does not come back is retried, then a person is asked', () => {
    const it = world({ scripts: { 'db-1': { upgrade: times(2, BAD) } }, policy: { retries: 1 } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.instance('db-1').task).toBe('UPGRADING_ERROR');
    it.act('retry');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.guest('db-1')).toMatchObject({ isUp: true, role: 'replica' });
  });
});

describe('the old primary refuses to step down', () => {
  it('and serves on; another attempt is made', () => {
    const it = world({ scripts: { 'db-1': { demote: [BAD] } } });
    it.reach('db-1', 'backoff', 'switchover');
    expect(primariesOf(it)).toEqual(['db-1']);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.step('db-1', 'switchover').attempt).toBe(2);
  });

  it('for good: no further attempt', () => {
    const it = world({ scripts: { 'db-1': { demote: { ...BAD, permanent: true } } } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.step('db-1', 'switchover').attempt).toBe(1);
  });
});

describe('the old primary does not say whether it stopped', () => {
  const policy = { step_timeout_seconds: 5 };

  it('is told to serve, under a number that fences the demotion off and costs no try', () => {
    const it = world({
      scripts: { 'db-1': { demote: times(3, SILENT) } },
      policy: { ...policy, retries: 1 },
    });
    const { attempt } = it.reach('db-1', 'demoting', 'switchover');
    it.reach('db-1', 'restoring', 'switchover');
    expect(it.messagesTo('db-1', 'promote')).toMatchObject([{ attempt: { attempt: attempt + 1 } }]);
    expect(it.told('promote')).toEqual(['db-1']);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is not stopped by a demotion that comes late, when nobody looks any more', () => {
    const it = world({ policy: { step_timeout_seconds: 6, retries: 0 } });
    // One copy of each order comes at once and one 5 s later; the first demotions get lost.
    it.reach('db-1', 'demoting', 'switchover');
    const demotion = it.messagesTo('db-1', 'demote')[0];
    if (!demotion) throw new Error('not demoted');
    it.guest('db-1').script = { demote: SILENT };
    it.settle();
    expect(it.step('db-1', 'switchover').phase.name).toBe('failed');
    it.guest('db-1').script = {};
    it.guest('db-1').receive({ ...demotion, fence: T0 });
    it.pass(5);
    expect(primariesOf(it)).toEqual(['db-1']);
  });

  it('or says that it did but not where its log ends: nobody is promoted without that (G6)', () => {
    const it = world({ scripts: { 'db-1': { demote: [{ ms: 1_000 }] } } });
    const { id, attempt } = it.reach('db-1', 'demoting', 'switchover');
    it.say('db-1', { step: id, attempt, action: 'demote', status: 'succeeded' });
    expect(it.step('db-1', 'switchover').phase).toMatchObject({ name: 'restoring', lsn: '0/0' });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });
});

describe('the successor refuses', () => {
  it('the old primary serves again, and another attempt is made', () => {
    const it = world({ instances: 2, scripts: { 'db-2': { promote: [BAD] } } });
    it.reach('db-1', 'restoring', 'switchover');
    it.reach('db-1', 'backoff', 'switchover');
    expect(primariesOf(it)).toEqual(['db-1']);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(primariesOf(it)).toEqual(['db-2']);
    expect(it.eventsOf('switched_over')).toHaveLength(1);
  });

  it('each time: the old primary serves, and the reason is told', () => {
    const it = world({ scripts: replicas({ promote: BAD }), policy: { retries: 2 } });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.message).toContain('it went wrong');
    expect(it.messages.filter(({ attempt }) => attempt.action === 'demote')).toHaveLength(3);
    expect(primariesOf(it)).toEqual(['db-1']);
  });

  it('but its own heartbeat says that it is the primary: it is, and the old one is not restored (M4)', () => {
    const it = world({ instances: 2, scripts: { 'db-2': { promote: { ms: 60_000 } } } });
    const { id, attempt } = it.reach('db-1', 'promoting', 'switchover');
    it.heard('db-2', { role: 'primary' });
    it.say('db-2', { step: id, attempt, action: 'promote', status: 'failed', error: 'it takes too long' });
    expect(it.step('db-1', 'switchover').phase.name).toBe('done');
    expect(it.messagesTo('db-1', 'promote')).toEqual([]);
  });
});

describe('the successor does not say whether it took over', () => {
  const policy = { step_timeout_seconds: 10 };

  it('the old primary is never restored: a person is asked to bring the guest back (M4, G1)', () => {
    const it = world({ instances: 2, scripts: { 'db-2': { promote: SILENT } }, policy });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.message).toContain(
      'db-2 does not say whether it took over from db-1: bring its guest agent back',
    );
    it.pass(1_200);
    it.act('retry');
    it.pass(1_200);
    expect(it.messagesTo('db-1', 'promote')).toEqual([]);
    expect(it.step('db-1', 'switchover').phase.name).toBe('promoting');
    expect(it.guest('db-1').isUp).toBe(false);
  });

  it('a retry asks it at once', () => {
    const it = world({ instances: 2, scripts: { 'db-2': { promote: SILENT } }, policy });
    it.settle();
    it.pass(1);
    expect(it.act('retry').effects).toMatchObject([{ instance_id: 'i-2', attempt: { action: 'promote' } }]);
    const { attempt, attempts_forgiven } = it.step('db-1', 'switchover');
    expect(attempts_forgiven, 'all its tries but this one are forgiven').toBe(attempt - 1);
  });

  it('it goes on by itself once the successor speaks', () => {
    const it = world({ instances: 2, scripts: { 'db-2': { promote: SILENT } }, policy });
    it.settle();
    it.guest('db-2').script = {};
    it.until(() => it.step('db-1').phase.name === 'done');
    expect(primariesOf(it)).toEqual(['db-2']);
    expect(it.guest('db-1').isUp).toBe(true);
  });

  it('a cancelled upgrade waits for its word as well, and ends with both up', () => {
    const it = world({ instances: 2, scripts: { 'db-2': { promote: SILENT } }, policy });
    it.settle();
    it.act('cancel');
    it.pass(600);
    expect(it.cluster.task).toBe('UPGRADING_CLUSTER');
    expect(it.message).toContain('bring its guest agent back');
    it.guest('db-2').script = {};
    it.until(() => it.cluster.task === 'NONE');
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.guests.map(({ isUp }) => isUp)).toEqual([true, true]);
  });
});

describe('the old primary can not be restored', () => {
  const refusing = { 'db-2': { promote: [BAD] } };

  it('is told again and again, each time under a new number and after a pause', () => {
    const it = world({ instances: 2, scripts: { ...refusing, 'db-1': { promote: times(2, BAD) } } });
    it.reach('db-1', 'failed', 'switchover');
    expect(primariesOf(it)).toEqual(['db-1']);
    const told = it.messagesTo('db-1', 'promote');
    expect(told.map(({ attempt }) => attempt.attempt)).toEqual([2, 3, 4]);
    const [first, second, third] = told.map(({ at }) => at);
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThan(700);
    expect((third ?? 0) - (second ?? 0)).toBeGreaterThan(1_400);
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
  });

  it('a person is asked when the tries are used up, and it is told on', () => {
    const it = world({
      instances: 2,
      scripts: { ...refusing, 'db-1': { promote: BAD } },
      policy: { retries: 1 },
    });
    it.settle();
    expect(it.message).toBe(
      "db-1 is stopped and can't be brought back as primary (it went wrong): mend it, then retry",
    );
    it.guest('db-1').script = {};
    it.until(() => primariesOf(it).length > 0);
    it.act('retry');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('does not answer: a person is asked, it is told on, and nobody else is promoted', () => {
    const it = world({
      instances: 2,
      scripts: { ...refusing, 'db-1': { promote: SILENT } },
      policy: { step_timeout_seconds: 10 },
    });
    it.settle();
    expect(it.message).toBe('db-1 is stopped and its guest agent does not answer: bring it back, then retry');
    it.pass(600);
    expect(it.messagesTo('db-2', 'promote').every(({ attempt }) => attempt.attempt === 1)).toBe(true);
    it.guest('db-1').script = {};
    it.until(() => primariesOf(it).length > 0);
    expect(primariesOf(it)).toEqual(['db-1']);
  });
});

describe('a standby that does not follow the new primary', () => {
  const behind = { lag_bytes: { 'db-3': 9 } };

  it('is told again under a new number, after a pause; the switchover stands', () => {
    const it = world({ ...behind, scripts: { 'db-3': { follow: [BAD] } } });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    const [first, second] = it.messagesTo('db-3', 'follow');
    expect([first?.attempt.attempt, second?.attempt.attempt]).toEqual([1, 2]);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(700);
    expect(it.eventsOf('switched_over')).toHaveLength(1);
  });

  it('has tries of its own, however many the switchover took', () => {
    const it = world({
      ...behind,
      scripts: { 'db-1': { demote: times(2, BAD) }, 'db-3': { follow: times(2, BAD) } },
      policy: { retries: 2 },
    });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.guest('db-3').upstream?.name).toBe('db-2');
  });

  it.each([
    ['ever', BAD, 3],
    ['and says that it never will', { ...BAD, permanent: true }, 1],
  ])('%s is left to the gates: the old primary comes back meanwhile', (_, follow, tries) => {
    const it = world({ ...behind, scripts: { 'db-3': { follow } } });
    it.settle();
    expect(it.messagesTo('db-3', 'follow')).toHaveLength(tries);
    expect(it.step('db-1').phase.name).toBe('done');
  });

  it('but says nothing holds the upgrade up until its deadline, not longer', () => {
    const it = world({
      ...behind,
      scripts: { 'db-3': { follow: SILENT } },
      policy: { step_timeout_seconds: 20 },
    });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('step_retrying')[0]?.message).toContain('db-3: no word on following the new primary');
  });
});

describe('what a switchover would leave behind', () => {
  const LOSS = { name: 'unlogged_tables', message: 'public.cache would be empty' } as const;

  it('holds it back until a person has seen to it, and the replicas are upgraded before', () => {
    const it = world();
    it.guest('db-1').findings = [LOSS];
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    it.pass(30);
    expect(it.step('db-1', 'switchover').phase).toMatchObject({
      blocked: { gate: 'unlogged_tables', reason: LOSS.message },
    });
    expect(it.guests.map(({ version }) => version)).toEqual([FROM, TO, TO]);
    expect(it.told('demote')).toEqual([]);
    it.guest('db-1').findings = [];
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is acknowledged by an override, which the events tell of', () => {
    const it = world({ policy: { overrides: [{ gate: 'unlogged_tables', reason: 'a cache' }] } });
    it.guest('db-1').findings = [LOSS];
    it.speak(it.guest('db-1'));
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('gate_overridden')[0]?.message).toContain('unlogged_tables');
  });

  it('each needs an acknowledgement of its own', () => {
    const it = world({ policy: { overrides: [{ gate: 'unlogged_tables', reason: 'a cache' }] } });
    it.guest('db-1').findings = [LOSS, { name: 'logical_slots', message: 'feed would be gone' }];
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.step('db-1', 'switchover').phase).toMatchObject({ blocked: { gate: 'logical_slots' } });
  });

  it('is found by the primary as it makes ready, too, and then nobody is stopped', () => {
    const it = world();
    it.guest('db-1').findings = [LOSS];
    it.guest('db-1').tellsFindings = false;
    it.reach('db-1', 'backoff', 'switchover');
    expect(it.step('db-1', 'switchover').phase).toMatchObject({ error: `unlogged_tables: ${LOSS.message}` });
    expect(it.told('demote')).toEqual([]);
    it.guest('db-1').tellsFindings = true;
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.step('db-1', 'switchover').phase).toMatchObject({ blocked: { gate: 'unlogged_tables' } });
  });

  it('holds nothing back where there is no switchover', () => {
    const it = world({ instances: 1 });
    it.guest('db-1').findings = [LOSS, { name: 'settings_overridden', message: 'port' }];
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('keeps no cluster from going back', () => {
    const it = world();
    it.reach('db-1', 'done', 'switchover');
    it.guest(it.told('promote')[0] ?? '').findings = [LOSS];
    it.act('rollback');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
  });

  it('passes on to the successor what the demoted primary hands over', () => {
    const it = world();
    it.guest('db-1').handover = { names: 'a' };
    it.settle();
    const [promote] = it.messages.filter(({ attempt }) => attempt.action === 'promote');
    expect(promote?.args).toMatchObject({ handover: { names: 'a' } });
  });
});

describe('roles that changed since the plan was made', () => {
  it('a replica that has become the primary is not taken down like a replica (G6)', () => {
    const it = world();
    it.reach('db-3', 'preparing');
    it.guest('db-1').role = 'replica';
    it.guest('db-3').role = 'primary';
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.message).toContain('db-3 serves as the primary');
    expect(it.message).toContain('start a new upgrade');
    expect(it.messagesTo('db-3', 'upgrade')).toEqual([]);
  });

  it('a broken primary that is well again before it was touched is not upgraded in place (G6)', () => {
    const it = world({ broken: ['db-1'], scripts: { 'db-1': { pre_upgrade: { ms: 20_000 } } } });
    it.reach('db-1', 'preparing');
    it.guest('db-1').turn('up');
    it.settle();
    expect(it.message).toContain('db-1 serves as the primary');
    expect(it.messagesTo('db-1', 'upgrade')).toEqual([]);
  });
});
