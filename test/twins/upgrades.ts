/** The in-memory twin of `src/store/upgrades.ts`. */
import { versionsOf } from '../../src/core/catalogue.ts';
import type { Instance, Instant } from '../../src/core/domain.ts';
import { MEASURED_STEPS, type MeasuredTimes, NOTHING_MEASURED } from '../../src/core/history.ts';
import { goalIdOf, type Upgrade } from '../../src/core/record.ts';
import { HINT_GRACE_MS } from '../../src/store/batches.ts';
import type { Forgotten, Page, PageRequest } from '../../src/store/page.ts';
import { type Commit, FORGET_AT_ONCE, type UpgradeStore, upgradeFrom } from '../../src/store/upgrades.ts';
import type { MemoryBatches } from './batches.ts';
import type { MemoryClusters } from './clusters.ts';
import { byText, type Held, pageOf } from './parts.ts';

interface Deps {
  readonly held: Held;
  readonly clusters: MemoryClusters;
  readonly batches: MemoryBatches;
  readonly notifies: boolean;
}

export class MemoryUpgrades implements UpgradeStore {
  readonly #held: Held;
  readonly #clusters: MemoryClusters;
  readonly #batches: MemoryBatches;
  readonly #notifies: boolean;

  constructor({ held, clusters, batches, notifies }: Deps) {
    this.#held = held;
    this.#clusters = clusters;
    this.#batches = batches;
    this.#notifies = notifies;
  }

  async begin(...[upgrade, event, cast, wake_at]: Parameters<UpgradeStore['begin']>) {
    const { id, cluster_id, created } = upgrade;
    if (this.#held.upgrades.has(id)) return { verdict: 'duplicate' as const };
    const cluster = this.#held.clusters.get(cluster_id);
    if (!cluster) return { verdict: 'missing' as const };
    const { task, upgrade_id } = cluster;
    if (task !== 'NONE') return { verdict: 'busy' as const, task, upgrade_id };
    if (created < cluster.updated) return { verdict: 'changed' as const };
    if (!this.#held.hasVersion(goalIdOf(upgrade))) return { verdict: 'no_version' as const };
    this.#held.clusters.set(cluster_id, {
      ...cluster,
      task: 'UPGRADING_CLUSTER',
      upgrade_id: id,
      updated: created,
    });
    this.#held.upgrades.set(id, upgradeFrom(JSON.stringify(upgrade)));
    this.#held.log.append(id, [event]);
    this.#held.due.set(`upgrade:${id}`, wake_at);
    if (cast) this.#held.addCast(cast, created);
    if (this.#notifies) this.#held.untold.set(id, 0);
    return { verdict: 'begun' as const };
  }

  async get(id: string): Promise<Upgrade | null> {
    return this.#held.upgrades.get(id) ?? null;
  }

  async getMany(ids: readonly string[]): Promise<readonly Upgrade[]> {
    return ids.flatMap((id) => this.#held.upgrades.get(id) ?? []);
  }

  async list(cluster_id: string, { limit, marker }: PageRequest): Promise<Page<Upgrade>> {
    const own = [...this.#held.upgrades.values()]
      .filter((one) => one.cluster_id === cluster_id)
      .sort((a, b) => b.created - a.created || byText(b.id, a.id));
    return pageOf(own.slice(own.findIndex(({ id }) => id === marker) + 1), limit);
  }

  async load(upgrade_id: string) {
    const upgrade = this.#held.upgrades.get(upgrade_id);
    if (!upgrade) return null;
    const cluster = this.#held.clusters.get(upgrade.cluster_id) ?? null;
    return { upgrade, cluster, versions: versionsOf(this.#held.catalogue, cluster?.datastore_id ?? '') };
  }

  async commit(commit: Commit): Promise<'committed' | 'conflict'> {
    const { id, revision } = commit.upgrade;
    if (this.#held.upgrades.get(id)?.revision !== revision - 1) return 'conflict';
    this.#held.log.append(id, commit.events);
    this.#held.upgrades.set(id, upgradeFrom(JSON.stringify(commit.upgrade)));
    this.#settleCluster(commit);
    this.#measure(commit);
    if (commit.wake_at === null) this.#held.due.delete(`upgrade:${id}`);
    else this.#held.due.set(`upgrade:${id}`, commit.wake_at);
    const { batch } = commit.upgrade;
    if (batch && commit.moves_batch) {
      this.#batches.hint(batch.id, batch.position, revision, commit.now + HINT_GRACE_MS);
    }
    return 'committed';
  }

  /** Only the upgrade that the cluster names may write to it. */
  #settleCluster({ upgrade, instance_tasks, release, now }: Commit): void {
    const cluster = this.#held.clusters.get(upgrade.cluster_id);
    if (cluster?.upgrade_id !== upgrade.id) return;
    const instances = cluster.instances.map((one): Instance => {
      const own = instance_tasks.filter(({ instance_id }) => instance_id === one.id);
      return Object.assign({}, one, ...own.map(({ instance_id: _, ...fields }) => fields));
    });
    const { datastore_version_id, datastore_version } = release ?? cluster;
    const updated = Math.max(now, cluster.updated);
    const freed = release && { task: 'NONE' as const, updated, datastore_version_id, datastore_version };
    this.#held.clusters.set(cluster.id, { ...cluster, instances, ...freed });
  }

  #measure({ measured }: Commit): void {
    for (const { manager, step, ms } of measured) {
      const held = this.#held.measured.get(manager) ?? NOTHING_MEASURED;
      this.#held.measured.set(manager, { ...held, [step]: [ms, ...held[step]].slice(0, MEASURED_STEPS) });
    }
  }

  async measuredTimes(manager: string): Promise<MeasuredTimes> {
    return this.#held.measured.get(manager) ?? NOTHING_MEASURED;
  }

  events(...[upgrade_id, after_seq, options]: Parameters<UpgradeStore['events']>) {
    return this.#held.log.read(upgrade_id, after_seq, options);
  }

  async forget(before: Instant, page: PageRequest): Promise<Forgotten> {
    const { items, next_marker } = await this.#clusters.list(null, page);
    let count = 0;
    for (const { id, upgrade_id: latest } of items) {
      const old = [...this.#held.upgrades.values()].filter(
        (one) => one.cluster_id === id && one.id !== latest && this.#isOver(one, before),
      );
      for (const one of old.sort((a, b) => a.created - b.created).slice(0, FORGET_AT_ONCE - count)) {
        this.#held.upgrades.delete(one.id);
        this.#held.log.delete(one.id);
        count += 1;
      }
      if (count === FORGET_AT_ONCE) return { count, next_marker: id === items.at(-1)?.id ? next_marker : id };
    }
    return { count, next_marker };
  }

  #isOver({ id, state, batch }: Upgrade, before: Instant): boolean {
    if (!('ended' in state) || state.ended >= before || this.#held.casts.has(id)) return false;
    return batch === null || !this.#held.batches.has(batch.id);
  }
}
