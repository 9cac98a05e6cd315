/**
 * The store: the only place where the truth is kept. Every method is one atomic step, and may be repeated
 * after an unknown outcome. Rejects with `CofferError('store_unavailable')` when the store cannot be reached
 * in time: the outcome is then unknown, and the caller reads again.
 *
 * Each part has a file of its own, with its port, its Lua scripts and what they read:
 *
 * - `clusters.ts` (and `cluster-hash.ts`) · `provisioning.ts` (and `joining.ts`) · `adopted.ts` · `upgrades.ts` · `batches.ts` · `catalogue.ts` ·
 *   `due.ts` · `outbox.ts` · `requests.ts` · `keys.ts` · `duties.ts`
 *
 * The other files:
 *
 * - `redis.ts`: the store on Redis, made of these parts. `redis-port.ts`: what the parts share. `script.ts`: how
 *   a script is defined, and the rules for all scripts. `events.ts`: streams of events. `changes.ts`: waiting
 *   for events. `page.ts`: lists in pages. `refusals.ts`: why Redis cannot serve.
 * - `test/twins/`: the store in memory, for the simulator.
 * - `begin-upgrade.ts`, `begin-batch.ts`: the functions that begin upgrades and batches, for each of the
 *   three ways to ask for them.
 * - `change-catalogue.ts`: how the catalogue changes. `inspect.ts`: what a Redis server reports about itself.
 */
import type { Batch } from '../core/batch/record.ts';
import type { Instant } from '../core/domain.ts';
import type { AdoptionStore } from './adopted.ts';
import type { BatchStore } from './batches.ts';
import type { CatalogueStore } from './catalogue.ts';
import type { ClusterStore } from './clusters.ts';
import type { DueStore } from './due.ts';
import type { DutyStore } from './duties.ts';
import type { KeyStore } from './keys.ts';
import type { OutboxStore } from './outbox.ts';
import type { ProvisioningStore } from './provisioning.ts';
import type { RequestStore } from './requests.ts';
import type { UpgradeStore } from './upgrades.ts';

/** The parts of the store. Code that needs some of them asks for `Pick<Store, …>`. */
export interface Store {
  readonly catalogue: CatalogueStore;
  readonly clusters: ClusterStore;
  readonly provisioning: ProvisioningStore;
  readonly adoption: AdoptionStore;
  readonly upgrades: UpgradeStore;
  readonly batches: BatchStore;
  readonly due: DueStore;
  readonly outbox: OutboxStore;
  readonly requests: RequestStore;
  readonly keys: KeyStore;
  readonly duties: DutyStore;

  /** Counts what waits, for metrics. */
  counts(now: Instant): Promise<StoreCounts>;
  /**
   * The id of the installation that the store belongs to. It becomes `fresh`, unless there is one already.
   */
  installation(fresh: string): Promise<string>;
  /** Reports whether the store would take a write. Never rejects. */
  health(): Promise<StoreHealth>;
  close(): Promise<void>;
}

/** `refuses_writes`: the store answers, and changes nothing. `reason` says why, and what to do. */
export type StoreHealth =
  | { readonly status: 'ok' }
  | { readonly status: 'unreachable' | 'refuses_writes'; readonly reason: string };

export interface StoreCounts {
  /** Upgrades that have not ended, by the name of their state. */
  readonly upgrades: Readonly<Record<string, number>>;
  /** The heads of batches that have not ended. */
  readonly batches: readonly Batch[];
  /** How much is due, and for how long the first item has been due. */
  readonly overdue: number;
  readonly overdue_ms: number;
  /** Casts that the bus has not confirmed yet, and the age of the oldest. */
  readonly pending_casts: number;
  readonly pending_casts_ms: number;
}
