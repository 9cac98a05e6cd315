/** When a batch wants to be looked at again: no later than time moves it on, and no more often than helps (G1). */
import { describe, expect, it } from 'vitest';
import { type BatchWorldOptions, T0 } from './world.ts';
import { batchWorlds, FAIL } from './worlds.ts';

const world = batchWorlds();
const SLOW = [{ takes_s: 10_000 }];
const slow = { 'c-1': SLOW, 'c-2': SLOW, 'c-3': SLOW };

/** After so many seconds: how many more the batch may be left alone. */
function nextLook(options: BatchWorldOptions, after_s: number): number | null {
  const it = world({ scripts: slow, ...options });
  it.pass(after_s);
  it.feed({ type: 'wake' });
  return it.next_look_s;
}

describe('a batch is looked at again', () => {
  it.each<[string, BatchWorldOptions, number, number]>([
    ['now and then while upgrades are in flight', {}, 1, 5],
    ['as rarely where its wave has no place for more', { waves: [{ max_concurrent: 1 }] }, 1, 5],
    ['soon where it has to share the places for more', { waves: [{}], max_concurrent_total: 1 }, 1, 1],
    ['rarely while it waits for a person', { waves: [{ approval: true }] }, 1, 60],
    ['when the time of a cluster comes', { policy: { not_before: T0 + 30_000 } }, 10, 20],
    ['but now and then, however far off that is', { policy: { not_before: T0 + 90_000_000 } }, 10, 60],
    ['when a busy cluster is to be asked again', { clusters: 1, busy_s: { 'c-1': 60 } }, 1, 4],
    [
      'when its soak has held',
      { clusters: 2, scripts: {}, waves: [{ share: 1, soak_seconds: 3 }, {}] },
      11,
      2,
    ],
    [
      'as often as health may change until then',
      { clusters: 2, scripts: {}, waves: [{ share: 1, soak_seconds: 600 }, {}] },
      11,
      5,
    ],
  ])('%s', (_, options, after_s, seconds) => {
    expect(nextLook(options, after_s)).toBe(seconds);
  });

  it('at once where more can begin than was read', () => {
    const it = world({ clusters: 20, waves: [{ max_concurrent: 20 }] });
    it.feed({ type: 'wake' });
    expect(it.next_look_s).toBe(0);
  });

  it('rarely while it is paused, but as often as ever while something is in flight', () => {
    const it = world({ clusters: 2, waves: [{ max_concurrent: 1 }] });
    it.pass(1);
    it.act({ action: 'pause' });
    expect(it.next_look_s).toBe(5);
    it.settle();
    expect(it.next_look_s).toBe(60);
  });

  it('soon while a wave is taken back and there are places for more', () => {
    const it = world({ clusters: 4, waves: [{ share: 3 }, { approval: true }], max_concurrent_total: 1 });
    it.settle();
    it.act({ action: 'rollback' });
    it.feed({ type: 'wake' });
    expect(it.countOf('running')).toBe(1);
    expect(it.next_look_s).toBe(1);
  });

  it('never once it has ended', () => {
    const it = world({ clusters: 1, scripts: { 'c-1': FAIL } });
    it.settle();
    it.act({ action: 'cancel' });
    expect(it.next_look_s).toBeNull();
  });
});
