/**
 * The record of an upgrade: Redis holds it, and `advance` moves it on. Each phase of a step carries only the
 * data of that phase, so that no impossible mixture can be written.
 */
import type { AttemptId, Cluster, Instance, InstanceTask, Instant } from './domain.ts';
import type { ExpectedTimes, MeasuredKind, StepKind } from './history.ts';
import type { Phase, PhaseName } from './phase.ts';
import type { Policy } from './policy.ts';

export interface Upgrade {
  readonly id: string;
  readonly cluster_id: string;
  /** The one instance that is to be upgraded; absent if the whole cluster is. */
  readonly instance_id?: string;
  readonly tenant_id: string;
  /** Counts commits; a commit names the revision that it read (compare-and-set). */
  readonly revision: number;
  /** Number of the last event emitted; the numbers have no gaps (G9). */
  readonly seq: number;
  readonly from_version_id: string;
  readonly from_version: string;
  readonly to_version_id: string;
  readonly to_version: string;
  readonly policy: Policy;
  /** Who asked for the upgrade, and under which request id; every log line about the upgrade names this. */
  readonly requested_by: RequestedBy;
  readonly created: Instant;
  readonly state: UpgradeState;
  /** A person asked to stop; the upgrade ends as `cancelled` once nothing is in flight. */
  readonly cancelling: boolean;
  /**
   * A person has approved that the upgrade continues past its canary: with the present version, not with any
   * later one.
   */
  readonly approved: boolean;
  /**
   * The time so far that does not count against the timeout, without the pause that the upgrade is in: see
   * `upgrade/time.ts`.
   */
  readonly waited_ms: number;
  /**
   * Ids of the last messages by which people acted on the upgrade: a message that arrives again, late, changes
   * nothing.
   */
  readonly acted: readonly string[];
  /** `back` while the cluster returns to the version that it came from. */
  readonly direction: 'forward' | 'back';
  /** Counts the goals: a rollback, or a retry with another version, begins a new round with its own plan. */
  readonly round: number;
  /** Why the upgrade turned back, for a reader of its end; absent where nothing turned it back. */
  readonly back_because?: string;
  /** The last round that has a plan; -1 before the first. */
  readonly planned_round: number;
  /**
   * How long the cluster took no writes because of the upgrade: switchovers, and primaries that were upgraded
   * in place.
   */
  readonly write_outage_ms: number;
  /** The batch that the upgrade is part of; null for one that stands alone. */
  readonly batch: BatchPlace | null;
  /** How long steps take, as measured before the upgrade was accepted. */
  readonly expected: ExpectedTimes;
  /** When something moved last. */
  readonly progressed: Instant;
  /** A `no_progress` event has reported that nothing has moved since then. */
  readonly silent: boolean;
  /** The ended upgrade that this one takes up again; null for one that stands alone. */
  readonly follows: Follows | null;
  /** Changes of an adopted cluster from outside that it was paused for: it is not paused for them again. */
  readonly noticed?: readonly string[];
  /** Empty until a taskmanager has planned it. */
  readonly steps: readonly Step[];
}

/** Which member of which batch an upgrade belongs to. */
export interface BatchPlace {
  readonly id: string;
  readonly position: number;
}

export interface Follows {
  readonly upgrade_id: string;
  readonly as: 'retry' | 'rollback';
}

export interface RequestedBy {
  readonly user: string | null;
  readonly request_id: string;
  /** The span of the request, as W3C's `traceparent` names it; absent where nothing is traced. */
  readonly trace?: string;
  /** The client's address, and which of our addresses it used, as notifications report them. */
  readonly client_ip?: string;
  readonly server_ip?: string;
  /** By which of the three ways the request came in. */
  readonly via: (typeof WAYS_IN)[number];
}

export const WAYS_IN = ['rest', 'rpc', 'queue'] as const;

export type UpgradeState =
  /** Accepted and stored; no taskmanager has started it. */
  | { readonly name: 'scheduled' }
  | { readonly name: 'running'; readonly started: Instant }
  /**
   * The upgrade waits for a person, or for its window; `message` says for what. This time does not count
   * against the timeout.
   */
  | {
      readonly name: 'paused';
      readonly started: Instant;
      readonly since: Instant;
      readonly reason: PauseReason;
      readonly message: string;
      /** When the upgrade continues by itself; null when it waits for a person. */
      readonly until: Instant | null;
    }
  | { readonly name: 'succeeded'; readonly started: Instant; readonly ended: Instant }
  | { readonly name: 'failed'; readonly started: Instant; readonly ended: Instant; readonly message: string }
  | {
      readonly name: 'rolled_back' | 'cancelled';
      readonly started: Instant;
      readonly ended: Instant;
      readonly message: string;
    };

export type StateName = UpgradeState['name'];
export const ACTIVE_STATES: readonly StateName[] = ['scheduled', 'running', 'paused'];
export const PAUSE_REASONS = ['requested', 'canary', 'window', 'failure', 'gate'] as const;
export type PauseReason = (typeof PAUSE_REASONS)[number];

