import type { Instant } from './domain.ts';
import type { Window } from './window.ts';

/**
 * How an upgrade may do its work. The policy is sent with the request, with every field optional; it is stored
 * with the upgrade, and returned with it. Durations are in seconds, since people type them.
 */
export interface Policy {
  /** Instances that may be out of service at once because of the upgrade (G2). */
  readonly max_unavailable: number | Percentage;
  /** After this many instances, wait for `approve`; 0: never. */
  readonly canary: number;
  /** After a step forward, the instance must stay healthy this long before the next step starts. */
  readonly soak_seconds: number;
  /** The time for one attempt of a step. */
  readonly step_timeout_seconds: number;
  /** The time for the whole upgrade, without the time that it waited for a person. */
  readonly timeout_seconds: number;
  /** Attempts per step beyond the first, with exponential back-off. */
  readonly retries: number;
  /** What to do when a step has used up its retries. */
  readonly on_failure: OnFailure;
  /** Start no step before this time; null: start at once. */
  readonly not_before: Instant | null;
  /**
   * Start a step forward only while the window is open, and only if the step can finish in it; null: always.
   */
  readonly window: Window | null;
  /**
   * Gates to skip, and why. The overrides end with the upgrade; its record says who asked for them, and when.
   */
  readonly overrides: readonly Override[];
}

/** A share of the cluster's instances, e.g. `25%`: rounded down, but at least one instance. */
export type Percentage = `${number}%`;

/**
 * The gates that a person may override. Two cannot be overridden: whether the cluster is idle (G3), and whether
 * each replica set has one primary, since no sequence is right where two primaries take writes (G6).
 */
export const OVERRIDABLE_GATES = [
  'version_active',
  'version_path',
  'guests_alive',
  'instances_healthy',
  'replication_caught_up',
  'unlogged_tables',
  'logical_slots',
  'upgrade_needed',
] as const;

export interface Override {
  readonly gate: (typeof OVERRIDABLE_GATES)[number];
  readonly reason: string;
}

export const ON_FAILURE = ['pause', 'rollback', 'fail'] as const;
type OnFailure = (typeof ON_FAILURE)[number];

export const DEFAULT_POLICY: Policy = {
  max_unavailable: 1,
  canary: 0,
  soak_seconds: 0,
  step_timeout_seconds: 600,
  timeout_seconds: 36_000,
  retries: 2,
  on_failure: 'pause',
  not_before: null,
  window: null,
  overrides: [],
};

/** `max_unavailable` as a number of instances. */
export function maxUnavailable({ max_unavailable }: Policy, instances: number): number {
  if (typeof max_unavailable === 'number') return max_unavailable;
  return Math.max(1, Math.floor((instances * Number.parseFloat(max_unavailable)) / 100));
}

/** The policy as a request states it, in JSON: a time is text, and a field that is null is left out. */
export function statedPolicy({ not_before, window, ...rest }: Policy): Readonly<Record<string, unknown>> {
  return {
    ...rest,
    ...(window !== null && { window }),
    ...(not_before !== null && { not_before: new Date(not_before).toISOString() }),
  };
}

export function isOverridden({ overrides }: Pick<Policy, 'overrides'>, gate: string): boolean {
  return overrides.some((override) => override.gate === gate);
}
