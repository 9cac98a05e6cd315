import { type Catalogue, EMPTY_CATALOGUE, versionsOf } from '../../src/core/catalogue.ts';
import type { Cluster, Endpoint, Instance, Instant } from '../../src/core/domain.ts';
import { MEASURED_STEPS, type MeasuredTimes, NOTHING_MEASURED } from '../../src/core/history.ts';
import { goalIdOf, isActive, type Upgrade, type UpgradeEvent } from '../../src/core/record.ts';
import type { Sleep } from '../../src/service.ts';
import { docOfCluster, docOfInstance } from '../../src/store/cluster-hash.ts';
import {
  type BuildOrder,
  CLOCK_STEP_MS,
  type Commit,
  type DueItem,
  dueItem,
  FORGET_AT_ONCE,
  type Forgotten,
  type Found,
  HINT_GRACE_MS,
  IN_FLIGHT_MS,
  joinKeyId,
  type KeyedRequest,
  NO_KEYS,
  type Page,
  type PageRequest,
  type PendingCast,
  type PutVerdict,
  REPLAY_MS,
  type RequestVerdict,
  type ResizeVerdict,
  type Store,
  type StoreCounts,
  type StoredAnswer,
} from '../../src/store/store.ts';
import { MemoryBatches } from './batches.ts';
import { asJson, byText, EventLog, pageOf } from './parts.ts';

/** A build or removal that nobody finished is taken up again after this long. */
const RETRY_CLUSTER_MS = 5_000;

/** What the store holds, for those who check it: never to be written from outside. */
interface MemoryData {
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly upgrades: ReadonlyMap<string, Upgrade>;
  readonly events: ReadonlyMap<string, readonly UpgradeEvent[]>;
  /** `upgrade:<id>` and `cluster:<id>` by the time of their next look. */
  readonly due: ReadonlyMap<string, Instant>;
  readonly casts: ReadonlyMap<string, { readonly cast: PendingCast; readonly at: Instant }>;
}

interface Joinings {
  readonly agents: Map<string, { readonly instance_id: string; readonly sent: Instant }>;
  readonly endpoints: Map<string, Endpoint>;
}

interface HeldRequest {
  readonly fingerprint: string;
  readonly operation_id: string;
  /** Empty when nobody carries it out. */
  readonly claim: string;
  readonly until: Instant;
  readonly expires: Instant;
  readonly answer: StoredAnswer | null;
}

/**
 * The in-memory twin of the store on Redis, for the simulator: the same atomic steps, each done when
 * its method is called. Held values are never changed in place, so that they can be handed out as they are.
 */
export class MemoryStore implements Store {
  #catalogue: Catalogue = EMPTY_CATALOGUE;
  #installation: string | undefined;
  readonly #clusters = new Map<string, Cluster>();
  readonly #orders = new Map<string, BuildOrder>();
  readonly #joined = new Map<string, Joinings>();
  readonly #clusterOf = new Map<string, string>();
  readonly #upgrades = new Map<string, Upgrade>();
  readonly #log: EventLog<UpgradeEvent>;
  readonly #due = new Map<string, Instant>();
  readonly #casts = new Map<string, { readonly cast: PendingCast; readonly at: Instant }>();
  readonly #requests = new Map<string, HeldRequest>();
  /** By manager. */
  readonly #measured = new Map<string, MeasuredTimes>();
  readonly #keys = new Map<string, string>();
  readonly #untold = new Map<string, number>();
  readonly #duties = new Map<string, string>();
  readonly #sleep: Sleep;
  readonly #notifies: boolean;
  readonly batches: MemoryBatches;

