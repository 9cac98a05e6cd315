/** Attempts: said again until they are taken, retried when they fail, given up in the end (G1, G4). */
import { describe, expect, it } from 'vitest';
import type { Outcome } from './guest.ts';
import type { World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const SILENT: Outcome = { silent: true };
const BAD: Outcome = { error: 'no space left on device' };

function one(scripts: Record<string, Outcome | readonly Outcome[]>, policy = {}): World {
  return world({ manager: 'cassandra', instances: 1, scripts: { 'db-1': scripts }, policy });
}

/** Seconds between what was said to db-1. */
function gaps(it: World, action: 'pre_upgrade' | 'upgrade'): number[] {
  const times = it.messagesTo('db-1', action).map(({ at }) => at);
  return times.slice(1).map((at, index) => (at - (times[index] ?? 0)) / 1000);
}

describe('a message that nobody takes', () => {
  it('is said again under the same attempt number: after 2 s, then ever more rarely', () => {
    const it = one({ upgrade: [SILENT, SILENT, SILENT, SILENT, SILENT] });
    it.settle();
    expect(gaps(it, 'upgrade')).toEqual([2, 2, 4, 8, 8]);
    expect(new Set(it.messagesTo('db-1', 'upgrade').map(({ attempt }) => attempt.attempt))).toEqual(
      new Set([1]),
    );
    expect(it.guest('db-1').executed).toHaveLength(1);
  });

  it('is a call: said again sooner, as who waited for its answer may be dead; then ever more rarely', () => {
    const it = one({ pre_upgrade: { ms: 30_000 } });
    it.settle();
    expect(gaps(it, 'pre_upgrade').map(Math.round)).toEqual([1, 1, 2, 4, 8, 8]);
    expect(it.messagesTo('db-1', 'pre_upgrade').every(({ attempt }) => attempt.attempt === 1)).toBe(true);
  });

  it('is repeated no sooner than a guest could have answered', () => {
    const it = one({ pre_upgrade: { ms: 30_000 }, upgrade: [SILENT, SILENT, SILENT] });
    it.patience = { call_ms: 9_000, cast_ms: 5_000 };
    it.settle();
    expect(gaps(it, 'pre_upgrade').map(Math.round)).toEqual([9, 9, 9]);
    expect(gaps(it, 'upgrade')).toEqual([5, 5, 8]);
  });

  it('is said again rarely once the guest has accepted it', () => {
    const it = one({ upgrade: { ms: 40_000 } });
    it.settle();
    // Accepted with the next heartbeat, 3 s after the start at the latest.
    expect(gaps(it, 'upgrade').slice(-2).map(Math.round)).toEqual([15, 15]);
    expect(it.guest('db-1').executed).toHaveLength(1);
  });

  it('says for how long it is worth anything: until its deadline', () => {
    const it = one({ upgrade: [SILENT] }, { step_timeout_seconds: 60 });
    it.settle();
    const [first, second] = it.messagesTo('db-1', 'upgrade');
    expect([first?.timeout_ms, second?.timeout_ms]).toEqual([60_000, 58_000]);
  });

  it('is given up at its deadline, and another attempt is made', () => {
    const it = one({ pre_upgrade: SILENT }, { step_timeout_seconds: 20, retries: 1 });
    it.settle();
    expect(it.messagesTo('db-1', 'pre_upgrade').at(-1)?.attempt.attempt).toBe(2);
    expect(it.message).toContain('did not finish preparing within 20 s');
  });
});

describe('a failed attempt', () => {
  it('is made again after 1, 2, 4 s, each spread by at most a quarter, under a new number', () => {
    const it = one({ upgrade: BAD }, { retries: 3 });
    it.settle();
    const waits = it.eventsOf('step_retrying').map(({ at, attempt }) => {
      const next = it.eventsOf('step_started').find((event) => event.attempt === (attempt ?? 0) + 1);
      return ((next?.at ?? 0) - at) / 1000;
    });
    expect(waits).toHaveLength(3);
    for (const [index, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(0.75 * 2 ** index);
      expect(wait).toBeLessThanOrEqual(1.25 * 2 ** index);
    }
    expect(it.messagesTo('db-1', 'upgrade').map(({ attempt }) => attempt.attempt)).toEqual([1, 2, 3, 4]);
  });

  it('waits a minute at the most, and not every step the same time', () => {
    const it = one({ upgrade: BAD }, { retries: 9 });
    it.settle();
    const starts = it.eventsOf('step_started').map(({ at }) => at);
    const last = (starts.at(-1) ?? 0) - (starts.at(-2) ?? 0);
    expect(last).toBeLessThan(76_500);
    expect(last % 1000).not.toBe(0);
  });

  it('is spread in the same way each time: the core has no dice', () => {
    const [a, b] = [one({ upgrade: BAD }), one({ upgrade: BAD })];
    a.settle();
    b.settle();
    expect(a.transcript).toEqual(b.transcript);
  });

  it('succeeds in the end when a later attempt does', () => {
    const it = one({ pre_upgrade: [BAD], upgrade: [BAD] });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.step('db-1').attempt).toBe(3);
    expect(it.instance('db-1')).toMatchObject({ task: 'NONE', fault: null });
  });

  it('that failed in post_upgrade is made again too', () => {
    const it = one({ post_upgrade: [BAD] });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.step('db-1').attempt).toBe(2);
  });

  it('is not made again when the guest says that it can not help', () => {
    const it = one({ upgrade: { error: 'unknown version', permanent: true } }, { retries: 5 });
    it.settle();
    expect(it.step('db-1').attempt).toBe(1);
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
  });

  it('of a call is not made again either when that can not help', () => {
    const it = one({ pre_upgrade: { error: 'unknown version', permanent: true } }, { retries: 5 });
    it.settle();
    expect(it.step('db-1').attempt).toBe(1);
  });
});

