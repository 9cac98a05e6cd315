/** Nothing moves for longer than expected: whoever watches is told, once. */
import { describe, expect, it } from 'vitest';
import { describe as sentence } from '../../../src/core/status.ts';
import { silentAt } from '../../../src/core/upgrade/silence.ts';
import type { World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
/** Taken, and at work for ever. */
const HANGS = { ms: 3_600_000 };
const members = { manager: 'cassandra' };
const told = (it: World) => it.eventsOf('no_progress').map(({ message }) => message);
const times = (ms: number) => ({ median_ms: ms, p95_ms: ms });

/** As if steps had been measured to take so long. */
function expecting(it: World, ms: number): World {
  it.upgrade = { ...it.upgrade, expected: { instance: times(ms), switchover: times(ms) } };
  return it;
}

describe('a silence', () => {
  it('that is longer than a step usually takes is told once, with what is waited for', () => {
    const it = expecting(world({ ...members, scripts: { 'db-1': { upgrade: [HANGS] } } }), 120_000);
    const { phase } = it.reach('db-1', 'upgrading');
    if (phase.name !== 'upgrading') throw new Error('not upgrading');
    it.until(() => told(it).length > 0);
    expect(it.now - it.upgrade.progressed).toBeGreaterThanOrEqual(120_000);
    expect(it.now - it.upgrade.progressed).toBeLessThan(121_000);
    expect(told(it)).toEqual([
      expect.stringMatching(
        /^nothing has moved for 120 s: db-1 is upgrading, and its guest agent has accepted the order \(the order is repeated at \S+Z\)$/,
      ),
    ]);
    expect(sentence(it.upgrade, it.cluster, it.now)).toContain('nothing has moved for 2 min');
    it.pass(200);
    expect(told(it)).toHaveLength(1);
  });

  it('is no shorter than half a minute, however quick steps are', () => {
    const it = expecting(world({ ...members, scripts: { 'db-1': { upgrade: [HANGS] } } }), 50);
    it.reach('db-1', 'upgrading');
    it.until(() => told(it).length > 0);
    expect(it.now - it.upgrade.progressed).toBeGreaterThanOrEqual(30_000);
  });

  it('ends with whatever moves, and may be told again of the next', () => {
    const it = expecting(
      world({
        ...members,
        policy: { step_timeout_seconds: 60 },
        scripts: { 'db-1': { upgrade: [HANGS, HANGS] } },
      }),
      50,
    );
    it.until(() => told(it).length === 1);
    it.until(() => it.eventsOf('step_retrying').length === 1);
    expect(it.upgrade.silent).toBe(false);
    it.until(() => told(it).length === 2);
  });

  it('tells of a gate that does not clear', () => {
    const it = expecting(world({ ...members, instances: 1, last_heard_s_ago: 60 }), 50);
    it.guest('db-1').awayUntil = Number.POSITIVE_INFINITY;
    it.until(() => told(it).length > 0, 600);
    expect(told(it)[0]).toMatch(/db-1 waits for guests_alive/);
  });

  it('is none while a soak or a back-off lasts, nor while a person is awaited', () => {
    const soaking = expecting(world({ ...members, instances: 1, policy: { soak_seconds: 3_600 } }), 50);
    soaking.settle();
    expect(told(soaking)).toEqual([]);
    const paused = expecting(world({ ...members, policy: { canary: 1 } }), 50);
    paused.settle();
    expect(paused.upgrade.state).toMatchObject({ name: 'paused', reason: 'canary' });
    expect(silentAt(paused.upgrade)).toBeNull();
    paused.pass(3_600);
    expect(told(paused)).toEqual([]);
  });
});