/** One part of a plan. Steps of a lower stage end before one of a higher stage starts. */
export interface Step {
  /** Position in the plan, from 0; names the step for ever. */
  readonly id: number;
  readonly stage: number;
  /** The goal that the step belongs to: see `Upgrade.round`. */
  readonly round: number;
  /** The version that the instance is to run afterwards. */
  readonly to_version: string;
  /** False if the guest answered that there is no way back from this step; null if it did not say. */
  readonly reversible: boolean | null;
  /**
   * The guest was ordered to upgrade: from then on the instance may run either version, until the guest reports
   * which.
   */
  readonly touched: boolean;
  /**
   * An attempt to upgrade was not answered, or was cut off: the guest may be at work on it, until it has had a
   * newer one.
   */
  readonly in_doubt: boolean;
  readonly kind: StepKind;
  /** The instance that the step is about; in a switchover, the primary that steps down. */
  readonly instance_id: string;
  /** In a switchover, the instance that takes over; null until the switchover starts. */
  readonly successor_id: string | null;
  /**
   * The instance has handed over to its successor and is down: this step brings it back, whatever becomes of the
   * upgrade (G8).
   */
  readonly returns: boolean;
  /** The instance was broken before the upgrade: its step costs no availability and goes first. */
  readonly repair: boolean;
  /** The latest attempt, from 1; 0 before the first. Fences off every older message (G4). */
  readonly attempt: number;
  /** Attempts made before the last `retry` by a person: retries are counted from here. */
  readonly attempts_forgiven: number;
  readonly started: Instant | null;
  readonly phase: Phase;
}

/** A line in an upgrade's event stream. */
export interface UpgradeEvent {
  readonly seq: number;
  readonly at: Instant;
  readonly type: UpgradeEventType;
  readonly instance_id?: string;
  readonly step?: number;
  readonly attempt?: number;
  /** For a `step_phase`: the phase that the step has entered. */
  readonly phase?: PhaseName;
  readonly message: string;
}

export const UPGRADE_EVENT_TYPES = [
  'accepted',
  'started',
  'planned',
  'step_started',
  'step_phase',
  'step_retrying',
  'step_done',
  'step_failed',
  'switched_over',
  'gate_blocked',
  'gate_cleared',
  'gate_overridden',
  'paused',
  'resumed',
  'retargeted',
  'no_progress',
  'rolling_back',
  'rolled_back',
  'succeeded',
  'failed',
  'cancelled',
] as const;
export type UpgradeEventType = (typeof UPGRADE_EVENT_TYPES)[number];

/**
 * What is to be done outside of the core, as data. All of it is safe to do twice: the attempt number fences.
 */
export type Effect =
  /** A message to a guest; a call's answer comes back as an input of its own. */
  | {
      readonly kind: 'call' | 'cast';
      readonly instance_id: string;
      readonly attempt: AttemptId;
      /**
       * The messages that the guest understands: a Trove guest gets only those that a Trove taskmanager sends,
       * word by word.
       */
      readonly dialect: 'coffer' | 'trove';
      readonly args: Readonly<Record<string, unknown>>;
      /** For how long the message is of use. */
      readonly timeout_ms: number;
    }
  /** Committed together with the record, in the same atomic step. */
  | {
      readonly kind: 'instance_task';
      readonly instance_id: string;
      readonly task: InstanceTask;
      readonly fault: string | null;
      readonly in_doubt: boolean;
      /** For a Trove guest, if it changes: see `Instance`. */
      readonly told_version?: string | null;
    }
  /** How long a step took that succeeded at its first attempt. Committed together with the record. */
  | { readonly kind: 'measured'; readonly step: MeasuredKind; readonly ms: number }
  /** The upgrade has ended: the cluster's task is NONE again. Committed together with the record. */
  | { readonly kind: 'release'; readonly datastore_version_id: string; readonly datastore_version: string };

/** True until the upgrade has ended, in whatever state. */
export function isActive(upgrade: Upgrade): boolean {
  return ACTIVE_STATES.includes(upgrade.state.name);
}

/** The name of a step of this instance, for people. */
export function titleOf({ kind }: Pick<Step, 'kind'>, instance_name: string): string {
  switch (kind) {
    case 'instance':
      return instance_name;
    case 'switchover':
      return `switchover from ${instance_name}`;
    case 'fence':
      return `fence of ${instance_name}`;
    default:
      return kind satisfies never;
  }
}

/** True if the step is finished, so that the steps after it may start. */
export function isOver({ phase }: Step): boolean {
  return phase.name === 'done' || phase.name === 'skipped';
}

/** The instances that the upgrade is to bring to its goal: all of the cluster, or the one that it is about. */
export function meantBy(
  { instance_id }: Pick<Upgrade, 'instance_id'>,
  { instances }: Cluster,
): readonly Instance[] {
  return instances.filter(({ id }) => instance_id === undefined || id === instance_id);
}

/** The version that the upgrade is on its way to right now. */
export function goalOf({ direction, from_version, to_version }: Upgrade): string {
  return direction === 'back' ? from_version : to_version;
}

export function goalIdOf({ direction, from_version_id, to_version_id }: Upgrade): string {
  return direction === 'back' ? from_version_id : to_version_id;
}

export function isFailed({ phase }: Step): boolean {
  return phase.name === 'failed';
}

/** True for a step whose guest has been sent something that is not settled yet. */
export function isInFlight({ phase }: Step): boolean {
  return 'since' in phase;
}
