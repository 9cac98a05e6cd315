/**
 * The record of an upgrade: what Redis holds and what `advance` moves on. Each phase of a step
 * carries only the data of that phase, so that no impossible mixture can be written.
 */
import type { AttemptId, Cluster, Endpoint, Instance, InstanceTask, Instant, UpgradeInfo } from './domain.ts';
import type { ExpectedTimes, MeasuredKind, StepKind } from './history.ts';
import type { Policy } from './policy.ts';

export interface Upgrade {
  readonly id: string;
  readonly cluster_id: string;
  /** The one instance that is to be upgraded; absent where the whole cluster is. */
  readonly instance_id?: string;
  readonly tenant_id: string;
  /** Counts commits; a commit names the revision it read (compare-and-set). */
  readonly revision: number;
  /** Number of the last event emitted; they are gapless (G9). */
  readonly seq: number;
  readonly from_version_id: string;
  readonly from_version: string;
  readonly to_version_id: string;
  readonly to_version: string;
  readonly policy: Policy;
  /** Who asked, and under which request id; follows the upgrade into every log line. */
  readonly requested_by: RequestedBy;
  readonly created: Instant;
  readonly state: UpgradeState;
  /** A person asked to stop; it ends as `cancelled` once nothing is in flight. */
  readonly cancelling: boolean;
  /** A person has approved going on past the canary: with the present version, not with any that it may be sent to later. */
  readonly approved: boolean;
  /** Time that does not count against the timeout so far, without the pause that it is in: see `machine/time.ts`. */
  readonly waited_ms: number;
  /** Ids of the last messages by which people acted on it: one that comes again, late, changes nothing. */
  readonly acted: readonly string[];
  /** `back` while it returns to the version that it came from. */
  readonly direction: 'forward' | 'back';
  /** Counts the goals: a rollback, or a retry with another version, begins a new round with its own plan. */
  readonly round: number;
  /** Why it turned round, for whoever looks at its end; absent where nobody turned it. */
  readonly back_because?: string;
  /** The last round that has a plan; -1 before the first. */
  readonly planned_round: number;
  /** How long the cluster took no writes because of it: switchovers, and primaries that were upgraded in place. */
  readonly write_outage_ms: number;
  /** The batch that it is part of; null for one that stands for itself. */
  readonly batch: BatchPlace | null;
  /** How long a step takes, by what was measured before it was accepted. */
  readonly expected: ExpectedTimes;
  /** When something has moved last. */
  readonly progressed: Instant;
  /** A `no_progress` event has told that nothing has moved since. */
  readonly silent: boolean;
  /** The ended upgrade that it takes up again; null for one that stands for itself. */
  readonly follows: Follows | null;
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
  /** From where, and at which of our addresses, as notifications tell it. */
  readonly client_ip?: string;
  readonly server_ip?: string;
  /** Which of the three ways in. */
  readonly via: (typeof WAYS_IN)[number];
}

export const WAYS_IN = ['rest', 'rpc', 'queue'] as const;

