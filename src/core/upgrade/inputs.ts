/** What goes into the machine, and what comes out of it. */
import type {
  AnsweredAction,
  AttemptReport,
  Cluster,
  DatastoreVersion,
  Instant,
  ServiceStatus,
  UpgradeInfo,
} from '../domain.ts';
import type { Effect, Upgrade, UpgradeEvent } from '../record.ts';

/** What a heartbeat says about the server, and when it was sent by the guest's clock. */
export interface ServerReport {
  readonly status: ServiceStatus;
  readonly sent: Instant;
}

/** What can happen to an upgrade. */
export type Input =
  /** Time has passed, or the cluster has changed: check everything that waits. */
  | { readonly type: 'wake' }
  /** A process starts and does not know what its predecessor had sent: send all outstanding messages again. */
  | { readonly type: 'recover' }
  /** A guest answered a call. */
  | {
      readonly type: 'answered';
      readonly step: number;
      readonly attempt: number;
      readonly action: AnsweredAction;
      readonly info: UpgradeInfo;
    }
  /**
   * A guest executed a call and failed. A missing answer is not a failure: the call is sent again until the
   * deadline.
   */
  | {
      readonly type: 'call_failed';
      readonly step: number;
      readonly attempt: number;
      readonly action: AnsweredAction;
      readonly error: string;
      readonly permanent: boolean;
    }
  /** A heartbeat came in; `report` is about the guest's last attempt, if there was one. */
  | {
      readonly type: 'reported';
      readonly instance_id: string;
      readonly report: AttemptReport | null;
      /** A Trove guest never reports more. */
      readonly server?: ServerReport;
    }
  /** An administrator frees the cluster: the upgrade ends now, whether steps are in flight or not. */
  | { readonly type: 'reset'; readonly by: string }
  | {
      readonly type: 'action';
      /** The id of the message that asks for this action: the message may arrive twice, and late. */
      readonly id?: string;
      readonly action: Action;
      readonly by: string;
      /**
       * With `retry`: a corrected version in place of the one that fails. With `approve`: the version that is
       * approved.
       */
      readonly target?: { readonly id: string; readonly name: string };
      /** With `confirm`: the attempt whose server the person has checked. */
      readonly about?: Pick<AttemptReport, 'step' | 'attempt'>;
    };

export const ACTIONS = ['pause', 'resume', 'approve', 'confirm', 'retry', 'cancel', 'rollback'] as const;
/** What a person can do to an upgrade. */
export type Action = (typeof ACTIONS)[number];

export interface Next {
  readonly upgrade: Upgrade;
  readonly effects: readonly Effect[];
  readonly events: readonly UpgradeEvent[];
  /** `stale`: nothing to commit. `refused`: a person asked for what the state does not allow; see `reason`. */
  readonly verdict: 'applied' | 'stale' | 'refused';
  readonly reason?: string;
}

/** The data that was read together with the record, as one consistent view. */
export interface Seen {
  /** With the last report of each guest. */
  readonly cluster: Cluster;
  /** All versions of its datastore: the catalogue may have changed since the upgrade was accepted. */
  readonly versions: readonly DatastoreVersion[];
  readonly patience?: Patience;
}

/**
 * How long guests take at present to answer an order, at least: no order is sent again before that. Zero where
 * few orders wait for an answer.
 */
export interface Patience {
  readonly call_ms: number;
  readonly cast_ms: number;
}

export const NO_PATIENCE: Patience = { call_ms: 0, cast_ms: 0 };
