/** The form of the table of phases: see `phases.ts`. */
import type { GuestAction, Instant, UpgradeInfo } from '../domain.ts';
import type { Outstanding, Phase, PhaseName } from '../phase.ts';
import type { Step } from '../record.ts';
import type { Draft } from './draft.ts';
import type { ServerReport } from './inputs.ts';

export type PhaseOf<N extends PhaseName> = Extract<Phase, { name: N }>;

/** A phase in which a step waits for guests to carry out an order. */
export type OutstandingPhase = Extract<Phase, Outstanding>;

type Untimed<P> = P extends Outstanding ? Omit<P, keyof Outstanding> : never;

/** A step in one of its phases, and the upgrade that is being changed. */
export interface At<P extends Phase = Phase> {
  readonly draft: Draft;
  readonly step: Step;
  readonly phase: P;
  readonly guest: GuestKind;
}

/**
 * How an attempt failed. `passing`: another one may succeed. `permanent`: none would. `silence`: the guest sent
 * nothing within the step's time, and may still be at work on the order.
 */
type Failing = 'passing' | 'permanent' | 'silence';

/** What becomes of a step; null: the step stays as it is. */
export type Outcome =
  | null
  | ((
      | { readonly kind: 'done' }
      /** The step enters a phase that waits for guests, and the guests are sent their order. */
      | { readonly kind: 'order'; readonly phase: Untimed<OutstandingPhase> }
      /** The order of the present phase is sent again after a pause, as a further attempt. */
      | { readonly kind: 'order_later'; readonly phase: OutstandingPhase }
      /** The step enters a phase in which its guest is sent nothing. */
      | { readonly kind: 'enter'; readonly phase: Phase }
      /** The same phase, of which more is known now. */
      | { readonly kind: 'note'; readonly phase: Phase }
      /** The attempt has failed: another one follows, or the step has failed. */
      | { readonly kind: 'fail'; readonly error: string; readonly failing: Failing }
      /** Nobody can tell whether the order was carried out: a person is asked. */
      | { readonly kind: 'ask'; readonly error: string }
    ) & { readonly step?: Partial<Step> });

/** The end of an order, as a guest's heartbeat reports it. */
export interface Success {
  readonly instance_id: string;
  readonly result: Readonly<Record<string, unknown>>;
}

export interface Failure {
  readonly instance_id: string;
  readonly error: string;
  readonly permanent: boolean;
}

/** The order that a step in this phase has given, until its guests have carried it out. */
interface OrderRules<P extends Phase = Phase> {
  readonly action: GuestAction;
  /** The instances whose guests get the order; absent: the step's own instance. */
  addressees?(at: At<P>): readonly string[];
  args(at: At<P>): Readonly<Record<string, unknown>>;
  /** True if the guest answers the order; otherwise its heartbeats report the end. */
  readonly isCall: boolean;
  /**
   * For a guest that would carry out every copy of the order: it is sent again only after this long; null:
   * never within the attempt. Absent for guests that recognise a copy.
   */
  readonly repeat_ms?: number | null;
}

/**
 * Everything that is decided about one phase. An entry says what differs from the usual: an attempt that fails
 * is made again until its tries are used up, and silence until the deadline is a failure.
 */
export interface PhaseRules<P extends Phase = Phase> {
  readonly order?: OrderRules<P>;
  /** The guest has answered the call. */
  answered?(at: At<P>, info: UpgradeInfo): Outcome;
  /** A guest has carried out the order. */
  succeeded?(at: At<P>, success: Success): Outcome;
  /** A guest has failed to carry out the order. */
  failed?(at: At<P>, failure: Failure): Outcome;
  /** The deadline has passed; `error` says so in words. */
  silent?(at: At<P>, error: string): Outcome;
  /** Any heartbeat of the step's guest: for guests that report on no attempt. */
  heard?(at: At<P>, report: ServerReport): Outcome;
  /** Checked after every input: what time, or the cluster's reports, have changed. */
  check?(at: At<P>): Outcome;
  /**
   * When the step must be looked at again, whatever happens; null: time alone does not move it. Absent: when an
   * order is to be sent again or its deadline passes; never in a phase without an order.
   */
  wakeAt?(phase: P, now: Instant): Instant | null;
}

export type Phases = { readonly [N in PhaseName]: PhaseRules<PhaseOf<N>> };

/** A kind of guest agent: which orders its guests get, and what is concluded from what they say. */
export interface GuestKind {
  /** Which messages its guests understand. */
  readonly dialect: 'coffer' | 'trove';
  /** False if the guest's reports do not say which version its instance runs. */
  readonly saysVersion: boolean;
  readonly phases: Phases;
}
