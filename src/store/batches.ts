/**
 * What the store holds of batches. Every method is one atomic step, as in `store.ts`.
 */
import type { Batch, BatchEvent, Member, MemberStateName } from '../core/batch/record.ts';
import type { Load } from '../core/batch/share.ts';
import type { Instant } from '../core/domain.ts';
import type { Forgotten, Page, PageRequest } from './store.ts';

/** Which members are read together with the head. Those that are hinted at and those that are ready always are. */
export interface BatchWant {
  readonly now: Instant;
  /** In these states, all of them. */
  readonly states: readonly MemberStateName[];
  /** Of these clusters; those that are not in the batch are left out. */
  readonly cluster_ids: readonly string[];
}

/** One consistent view. */
export interface LoadedBatch {
  readonly batch: Batch;
  readonly members: readonly Member[];
  /** Of upgrades that have moved since somebody looked; to be given back with the commit. */
  readonly hints: readonly string[];
  /** Positions of open members of the wave at work whose turn has come, a chunk at most. */
  readonly ready: readonly number[];
  readonly ready_count: number;
  readonly next_ready: Instant | null;
  /** What other batches have and want. */
  readonly others: readonly Load[];
}

/** A new revision of a batch with everything that must become true together with it. */
export interface BatchCommit {
  /** `batch.revision` is the revision that was read plus one. */
  readonly batch: Batch;
  readonly members: readonly { readonly before: Member; readonly after: Member }[];
  readonly events: readonly BatchEvent[];
  /** That were looked at. */
  readonly hints: readonly string[];
  /** What it has and wants from now on; null once it has ended. */
  readonly load: Load | null;
  /** If something begins: `conflict` when all batches together would have more in flight. Null: nothing begins. */
  readonly max_concurrent_total: number | null;
  /** When it wants to be looked at again; null when it has ended. At once if there are hints by then. */
  readonly wake_at: Instant | null;
  readonly now: Instant;
}

export interface MembersRequest extends PageRequest {
  /** Those in this state alone. */
  readonly state: MemberStateName | null;
}

/** Hints and ready members that one look reads at most. */
export const BATCH_CHUNK = 200;

export interface BatchStore {
  /** The record at revision 1 with its members and its first event. `duplicate`: the same id was created before. */
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
  /** `conflict`: another revision was committed since, or there are fewer places; read again and decide again. */
  commit(commit: BatchCommit): Promise<'committed' | 'conflict'>;
  /** Nothing was to be done at this revision: forgets the hints, and looks again then. */
  looked(batch: Batch, hints: readonly string[], wake_at: Instant): Promise<void>;
  /** Forgets batches that ended before then, with their members and events; looks at up to `limit` in order of id. */
  forget(before: Instant, page: PageRequest): Promise<Forgotten>;
  /** As `Store.events`. */
  events(
    id: string,
    after_seq: number,
    options: { limit: number; wait_ms: number },
  ): Promise<readonly BatchEvent[]>;
}

/** Says that the upgrade of a batch's member has moved: a new hint for each revision, so that none hides another. */
export function hintOf(position: number, revision: number): string {
  return `${position}:${revision}`;
}

/** When the turn of an open member comes. Those that may begin at any time are in order of position, long past. */
export function readyAt({ state, position }: Member): Instant {
  return state.name === 'waiting' ? state.until : position - 1_000_000_000;
}
