/** Whether a guest may still be at work on an old order is data, and never read from words (G2). */
import { describe, expect, it } from 'vitest';
import { World } from './world.ts';

const AT_WORK = 'the guest agent did not finish upgrading within 600 s; it may still be at work on its order';

describe('an instance whose upgrade has ended', () => {
  it.each([AT_WORK, 'its status was reset while it was being upgraded'])(
    'is in no doubt because of what its guest says went wrong: %s',
    (error) => {
      const it = new World({
        policy: { retries: 0, on_failure: 'fail' },
        scripts: { 'db-2': { upgrade: { error, permanent: true } } },
      });
      it.settle();
      expect(it.upgrade.state.name).toBe('failed');
      expect(it.instance('db-2')).toMatchObject({ task: 'UPGRADING_ERROR', fault: error, in_doubt: false });
    },
  );

  it('is in doubt when its guest said nothing, also if a person had it tried again and then cancelled', () => {
    const silent = Array.from({ length: 2_000 }, () => ({ silent: true }));
    const it = new World({
      policy: { retries: 0, step_timeout_seconds: 30 },
      scripts: { 'db-2': { upgrade: silent } },
    });
    it.settle();
    expect(it.instance('db-2').in_doubt).toBe(false);
    it.guest('db-2').awayUntil = it.now + 600_000;
    it.pass(30);
    it.act('retry');
    it.pass(3);
    it.act('cancel');
    it.settle();
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.instance('db-2')).toMatchObject({ task: 'UPGRADING_ERROR', in_doubt: true });
    expect(it.instance('db-2').fault).toMatch(/may still be at work on its order$/);
    expect(it.violations).toEqual([]);
  });

  it('is in doubt after a reset, until the next upgrade has ordered it anew', () => {
    const it = new World({ scripts: { 'db-2': { upgrade: { ms: 9_000 } } } });
    it.reach('db-2', 'upgrading');
    it.feed({ type: 'reset', by: 'ann' });
    expect(it.instance('db-2').in_doubt).toBe(true);
    it.takeUp('retry', 'u2');
    it.reach('db-2', 'upgrading');
    expect(it.instance('db-2').in_doubt).toBe(false);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });
});
