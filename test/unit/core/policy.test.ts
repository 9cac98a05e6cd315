/** The policy table of the design: its defaults, and what its words come to. */
import { describe, expect, it } from 'vitest';
import { GATES } from '../../../src/core/phase.ts';
import {
  DEFAULT_POLICY,
  isOverridden,
  maxUnavailable,
  OVERRIDABLE_GATES,
  type Policy,
} from '../../../src/core/policy.ts';

const limit = (max_unavailable: Policy['max_unavailable'], instances: number) =>
  maxUnavailable({ ...DEFAULT_POLICY, max_unavailable }, instances);

describe('a policy that nobody gave', () => {
  it('takes one instance at a time, asks a person when it fails, and waits for nothing', () => {
    expect(DEFAULT_POLICY).toMatchObject({
      ...{ max_unavailable: 1, canary: 0, soak_seconds: 0, retries: 2, on_failure: 'pause' },
      ...{ step_timeout_seconds: 600, timeout_seconds: 36_000 },
      ...{ not_before: null, window: null, overrides: [] },
    });
  });
});

describe('max_unavailable', () => {
  it.each([
    [3, 9, 3],
    [3, 2, 3],
    ['50%', 3, 1],
    ['50%', 4, 2],
    ['99%', 100, 99],
    ['12.5%', 8, 1],
    ['100%', 7, 7],
    ['1%', 3, 1],
  ] as const)(
    '%s of %i instances is %i: never more than asked for, and one at least',
    (value, instances, expected) => {
      expect(limit(value, instances)).toBe(expected);
    },
  );
});

describe('an override', () => {
  it('is of the gate that it names, and of no other', () => {
    const overrides = [
      { gate: 'version_path', reason: 'tried in staging' },
      { gate: 'guests_alive', reason: 'known to be slow' },
    ] as const;
    expect(GATES.filter((gate) => isOverridden({ overrides }, gate))).toEqual([
      'version_path',
      'guests_alive',
    ]);
    expect(GATES.filter((gate) => isOverridden(DEFAULT_POLICY, gate))).toEqual([]);
  });

  it('is possible of every gate but that the cluster is idle (G3), that nobody else takes writes (G6), and that no agent refuses', () => {
    expect(GATES.filter((gate) => !OVERRIDABLE_GATES.some((other) => other === gate))).toEqual([
      'cluster_idle',
      'adoption_accepted',
      'one_primary',
    ]);
  });
});
