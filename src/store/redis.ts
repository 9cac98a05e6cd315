import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { TlsOptions } from '../config.ts';
import type { Batch } from '../core/batch/record.ts';
import { type Catalogue, EMPTY_CATALOGUE, versionsOf } from '../core/catalogue.ts';
import type { DatastoreVersion, Endpoint, Instance, Instant } from '../core/domain.ts';
import { CofferError } from '../core/errors.ts';
import { MEASURED_KINDS, MEASURED_STEPS, type MeasuredTimes } from '../core/history.ts';
import { goalIdOf, isActive, type Upgrade, type UpgradeEvent } from '../core/record.ts';
import { type Logger, textOf } from '../log.ts';
import { openRedisClient, reconnectIfSilent } from '../redis-client.ts';
import { hintOf } from './batches.ts';
import { Changes } from './changes.ts';
import { clusterFromText, docOfCluster, docOfInstance, taskField } from './cluster-hash.ts';
import { eventField, eventFrom, type Numbered } from './event-field.ts';
import { guarded, SCRIPTS } from './lua.ts';
import { BATCH_SCRIPTS } from './lua-batches.ts';
import { RedisBatches } from './redis-batches.ts';
import { type Refusal, refusalOf, toStoreError, wordsOf } from './refusals.ts';
import {
  type BeginVerdict,
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
  type StoreHealth,
} from './store.ts';

/** A build or removal that was not finished is taken up again after this long. */
const RETRY_CLUSTER_MS = 5_000;
/** When Redis refuses commands, it refuses all of them. The log reports that no more often than this. */
const REFUSAL_LOG_MS = 10_000;
const REFUSAL_HOLDS_MS = 2_000;
/** The message while a client's connection is not ready: the client waits until Redis has loaded its data. */
const LOADING = 'Redis has taken a connection and does not serve yet: it is loading its data from disk';
/** The usual durations of steps change slowly. */
const MEASURED_TIMES_AGE_MS = 5_000;
/**
 * When there are more different texts than this, because of many datastores or many changes, the cache is
 * cleared.
 */
const MAX_VERSION_TEXTS = 100;
/** Lists of unlimited length are split: one command or one pipeline names this many ids. */
const IDS_AT_ONCE = 500;
/** Redis serves no other client while it reads this many clusters. */
const CLUSTERS_AT_ONCE = 20;

/** The atomic steps, by name. */
export type ScriptName = keyof typeof SCRIPTS | keyof typeof BATCH_SCRIPTS;
type Scripted = Record<ScriptName, (args: readonly (string | number)[]) => Promise<unknown>>;

/**
 * Opens the store on Redis. Resolves once Redis answers; rejects with a clear message if Redis cannot be
 * used. Afterwards the store reconnects by itself, and every method fails fast while it is disconnected. The
 * client sends no step twice. A caller that learns that the outcome is unknown may ask for the same step
 * again (R1 in `lua.ts`).
 */
export async function openRedisStore(options: {
  readonly url: string;
  /** Which certificates to trust, with `rediss://`. */
  readonly tls?: TlsOptions | undefined;
  readonly prefix?: string;
  readonly log: Logger;
  readonly name?: string;
  /** Records for every upgrade how far notifications have been sent. */
  readonly notifies?: boolean;
}): Promise<RedisStore> {
  const store = new RedisStore(options);
  await store.open();
  return store;
}

class RedisStore implements Store {
  readonly batches: RedisBatches;
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  readonly #prefix: string;
  readonly #log: Logger;
  readonly #notifies: boolean;
  readonly #changes: Changes;

  /** The catalogue as it was read last. */
  #catalogue: Catalogue = EMPTY_CATALOGUE;
  /** The versions by their JSON text: the same text arrives hundreds of times a second. */
  readonly #versions = new Map<string, readonly DatastoreVersion[]>();
  /** Confirmed casts. They are removed from the pending ones in the next turn of the event loop. */
  readonly #confirmed: string[] = [];
  #confirming: Promise<void> | null = null;
  /** Why Redis refused a command last; null again once it takes a write. */
  #refused: { readonly refusal: Refusal; readonly at: number } | null = null;
  #told_at = Number.NEGATIVE_INFINITY;
  readonly #measured = new Map<string, { readonly times: MeasuredTimes; readonly at: number }>();

