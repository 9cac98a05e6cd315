/** The part of the store that holds batches. Every method is one atomic step, as in `store.ts`. */
import type { Batch, BatchEvent, Member, MemberStateName } from '../core/batch/record.ts';
import type { Load } from '../core/batch/share.ts';
import type { Instant } from '../core/domain.ts';
import type { Forgotten, Page, PageRequest } from './store.ts';

/**
 * Which members are read together with the head, in addition to those with a hint and those that are ready.
 */
export interface BatchWant {
  readonly now: Instant;
  /** All members in these states. */
  readonly states: readonly MemberStateName[];
  /** The members for these clusters. Clusters that are not in the batch are left out. */
  readonly cluster_ids: readonly string[];
}

/** One consistent view. */
export interface LoadedBatch {
  readonly batch: Batch;
  readonly members: readonly Member[];
  /** Hints at upgrades that have moved since the last check. They must be given back with the commit. */
  readonly hints: readonly string[];
  /** Positions of open members of the current wave whose turn has come, `BATCH_CHUNK` at most. */
  readonly ready: readonly number[];
  readonly ready_count: number;
  readonly next_ready: Instant | null;
  /** The places that the other batches have and want. */
  readonly others: readonly Load[];
}

/** A new revision of a batch, with everything that must become true together with it. */
export interface BatchCommit {
  /** `batch.revision` is the revision that was read plus one. */
  readonly batch: Batch;
  readonly members: readonly { readonly before: Member; readonly after: Member }[];
  readonly events: readonly BatchEvent[];
  /** The hints that this check has handled. */
  readonly hints: readonly string[];
  /** The places that the batch has and wants from now on; null once it has ended. */
  readonly load: Load | null;
  /**
   * Set if an upgrade begins: the commit is a `conflict` if all batches together would have more in flight.
   * Null: nothing begins.
   */
  readonly max_concurrent_total: number | null;
  /**
   * When the batch must be checked again; null once it has ended. If there are new hints by then, it is
   * checked at once.
   */
  readonly wake_at: Instant | null;
  readonly now: Instant;
}

export interface MembersRequest extends PageRequest {
  /** Only members in this state. */
  readonly state: MemberStateName | null;
}

/** How many hints, and how many ready members, one check reads at most. */
export const BATCH_CHUNK = 200;

export interface BatchStore {
  /**
   * Creates the record at revision 1 with its members and its first event. `duplicate`: a batch of this id
   * was created before.
   */
  create(
    batch: Batch,
    members: readonly Member[],
    event: BatchEvent,
    wake_at: Instant,
  ): Promise<'begun' | 'duplicate'>;
  get(id: string): Promise<Batch | null>;
  /** A tenant's batches, newest first. */
  list(tenant_id: string, page: PageRequest): Promise<Page<Batch>>;
  /** All tenants' batches, in order of id. */
  page(page: PageRequest): Promise<Page<Batch>>;
  /** In order of position; `marker` is a position. */
  members(id: string, page: MembersRequest): Promise<Page<Member>>;
  load(id: string, want: BatchWant): Promise<LoadedBatch | null>;
  /**
   * `conflict`: another revision was committed since, or there are fewer places. The caller reads again and
   * decides again.
   */
  commit(commit: BatchCommit): Promise<'committed' | 'conflict'>;
  /** There was nothing to do at this revision: removes the hints, and sets the time of the next check. */
  looked(batch: Batch, hints: readonly string[], wake_at: Instant): Promise<void>;
  /**
   * Removes batches that ended before this time, with their members and events. Checks up to `limit` batches
   * in order of id.
   */
  forget(before: Instant, page: PageRequest): Promise<Forgotten>;
  /** As `Store.events`. */
  events(
    id: string,
    after_seq: number,
    options: { limit: number; wait_ms: number },
  ): Promise<readonly BatchEvent[]>;
}

/**
 * The hint that the upgrade of a batch's member has moved. Each revision has a hint of its own, so that no
 * hint hides another.
 */
export function hintOf(position: number, revision: number): string {
  return `${position}:${revision}`;
}

/**
 * When the turn of an open member comes. Members that may begin at any time get times in the distant past, in
 * order of position.
 */
export function readyAt({ state, position }: Member): Instant {
  return state.name === 'waiting' ? state.until : position - 1_000_000_000;
}
