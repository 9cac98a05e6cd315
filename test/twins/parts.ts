/** What the in-memory twins have in common. */
import type { Batch } from '../../src/core/batch/record.ts';
import { type Catalogue, EMPTY_CATALOGUE } from '../../src/core/catalogue.ts';
import type { Cluster, Endpoint, Instant } from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import type { MeasuredTimes } from '../../src/core/history.ts';
import type { Upgrade, UpgradeEvent } from '../../src/core/record.ts';
import type { Sleep } from '../../src/service.ts';
import type { Claimed } from '../../src/store/adopted.ts';
import type { PendingCast } from '../../src/store/outbox.ts';
import type { Page } from '../../src/store/page.ts';
import type { BuildOrder } from '../../src/store/provisioning.ts';

interface Joinings {
  readonly agents: Map<string, { readonly instance_id: string; readonly sent: Instant }>;
  readonly endpoints: Map<string, Endpoint>;
}

/** What all parts of the store hold. Held values are never changed in place, so they can be handed out as they are. */
export class Held {
  catalogue: Catalogue = EMPTY_CATALOGUE;
  readonly clusters = new Map<string, Cluster>();
  readonly orders = new Map<string, BuildOrder>();
  readonly joined = new Map<string, Joinings>();
  /** Who has a server of an adopted cluster, by claim. */
  readonly claims = new Map<string, string>();
  /** The clusters of instances. */
  readonly clusterOf = new Map<string, string>();
  readonly upgrades = new Map<string, Upgrade>();
  readonly log: EventLog<UpgradeEvent>;
  /** By manager. */
  readonly measured = new Map<string, MeasuredTimes>();
  readonly batches = new Map<string, Batch>();
  /** `upgrade:<id>`, `cluster:<id>` and `batch:<id>` by the time of their next check. */
  readonly due = new Map<string, Instant>();
  readonly casts = new Map<string, { readonly cast: PendingCast; readonly at: Instant }>();
  readonly untold = new Map<string, number>();
  readonly keys = new Map<string, string>();
  readonly sleep: Sleep;

  constructor(sleep: Sleep) {
    this.sleep = sleep;
    this.log = new EventLog(sleep);
  }

  addCast(cast: PendingCast, at: Instant): void {
    this.casts.set(cast.id, { cast: asJson(cast), at });
  }

  /** Takes claims for a cluster, or answers who has one of them. */
  claim(cluster_id: string, claims: readonly string[]): Claimed | null {
    for (const claim of claims) {
      const claimed_by = this.claims.get(claim) ?? cluster_id;
      if (claimed_by !== cluster_id) return { claim, claimed_by };
    }
    for (const claim of claims) this.claims.set(claim, cluster_id);
    return null;
  }

  /** The cluster is built or adopted, and idle. */
  endBuild(cluster_id: string): void {
    const cluster = this.clusters.get(cluster_id);
    if (!cluster) return;
    const instances = cluster.instances.map((one) =>
      one.task === 'BUILDING' ? { ...one, task: 'NONE' as const, fault: null, in_doubt: false } : one,
    );
    this.clusters.set(cluster_id, { ...cluster, task: 'NONE', instances });
    this.due.delete(`cluster:${cluster_id}`);
    this.orders.delete(cluster_id);
    this.joined.delete(cluster_id);
  }

  hasVersion(version_id: string): boolean {
    return this.catalogue.versions.some(({ id }) => id === version_id);
  }
}

/** As it comes back from Redis. */
export function asJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** Redis orders by bytes; ids are ASCII. */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function pageOf<T extends { readonly id: string }>(from: readonly T[], limit: number): Page<T> {
  const items = from.slice(0, limit);
  return { items, next_marker: from.length > limit ? (items.at(-1)?.id ?? null) : null };
}

/** Event streams by the id of what they tell of. */
export class EventLog<Event extends { readonly seq: number }> {
  readonly #events = new Map<string, readonly Event[]>();
  /** Readers that wait for the next event. */
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #sleep: Sleep;

  constructor(sleep: Sleep) {
    this.#sleep = sleep;
  }

  get all(): ReadonlyMap<string, readonly Event[]> {
    return this.#events;
  }

  append(id: string, events: readonly Event[]): void {
    const held = this.#events.get(id) ?? [];
    const last = held.at(-1)?.seq ?? 0;
    if (!events.every(({ seq }, index) => seq === last + index + 1))
      throw new CofferError('internal', `events ${last + 1} and on are missing`);
    this.#events.set(id, [...held, ...asJson(events)]);
    if (events.length > 0) for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  delete(id: string): void {
    this.#events.delete(id);
  }

  async read(
    id: string,
    after_seq: number,
    { limit, wait_ms }: { limit: number; wait_ms: number },
  ): Promise<readonly Event[]> {
    const found = () => (this.#events.get(id) ?? []).filter(({ seq }) => seq > after_seq);
    if (found().length === 0 && wait_ms > 0) await this.#untilEvent(id, wait_ms);
    return found().slice(0, limit);
  }

  async #untilEvent(id: string, wait_ms: number): Promise<void> {
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting);
    const found = new AbortController();
    const wake = () => found.abort();
    waiting.add(wake);
    await this.#sleep(wait_ms, found.signal);
    waiting.delete(wake);
  }
}
