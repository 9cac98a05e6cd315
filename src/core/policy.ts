/**
 * How an upgrade may go about its work: sent with the request, all optional, stored with the
 * upgrade, shown back. Durations are in seconds, since people type them.
 */
export interface Policy {
  /** Instances that may be out of service at once because of the upgrade (G2). */
  readonly max_unavailable: number;
  /** After this many instances, wait for `approve`; 0: never. */
  readonly canary: number;
  /** After a step, health must hold this long before the next starts. */
  readonly soak_seconds: number;
  /** For one attempt of a step. */
  readonly step_timeout_seconds: number;
  /** For the whole upgrade, without the time that it waited for a person. */
  readonly timeout_seconds: number;
  /** Attempts per step beyond the first, with exponential back-off. */
  readonly retries: number;
  /** What to do when a step has used up its retries. */
  readonly on_failure: OnFailure;
}

export const ON_FAILURE = ['pause', 'fail'] as const;
export type OnFailure = (typeof ON_FAILURE)[number];

export const DEFAULT_POLICY: Policy = {
  max_unavailable: 1,
  canary: 0,
  soak_seconds: 0,
  step_timeout_seconds: 600,
  timeout_seconds: 36_000,
  retries: 2,
  on_failure: 'pause',
};