  constructor({ sleep, notifies = false }: { readonly sleep: Sleep; readonly notifies?: boolean }) {
    this.#sleep = sleep;
    this.#notifies = notifies;
    this.#log = new EventLog(sleep);
    this.batches = new MemoryBatches(this.#due, new EventLog(sleep));
  }

  get data(): MemoryData {
    return {
      clusters: this.#clusters,
      upgrades: this.#upgrades,
      events: this.#log.all,
      due: this.#due,
      casts: this.#casts,
    };
  }

  async getCatalogue(): Promise<Catalogue> {
    return this.#catalogue;
  }

  async putCatalogue(...[catalogue, unused]: Parameters<Store['putCatalogue']>): Promise<PutVerdict> {
    if (catalogue.revision !== this.#catalogue.revision + 1) return { verdict: 'conflict' };
    for (const version_id of unused) {
      const users = this.#usersOf(version_id);
      if (users.length > 0) return { verdict: 'in_use', version_id, users };
    }
    this.#catalogue = asJson(catalogue);
    return { verdict: 'put' };
  }

  #usersOf(version_id: string): readonly string[] {
    const clusters = [...this.#clusters.values()].filter((one) => one.datastore_version_id === version_id);
    const upgrades = [...this.#upgrades.values()].filter(
      (one) => isActive(one) && [one.from_version_id, one.to_version_id].includes(version_id),
    );
    return [
      ...clusters.map(({ id }) => `cluster:${id}`),
      ...upgrades.map(({ id }) => `upgrade:${id}`),
    ].sort();
  }

  #hasVersion(version_id: string): boolean {
    return this.#catalogue.versions.some(({ id }) => id === version_id);
  }

  async createCluster(...[cluster, order, cast, options = {}]: Parameters<Store['createCluster']>) {
    const { id, tenant_id, created } = cluster;
    const { max_clusters = null, keys = NO_KEYS } = options;
    if (this.#clusters.has(id)) return 'taken';
    const others = [...this.#clusters.values()].filter((one) => one.tenant_id === tenant_id);
    if (max_clusters !== null && others.length >= max_clusters) return 'full';
    if (!this.#hasVersion(cluster.datastore_version_id)) return 'no_version';
    const doc = asJson(docOfCluster(cluster));
    const instances = cluster.instances.map(newInstance);
    const { datastore_version_id, datastore_version } = cluster;
    const fresh = { task: 'BUILDING' as const, upgrade_id: null, updated: created, instances };
    this.#clusters.set(id, { ...doc, datastore_version_id, datastore_version, ...fresh });
    for (const instance of instances) this.#clusterOf.set(instance.id, id);
    this.#orders.set(id, asJson(order));
    for (const [of, key] of keys) this.#keys.set(of, key);
    this.#due.set(`cluster:${id}`, created + RETRY_CLUSTER_MS);
    this.#casts.set(cast.id, { cast: asJson(cast), at: created });
    return 'created';
  }

  async getCluster(id: string): Promise<Cluster | null> {
    return this.#clusters.get(id) ?? null;
  }

  async seeCluster(id: string): Promise<Found | null> {
    const cluster = await this.getCluster(id);
    return cluster && { cluster, catalogue: this.#catalogue };
  }

  async clustersOf(ids: readonly string[]): Promise<readonly Cluster[]> {
    return ids.flatMap((id) => this.#clusters.get(id) ?? []);
  }

  async findClusters(tenant_id: string, name: string): Promise<readonly string[]> {
    return [...this.#clusters.values()]
      .filter((one) => one.tenant_id === tenant_id && one.name === name)
      .sort((a, b) => a.created - b.created || byText(a.id, b.id))
      .map(({ id }) => id);
  }

  async listClusters(tenant_id: string | null, { limit, marker }: PageRequest): Promise<Page<Cluster>> {
    const own = [...this.#clusters.values()]
      .filter(
        (one) => (tenant_id === null || one.tenant_id === tenant_id) && (marker === null || one.id > marker),
      )
      .sort((a, b) => byText(a.id, b.id));
    return pageOf(own, limit);
  }

  async getBuildOrder(cluster_id: string): Promise<BuildOrder | null> {
    return this.#orders.get(cluster_id) ?? null;
  }

  async joinCluster(...[cluster_id, agent]: Parameters<Store['joinCluster']>) {
    const cluster = this.#clusters.get(cluster_id);
    if (!cluster || !isBuilding(cluster)) return 'full';
    const places = cluster.instances.filter(({ task }) => task === 'BUILDING');
    const joined = this.#joined.get(cluster_id) ?? { agents: new Map(), endpoints: new Map() };
    this.#joined.set(cluster_id, joined);
    const before = joined.agents.get(agent.id);
    if (before && agent.sent < before.sent) return 'stale';
    const instance_id = before?.instance_id ?? places.find(({ id }) => !joined.endpoints.has(id))?.id;
    if (instance_id === undefined) return 'full';
    joined.endpoints.set(instance_id, agent.endpoint);
    joined.agents.set(agent.id, { instance_id, sent: agent.sent });
    return { instance_id, first: joined.endpoints.get(places[0]?.id ?? '') ?? null };
  }

  async finishBuild(cluster_id: string, now: Instant, since?: Instant): Promise<void> {
    const cluster = this.#clusters.get(cluster_id);
    if (!cluster || !isBuilding(cluster) || (since ?? cluster.updated) !== cluster.updated) return;
    const instances = cluster.instances.map((one) =>
      one.task === 'BUILDING' ? { ...one, task: 'NONE' as const, fault: null, in_doubt: false } : one,
    );
    this.#clusters.set(cluster_id, {
      ...cluster,
      task: 'NONE',
      updated: Math.max(now, cluster.updated),
      instances,
    });
    this.#due.delete(`cluster:${cluster_id}`);
    this.#orders.delete(cluster_id);
    this.#joined.delete(cluster_id);
  }

  async beginGrow(...[seen, added, cast, now, keys = NO_KEYS]: Parameters<Store['beginGrow']>) {
    const instances = [...seen.instances, ...added.map(newInstance)];
    const verdict = this.#beginResize(seen, { task: 'GROWING_CLUSTER', instances }, cast, now);
    if (verdict !== 'begun') return verdict;
    for (const { id } of added) this.#clusterOf.set(id, seen.id);
    for (const [of, key] of keys) this.#keys.set(of, key);
    this.#orders.set(seen.id, { databases: [], users: [] });
    return verdict;
  }

  async beginShrink(...[seen, ids, cast, now]: Parameters<Store['beginShrink']>) {
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
    const cluster = this.#clusters.get(seen.id);
    if (!cluster) return null;
    if (cluster.task !== 'NONE') return cluster.task;
    if (cluster.updated !== seen.updated) return 'changed';
    // Heartbeats may have come in since it was seen.
    const held = new Map(cluster.instances.map(({ id, report, heard }) => [id, { report, heard }]));
    const instances = change.instances.map((one) => ({ ...one, ...held.get(one.id) }));
    this.#clusters.set(seen.id, {
      ...cluster,
      ...change,
      instances,
      updated: Math.max(now, cluster.updated),
    });
    this.#due.set(`cluster:${seen.id}`, now + RETRY_CLUSTER_MS);
    this.#casts.set(cast.id, { cast: asJson(cast), at: now });
    return 'begun';
  }

  async finishShrink(...[seen, removed, fault, now]: Parameters<Store['finishShrink']>) {
    const cluster = this.#clusters.get(seen.id);
    if (cluster?.task !== 'SHRINKING_CLUSTER' || cluster.updated !== seen.updated) return;
    const instances = cluster.instances
      .filter(({ id }) => !removed.includes(id))
      .map((one) => (one.task === 'DELETING' ? { ...one, task: 'NONE' as const, fault } : one));
    for (const id of removed) {
      this.#clusterOf.delete(id);
      this.#keys.delete(id);
    }
    this.#clusters.set(seen.id, {
      ...cluster,
      task: 'NONE',
      updated: Math.max(now, cluster.updated),
      instances,
    });
    this.#due.delete(`cluster:${seen.id}`);
  }

  async beginDelete(...[cluster_id, cast, now]: Parameters<Store['beginDelete']>) {
    const cluster = this.#clusters.get(cluster_id);
    if (!cluster) return null;
    if (cluster.task !== 'NONE' && cluster.task !== 'BUILDING') return cluster.task;
    this.#clusters.set(cluster_id, { ...cluster, task: 'DELETING', updated: now });
    this.#due.set(`cluster:${cluster_id}`, now + RETRY_CLUSTER_MS);
    this.#casts.set(cast.id, { cast: asJson(cast), at: now });
    return 'begun' as const;
  }

  async removeCluster(cluster_id: string): Promise<void> {
    const cluster = this.#clusters.get(cluster_id);
    if (cluster?.task !== 'DELETING') return;
    for (const upgrade of this.#upgrades.values()) {
      if (upgrade.cluster_id !== cluster_id) continue;
      this.#upgrades.delete(upgrade.id);
      this.#log.delete(upgrade.id);
    }
    for (const { id } of cluster.instances) {
      this.#clusterOf.delete(id);
      this.#keys.delete(id);
    }
    this.#keys.delete(joinKeyId(cluster_id));
    this.#due.delete(`cluster:${cluster_id}`);
    this.#clusters.delete(cluster_id);
    this.#orders.delete(cluster_id);
    this.#joined.delete(cluster_id);
  }

  async clusterOfInstance(instance_id: string): Promise<string | null> {
    return this.#clusterOf.get(instance_id) ?? null;
  }

  async heartbeat(...[instance_id, report, now]: Parameters<Store['heartbeat']>) {
    const cluster = this.#clusters.get(this.#clusterOf.get(instance_id) ?? '');
    if (!cluster) return null;
    const held = cluster.instances.find(({ id }) => id === instance_id)?.report ?? null;
    const behind_ms = held === null ? 0 : held.sent - report.sent;
    const fresh = behind_ms <= 0 || behind_ms >= CLOCK_STEP_MS;
    if (fresh) this.#setInstance(cluster, instance_id, { report: asJson(report), heard: now });
    return { fresh, cluster_id: cluster.id, task: cluster.task, upgrade_id: cluster.upgrade_id };
  }

  async begin(...[upgrade, event, cast, wake_at]: Parameters<Store['begin']>) {
    const { id, cluster_id, created } = upgrade;
    if (this.#upgrades.has(id)) return { verdict: 'duplicate' as const };
    const cluster = this.#clusters.get(cluster_id);
    if (!cluster) return { verdict: 'missing' as const };
    const { task, upgrade_id } = cluster;
    if (task !== 'NONE') return { verdict: 'busy' as const, task, upgrade_id };
    if (created < cluster.updated) return { verdict: 'changed' as const };
    if (!this.#hasVersion(goalIdOf(upgrade))) return { verdict: 'no_version' as const };
    this.#clusters.set(cluster_id, {
      ...cluster,
      task: 'UPGRADING_CLUSTER',
      upgrade_id: id,
      updated: created,
    });
    this.#upgrades.set(id, asJson(upgrade));
    this.#log.append(id, [event]);
    this.#due.set(`upgrade:${id}`, wake_at);
    if (cast) this.#casts.set(cast.id, { cast: asJson(cast), at: created });
    if (this.#notifies) this.#untold.set(id, 0);
    return { verdict: 'begun' as const };
  }

  /** As a failover to a replica that lagged leaves it: the upgrade, which nobody has taken up, was never begun. */
  forgetBegin(id: string): void {
    const upgrade = this.#upgrades.get(id);
    const cluster = this.#clusters.get(upgrade?.cluster_id ?? '');
    if (upgrade?.state.name !== 'scheduled' || !cluster) return;
    this.#upgrades.delete(id);
    const others = [...this.#upgrades.values()].filter((one) => one.cluster_id === cluster.id);
    const latest = others.sort((a, b) => a.created - b.created).at(-1);
    this.#clusters.set(cluster.id, { ...cluster, task: 'NONE', upgrade_id: latest?.id ?? null });
    this.#log.delete(id);
    this.#due.delete(`upgrade:${id}`);
    this.#casts.delete(id);
    this.#untold.delete(id);
  }

  async getKey(id: string): Promise<string | null> {
    return this.#keys.get(id) ?? null;
  }

  async replaceKey(id: string, sealed: string): Promise<boolean> {
    if (!this.#keys.has(id)) return false;
    this.#keys.set(id, sealed);
    return true;
  }

  async keyIds(): Promise<readonly string[]> {
    return [...this.#keys.keys()];
  }

  async untold() {
    return [...this.#untold].map(([upgrade_id, seq]) => ({ upgrade_id, seq }));
  }

  async told(upgrade_id: string, seq: number | null): Promise<void> {
    if (seq === null) this.#untold.delete(upgrade_id);
    else this.#untold.set(upgrade_id, seq);
  }

  async holdDuty(duty: string, holder: string, lease_ms: number): Promise<boolean> {
    const held = this.#duties.get(duty);
    if (held !== undefined && held !== holder) return false;
    this.#duties.set(duty, holder);
    void this.#sleep(lease_ms).then(() => this.#duties.delete(duty));
    return true;
  }

  async upgradesOf(ids: readonly string[]): Promise<readonly Upgrade[]> {
    return ids.flatMap((id) => this.#upgrades.get(id) ?? []);
  }

  async getUpgrade(id: string): Promise<Upgrade | null> {
    return this.#upgrades.get(id) ?? null;
  }

  async listUpgrades(cluster_id: string, { limit, marker }: PageRequest): Promise<Page<Upgrade>> {
    const own = [...this.#upgrades.values()]
      .filter((one) => one.cluster_id === cluster_id)
      .sort((a, b) => b.created - a.created || byText(b.id, a.id));
    return pageOf(own.slice(own.findIndex(({ id }) => id === marker) + 1), limit);
  }

  async forgetUpgrades(before: Instant, page: PageRequest): Promise<Forgotten> {
    const { items, next_marker } = await this.listClusters(null, page);
    let count = 0;
    for (const { id, upgrade_id: latest } of items) {
      const old = [...this.#upgrades.values()].filter(
        (one) => one.cluster_id === id && one.id !== latest && this.#isOver(one, before),
      );
      for (const one of old.sort((a, b) => a.created - b.created).slice(0, FORGET_AT_ONCE - count)) {
        this.#upgrades.delete(one.id);
        this.#log.delete(one.id);
        count += 1;
      }
      if (count === FORGET_AT_ONCE) return { count, next_marker: id === items.at(-1)?.id ? next_marker : id };
    }
    return { count, next_marker };
  }

  #isOver({ id, state, batch }: Upgrade, before: Instant): boolean {
    if (!('ended' in state) || state.ended >= before || this.#casts.has(id)) return false;
    return batch === null || !this.batches.data.batches.has(batch.id);
  }

  async load(upgrade_id: string) {
    const upgrade = this.#upgrades.get(upgrade_id);
    if (!upgrade) return null;
    const cluster = this.#clusters.get(upgrade.cluster_id) ?? null;
    return { upgrade, cluster, versions: versionsOf(this.#catalogue, cluster?.datastore_id ?? '') };
  }

  async commit(commit: Commit): Promise<'committed' | 'conflict'> {
    const { id, revision } = commit.upgrade;
    if (this.#upgrades.get(id)?.revision !== revision - 1) return 'conflict';
    this.#log.append(id, commit.events);
    this.#upgrades.set(id, asJson(commit.upgrade));
    this.#settleCluster(commit);
    this.#measure(commit);
    if (commit.wake_at === null) this.#due.delete(`upgrade:${id}`);
    else this.#due.set(`upgrade:${id}`, commit.wake_at);
    const { batch } = commit.upgrade;
    if (batch && commit.moves_batch) {
      this.batches.hint(batch.id, batch.position, revision, commit.now + HINT_GRACE_MS);
    }
    return 'committed';
  }

  /** Only the upgrade that the cluster names may write to it. */
  #settleCluster({ upgrade, instance_tasks, release, now }: Commit): void {
    const cluster = this.#clusters.get(upgrade.cluster_id);
    if (cluster?.upgrade_id !== upgrade.id) return;
    const instances = cluster.instances.map((one): Instance => {
      const own = instance_tasks.filter(({ instance_id }) => instance_id === one.id);
      return Object.assign({}, one, ...own.map(({ instance_id: _, ...fields }) => fields));
    });
    const { datastore_version_id, datastore_version } = release ?? cluster;
    const updated = Math.max(now, cluster.updated);
    const freed = release && { task: 'NONE' as const, updated, datastore_version_id, datastore_version };
    this.#clusters.set(cluster.id, { ...cluster, instances, ...freed });
  }

  #measure({ measured }: Commit): void {
    for (const { manager, step, ms } of measured) {
      const held = this.#measured.get(manager) ?? NOTHING_MEASURED;
      this.#measured.set(manager, { ...held, [step]: [ms, ...held[step]].slice(0, MEASURED_STEPS) });
    }
  }

  async measuredTimes(manager: string): Promise<MeasuredTimes> {
    return this.#measured.get(manager) ?? NOTHING_MEASURED;
  }

  events(...[upgrade_id, after_seq, options]: Parameters<Store['events']>) {
    return this.#log.read(upgrade_id, after_seq, options);
  }

  async takeDue(now: Instant, limit: number, lend_ms: number): Promise<readonly DueItem[]> {
    const ids = [...this.#due]
      .filter(([, at]) => at <= now)
      .sort(([a, at], [b, bt]) => at - bt || byText(a, b))
      .slice(0, limit)
      .map(([id]) => id);
    for (const id of ids) this.#due.set(id, now + lend_ms);
    return ids.map(dueItem);
  }

  async defer({ kind, id }: DueItem, at: Instant): Promise<void> {
    if (this.#due.has(`${kind}:${id}`)) this.#due.set(`${kind}:${id}`, at);
  }

  async listActive(): Promise<readonly DueItem[]> {
    return [...this.#due.keys()].map(dueItem);
  }

  async beginRequest(request: KeyedRequest, now: Instant): Promise<RequestVerdict> {
    const { fingerprint, claim } = request;
    const found = this.#requests.get(requestKey(request));
    const held = found && found.expires > now ? found : undefined;
    if (held && held.fingerprint !== fingerprint) return { verdict: 'reused' };
    if (held?.answer) return { verdict: 'answered', answer: held.answer };
    const isTaken = held !== undefined && held.claim !== '' && held.claim !== claim;
    if (isTaken && held.until > now) return { verdict: 'in_flight' };
    const operation_id = held?.operation_id ?? claim;
    const times = { until: now + IN_FLIGHT_MS, expires: now + REPLAY_MS };
    this.#requests.set(requestKey(request), { fingerprint, operation_id, claim, ...times, answer: null });
    return { verdict: 'begun', operation_id };
  }

  async endRequest(request: KeyedRequest, answer: StoredAnswer | null): Promise<void> {
    const held = this.#requests.get(requestKey(request));
    if (held?.claim !== request.claim) return;
    this.#requests.set(requestKey(request), { ...held, claim: '', answer: answer && asJson(answer) });
  }

  async pendingCasts(before: Instant, limit: number): Promise<readonly PendingCast[]> {
    return [...this.#casts.values()]
      .filter(({ at }) => at <= before)
      .sort((a, b) => a.at - b.at || byText(a.cast.id, b.cast.id))
      .slice(0, limit)
      .map(({ cast }) => cast);
  }

  async castConfirmed(id: string): Promise<void> {
    this.#casts.delete(id);
  }

  async counts(now: Instant): Promise<StoreCounts> {
    const upgrades: Record<string, number> = {};
    for (const key of this.#due.keys()) {
      const name = this.#upgrades.get(dueItem(key).id)?.state.name;
      if (name) upgrades[name] = (upgrades[name] ?? 0) + 1;
    }
    const active = [...this.#due.keys()].map(dueItem).filter(({ kind }) => kind === 'batch');
    const overdue = [...this.#due.values()].filter((at) => at <= now);
    const casts = [...this.#casts.values()].map(({ at }) => at);
    return {
      upgrades,
      batches: active.flatMap(({ id }) => this.batches.data.batches.get(id) ?? []),
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

  #setInstance(cluster: Cluster, id: string, fields: Partial<Instance>): void {
    const instances = cluster.instances.map((one) => (one.id === id ? { ...one, ...fields } : one));
    this.#clusters.set(cluster.id, { ...cluster, instances });
  }
}

function requestKey({ tenant_id, key }: KeyedRequest): string {
  return `${tenant_id}:${key}`;
}

function isBuilding({ task }: Cluster): boolean {
  return task === 'BUILDING' || task === 'GROWING_CLUSTER';
}

function newInstance(instance: Instance): Instance {
  const { task, fault, in_doubt } = instance;
  return { ...asJson(docOfInstance(instance)), task, fault, in_doubt, report: null, heard: null };
}
