/** A primary that serves, and may still carry out an order of an upgrade that was reset (M7, G2). */
import { describe, expect, it } from 'vitest';
import { CUT_OFF } from '../../../src/core/domain.ts';
import type { Outcome } from './guest.ts';
import { FROM, TO, type World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
/** It has expired by then. */
const NEVER_MS = 700_000;

interface Delays {
  readonly demote_ms: number;
  readonly fence_ms?: number;
  readonly fence?: Outcome | readonly Outcome[];
  /** When the next upgrade begins, and until its next heartbeat. */
  readonly seems_broken?: string;
}

/** Its upgrade is reset while the order to step down is under way, and taken up anew. */
function takenUp({ demote_ms, fence_ms = 10, fence, seems_broken }: Delays): World {
  const it = world({ lag_bytes: { 'db-3': 9 }, ...(fence && { scripts: { 'db-1': { fence } } }) });
  it.reach('db-1', 'preparing', 'switchover');
  it.network = (what) => [what === 'order' ? demote_ms : 10];
  it.reach('db-1', 'demoting', 'switchover');
  it.feed({ type: 'reset', by: 'ann' });
  it.network = (what) => [what === 'order' ? fence_ms : 10];
  if (seems_broken) it.heard(seems_broken, { service_status: 'failed', version: FROM });
  it.takeUp('retry', 'u2');
  it.reach('db-1', 'fencing', 'fence');
  it.network = () => [10];
  return it;
}

const demotes = (it: World) => it.guest('db-1').executed.filter((key) => key.includes('demote'));

describe('the next upgrade', () => {
  it('has it refuse that order before anybody goes down', () => {
    const it = takenUp({ demote_ms: 9_000 });
    const step = it.step('db-1', 'fence');
    expect(it.upgrade.steps.filter(({ phase }) => phase.name !== 'pending')).toEqual([step]);
    expect(it.messages.at(-1)).toMatchObject({ kind: 'cast', attempt: { action: 'fence' }, args: {} });
    expect(it.eventsOf('planned')[0]?.message).toBe('fence of db-1, switchover, db-1');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.upgrade.round).toBe(0);
    expect(it.guests.map(({ version }) => version)).toEqual([TO, TO, TO]);
    expect(demotes(it)).toEqual([expect.stringContaining('u2')]);
  });

  it('frees it of its doubt by that, and not before', () => {
    const it = takenUp({ demote_ms: 60_000, fence: { ms: 3_000 } });
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING_ERROR', fault: CUT_OFF });
    it.reach('db-1', 'done', 'fence');
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING', fault: null });
  });

  it('measures nothing by a fence, and tells its end', () => {
    const it = takenUp({ demote_ms: 60_000 });
    it.reach('db-1', 'done', 'fence');
    expect(it.eventsOf('step_done').map(({ message }) => message)).toEqual(['fence of db-1: done']);
  });

  it('makes another plan where the order was carried out before: it is down', () => {
    const it = takenUp({ demote_ms: 600, fence_ms: 3_000 });
    it.settle();
    expect(it.upgrade).toMatchObject({ round: 1 });
    // Who is to lead now, only a person can tell (M4).
    expect(it.message).toContain('db-1 waits for one_primary: none of db-1, db-2, db-3 is the primary');

    expect(it.eventsOf('planned').map(({ message }) => message)).toEqual([
      'fence of db-1, switchover, db-1',
      'db-1',
    ]);
    expect(it.told('upgrade')).toEqual(['db-2', 'db-3']);
  });

  it('waits for its guest, tries again, and asks a person in the end', () => {
    const it = takenUp({
      demote_ms: NEVER_MS,
      fence: Array.from({ length: 3_000 }, () => ({ silent: true })),
    });
    it.settle();
    expect(it.message).toContain('db-1: the guest agent did not finish fencing within 600 s');
    expect(it.told('upgrade')).toEqual(['db-2', 'db-3']);
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING_ERROR', fault: CUT_OFF });
    it.act('cancel');
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING_ERROR', fault: CUT_OFF });
  });

  it('that ends before leaves it in doubt', () => {
    const it = takenUp({ demote_ms: 60_000, fence: { ms: 5_000 } });
    it.feed({ type: 'reset', by: 'ann' });
    expect(it.instance('db-1')).toMatchObject({ task: 'UPGRADING_ERROR', fault: CUT_OFF });
  });

  it('has its whole plan also when that is made anew in the meantime', () => {
    const it = takenUp({ demote_ms: NEVER_MS, fence: { ms: 20_000 }, seems_broken: 'db-3' });
    expect(it.step('db-3').repair).toBe(true);
    it.until(() => it.eventsOf('planned').length > 1);
    expect(it.step('db-1', 'fence').phase.name).toBe('fencing');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('fence')).toEqual(['db-1']);
    expect(it.guests.map(({ version }) => version)).toEqual([TO, TO, TO]);
  });
});
