/** What holds a step back, or the end: gates by name with reason and since when, health, the soak (G1, G2, G5). */
import { describe, expect, it } from 'vitest';
import { isHealthy } from '../../../src/core/domain.ts';
import { wakeAt } from '../../../src/core/upgrade/wake.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const members = { manager: 'cassandra' };

describe('a gate', () => {
  it('is blocked with its name, the reason and since when, told once, and cleared when it holds', () => {
    const it = world({ ...members, last_heard_s_ago: 60 });
    it.guest('db-1').awayUntil = it.now + 60_000;
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    const since = it.now;
    it.pass(20);
    expect(it.step('db-1').phase).toEqual({
      name: 'pending',
      blocked: { gate: 'guests_alive', since, reason: expect.stringContaining('db-1') as string },
    });
    expect(it.eventsOf('gate_blocked').filter(({ instance_id }) => instance_id === 'i-1')).toHaveLength(1);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('gate_cleared')[0]).toMatchObject({ message: 'guests_alive holds' });
  });

  it('that stays blocked for the time of a step makes the upgrade wait for a person (G1)', () => {
    const it = world({ ...members, last_heard_s_ago: 60, policy: { step_timeout_seconds: 100 } });
    it.guest('db-1').awayUntil = Infinity;
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
    expect(it.message).toMatch(/^db-1 waits for guests_alive: .*start it; mend it, then resume$/);
  });

  it('has its whole time anew after a resume: what was mended may not have been heard of yet', () => {
    const it = world({ ...members, last_heard_s_ago: 60, policy: { step_timeout_seconds: 100 } });
    it.guest('db-1').awayUntil = it.now + 200_000;
    it.settle();
    it.until(() => it.now >= it.guest('db-1').awayUntil - 1_000);
    it.act('resume');
    expect(it.upgrade.state.name).toBe('running');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('that a person overrides is told of when it would have held a step back: which, who, and why', () => {
    const overrides = [{ gate: 'instances_healthy', reason: 'db-3 is known to be ill' }] as const;
    const it = world({ ...members, already_upgraded: ['db-3'], policy: { overrides } });
    it.guest('db-3').sickUntil = Infinity;
    it.speak(it.guest('db-3'));
    it.until(() => it.eventsOf('step_done').length === 2);
    const told = it.eventsOf('gate_overridden');
    expect(told.map(({ instance_id }) => instance_id)).toEqual(['i-1', 'i-2']);
    expect(told[0]?.message).toBe(
      'db-1 starts though 1 of at most 1 instance out of service already: db-3: instances_healthy overridden by ann: db-3 is known to be ill',
    );
  });

  it('of an instance that has left the cluster names it by its id', () => {
    const it = world(members);
    it.reach('db-1', 'verifying');
    it.cluster = { ...it.cluster, instances: it.cluster.instances.filter(({ name }) => name !== 'db-2') };
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.eventsOf('gate_blocked')[0]?.message).toBe(
      'i-2 waits for guests_alive: the guest agent of i-2 has not been heard lately: start it',
    );
  });

  it('that holds is not told of, overridden or not', () => {
    const overrides = [{ gate: 'guests_alive', reason: 'to be on the safe side' }] as const;
    const it = world({ ...members, policy: { overrides } });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('gate_overridden')).toEqual([]);
  });

  it('that holds back in one window after the other asks a person, and does not wait for the next for ever (G1)', () => {
    const window = { cron: '*/10 * * * *', duration_seconds: 120, time_zone: 'UTC' };
    const it = world({ ...members, last_heard_s_ago: 60, policy: { window, step_timeout_seconds: 400 } });
    it.guest('db-1').awayUntil = Infinity;
    it.until(() => it.upgrade.state.name === 'paused' && it.upgrade.state.reason === 'gate', 7_200);
    expect(it.message).toMatch(/^db-1 waits for guests_alive: .*; mend it, then resume$/);
    expect(it.eventsOf('resumed')).toHaveLength(1);
  });

  it('is not blocked by siblings that take long: it is just not their turn', () => {
    const it = world({
      ...members,
      scripts: { 'db-1': { upgrade: { ms: 80_000 } } },
      policy: { step_timeout_seconds: 100, soak_seconds: 60 },
    });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('gate_blocked')).toEqual([]);
  });

  it('is not blocked by a sibling that backs off either', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: [{ error: 'no' }, { error: 'no' }] } } });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('gate_blocked')).toEqual([]);
  });

  it('two that wait for another attempt do not hide behind each other for ever', () => {
    const bad = { upgrade: [{ error: 'no' }] };
    const it = world({
      ...members,
      scripts: { 'db-1': bad, 'db-2': bad },
      policy: { max_unavailable: 2, step_timeout_seconds: 60 },
    });
    it.reach('db-1', 'backoff');
    it.guest('db-3').sickUntil = Infinity;
    it.instance('db-3');
    it.until(() => it.instance('db-3').report?.service_status === 'failed', 10);
    it.settle();
    expect([it.step('db-1').phase.name, it.step('db-2').phase.name]).toEqual(['done', 'done']);
  });

  it('no instance is taken down while another is out of service already (G2)', () => {
    const it = world({ ...members, already_upgraded: ['db-3'] });
    it.reach('db-1', 'verifying');
    it.guest('db-3').sickUntil = it.now + 100_000;
    it.speak(it.guest('db-3'));
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.step('db-2').phase).toMatchObject({
      blocked: {
        gate: 'instances_healthy',
        reason: '1 of at most 1 instance out of service already: db-3',
      },
    });
    it.pass(60);
    expect(it.told('pre_upgrade')).toEqual(['db-1']);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('one that is not heard may be serving: it is not free, though nobody waits for its word (G2)', () => {
    const overrides = [{ gate: 'guests_alive', reason: 'it is up' }] as const;
    const it = world({ ...members, last_heard_s_ago: 60, policy: { overrides } });
    it.guest('db-1').awayUntil = Infinity;
    it.guest('db-3').sickUntil = Infinity;
    it.pass(30);
    expect(it.instance('db-3').report?.service_status).toBe('failed');
    // It says that it is down: its repair costs nothing, and db-1 is none beside it.
    expect(it.told('pre_upgrade')).toEqual(['db-3']);
    expect(it.step('db-1').phase.name).toBe('pending');
  });

  it('names all that are out of service', () => {
    const it = world({
      ...members,
      instances: 5,
      already_upgraded: ['db-4', 'db-5'],
      policy: { max_unavailable: 2 },
    });
    it.reach('db-1', 'verifying');
    for (const name of ['db-4', 'db-5']) {
      it.guest(name).sickUntil = Infinity;
      it.speak(it.guest(name));
    }
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.eventsOf('gate_blocked')[0]?.message).toBe(
      'db-3 waits for instances_healthy: 2 of at most 2 instances out of service already: db-4, db-5',
    );
  });

  it('overridden, who is ill holds nobody back; the upgrade itself keeps to its limit (G2)', () => {
    const overrides = [{ gate: 'instances_healthy', reason: 'db-3 is known to be ill' }] as const;
    const it = world({ ...members, already_upgraded: ['db-3'], policy: { overrides } });
    it.until(() => it.upgrade.steps.length > 0);
    it.guest('db-3').sickUntil = Infinity;
    it.speak(it.guest('db-3'));
    it.reach('db-2', 'done');
    expect(it.eventsOf('gate_blocked')).toEqual([]);
    const [first, second] = it.eventsOf('step_started');
    expect([first?.instance_id, second?.instance_id]).toEqual(['i-1', 'i-2']);
    expect(second?.at).toBeGreaterThanOrEqual(it.eventsOf('step_done')[0]?.at ?? Infinity);
  });

  it('overridden, who was left broken by this very upgrade counts, until its next try has mended it (G2)', () => {
    const overrides = [{ gate: 'instances_healthy', reason: 'known' }] as const;
    const scripts = { 'db-1': { upgrade: [{ error: 'it went wrong' }] } };
    const it = world({ ...members, policy: { overrides, retries: 0 }, scripts });
    it.reach('db-1', 'failed');
    it.guest('db-1').awayUntil = it.now + 60_000;
    it.pass(30);
    it.act('retry');
    it.pass(10);
    expect(it.step('db-1').phase.name).toBe('pending');
    expect(it.step('db-2').phase.name).toBe('pending');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('an instance that was not heard for 15 s is not taken for healthy (G2)', () => {
    const it = world(members);
    it.reach('db-1', 'done');
    const { heard } = it.instance('db-1');
    expect(isHealthy(it.instance('db-1'), (heard ?? 0) + 15_000)).toBe(true);
    expect(isHealthy(it.instance('db-1'), (heard ?? 0) + 15_001)).toBe(false);
  });
});

