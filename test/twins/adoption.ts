/** The in-memory twin of `src/store/adopted.ts`. */
import type { Settlement } from '../../src/core/adopted.ts';
import type { Cluster, Instant } from '../../src/core/domain.ts';
import type { AdoptionStore } from '../../src/store/adopted.ts';
import type { Held } from './parts.ts';

export class MemoryAdoption implements AdoptionStore {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  async settle(seen: Cluster, { version, system_identifier }: Settlement, now: Instant) {
    const { id } = seen;
    const cluster = this.#held.clusters.get(id);
    if (!cluster || (cluster.task !== 'BUILDING' && cluster.task !== 'NONE')) return 'changed';
    if (cluster.updated !== seen.updated) return 'changed';
    if (!this.#held.hasVersion(version.id)) return 'no_version';
    const claimed = this.#held.claim(id, [`system:${system_identifier}`]);
    if (claimed) return claimed;
    const settled = { datastore_version_id: version.id, datastore_version: version.name, system_identifier };
    const updated = Math.max(now, cluster.updated);
    this.#held.clusters.set(id, { ...cluster, ...settled, updated });
    if (cluster.task === 'BUILDING') this.#held.endBuild(id);
    return 'settled';
  }

  async blame(seen: Cluster, fault: string) {
    const cluster = this.#held.clusters.get(seen.id);
    if (cluster?.task !== 'BUILDING' || cluster.updated !== seen.updated) return;
    const instances = cluster.instances.map((one) => (one.task === 'BUILDING' ? { ...one, fault } : one));
    this.#held.clusters.set(seen.id, { ...cluster, instances });
  }
}
