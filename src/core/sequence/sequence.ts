/**
 * The sequence in which the instances of a cluster are upgraded. A sequence that only one datastore has is kept
 * with its manager in `../managers/`.
 *
 * - `primary-replica.ts`: replicas first, then a switchover, the old primary last
 * - `creation.ts`: one after the other, as they were created
 */
import type { Cluster, Instant } from '../domain.ts';
import type { StepKind } from '../history.ts';

/** A step before it has an id: its kind, its instance and its stage. */
export interface Move {
  readonly kind: StepKind;
  readonly instance_id: string;
  /** Moves of one stage may run side by side, as far as `max_unavailable` allows. */
  readonly stage: number;
  /** The instance is broken already, so that its upgrade costs no availability. */
  readonly repair: boolean;
}

/** Instances that already run `to_version` need no move. */
export type Sequence = (cluster: Cluster, to_version: string, now: Instant) => readonly Move[];
