/** The phases of a step, as the record holds them. What is decided in each is in `upgrade/phases.ts`. */
import type { Endpoint, Instant, UpgradeInfo } from './domain.ts';

export const GATES = [
  'cluster_idle',
  'adoption_accepted',
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
type GateName = (typeof GATES)[number];

/** A gate that does not hold, and why. */
export interface Finding {
  readonly gate: GateName;
  readonly reason: string;
}

/** A condition that holds a step back, and since when. */
interface Blocked {
  readonly gate: GateName;
  readonly reason: string;
  readonly since: Instant;
}

/** A message to a guest is under way: it is sent again at `recast`, and given up at `deadline`. */
export interface Outstanding {
  readonly since: Instant;
  readonly recast: Instant;
  readonly deadline: Instant;
  /** The guest has reported that it accepted the attempt: recasts become rarer. */
  readonly accepted: boolean;
}

/**
 * What a Trove guest has reported since its order to upgrade, and what was known before: see `trove-guest.ts`.
 */
export interface Evidence {
  /**
   * Reports that were sent before this time, by the guest's clock, say nothing new: the time of the order, by the
   * guest's clock or by ours, whichever is ahead; then the time of the latest report.
   */
  readonly since: Instant;
  /**
   * Whether the server was healthy when the order was sent; null if nobody knows: its guest had not been
   * heard lately, or called the server neither healthy nor down.
   */
  readonly was_healthy: boolean | null;
  /** Whether the last report since then says that the server is healthy; null before the first report. */
  readonly is_healthy: boolean | null;
  /** The server was reported out of service after it had been healthy. */
  readonly has_left: boolean;
  /** The guest has answered that it has finished. */
  readonly answered: boolean;
  /** How many reports have come in since. */
  readonly reports: number;
}

type Handover = Readonly<Record<string, unknown>>;

export type Phase =
  | { readonly name: 'pending'; readonly blocked: Blocked | null }
  | { readonly name: 'backoff'; readonly until: Instant; readonly error: string }
  /** `pre_upgrade` is called: the guest fetches and checks, while its server continues to serve. */
  | ({ readonly name: 'preparing' } & Outstanding)
  /** `upgrade` is cast: the instance is out of service for a moment. */
  | ({
      readonly name: 'upgrading';
      readonly info: UpgradeInfo;
      /** For an instance with a Trove guest; absent where a guest of ours reports on its attempts. */
      readonly evidence?: Evidence;
    } & Outstanding)
  /** `post_upgrade` is called; the guest checks itself. */
  | ({ readonly name: 'verifying'; readonly info: UpgradeInfo } & Outstanding)
  /** The guest has done everything; its heartbeat must say so too: healthy, on the new version. */
  | { readonly name: 'settling'; readonly since: Instant; readonly deadline: Instant }
  | { readonly name: 'soaking'; readonly since: Instant; readonly until: Instant }
  /**
   * A fence: the guest is to report that it has received an order of this upgrade, and so carries out no older
   * one any more.
   */
  | ({ readonly name: 'fencing' } & Outstanding)
  /** Switchover: the old primary stops after sending everything. */
  | ({ readonly name: 'demoting' } & Outstanding)
  /** Switchover: the successor takes over once it has everything up to `lsn`. */
  | ({
      readonly name: 'promoting';
      readonly lsn: string;
      /**
       * What the demoted primary passes on to its successor, in a form that only their driver knows; absent if
       * there is nothing.
       */
      readonly handover?: Handover;
      readonly down_since: Instant;
    } & Outstanding)
  /** Switchover: the other standbys follow the new primary. */
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
      /**
       * Nobody can tell whether the order was carried out: a person who has checked may confirm that it was.
       */
      readonly unconfirmed?: true;
    }
  /** The goal changed before the step's turn came, or before it succeeded. */
  | { readonly name: 'skipped'; readonly ended: Instant };

export type PhaseName = Phase['name'];

/** Each phase has an entry in `upgrade/phases.ts`. */
export const PHASE_NAMES = [
  'pending',
  'backoff',
  'preparing',
  'upgrading',
  'verifying',
  'settling',
  'soaking',
  'fencing',
  'demoting',
  'promoting',
  'following',
  'restoring',
  'done',
  'failed',
  'skipped',
] as const satisfies readonly PhaseName[];
