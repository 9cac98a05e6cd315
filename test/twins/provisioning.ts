/** The in-memory twin of `src/store/provisioning.ts`. */
import type { Cluster, Instance, Instant } from '../../src/core/domain.ts';
import { addressClaims, claimsOf } from '../../src/store/adopted.ts';
import { docOfCluster, docOfInstance } from '../../src/store/cluster-hash.ts';
import { joinKeyId, NO_KEYS } from '../../src/store/keys.ts';
import type { PendingCast } from '../../src/store/outbox.ts';
import {
  type BuildOrder,
  type ProvisioningStore,
  RETRY_CLUSTER_MS,
  type ResizeVerdict,
} from '../../src/store/provisioning.ts';
import { asJson, type Held } from './parts.ts';

export class MemoryProvisioning implements ProvisioningStore {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  async create(...[cluster, order, cast, options = {}]: Parameters<ProvisioningStore['create']>) {
    const { id, tenant_id, created } = cluster;
    const { max_clusters = null, keys = NO_KEYS } = options;
    if (this.#held.clusters.has(id)) return 'taken';
    const others = [...this.#held.clusters.values()].filter((one) => one.tenant_id === tenant_id);
    if (max_clusters !== null && others.length >= max_clusters) return 'full';
    const { datastore_version_id: version_id } = cluster;
    if (version_id !== '' && !this.#held.hasVersion(version_id)) return 'no_version';
    const claimed = this.#held.claim(id, addressClaims(cluster));
    if (claimed) return claimed;
    const doc = asJson(docOfCluster(cluster));
    const instances = cluster.instances.map(newInstance);
    const { datastore_version_id, datastore_version } = cluster;
    const fresh = { task: 'BUILDING' as const, upgrade_id: null, updated: created, instances };
    this.#held.clusters.set(id, { ...doc, datastore_version_id, datastore_version, ...fresh });
    for (const instance of instances) this.#held.clusterOf.set(instance.id, id);
    this.#held.orders.set(id, asJson(order));
    for (const [of, key] of keys) this.#held.keys.set(of, key);
    this.#held.due.set(`cluster:${id}`, created + RETRY_CLUSTER_MS);
    this.#held.addCast(cast, created);
    return 'created';
  }

  async getOrder(cluster_id: string): Promise<BuildOrder | null> {
    return this.#held.orders.get(cluster_id) ?? null;
  }

  async join(...[cluster_id, agent]: Parameters<ProvisioningStore['join']>) {
    const cluster = this.#held.clusters.get(cluster_id);
    if (!cluster || !isBuilding(cluster)) return 'full';
    const places = cluster.instances.filter(({ task }) => task === 'BUILDING');
    const joined = this.#held.joined.get(cluster_id) ?? { agents: new Map(), endpoints: new Map() };
    this.#held.joined.set(cluster_id, joined);
    const before = joined.agents.get(agent.id);
    if (before && agent.sent < before.sent) return 'stale';
    const { instance_id: own } = agent;
    const free = places.find(({ id }) => !joined.endpoints.has(id) && (own === undefined || own === id));
    const instance_id = before?.instance_id ?? free?.id;
    if (instance_id === undefined) return 'full';
    joined.endpoints.set(instance_id, agent.endpoint);
    joined.agents.set(agent.id, { instance_id, sent: agent.sent });
    return { instance_id, first: joined.endpoints.get(places[0]?.id ?? '') ?? null };
  }

  async finishBuild(cluster_id: string, now: Instant, since?: Instant): Promise<void> {
    const cluster = this.#held.clusters.get(cluster_id);
    if (!cluster || !isBuilding(cluster) || (since ?? cluster.updated) !== cluster.updated) return;
    this.#held.clusters.set(cluster_id, { ...cluster, updated: Math.max(now, cluster.updated) });
    this.#held.endBuild(cluster_id);
  }

  async beginGrow(...[seen, added, cast, now, keys = NO_KEYS]: Parameters<ProvisioningStore['beginGrow']>) {
    const instances = [...seen.instances, ...added.map(newInstance)];
    const verdict = this.#beginResize(seen, { task: 'GROWING_CLUSTER', instances }, cast, now);
    if (verdict !== 'begun') return verdict;
    for (const { id } of added) this.#held.clusterOf.set(id, seen.id);
    for (const [of, key] of keys) this.#held.keys.set(of, key);
    this.#held.orders.set(seen.id, { databases: [], users: [] });
    return verdict;
  }

  async beginShrink(...[seen, ids, cast, now]: Parameters<ProvisioningStore['beginShrink']>) {
    const instances = seen.instances.map((one) =>
      ids.includes(one.id) ? { ...one, task: 'DELETING' as const, fault: null, in_doubt: false } : one,
    );
    return this.#beginResize(seen, { task: 'SHRINKING_CLUSTER', instances }, cast, now);
  }

  #beginResize(
    seen: Cluster,
    change: Pick<Cluster, 'task' | 'instances'>,
    cast: PendingCast,
    now: Instant,
  ): ResizeVerdict {
    const cluster = this.#held.clusters.get(seen.id);
    if (!cluster) return null;
    if (cluster.task !== 'NONE') return cluster.task;
    if (cluster.updated !== seen.updated) return 'changed';
    // Heartbeats may have come in since it was seen.
    const held = new Map(cluster.instances.map(({ id, report, heard }) => [id, { report, heard }]));
    const instances = change.instances.map((one) => ({ ...one, ...held.get(one.id) }));
    this.#held.clusters.set(seen.id, {
      ...cluster,
      ...change,
      instances,
      updated: Math.max(now, cluster.updated),
    });
    this.#held.due.set(`cluster:${seen.id}`, now + RETRY_CLUSTER_MS);
    this.#held.addCast(cast, now);
    return 'begun';
  }

