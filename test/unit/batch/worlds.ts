import { afterEach, expect } from 'vitest';
import { BatchWorld, type BatchWorldOptions, type Script } from './world.ts';

export const FAIL: readonly Script[] = [{ end: 'failed' }];

/** Worlds for one test; afterwards none of them may have broken an invariant. */
export function batchWorlds(): (options?: BatchWorldOptions) => BatchWorld {
  const worlds: BatchWorld[] = [];
  afterEach(() => {
    expect(worlds.splice(0).flatMap(({ violations }) => violations)).toEqual([]);
  });
  return (options = {}) => {
    const it = new BatchWorld(options);
    worlds.push(it);
    return it;
  };
}
