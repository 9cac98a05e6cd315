/** The in-memory twin of `src/store/clusters.ts`. */
import type { Cluster, Instance } from '../../src/core/domain.ts';
import { CLOCK_STEP_MS, type ClusterStore, type Found } from '../../src/store/clusters.ts';
import type { Page, PageRequest } from '../../src/store/page.ts';
import { asJson, byText, type Held, pageOf } from './parts.ts';

export class MemoryClusters implements ClusterStore {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  async get(id: string): Promise<Cluster | null> {
    return this.#held.clusters.get(id) ?? null;
  }

  async see(id: string): Promise<Found | null> {
    const cluster = await this.get(id);
    return cluster && { cluster, catalogue: this.#held.catalogue };
  }

  async getMany(ids: readonly string[]): Promise<readonly Cluster[]> {
    return ids.flatMap((id) => this.#held.clusters.get(id) ?? []);
  }

  async find(tenant_id: string, name: string): Promise<readonly string[]> {
    return [...this.#held.clusters.values()]
      .filter((one) => one.tenant_id === tenant_id && one.name === name)
      .sort((a, b) => a.created - b.created || byText(a.id, b.id))
      .map(({ id }) => id);
  }

  async list(tenant_id: string | null, { limit, marker }: PageRequest): Promise<Page<Cluster>> {
    const own = [...this.#held.clusters.values()]
      .filter(
        (one) => (tenant_id === null || one.tenant_id === tenant_id) && (marker === null || one.id > marker),
      )
      .sort((a, b) => byText(a.id, b.id));
    return pageOf(own, limit);
  }

  async ofInstance(instance_id: string): Promise<string | null> {
    return this.#held.clusterOf.get(instance_id) ?? null;
  }

  async heartbeat(...[instance_id, report, now]: Parameters<ClusterStore['heartbeat']>) {
    const cluster = this.#held.clusters.get(this.#held.clusterOf.get(instance_id) ?? '');
    if (!cluster) return null;
    const held = cluster.instances.find(({ id }) => id === instance_id)?.report ?? null;
    const behind_ms = held === null ? 0 : held.sent - report.sent;
    const fresh = behind_ms <= 0 || behind_ms >= CLOCK_STEP_MS;
    if (fresh) this.#setInstance(cluster, instance_id, { report: asJson(report), heard: now });
    const { id: cluster_id, task, upgrade_id, system_identifier, datastore_version } = cluster;
    const adopted_version = system_identifier === undefined ? null : datastore_version;
    return { fresh, cluster_id, task, upgrade_id, adopted_version };
  }

  #setInstance(cluster: Cluster, id: string, fields: Partial<Instance>): void {
    const instances = cluster.instances.map((one) => (one.id === id ? { ...one, ...fields } : one));
    this.#held.clusters.set(cluster.id, { ...cluster, instances });
  }
}
