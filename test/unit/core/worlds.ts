import { afterEach, expect } from 'vitest';
import { World, type WorldOptions } from './world.ts';

/** Makes worlds for one test file; after each test none of them may have broken an invariant. */
export function worlds(): (options?: WorldOptions) => World {
  const made: World[] = [];
  afterEach(() => {
    const violations = made.splice(0).flatMap((world) => world.violations);
    expect(violations).toEqual([]);
  });
  return (options) => {
    const world = new World(options);
    made.push(world);
    return world;
  };
}