  constructor(options: Parameters<typeof openRedisStore>[0]) {
    const { url, tls, prefix = 'coffer', log, name = 'coffer', notifies = false } = options;
    this.#prefix = prefix;
    this.#notifies = notifies;
    this.#log = log;
    const open = () => openRedisClient({ url, tls }, { connectionName: name, lazyConnect: true });
    this.#redis = open();
    this.#subscriber = open();
    this.#changes = new Changes(this.#subscriber, this.#prefix);
    for (const client of [this.#redis, this.#subscriber]) {
      client.on('error', (err: Error) => log.debug({ err: err.message }, 'Redis connection'));
    }
    for (const [name, script] of Object.entries({ ...SCRIPTS, ...BATCH_SCRIPTS })) {
      this.#redis.defineCommand(name, { numberOfKeys: script.keys.length, lua: guarded(script) });
    }
    this.batches = new RedisBatches({
      redis: this.#redis,
      prefix: this.#prefix,
      channelOf: (id) => this.#changes.channelOf(id),
      key: (...parts) => this.#key(...parts),
      run: (script, args) => this.#run(script, args),
      ask: (command) => this.#ask(command),
      idsAfter: (key, page) => this.#idsAfter(key, page),
      events: (key, id, after_seq, options) => this.#events(key, id, after_seq, options),
    });
  }

  async open(): Promise<void> {
    // A client that is refused emits an event with the reason. Its promise says only that the connection is
    // closed.
    let refusal: unknown;
    const note = (err: unknown) => {
      refusal ??= err;
    };
    for (const client of [this.#redis, this.#subscriber]) client.on('error', note);
    const waiting = setTimeout(() => this.#log.warn(LOADING), REFUSAL_LOG_MS);
    try {
      await Promise.all([this.#redis.connect(), this.#subscriber.connect()]);
    } catch (err) {
      const cause = refusal ?? err;
      this.#redis.disconnect();
      this.#subscriber.disconnect();
      throw toStoreError(cause);
    } finally {
      clearTimeout(waiting);
      for (const client of [this.#redis, this.#subscriber]) client.off('error', note);
    }
    await this.#checkSettings();
  }

  /**
   * A Redis that evicts records, or forgets them in a restart, loses upgrades: warn of that at once and
   * clearly.
   */
  async #checkSettings(): Promise<void> {
    // If Redis takes no writes, the command that it refuses here is logged.
    await this.health();
    try {
      const policy = await this.#redis.config('GET', 'maxmemory-policy');
      const aof = await this.#redis.config('GET', 'appendonly');
      if (!String(policy).includes('noeviction')) {
        this.#log.error({ policy }, 'Redis may evict records: set maxmemory-policy noeviction');
      }
      if (!String(aof).includes('yes'))
        this.#log.warn('Redis may forget records when it restarts: set appendonly yes');
    } catch (err) {
      this.#log.debug(
        { err: textOf(err) },
        'CONFIG is not allowed here: check maxmemory-policy and appendonly yourself',
      );
    }
  }

  #key(...parts: readonly string[]): string {
    return [this.#prefix, ...parts].join(':');
  }

  async getCatalogue(): Promise<Catalogue> {
    return this.#catalogueOf(await this.#ask(() => this.#redis.hget(this.#key('catalogue'), 'revision')));
  }

  /** Reads the catalogue if it has changed: every request needs it, and it hardly ever changes. */
  async #catalogueOf(revision: string | null): Promise<Catalogue> {
    if (revision === String(this.#catalogue.revision)) return this.#catalogue;
    const doc = await this.#ask(() => this.#redis.hget(this.#key('catalogue'), 'doc'));
    this.#catalogue = doc === null ? EMPTY_CATALOGUE : (JSON.parse(doc) as Catalogue);
    return this.#catalogue;
  }

  async putCatalogue(...[catalogue, unused]: Parameters<Store['putCatalogue']>): Promise<PutVerdict> {
    const { revision, datastores, versions } = catalogue;
    const [verdict, version_id = '', users = []] = (await this.#run('putCatalogue', [
      this.#key('catalogue'),
      this.#key('catalogue', 'versions'),
      this.#prefix,
      revision - 1,
      revision,
      JSON.stringify(catalogue),
      unused.length,
      versions.length,
      ...unused,
      ...versions.map(({ id }) => id),
      ...datastores.flatMap(({ id }) => [id, JSON.stringify(versionsOf(catalogue, id))]),
    ])) as [PutVerdict['verdict'], string?, string[]?];
    return verdict === 'in_use' ? { verdict, version_id, users: users.toSorted() } : { verdict };
  }

  async createCluster(...[cluster, order, cast, options = {}]: Parameters<Store['createCluster']>) {
    const { id, tenant_id, name, created } = cluster;
    const { max_clusters, keys = NO_KEYS } = options;
    const outcome = await this.#run('createCluster', [
      this.#key('cluster', id),
      this.#key('clusters', tenant_id),
      this.#key('cluster-name', tenant_id, name),
      this.#key('build', id),
      this.#key('due'),
      this.#key('casts'),
      this.#key('casts', 'at'),
      this.#key('clusters'),
      this.#key('catalogue', 'versions'),
      this.#key('uses', cluster.datastore_version_id),
      this.#key('keys'),
      id,
      JSON.stringify(docOfCluster(cluster)),
      cluster.datastore_version_id,
      cluster.datastore_version,
      created,
      JSON.stringify(order),
      created + RETRY_CLUSTER_MS,
      cast.id,
      JSON.stringify(cast),
      max_clusters ?? '',
      cluster.instances.map((instance) => instance.id).join(' '),
      cluster.datastore_id,
      keys.size,
      ...[...keys].flat(),
      ...this.#newInstances(cluster.instances),
    ]);
    return outcome as Awaited<ReturnType<Store['createCluster']>>;
  }

  /** The key, the documents and the id of each instance, in the form that the scripts take. */
  #newInstances(instances: readonly Instance[]): string[] {
    return instances.flatMap((instance) => [
      this.#key('instance', instance.id),
      JSON.stringify(docOfInstance(instance)),
      taskField(instance),
      instance.id,
    ]);
  }

  async getCluster(id: string) {
    return (await this.clustersOf([id]))[0] ?? null;
  }

  async seeCluster(id: string): Promise<Found | null> {
    const answer = await this.#run('seeCluster', [this.#prefix, id]);
    const [text, revision] = answer as [string | null, string | null];
    const cluster = clusterFromText(text);
    return cluster && { cluster, catalogue: await this.#catalogueOf(revision) };
  }

  findClusters(tenant_id: string, name: string): Promise<readonly string[]> {
    return this.#ask(() => this.#redis.zrange(this.#key('cluster-name', tenant_id, name), '0', '-1'));
  }

  async clustersOf(ids: readonly string[]) {
    const parts = inParts(ids, CLUSTERS_AT_ONCE).map((part) =>
      this.#run('clusters', [this.#prefix, ...part]),
    );
    const texts = (await Promise.all(parts)) as (readonly string[])[];
    return texts
      .flat()
      .map(clusterFromText)
      .filter((one) => one !== null);
  }

  async listClusters(tenant_id: string | null, page: PageRequest) {
    const key = tenant_id === null ? this.#key('clusters') : this.#key('clusters', tenant_id);
    const { ids, next_marker } = await this.#idsAfter(key, page);
    return { items: await this.clustersOf(ids), next_marker };
  }

  /** Reads a page of a set that is sorted by id. */
  async #idsAfter(key: string, { limit, marker }: PageRequest) {
    const after = marker === null ? '-' : `(${marker}`;
    // Not ZRANGE … BYLEX: that needs Redis 6.2.
    const found = await this.#ask(() => this.#redis.zrangebylex(key, after, '+', 'LIMIT', 0, limit + 1));
    const ids = found.slice(0, limit);
    return { ids, next_marker: found.length > limit ? (ids.at(-1) ?? null) : null };
  }

  async getBuildOrder(cluster_id: string): Promise<BuildOrder | null> {
    const text = await this.#ask(() => this.#redis.get(this.#key('build', cluster_id)));
    return text === null ? null : (JSON.parse(text) as BuildOrder);
  }

  async joinCluster(...[cluster_id, agent]: Parameters<Store['joinCluster']>) {
    const cluster = await this.getCluster(cluster_id);
    if (!cluster) return 'full';
    const answer = await this.#run('joinCluster', [
      this.#key('cluster', cluster_id),
      this.#key('joined', cluster_id),
      agent.id,
      JSON.stringify(agent.endpoint),
      agent.sent,
      ...cluster.instances.filter(({ task }) => task === 'BUILDING').map((instance) => instance.id),
    ]);
    const [verdict, instance_id, first] = answer as ['full' | 'stale'] | ['joined', string, string];
    if (verdict !== 'joined') return verdict;
    return { instance_id, first: first === '' ? null : (JSON.parse(first) as Endpoint) };
  }

