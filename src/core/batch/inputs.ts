/** What goes into the machine of batches, and what comes out of it. */
import type { Instant } from '../domain.ts';
import type { PauseReason, StateName, Upgrade } from '../record.ts';
import type { AskedOfBatch, Batch, BatchEffect, BatchEvent, Member } from './record.ts';
import type { Load } from './share.ts';

/** An upgrade that could not begin. */
export interface Refusal {
  readonly position: number;
  readonly cluster_id: string;
  /** The id of that upgrade. If the member has another upgrade by now, the refusal is stale (B5). */
  readonly upgrade_id: string;
  /**
   * `later`: the cluster is busy. `needless`: the cluster runs the version already. `gone`: the cluster no
   * longer exists.
   */
  readonly verdict: 'later' | 'needless' | 'gone' | 'failed';
  readonly reason: string;
}

/** What can happen to a batch. */
export type BatchInput =
  /** Time has passed, or upgrades have moved: check everything that was read. */
  | { readonly type: 'wake' }
  /** Upgrades could not begin. */
  | { readonly type: 'refused'; readonly refusals: readonly Refusal[] }
  /** A person asks for something. */
  | { readonly type: 'asked'; readonly asked: AskedOfBatch; readonly by: string };

/** What was read together with the record: only those members that the input may concern. */
export interface BatchSeen {
  readonly members: readonly Member[];
  /** The upgrades of the running members among them, by id. If an id is absent, there is no such upgrade. */
  readonly upgrades: ReadonlyMap<string, UpgradeSeen>;
  /**
   * Positions of open members of the current wave whose turn has come, in order. Each of them is in
   * `members`.
   */
  readonly ready: readonly number[];
  /** How many members are ready in all. */
  readonly ready_count: number;
  /** When the turn of the next waiting member comes; null if none waits. */
  readonly next_ready: Instant | null;
  /** Names of upgraded clusters that are not healthy; null if their health was not read. */
  readonly unwell: readonly string[] | null;
  /** The places that the other active batches have and want. */
  readonly others: readonly Load[];
  /** How many clusters all batches together may have in flight. */
  readonly max_concurrent_total: number;
}

/** The part of an upgrade's record that its batch depends on. */
export interface UpgradeSeen {
  readonly state: StateName;
  readonly reason: PauseReason | null;
  readonly message: string;
  readonly direction: Upgrade['direction'];
  readonly cancelling: boolean;
  readonly write_outage_ms: number;
}

export interface BatchNext {
  readonly batch: Batch;
  /** The members that have changed. */
  readonly members: readonly { readonly before: Member; readonly after: Member }[];
  readonly effects: readonly BatchEffect[];
  readonly events: readonly BatchEvent[];
  /** `stale`: nothing to commit. `refused`: a person asked for what the state does not allow; see `reason`. */
  readonly verdict: 'applied' | 'stale' | 'refused';
  readonly reason?: string;
}
