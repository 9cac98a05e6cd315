/** An instance that only makes ready serves as before: whoever cancels has it left alone (G8, M1). */
import { describe, expect, it } from 'vitest';
import { World } from './world.ts';

const slow = { 'db-2': { pre_upgrade: { ms: 20_000 } }, 'db-1': { pre_upgrade: { ms: 20_000 } } };

describe('an instance that is making ready', () => {
  it.each(['cancel', 'reset'] as const)('is dropped by a %s, and its late answer changes nothing', (how) => {
    const it = new World({ scripts: slow });
    const { attempt } = it.reach('db-2', 'preparing');
    if (how === 'cancel') it.act('cancel');
    else it.feed({ type: 'reset', by: 'ann' });
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.step('db-2').phase.name).toBe('skipped');
    expect(it.instance('db-2')).toMatchObject({ task: 'NONE', fault: null, in_doubt: false });
    const told = it.messages.length;
    const answer = {
      type: 'answered',
      step: it.step('db-2').id,
      attempt,
      action: 'pre_upgrade',
      info: {},
    } as const;
    expect(it.feed(answer).verdict).toBe('stale');
    it.pass(60);
    expect(it.messages.length).toBe(told);
    expect(it.guests.map(({ version }) => version)).toEqual(['17.6', '17.6', '17.6']);
    expect(it.violations).toEqual([]);
  });

  it('is dropped before a switchover too: the primary is not stopped', () => {
    const it = new World({ scripts: { 'db-1': slow['db-1'] } });
    it.reach('db-1', 'preparing', 'switchover');
    it.act('cancel');
    it.pass(60);
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.told('demote')).toEqual([]);
    expect(it.violations).toEqual([]);
  });

  it('is upgraded to its end where a person pauses: it is the one in flight', () => {
    const it = new World({ scripts: slow });
    it.reach('db-2', 'preparing');
    it.act('pause');
    it.pass(120);
    expect(it.step('db-2').phase.name).toBe('done');
    expect(it.told('pre_upgrade')).toEqual(['db-2']);
  });
});