  async finishBuild(cluster_id: string, now: number, since?: number): Promise<void> {
    const cluster = await this.getCluster(cluster_id);
    if (!cluster) return;
    const built = cluster.instances.filter(({ task }) => task === 'BUILDING');
    await this.#run('finishBuild', [
      this.#key('cluster', cluster_id),
      this.#key('due'),
      this.#key('build', cluster_id),
      this.#key('joined', cluster_id),
      cluster_id,
      since ?? cluster.updated,
      Math.max(now, cluster.updated),
      taskField({ task: 'NONE', fault: null, in_doubt: false }),
      ...built.map((instance) => instance.id),
    ]);
  }

  async beginGrow(...[seen, added, cast, now, keys = NO_KEYS]: Parameters<Store['beginGrow']>) {
    const verdict = await this.#run('beginGrow', [
      this.#key('cluster', seen.id),
      this.#key('build', seen.id),
      this.#key('due'),
      this.#key('casts'),
      this.#key('casts', 'at'),
      this.#key('keys'),
      seen.id,
      seen.updated,
      Math.max(now, seen.updated),
      JSON.stringify({ databases: [], users: [] } satisfies BuildOrder),
      now + RETRY_CLUSTER_MS,
      cast.id,
      JSON.stringify(cast),
      keys.size,
      ...[...keys].flat(),
      ...this.#newInstances(added),
    ]);
    return verdict === '' ? null : (verdict as ResizeVerdict);
  }

  async beginShrink(...[seen, ids, cast, now]: Parameters<Store['beginShrink']>) {
    const verdict = await this.#run('beginShrink', [
      this.#key('cluster', seen.id),
      this.#key('due'),
      this.#key('casts'),
      this.#key('casts', 'at'),
      seen.id,
      seen.updated,
      Math.max(now, seen.updated),
      now + RETRY_CLUSTER_MS,
      cast.id,
      JSON.stringify(cast),
      taskField({ task: 'DELETING', fault: null, in_doubt: false }),
      ...ids,
    ]);
    return verdict === '' ? null : (verdict as ResizeVerdict);
  }

  async finishShrink(...[seen, removed, fault, now]: Parameters<Store['finishShrink']>) {
    const staying = seen.instances.filter(({ id }) => !removed.includes(id));
    const spared = staying.filter(({ task }) => task === 'DELETING');
    await this.#run('finishShrink', [
      this.#key('cluster', seen.id),
      this.#key('due'),
      this.#key('keys'),
      seen.id,
      seen.updated,
      Math.max(now, seen.updated),
      staying.map(({ id }) => id).join(' '),
      taskField({ task: 'NONE', fault, in_doubt: false }),
      spared.length,
      ...spared.map(({ id }) => id),
      ...removed.flatMap((id) => [this.#key('instance', id), id]),
    ]);
  }

  async beginDelete(...[cluster_id, cast, now]: Parameters<Store['beginDelete']>) {
    const verdict = await this.#run('beginDelete', [
      this.#key('cluster', cluster_id),
      this.#key('due'),
      this.#key('casts'),
      this.#key('casts', 'at'),
      cluster_id,
      now,
      now + RETRY_CLUSTER_MS,
      cast.id,
      JSON.stringify(cast),
    ]);
    return verdict === '' ? null : (verdict as Exclude<Awaited<ReturnType<Store['beginDelete']>>, null>);
  }

  async removeCluster(cluster_id: string): Promise<void> {
    const cluster = await this.getCluster(cluster_id);
    if (!cluster) return;
    const ids = cluster.instances.map((instance) => instance.id);
    await this.#run('removeCluster', [
      this.#key('cluster', cluster_id),
      this.#key('clusters', cluster.tenant_id),
      this.#key('cluster-name', cluster.tenant_id, cluster.name),
      this.#key('build', cluster_id),
      this.#key('due'),
      this.#key('upgrades', cluster_id),
      this.#key('joined', cluster_id),
      this.#key('clusters'),
      this.#key('keys'),
      cluster_id,
      this.#prefix,
      ids.length,
      ...ids.map((id) => this.#key('instance', id)),
      ...ids,
      joinKeyId(cluster_id),
    ]);
  }

  clusterOfInstance(instance_id: string): Promise<string | null> {
    return this.#ask(() => this.#redis.get(this.#key('instance', instance_id)));
  }

  async heartbeat(...[instance_id, report, now]: Parameters<Store['heartbeat']>) {
    const key = this.#key('instance', instance_id);
    const answer = await this.#run('heartbeat', [
      key,
      this.#prefix,
      instance_id,
      report.sent,
      now,
      JSON.stringify(report),
      CLOCK_STEP_MS,
    ]);
    if (answer === null) return null;
    const [fresh, cluster_id, task, upgrade_id] = answer as [number, string, never, string];
    return { fresh: fresh === 1, cluster_id, task, upgrade_id: upgrade_id === '' ? null : upgrade_id };
  }

  async begin(...[upgrade, event, cast, wake_at]: Parameters<Store['begin']>) {
    const [verdict, task, upgrade_id] = (await this.#run('begin', [
      this.#key('cluster', upgrade.cluster_id),
      this.#key('upgrade', upgrade.id),
      this.#key('upgrade', upgrade.id, 'events'),
      this.#key('upgrades', upgrade.cluster_id),
      this.#key('due'),
      this.#key('casts'),
      this.#key('casts', 'at'),
      this.#key('untold'),
      this.#key('catalogue', 'versions'),
      this.#key('uses', upgrade.from_version_id),
      this.#key('uses', upgrade.to_version_id),
      upgrade.id,
      upgrade.cluster_id,
      upgrade.created,
      JSON.stringify(upgrade),
      eventField(event),
      wake_at,
      cast?.id ?? '',
      cast ? JSON.stringify(cast) : '',
      goalIdOf(upgrade),
      usesOf(upgrade).join(' '),
      upgrade.state.name,
      this.#notifies ? '1' : '',
    ])) as [BeginVerdict['verdict'], string, string];
    if (verdict !== 'busy') return { verdict };
    return { verdict, task: task as never, upgrade_id: upgrade_id || null };
  }

  getKey(id: string): Promise<string | null> {
    return this.#ask(() => this.#redis.hget(this.#key('keys'), id));
  }

  async replaceKey(id: string, sealed: string): Promise<boolean> {
    return (await this.#run('replaceKey', [this.#key('keys'), id, sealed])) === 1;
  }

  keyIds(): Promise<readonly string[]> {
    return this.#ask(() => this.#redis.hkeys(this.#key('keys')));
  }

  async untold() {
    const held = await this.#ask(() => this.#redis.hgetall(this.#key('untold')));
    return Object.entries(held).map(([upgrade_id, seq]) => ({ upgrade_id, seq: Number(seq) }));
  }

  async told(upgrade_id: string, seq: number | null): Promise<void> {
    const key = this.#key('untold');
    if (seq === null) await this.#ask(() => this.#redis.hdel(key, upgrade_id));
    else await this.#ask(() => this.#redis.hset(key, upgrade_id, seq));
  }

  async holdDuty(duty: string, holder: string, lease_ms: number): Promise<boolean> {
    return (await this.#run('holdDuty', [this.#key('duty', duty), holder, lease_ms])) === 1;
  }

  async getUpgrade(id: string): Promise<Upgrade | null> {
    const doc = await this.#ask(() => this.#redis.hget(this.#key('upgrade', id), 'doc'));
    return doc === null ? null : (JSON.parse(doc) as Upgrade);
  }

  async upgradesOf(ids: readonly string[]): Promise<readonly Upgrade[]> {
    const hashes = await this.#hashes('upgrade', ids);
    return hashes.flatMap(({ doc }) => (doc === undefined ? [] : [JSON.parse(doc) as Upgrade]));
  }

  async listUpgrades(cluster_id: string, { limit, marker }: PageRequest): Promise<Page<Upgrade>> {
    const key = this.#key('upgrades', cluster_id);
    const rank = marker === null ? null : await this.#ask(() => this.#redis.zrevrank(key, marker));
    const from = rank === null ? 0 : rank + 1;
    const ids = await this.#ask(() => this.#redis.zrevrange(key, from, from + limit));
    const wanted = ids.slice(0, limit);
    const items = await this.upgradesOf(wanted);
    return { items, next_marker: ids.length > limit ? (wanted.at(-1) ?? null) : null };
  }

  async forgetUpgrades(before: Instant, page: PageRequest): Promise<Forgotten> {
    const { ids, next_marker } = await this.#idsAfter(this.#key('clusters'), page);
    const answer = await this.#run('forgetUpgrades', [
      this.#key('casts'),
      this.#prefix,
      before,
      FORGET_AT_ONCE,
      ...ids,
    ]);
    const [count, looked] = answer as [number, number];
    return { count, next_marker: looked < ids.length ? (ids[looked - 1] ?? null) : next_marker };
  }

  async load(upgrade_id: string) {
    const answer = await this.#run('load', [this.#key('upgrade', upgrade_id), this.#prefix]);
    if (answer === null) return null;
    const [doc, cluster, versions] = answer as [string, string | null, string];
    return {
      upgrade: JSON.parse(doc) as Upgrade,
      cluster: clusterFromText(cluster),
      versions: this.#versionsFrom(versions),
    };
  }

  #versionsFrom(text: string): readonly DatastoreVersion[] {
    const known = this.#versions.get(text);
    if (known) return known;
    const versions = JSON.parse(text) as readonly DatastoreVersion[];
    if (this.#versions.size >= MAX_VERSION_TEXTS) this.#versions.clear();
    this.#versions.set(text, versions);
    return versions;
  }

  async commit(commit: Commit): Promise<'committed' | 'conflict'> {
    const { upgrade, events, release } = commit;
    const fields = commit.instance_tasks.flatMap(({ instance_id, task, fault, in_doubt, told_version }) => [
      `task:${instance_id}`,
      taskField({ task, fault, in_doubt }),
      ...(told_version === undefined ? [] : [`told:${instance_id}`, told_version ?? '']),
    ]);
    if (release)
      fields.push('version_id', release.datastore_version_id, 'version', release.datastore_version);
    const done = await this.#run('commit', [
      this.#key('upgrade', upgrade.id),
      this.#key('upgrade', upgrade.id, 'events'),
      this.#key('cluster', upgrade.cluster_id),
      this.#key('due'),
      upgrade.id,
      upgrade.revision - 1,
      JSON.stringify(upgrade),
      commit.now,
      commit.wake_at ?? '',
      this.#changes.channelOf(upgrade.id),
      events.length,
      fields.length / 2,
      release ? '1' : '',
      MEASURED_STEPS,
      this.#prefix,
      usesOf(upgrade).join(' '),
      upgrade.cluster_id,
      release?.datastore_version_id ?? '',
      upgrade.state.name,
      ...this.#hintOf(commit),
      ...events.flatMap((event) => [event.seq, eventField(event)]),
      ...fields,
      ...commit.measured.flatMap(({ manager, step, ms }) => [this.#key('steps', manager, step), ms]),
    ]);
    return done === 1 ? 'committed' : 'conflict';
  }

  /** The hint that an upgrade leaves for its batch when it has moved. */
  #hintOf({ upgrade, moves_batch, now }: Commit): readonly (string | number)[] {
    const { batch, revision } = upgrade;
    if (!batch || !moves_batch) return ['', '', '', ''];
    const key = this.#key('batch', batch.id, 'hints');
    return [batch.id, key, hintOf(batch.position, revision), now + HINT_GRACE_MS];
  }

  /**
   * Every request to upgrade needs these times, and they hardly ever change: they are read again only now and
   * then.
   */
  async measuredTimes(manager: string): Promise<MeasuredTimes> {
    const held = this.#measured.get(manager);
    if (held && performance.now() - held.at < MEASURED_TIMES_AGE_MS) return held.times;
    const [instance, switchover] = await this.#ask(() =>
      Promise.all(MEASURED_KINDS.map((kind) => this.#redis.lrange(this.#key('steps', manager, kind), 0, -1))),
    );
    const times = { instance: (instance ?? []).map(Number), switchover: (switchover ?? []).map(Number) };
    this.#measured.set(manager, { times, at: performance.now() });
    return times;
  }

  events(...[id, after_seq, options]: Parameters<Store['events']>): Promise<readonly UpgradeEvent[]> {
    return this.#events(this.#key('upgrade', id, 'events'), id, after_seq, options);
  }

  async #events<Event extends Numbered>(
    key: string,
    id: string,
    after_seq: number,
    { limit, wait_ms }: { limit: number; wait_ms: number },
  ): Promise<readonly Event[]> {
    const found = await this.#readEvents<Event>(key, after_seq, limit);
    if (found.length > 0 || wait_ms <= 0) return found;
    // Subscribe first, read again, then wait: so an event between the two reads is not missed.
    const change = this.#changes.next(id, wait_ms);
    try {
      await change.listening;
      const meanwhile = await this.#readEvents<Event>(key, after_seq, limit);
      if (meanwhile.length > 0) return meanwhile;
      await change.noticed;
    } finally {
      change.forget();
    }
    return this.#readEvents<Event>(key, after_seq, limit);
  }

  async #readEvents<Event extends Numbered>(
    key: string,
    after_seq: number,
    limit: number,
  ): Promise<readonly Event[]> {
    const entries = await this.#ask(() => this.#redis.xrange(key, `${after_seq + 1}-0`, '+', 'COUNT', limit));
    return entries.map(([id, [, field = '{}']]) => eventFrom<Event>(id, field));
  }

  async takeDue(now: number, limit: number, lend_ms: number): Promise<readonly DueItem[]> {
    const ids = (await this.#run('takeDue', [
      this.#key('due'),
      now,
      limit,
      now + lend_ms,
    ])) as readonly string[];
    return ids.map(dueItem);
  }

  async defer({ kind, id }: DueItem, at: number): Promise<void> {
    await this.#run('defer', [this.#key('due'), `${kind}:${id}`, at]);
  }

  async listActive(): Promise<readonly DueItem[]> {
    // ZSCAN reads in parts. An item that is there all the time is returned at least once, whatever else
    // changes.
    const ids = new Set<string>();
    let cursor = '0';
    do {
      const [next, found] = await this.#ask(() =>
        this.#redis.zscan(this.#key('due'), cursor, 'COUNT', IDS_AT_ONCE),
      );
      for (let at = 0; at < found.length; at += 2) ids.add(found[at] ?? '');
      cursor = next;
    } while (cursor !== '0');
    return [...ids].map(dueItem);
  }

  async beginRequest(request: KeyedRequest, now: number): Promise<RequestVerdict> {
    const { tenant_id, key, fingerprint, claim } = request;
    const [verdict, text = ''] = (await this.#run('beginRequest', [
      this.#key('idempotency', tenant_id, key),
      fingerprint,
      claim,
      now,
      now + IN_FLIGHT_MS,
      REPLAY_MS,
    ])) as [RequestVerdict['verdict'], string?];
    switch (verdict) {
      case 'begun':
        return { verdict, operation_id: text };
      case 'answered':
        return { verdict, answer: JSON.parse(text) as StoredAnswer };
      default:
        return { verdict };
    }
  }

  async endRequest({ tenant_id, key, claim }: KeyedRequest, answer: StoredAnswer | null): Promise<void> {
    const text = answer === null ? '' : JSON.stringify(answer);
    await this.#run('endRequest', [this.#key('idempotency', tenant_id, key), claim, text]);
  }

  async pendingCasts(before: number, limit: number): Promise<readonly PendingCast[]> {
    const keys = [this.#key('casts', 'at'), this.#key('casts')];
    const found = (await this.#run('pendingCasts', [...keys, before, limit])) as readonly (string | null)[];
    return found.filter((text) => text !== null).map((text) => JSON.parse(text) as PendingCast);
  }

  /** RabbitMQ confirms many casts at once: those of one turn of the event loop are removed together. */
  castConfirmed(id: string): Promise<void> {
    this.#confirmed.push(id);
    this.#confirming ??= nextTurn().then(async () => {
      const ids = this.#confirmed.splice(0);
      this.#confirming = null;
      const keys = [this.#key('casts', 'at'), this.#key('casts')];
      for (const part of inParts(ids, IDS_AT_ONCE)) await this.#run('castsConfirmed', [...keys, ...part]);
    });
    return this.#confirming;
  }

  async counts(now: number): Promise<StoreCounts> {
    const [due, casts] = [this.#key('due'), this.#key('casts', 'at')];
    const [overdue, firstDue, pending, firstCast] = await this.#ask(() =>
      Promise.all([
        this.#redis.zcount(due, '-inf', now),
        this.#redis.zrange(due, '0', '0', 'WITHSCORES'),
        this.#redis.zcard(casts),
        this.#redis.zrange(casts, '0', '0', 'WITHSCORES'),
      ]),
    );
    const items = await this.listActive();
    const idsOf = (kind: DueItem['kind']) => items.flatMap((item) => (item.kind === kind ? [item.id] : []));
    const upgrades: Record<string, number> = {};
    for (const name of await this.#fieldOf('upgrade', idsOf('upgrade'), 'state'))
      upgrades[name] = (upgrades[name] ?? 0) + 1;
    const batches = await this.#fieldOf('batch', idsOf('batch'), 'doc');
    return {
      upgrades,
      batches: batches.map((doc) => JSON.parse(doc) as Batch),
      overdue,
      overdue_ms: now - Math.min(now, scoreOf(firstDue) ?? now),
      pending_casts: pending,
      pending_casts_ms: now - Math.min(now, scoreOf(firstCast) ?? now),
    };
  }

  /** Reads a field of the records that exist. */
  async #fieldOf(kind: string, ids: readonly string[], field: string): Promise<readonly string[]> {
    const found: string[] = [];
    for (const part of inParts(ids, IDS_AT_ONCE)) {
      const pipeline = this.#redis.pipeline();
      for (const id of part) pipeline.hget(this.#key(kind, id), field);
      for (const [err, value] of (await this.#ask(() => pipeline.exec())) ?? []) {
        if (err) throw toStoreError(err);
        if (typeof value === 'string') found.push(value);
      }
    }
    return found;
  }

  /** May be repeated: the first id stays. */
  async installation(fresh: string): Promise<string> {
    const key = this.#key('installation');
    await this.#ask(() => this.#redis.setnx(key, fresh));
    return (await this.#ask(() => this.#redis.get(key))) ?? fresh;
  }

  /** Tries a write that changes nothing: Redis refuses it whenever it would refuse other writes. */
  async health(): Promise<StoreHealth> {
    if (this.#redis.status === 'connect') return { status: 'unreachable', reason: LOADING };
    try {
      await this.#ask(() => this.#redis.setrange(this.#key('writable'), 0, ''));
      this.#refused = null;
      return { status: 'ok' };
    } catch (err) {
      // After a refusal the client may be connecting again. In that time the refusal of a moment ago still
      // holds.
      const { refusal, at } = this.#refused ?? { refusal: null, at: 0 };
      return refusal !== null && performance.now() - at < REFUSAL_HOLDS_MS
        ? { status: 'refuses_writes', reason: wordsOf(refusal) }
        : { status: 'unreachable', reason: textOf(err) };
    }
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    this.#subscriber.disconnect();
  }

  async #hashes(kind: string, ids: readonly string[]): Promise<readonly Record<string, string>[]> {
    const found: Record<string, string>[] = [];
    for (const part of inParts(ids, IDS_AT_ONCE)) {
      const pipeline = this.#redis.pipeline();
      for (const id of part) pipeline.hgetall(this.#key(kind, id));
      const answers = await this.#ask(() => pipeline.exec());
      for (const [err, hash] of answers ?? []) {
        if (err) throw toStoreError(err);
        found.push(hash as Record<string, string>);
      }
    }
    return found;
  }

  #run(script: ScriptName, args: readonly (string | number)[]): Promise<unknown> {
    // Redis would notice such a number in the middle of the script.
    const odd = args.find((arg) => typeof arg === 'number' && !Number.isFinite(arg));
    if (odd !== undefined) throw new CofferError('internal', `${script} was given ${odd} as a number`);
    // The arguments are one array, which ioredis flattens: a function call with 125,000 arguments is too much
    // for V8.
    return this.#ask(() => (this.#redis as unknown as Scripted)[script](args));
  }

  async #ask<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (err) {
      for (const client of [this.#redis, this.#subscriber]) reconnectIfSilent(client, err);
      this.#noteRefusal(err);
      throw toStoreError(err);
    }
  }

  /** Logs a refusal only once in a while, because every caller gets it too. */
  #noteRefusal(err: unknown): void {
    const refusal = refusalOf(err);
    if (refusal === null) return;
    const now = performance.now();
    this.#refused = { refusal, at: now };
    if (now - this.#told_at < REFUSAL_LOG_MS) return;
    this.#told_at = now;
    this.#log.error(wordsOf(refusal));
  }
}

export type { RedisStore };

function inParts<T>(all: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, at) =>
    all.slice(at * size, (at + 1) * size),
  );
}

/** The score of the one member in an answer `WITHSCORES`. */
function scoreOf([, score]: readonly string[]): number | undefined {
  return score === undefined ? undefined : Number(score);
}

/**
 * The versions that an upgrade keeps from being deleted: the version that it goes to, and the version that it
 * came from.
 */
function usesOf(upgrade: Upgrade): readonly string[] {
  return isActive(upgrade) ? [upgrade.from_version_id, upgrade.to_version_id] : [];
}