export type UpgradeState =
  /** Accepted and safe; no taskmanager has taken it up. */
  | { readonly name: 'scheduled' }
  | { readonly name: 'running'; readonly started: Instant }
  /** Waits for a person, or for its window; `message` says for what. Time in here does not count against the timeout. */
  | {
      readonly name: 'paused';
      readonly started: Instant;
      readonly since: Instant;
      readonly reason: PauseReason;
      readonly message: string;
      /** When it goes on by itself; null when it waits for a person. */
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

export const GATES = [
  'cluster_idle',
  'version_active',
  'version_path',
  'guests_alive',
  'one_primary',
  'instances_healthy',
  'replication_caught_up',
  'unlogged_tables',
  'logical_slots',
  'upgrade_needed',
] as const;
export type GateName = (typeof GATES)[number];

/** A condition that holds a step back, and since when. */
export interface Blocked {
  readonly gate: GateName;
  readonly reason: string;
  readonly since: Instant;
}

/** One part of a plan. Steps of a lower stage end before one of a higher stage starts. */
export interface Step {
  /** Position in the plan, from 0; names the step for ever. */
  readonly id: number;
  readonly stage: number;
  /** Which goal it belongs to: see `Upgrade.round`. */
  readonly round: number;
  /** The version that its instance is to run afterwards. */
  readonly to_version: string;
  /** False if its guest said that there is no way back from it; null if it did not say. */
  readonly reversible: boolean | null;
  /** Its guest was told to upgrade: from then on it may run either version, until it says which. */
  readonly touched: boolean;
  /** An attempt of it to upgrade stayed without an answer, or was cut off: its guest may be at work on that, until it has had a newer one. */
  readonly in_doubt: boolean;
  readonly kind: StepKind;
  /** Whom it is about; of a switchover: the primary that steps down. */
  readonly instance_id: string;
  /** Of a switchover: who takes over; null until it starts. */
  readonly successor_id: string | null;
  /** Broken before the upgrade: costs no availability, goes first. */
  readonly repair: boolean;
  /** The latest attempt, from 1; 0 before the first. Fences off every older message (G4). */
  readonly attempt: number;
  /** Attempts made before the last `retry` by a person: retries are counted from here. */
  readonly attempts_forgiven: number;
  readonly started: Instant | null;
  readonly phase: Phase;
}

/** A message to a guest is under way: it is said again at `recast`, and given up at `deadline`. */
interface Outstanding {
  readonly since: Instant;
  readonly recast: Instant;
  readonly deadline: Instant;
  /** The guest has said that it took the attempt: recasts slow down. */
  readonly accepted: boolean;
}

/** What was heard from a Trove guest since its order to upgrade, and what was known before: see `trove-guest.ts`. */
export interface Evidence {
  /** When the order was said, by the guest's clock; null if its clock is not known. */
  readonly told_at: Instant | null;
  /** When it was told. */
  readonly was_healthy: boolean;
  /** By the last report since; null before the first. */
  readonly is_healthy: boolean | null;
  /** It was reported out of service after it had been healthy. */
  readonly has_left: boolean;
  /** It has answered that it has finished. */
  readonly answered: boolean;
  /** How many reports have come since. */
  readonly reports: number;
}

type Handover = Readonly<Record<string, unknown>>;

export type Phase =
  | { readonly name: 'pending'; readonly blocked: Blocked | null }
  | { readonly name: 'backoff'; readonly until: Instant; readonly error: string }
  /** `pre_upgrade` is called: the guest fetches and checks, and goes on serving. */
  | ({ readonly name: 'preparing' } & Outstanding)
  /** `upgrade` is cast: the instance is out of service for a moment. */
  | ({
      readonly name: 'upgrading';
      readonly info: UpgradeInfo;
      /** Of a Trove guest's instance: absent where a guest of ours reports on its attempts. */
      readonly evidence?: Evidence;
    } & Outstanding)
  /** `post_upgrade` is called; the guest checks itself. */
  | ({ readonly name: 'verifying'; readonly info: UpgradeInfo } & Outstanding)
  /** The guest has done all; its heartbeat must say so too: healthy, on the new version. */
  | { readonly name: 'settling'; readonly since: Instant; readonly deadline: Instant }
  | { readonly name: 'soaking'; readonly since: Instant; readonly until: Instant }
  /** A fence: the guest is to say that it has heard of this upgrade, and so of no older one any more. */
  | ({ readonly name: 'fencing' } & Outstanding)
  /** Switchover: the old primary stops after sending everything. */
  | ({ readonly name: 'demoting' } & Outstanding)
  /** Switchover: the successor takes over once it has everything up to `lsn`. */
  | ({
      readonly name: 'promoting';
      readonly lsn: string;
      /** What the demoted primary passes on to its successor, in the words of their driver; absent where it has nothing. */
      readonly handover?: Handover;
      readonly down_since: Instant;
    } & Outstanding)
  /** Switchover: the other standbys turn to the new primary. */
  | ({
      readonly name: 'following';
      readonly primary: Endpoint;
      readonly remaining: readonly string[];
    } & Outstanding)
  /** Switchover undone: the successor refused, so the old primary serves again. */
  | ({
      readonly name: 'restoring';
      readonly lsn: string;
      readonly down_since: Instant;
      readonly error: string;
    } & Outstanding)
  | { readonly name: 'done'; readonly ended: Instant }
  | {
      readonly name: 'failed';
      readonly ended: Instant;
      readonly error: string;
      /** Nobody can tell whether its order was carried out: a person who has looked may say so. */
      readonly unconfirmed?: true;
    }
  /** The goal has changed before its turn came, or before it succeeded. */
  | { readonly name: 'skipped'; readonly ended: Instant };

export type PhaseName = Phase['name'];

/** A line in an upgrade's event stream. */
export interface UpgradeEvent {
  readonly seq: number;
  readonly at: Instant;
  readonly type: UpgradeEventType;
  readonly instance_id?: string;
  readonly step?: number;
  readonly attempt?: number;
  /** Of a `step_phase`: the phase that the step has entered. */
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

/** What is to be done outside, as data. All of it is safe to do twice: the attempt number fences. */
export type Effect =
  /** A message to a guest; a call's answer comes back as an input of its own. */
  | {
      readonly kind: 'call' | 'cast';
      readonly instance_id: string;
      readonly attempt: AttemptId;
      /** What the guest understands: of Trove's, only what a Trove taskmanager says, word by word. */
      readonly dialect: 'coffer' | 'trove';
      readonly args: Readonly<Record<string, unknown>>;
      /** For how long the message is worth anything. */
      readonly timeout_ms: number;
    }
  /** Committed together with the record, in the same atomic step. */
  | {
      readonly kind: 'instance_task';
      readonly instance_id: string;
      readonly task: InstanceTask;
      readonly fault: string | null;
      readonly in_doubt: boolean;
      /** Of a Trove guest, where it changes: see `Instance`. */
      readonly told_version?: string | null;
    }
  /** How long a step has taken that succeeded at its first attempt. Committed together with the record. */
  | { readonly kind: 'measured'; readonly step: MeasuredKind; readonly ms: number }
  /** The upgrade has ended: the cluster's task is NONE again. Committed together with the record. */
  | { readonly kind: 'release'; readonly datastore_version_id: string; readonly datastore_version: string };

/** True until the upgrade has ended, in whatever state. */
export function isActive(upgrade: Upgrade): boolean {
  return ACTIVE_STATES.includes(upgrade.state.name);
}

/** How people call a step of this instance. */
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

/** Nothing more comes of it, and what follows may start. */
export function isOver({ phase }: Step): boolean {
  return phase.name === 'done' || phase.name === 'skipped';
}

/** The instances that it is to bring to its goal: all of the cluster, or the one that it is about. */
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

/** True for a step whose guest has been told something that is not yet settled. */
export function isInFlight(step: Step): boolean {
  switch (step.phase.name) {
    case 'pending':
    case 'backoff':
    case 'done':
    case 'failed':
    case 'skipped':
      return false;
    default:
      return true;
  }
}