describe('when the retries are used up', () => {
  it('the upgrade waits for a person and says for what (G1)', () => {
    const it = one({ upgrade: BAD }, { retries: 1 });
    it.settle();
    expect(it.step('db-1')).toMatchObject({ attempt: 2, phase: { name: 'failed' } });
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.message).toBe('db-1: no space left on device: retry it, or cancel it');
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING_ERROR', fault: BAD.error });
    expect(it.cluster.task).toBe('UPGRADING_CLUSTER');
  });

  it('or has failed, with on_failure fail, on the old version with the cluster free (G5)', () => {
    const it = world({
      manager: 'cassandra',
      scripts: { 'db-2': { upgrade: BAD } },
      policy: { retries: 0, on_failure: 'fail' },
    });
    it.settle();
    expect(it.upgrade.state.name).toBe('failed');
    expect(it.message).toBe('db-2: no space left on device; 17.10 runs on 1 of 3 instances');
    expect(it.cluster).toMatchObject({ task: 'NONE', datastore_version: '17.6' });
    expect(it.told('upgrade')).toEqual(['db-1', 'db-2']);
  });

  it('no other instance is started, and those in flight end first (M6)', () => {
    const it = world({
      manager: 'cassandra',
      instances: 4,
      scripts: { 'db-1': { upgrade: { ...BAD, ms: 10 } }, 'db-2': { upgrade: { ms: 5_000 } } },
      policy: { max_unavailable: 2, retries: 0 },
    });
    it.settle();
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'failure' });
    expect(it.step('db-2').phase.name).toBe('done');
    expect(it.told('upgrade')).toEqual(['db-1', 'db-2']);
  });

  it('a person who retries gives the step all its tries anew', () => {
    const it = one({ upgrade: [BAD, BAD, BAD] }, { retries: 1 });
    it.settle();
    expect(it.act('retry').verdict).toBe('applied');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.step('db-1')).toMatchObject({ attempt: 4, attempts_forgiven: 2 });
  });

  it('a step that another waited for while it backed off does not stay UPGRADING when the upgrade ends', () => {
    const it = world({
      manager: 'cassandra',
      instances: 2,
      scripts: {
        'db-1': { upgrade: [{ ...BAD, ms: 500 }] },
        'db-2': { upgrade: { error: 'unknown', permanent: true, ms: 600 } },
      },
      policy: { max_unavailable: 2, on_failure: 'fail' },
    });
    it.settle();
    expect(it.upgrade.state.name).toBe('failed');
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING_ERROR', fault: BAD.error });
  });
});

describe('while a step waits for its next attempt', () => {
  it('no other instance is taken down in its stead: its guest may be at work unheard (G2)', () => {
    // The order arrives, the guest works on it for long, and not a word of it gets out.
    const it = world({
      manager: 'cassandra',
      scripts: { 'db-1': { upgrade: [{ ms: 20_000 }] } },
      policy: { step_timeout_seconds: 2, retries: 5 },
    });
    it.reach('db-1', 'upgrading');
    it.pass(0.1);
    const [sound, deaf] = [it.network, it.guest('db-1')];
    it.network = (what) => (what === 'heartbeat' && deaf.isBusy ? [] : sound(what));
    it.reach('db-1', 'backoff');
    it.pass(1);
    expect(deaf.isDownByUpgrade).toBe(true);
    expect(it.told('pre_upgrade')).toEqual(['db-1']);
  });
});