  async finishShrink(...[seen, removed, fault, now]: Parameters<ProvisioningStore['finishShrink']>) {
    const cluster = this.#held.clusters.get(seen.id);
    if (cluster?.task !== 'SHRINKING_CLUSTER' || cluster.updated !== seen.updated) return;
    const instances = cluster.instances
      .filter(({ id }) => !removed.includes(id))
      .map((one) => (one.task === 'DELETING' ? { ...one, task: 'NONE' as const, fault } : one));
    for (const id of removed) {
      this.#held.clusterOf.delete(id);
      this.#held.keys.delete(id);
    }
    this.#held.clusters.set(seen.id, {
      ...cluster,
      task: 'NONE',
      updated: Math.max(now, cluster.updated),
      instances,
    });
    this.#held.due.delete(`cluster:${seen.id}`);
  }

  async beginDelete(...[cluster_id, cast, now]: Parameters<ProvisioningStore['beginDelete']>) {
    const cluster = this.#held.clusters.get(cluster_id);
    if (!cluster) return null;
    if (cluster.task !== 'NONE' && cluster.task !== 'BUILDING') return cluster.task;
    this.#held.clusters.set(cluster_id, { ...cluster, task: 'DELETING', updated: now });
    this.#held.due.set(`cluster:${cluster_id}`, now + RETRY_CLUSTER_MS);
    this.#held.addCast(cast, now);
    return 'begun' as const;
  }

  async remove(cluster_id: string): Promise<void> {
    const cluster = this.#held.clusters.get(cluster_id);
    if (cluster?.task !== 'DELETING') return;
    for (const upgrade of this.#held.upgrades.values()) {
      if (upgrade.cluster_id !== cluster_id) continue;
      this.#held.upgrades.delete(upgrade.id);
      this.#held.log.delete(upgrade.id);
    }
    for (const { id } of cluster.instances) {
      this.#held.clusterOf.delete(id);
      this.#held.keys.delete(id);
      this.#held.keys.delete(joinKeyId(id));
    }
    this.#held.keys.delete(joinKeyId(cluster_id));
    for (const claim of claimsOf(cluster))
      if (this.#held.claims.get(claim) === cluster_id) this.#held.claims.delete(claim);
    this.#held.due.delete(`cluster:${cluster_id}`);
    this.#held.clusters.delete(cluster_id);
    this.#held.orders.delete(cluster_id);
    this.#held.joined.delete(cluster_id);
  }
}

function isBuilding({ task }: Cluster): boolean {
  return task === 'BUILDING' || task === 'GROWING_CLUSTER';
}

function newInstance(instance: Instance): Instance {
  const { task, fault, in_doubt } = instance;
  return { ...asJson(docOfInstance(instance)), task, fault, in_doubt, report: null, heard: null };
}