describe('the last word is the heartbeat', () => {
  it('after post_upgrade the instance is waited for until it says itself that it runs the version (G5)', () => {
    const it = world({ ...members, instances: 1 });
    it.reach('db-1', 'verifying');
    it.guest('db-1').sickUntil = it.now + 20_000;
    it.speak(it.guest('db-1'));
    it.reach('db-1', 'settling');
    it.pass(10);
    expect(it.upgrade.state.name).toBe('running');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('an instance that never does fails its attempt by the deadline', () => {
    const it = world({ ...members, instances: 1, policy: { step_timeout_seconds: 30, retries: 0 } });
    it.reach('db-1', 'verifying');
    it.guest('db-1').sickUntil = Infinity;
    it.speak(it.guest('db-1'));
    it.settle();
    expect(it.message).toContain('did not finish settling within 30 s');
  });
});

describe('soak', () => {
  const soaking = {
    ...members,
    instances: 2,
    policy: { soak_seconds: 30, step_timeout_seconds: 60, retries: 0 },
  };

  it('health must hold for so long before the next instance starts', () => {
    const it = world(soaking);
    it.reach('db-1', 'soaking');
    const since = it.now;
    it.reach('db-2', 'preparing');
    expect(it.now - since).toBe(30_000);
  });

  it('starts anew when health did not hold', () => {
    const it = world(soaking);
    it.reach('db-1', 'soaking');
    it.pass(20);
    it.guest('db-1').sickUntil = it.now + 4_000;
    it.reach('db-1', 'settling');
    it.reach('db-1', 'soaking');
    const since = it.now;
    it.reach('db-1', 'done');
    expect(it.now - since).toBe(30_000);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('that does not hold when all its time is up has failed there and then', () => {
    const it = world(soaking);
    const { id } = it.reach('db-1', 'soaking');
    const phase = { name: 'soaking' as const, since: it.now - 90_000, until: it.now + 1 };
    const steps = it.upgrade.steps.map((step) => (step.id === id ? { ...step, phase } : step));
    it.upgrade = { ...it.upgrade, steps };
    it.heard('db-1', { service_status: 'failed' });
    it.feed({ type: 'wake' });
    expect(it.step('db-1').phase.name).toBe('failed');
  });

  it('ends as a failure when health flaps on and on: not stuck for ever (G1)', () => {
    const it = world(soaking);
    it.reach('db-1', 'soaking');
    const since = it.now;
    for (let at_s = 10; at_s < 1_000; at_s += 20) {
      it.later(at_s * 1000, () => {
        it.guest('db-1').sickUntil = it.now + 5_000;
      });
    }
    it.settle();
    expect(it.message).toContain('did not finish settling');
    expect(it.now - since).toBeLessThan(120_000);
  });
});

describe('success', () => {
  it('waits until every instance says the version and is healthy, those without a step included (G5, M5)', () => {
    const it = world({ ...members, already_upgraded: ['db-3'] });
    it.reach('db-2', 'verifying');
    it.guest('db-3').sickUntil = it.now + 20_000;
    it.speak(it.guest('db-3'));
    it.reach('db-2', 'done');
    it.pass(10);
    expect(it.upgrade.state.name).toBe('running');
    expect(it.cluster.datastore_version).toBe('17.6');
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'succeeded' });
    expect(it.cluster).toMatchObject({
      datastore_version: '17.10',
      datastore_version_id: 'v-to',
      task: 'NONE',
    });
    expect(it.events.at(-1)?.message).toBe('3 instances run 17.10');
  });

  it('asks for help when one stays ill, and comes by itself once it is mended (G1)', () => {
    const it = world({ ...members, already_upgraded: ['db-3'], policy: { step_timeout_seconds: 60 } });
    it.reach('db-2', 'verifying');
    it.guest('db-3').sickUntil = it.now + 200_000;
    it.speak(it.guest('db-3'));
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
    expect(it.message).toBe('instances_healthy: db-3 not healthy on 17.10; mend, then resume');
    it.until(() => it.upgrade.state.name === 'succeeded', 300);
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('is not had with an instance that runs another version, however healthy', () => {
    const it = world({ ...members, already_upgraded: ['db-3'], policy: { step_timeout_seconds: 60 } });
    it.reach('db-2', 'verifying');
    it.guest('db-3').version = '17.8';
    it.speak(it.guest('db-3'));
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
    expect(it.cluster.datastore_version).toBe('17.6');
  });
});

describe('the events', () => {
  it('are numbered without a gap from the first to the last (G9)', () => {
    const it = world({ scripts: { 'db-2': { upgrade: [{ error: 'no' }] } } });
    it.settle();
    expect(it.events.map(({ seq }) => seq)).toEqual(it.events.map((_, index) => index + 1));
    expect(it.events.at(-1)).toMatchObject({ type: 'succeeded', seq: it.upgrade.seq });
  });
});

describe('waking', () => {
  it('is within 2 s while nobody has taken the upgrade up, so that a lost cast costs no more (G1)', () => {
    const it = world();
    expect(wakeAt(it.upgrade, it.now)).toBe(it.now + 2_000);
  });

  it('is every second while it waits for a gate, and rare while it waits for a person', () => {
    const it = world({ ...members, last_heard_s_ago: 60, policy: { step_timeout_seconds: 60 } });
    it.guest('db-1').awayUntil = Infinity;
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.due).toBe(it.now + 1_000);
    it.settle();
    expect(it.due).toBe(it.now + 60_000);
  });

  it('is not due at once, over and over, for a back-off that is past while a person is waited for', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: { error: 'no' } } } });
    it.reach('db-1', 'backoff');
    it.act('pause');
    it.pass(30);
    expect(it.due).toBeGreaterThan(it.now);
  });
});
