/**
 * In which order the instances of a cluster are upgraded. `primary-replica.ts` replicas first, then a switchover, the
 * old primary last · `creation.ts` one after the other, as they were made. Orders that one datastore alone has stand
 * with their manager in `../managers/`.
 */
import type { Cluster, Instant } from '../domain.ts';
import type { StepKind } from '../history.ts';

/** A step before it has an identity: what, to whom, and in which stage. */
export interface Move {
  readonly kind: StepKind;
  readonly instance_id: string;
  /** Moves of one stage may run side by side, as far as `max_unavailable` allows. */
  readonly stage: number;
  /** The instance is broken already, so that its upgrade costs no availability. */
  readonly repair: boolean;
}

/** Instances that already run `to_version` need no move. */
export type Order = (cluster: Cluster, to_version: string, now: Instant) => readonly Move[];
