/** The in-memory twin of the store on Redis, for the simulator: the same atomic steps, each done when its method is called. */
import type { Cluster, Instant } from '../../src/core/domain.ts';
import type { Upgrade, UpgradeEvent } from '../../src/core/record.ts';
import type { Sleep } from '../../src/service.ts';
import { dueItem } from '../../src/store/due.ts';
import type { PendingCast } from '../../src/store/outbox.ts';
import type { Store, StoreCounts } from '../../src/store/store.ts';
import { MemoryAdoption } from './adoption.ts';
import { MemoryBatches } from './batches.ts';
import { MemoryClusters } from './clusters.ts';
import { Held } from './parts.ts';
import { MemoryProvisioning } from './provisioning.ts';
import {
  MemoryCatalogue,
  MemoryDue,
  MemoryDuties,
  MemoryKeys,
  MemoryOutbox,
  MemoryRequests,
} from './small.ts';
import { MemoryUpgrades } from './upgrades.ts';

/** What the store holds, for those who check it: never to be written from outside. */
interface MemoryData {
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly upgrades: ReadonlyMap<string, Upgrade>;
  readonly events: ReadonlyMap<string, readonly UpgradeEvent[]>;
  /** `upgrade:<id>` and `cluster:<id>` by the time of their next look. */
  readonly due: ReadonlyMap<string, Instant>;
  readonly casts: ReadonlyMap<string, { readonly cast: PendingCast; readonly at: Instant }>;
}

export class MemoryStore implements Store {
  readonly catalogue: MemoryCatalogue;
  readonly clusters: MemoryClusters;
  readonly provisioning: MemoryProvisioning;
  readonly adoption: MemoryAdoption;
  readonly upgrades: MemoryUpgrades;
  readonly batches: MemoryBatches;
  readonly due: MemoryDue;
  readonly outbox: MemoryOutbox;
  readonly requests = new MemoryRequests();
  readonly keys: MemoryKeys;
  readonly duties: MemoryDuties;
  readonly #held: Held;
  #installation: string | undefined;

  constructor({ sleep, notifies = false }: { readonly sleep: Sleep; readonly notifies?: boolean }) {
    const held = new Held(sleep);
    this.#held = held;
    this.catalogue = new MemoryCatalogue(held);
    this.clusters = new MemoryClusters(held);
    this.provisioning = new MemoryProvisioning(held);
    this.adoption = new MemoryAdoption(held);
    this.batches = new MemoryBatches(held);
    const { clusters, batches } = this;
    this.upgrades = new MemoryUpgrades({ held, clusters, batches, notifies });
    this.due = new MemoryDue(held);
    this.outbox = new MemoryOutbox(held);
    this.keys = new MemoryKeys(held);
    this.duties = new MemoryDuties(held);
  }

  get data(): MemoryData {
    const { clusters, upgrades, log, due, casts } = this.#held;
    return { clusters, upgrades, events: log.all, due, casts };
  }

  /** As a failover to a replica that lagged leaves it: the upgrade, which nobody has taken up, was never begun. */
  forgetBegin(id: string): void {
    const upgrade = this.#held.upgrades.get(id);
    const cluster = this.#held.clusters.get(upgrade?.cluster_id ?? '');
    if (upgrade?.state.name !== 'scheduled' || !cluster) return;
    this.#held.upgrades.delete(id);
    const others = [...this.#held.upgrades.values()].filter((one) => one.cluster_id === cluster.id);
    const latest = others.sort((a, b) => a.created - b.created).at(-1);
    this.#held.clusters.set(cluster.id, { ...cluster, task: 'NONE', upgrade_id: latest?.id ?? null });
    this.#held.log.delete(id);
    this.#held.due.delete(`upgrade:${id}`);
    this.#held.casts.delete(id);
    this.#held.untold.delete(id);
  }

  async counts(now: Instant): Promise<StoreCounts> {
    const upgrades: Record<string, number> = {};
    for (const key of this.#held.due.keys()) {
      const name = this.#held.upgrades.get(dueItem(key).id)?.state.name;
      if (name) upgrades[name] = (upgrades[name] ?? 0) + 1;
    }
    const active = [...this.#held.due.keys()].map(dueItem).filter(({ kind }) => kind === 'batch');
    const overdue = [...this.#held.due.values()].filter((at) => at <= now);
    const casts = [...this.#held.casts.values()].map(({ at }) => at);
    return {
      upgrades,
      batches: active.flatMap(({ id }) => this.#held.batches.get(id) ?? []),
      overdue: overdue.length,
      overdue_ms: now - Math.min(now, ...overdue),
      pending_casts: casts.length,
      pending_casts_ms: now - Math.min(now, ...casts),
    };
  }

  async installation(fresh: string): Promise<string> {
    this.#installation ??= fresh;
    return this.#installation;
  }

  async health() {
    return { status: 'ok' as const };
  }

  async close(): Promise<void> {}
}
