/**
 * Upgrades. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `upgrade:<id>` | hash | `revision`, `cluster`, `state`, `uses` (ids of versions), `doc` |
 * | `upgrade:<id>:events` | stream | see `events.ts` |
 * | `upgrades:<cluster>` | sorted set | upgrade ids by creation |
 * | `steps:<manager>:<kind>` | list | the latest durations of the manager's steps, in milliseconds |
 */
import type { Cluster, ClusterTask, DatastoreVersion, InstanceTask, Instant } from '../core/domain.ts';
import { MEASURED_KINDS, MEASURED_STEPS, type MeasuredKind, type MeasuredTimes } from '../core/history.ts';
import { DEFAULT_POLICY } from '../core/policy.ts';
import { goalIdOf, isActive, type Upgrade, type UpgradeEvent } from '../core/record.ts';
import { HINT_GRACE_MS, hintOf } from './batches.ts';
import { CLUSTER_TEXT, clusterFromText, taskField } from './cluster-hash.ts';
import { EVENTS_LUA, type EventsRequest, eventField, eventRows } from './events.ts';
import { ADD_CAST, castArgs, type PendingCast } from './outbox.ts';
import type { Forgotten, Page, PageRequest } from './page.ts';
import { RedisPart, type RedisPort } from './redis-port.ts';
import { script } from './script.ts';

/** One step removes few more upgrades than this, because the store serves nobody else in the meantime. */
export const FORGET_AT_ONCE = 100;
/** The usual durations of steps change slowly. */
const MEASURED_TIMES_AGE_MS = 5_000;
/**
 * When there are more different texts than this, because of many datastores or many changes, the cache is
 * cleared.
 */
const MAX_VERSION_TEXTS = 100;

type BeginVerdict =
  | { readonly verdict: 'begun' }
  /** An upgrade of the same id was begun before: the request was repeated, or the cast was redelivered. */
  | { readonly verdict: 'duplicate' }
  | { readonly verdict: 'busy'; readonly task: ClusterTask; readonly upgrade_id: string | null }
  | { readonly verdict: 'missing' }
  /**
   * The cluster that the decision was based on has changed, and the upgrade would be older than the cluster:
   * decide again.
   */
  | { readonly verdict: 'changed' }
  /** The target version was deleted in the meantime. */
  | { readonly verdict: 'no_version' };

/** A new revision of an upgrade, with everything that must become true together with it. */
export interface Commit {
  /** `upgrade.revision` is the revision that was read plus one. */
  readonly upgrade: Upgrade;
  readonly events: readonly UpgradeEvent[];
  readonly instance_tasks: readonly {
    readonly instance_id: string;
    readonly task: InstanceTask;
    readonly fault: string | null;
    readonly in_doubt: boolean;
    readonly told_version?: string | null;
  }[];
  /** The durations of the steps that ended with this revision. They are kept for the manager. */
  readonly measured: readonly {
    readonly manager: string;
    readonly step: MeasuredKind;
    readonly ms: number;
  }[];
  /** Set when the upgrade ends: the cluster's task returns to NONE, and the cluster gets this version. */
  readonly release: { readonly datastore_version_id: string; readonly datastore_version: string } | null;
  /** True if the upgrade paused, continued or ended: its batch, if it has one, must be checked. */
  readonly moves_batch: boolean;
  /** When the upgrade must be checked again; null once it has ended. */
  readonly wake_at: Instant | null;
  readonly now: Instant;
}

export interface Loaded {
  readonly upgrade: Upgrade;
  /** Null if the cluster has been removed in the meantime. */
  readonly cluster: Cluster | null;
  /** All versions of the cluster's datastore, as the catalogue has them now. */
  readonly versions: readonly DatastoreVersion[];
}

export interface UpgradeStore {
  /**
   * Task NONE → UPGRADING_CLUSTER. Writes the record at revision 1 with its first event, and the cast to
   * publish (G3).
   */
  begin(
    upgrade: Upgrade,
    event: UpgradeEvent,
    cast: PendingCast | null,
    wake_at: Instant,
  ): Promise<BeginVerdict>;
  get(id: string): Promise<Upgrade | null>;
  /** Those of these upgrades that exist. */
  getMany(ids: readonly string[]): Promise<readonly Upgrade[]>;
  /** A cluster's upgrades, newest first. */
  list(cluster_id: string, page: PageRequest): Promise<Page<Upgrade>>;
  /** The upgrade, its cluster and the versions of its datastore, as one consistent view. */
  load(upgrade_id: string): Promise<Loaded | null>;
  /** `conflict`: another revision was committed since. The caller reads again and decides again. */
  commit(commit: Commit): Promise<'committed' | 'conflict'>;
  /** Events after `after_seq`, oldest first. */
  events(upgrade_id: string, after_seq: number, request: EventsRequest): Promise<readonly UpgradeEvent[]>;
  /**
   * The latest durations of a manager's steps, at most `MEASURED_STEPS` of each kind. They may be some
   * seconds old.
   */
  measuredTimes(manager: string): Promise<MeasuredTimes>;
  /**
   * Removes upgrades that ended before this time, with their events, of up to `limit` clusters in order of
   * id. A cluster keeps its latest upgrade, because a retry or a rollback may take it up. A batch keeps its
   * upgrades as long as the batch itself is there. A cast that is not confirmed keeps the upgrade that it
   * starts.
   */
  forget(before: Instant, page: PageRequest): Promise<Forgotten>;
}

const BEGIN = script('upgrades.begin', {
  keys: {
    upgrade: ['hash', 'upgrade:<id>'],
    events: ['stream', 'upgrade:<id>:events'],
    cluster: ['read', 'cluster:<cluster_id>'],
    due: ['zset', 'due'],
    ...ADD_CAST.keys,
    upgrades: ['zset', 'upgrades:<cluster_id>'],
    untold: ['hash', 'untold'],
    versions: ['read', 'catalogue:versions'],
    uses_from: ['set', 'uses:<from_id>'],
    uses_to: ['set', 'uses:<to_id>'],
  },
  // biome-ignore format: one name after the other
  args: ['id', 'cluster_id', 'created', 'doc', 'event', 'wake_at', 'goal_id', 'uses', 'state', 'notifies', ...ADD_CAST.args],
  lua: `
if redis.call('EXISTS', UPGRADE) == 1 then return { 'duplicate' } end
local held = redis.call('HMGET', CLUSTER, 'task', 'upgrade', 'updated')
if not held[1] then return { 'missing' } end
if held[1] ~= 'NONE' then return { 'busy', held[1], held[2] or '' } end
if tonumber(created) < tonumber(held[3]) then return { 'changed' } end
if redis.call('SISMEMBER', VERSIONS, goal_id) == 0 then return { 'no_version' } end
redis.call('HSET', CLUSTER, 'task', 'UPGRADING_CLUSTER', 'upgrade', id, 'updated', created)
redis.call('HSET', UPGRADE, 'revision', 1, 'cluster', cluster_id, 'uses', uses, 'state', state, 'doc', doc)
redis.call('SADD', USES_FROM, 'upgrade:' .. id)
redis.call('SADD', USES_TO, 'upgrade:' .. id)
redis.call('XADD', EVENTS, '1-0', 'event', event)
redis.call('ZADD', UPGRADES, created, id)
redis.call('ZADD', DUE, wake_at, 'upgrade:' .. id)
${ADD_CAST.lua}
if notifies ~= '' then redis.call('HSET', UNTOLD, id, 0) end
return { 'begun' }`,
});

const LOAD = script('upgrades.load', {
  keys: { upgrade: ['read', 'upgrade:<id>'] },
  lua: `${CLUSTER_TEXT}
local held = redis.call('HMGET', UPGRADE, 'doc', 'cluster')
if not held[1] then return false end
local cluster = PREFIX .. ':cluster:' .. held[2]
local datastore = redis.call('HGET', cluster, 'datastore') or ''
return { held[1], clusterText(cluster) or false, redis.call('HGET', PREFIX .. ':catalogue', datastore) or '[]' }`,
});

/**
 * Only the upgrade that the cluster names writes to the cluster. The keys whose names are made here are read
 * before the first write, because their types are not checked otherwise (R2).
 */
const COMMIT = script('upgrades.commit', {
  keys: {
    upgrade: ['read', 'upgrade:<id>'],
    events: ['read', 'upgrade:<id>:events'],
    cluster: ['read', 'cluster:<cluster_id>'],
    due: ['zset', 'due'],
  },
  // biome-ignore format: one name after the other
  args: [
    'id', 'cluster_id', 'revision_read', 'revision', 'doc', 'state', 'uses', 'now', 'wake_at', 'version_id',
    'version', 'measured_steps', 'batch_id', 'hint', 'look_by',
  ],
  lists: {
    events: ['seq', 'event'],
    cluster_fields: ['field', 'value'],
    measured: ['manager', 'step', 'ms'],
  },
  lua: `
if redis.call('HGET', UPGRADE, 'revision') ~= revision_read then return 0 end
${EVENTS_LUA.check}
local function durations(manager, step) return PREFIX .. ':steps:' .. manager .. ':' .. step end
for manager, step in measured() do redis.call('LLEN', durations(manager, step)) end
local hints = PREFIX .. ':batch:' .. batch_id .. ':hints'
if batch_id ~= '' then redis.call('SCARD', hints) end
local held = redis.call('HMGET', CLUSTER, 'upgrade', 'version_id', 'updated')
local holds_cluster = held[1] == id
local moves = { { 'upgrade:' .. id, redis.call('HGET', UPGRADE, 'uses'), uses } }
if holds_cluster and version_id ~= '' then moves[2] = { 'cluster:' .. cluster_id, held[2], version_id } end
local uses_of = PREFIX .. ':uses:'
for _, move in ipairs(moves) do
  for version in string.gmatch(move[2] .. ' ' .. move[3], '%S+') do redis.call('SCARD', uses_of .. version) end
end

redis.call('ZREM', DUE, 'upgrade:' .. id)
redis.call('HSET', UPGRADE, 'revision', revision, 'state', state, 'uses', uses, 'doc', doc)
${EVENTS_LUA.add}
if holds_cluster then
  for field, value in cluster_fields() do redis.call('HSET', CLUSTER, field, value) end
  if version_id ~= '' then
    local updated = tonumber(held[3]) > tonumber(now) and held[3] or now
    redis.call('HSET', CLUSTER, 'task', 'NONE', 'updated', updated, 'version_id', version_id, 'version', version)
  end
end
for _, move in ipairs(moves) do
  if move[2] ~= move[3] then
    for version in string.gmatch(move[2], '%S+') do redis.call('SREM', uses_of .. version, move[1]) end
    for version in string.gmatch(move[3], '%S+') do redis.call('SADD', uses_of .. version, move[1]) end
  end
end
for manager, step, ms in measured() do
  redis.call('LPUSH', durations(manager, step), ms)
  redis.call('LTRIM', durations(manager, step), 0, measured_steps - 1)
end
if wake_at ~= '' then redis.call('ZADD', DUE, wake_at, 'upgrade:' .. id) end
local look_at = batch_id ~= '' and redis.call('ZSCORE', DUE, 'batch:' .. batch_id)
if look_at then
  redis.call('SADD', hints, hint)
  if tonumber(look_at) > tonumber(look_by) then redis.call('ZADD', DUE, look_by, 'batch:' .. batch_id) end
end
${EVENTS_LUA.tell}
return 1`,
});

const FORGET = script('upgrades.forget', {
  keys: { casts: ['read', 'casts'] },
  args: ['before', 'limit'],
  lists: { clusters: ['cluster_id'] },
  lua: `
local function isOver(id)
  local doc = redis.call('HGET', PREFIX .. ':upgrade:' .. id, 'doc')
  local upgrade = doc and cjson.decode(doc)
  if not upgrade or (upgrade.state.ended or tonumber(before)) >= tonumber(before) then return false end
  if redis.call('HEXISTS', CASTS, id) == 1 then return false end
  return upgrade.batch == cjson.null or redis.call('EXISTS', PREFIX .. ':batch:' .. upgrade.batch.id) == 0
end
local count, looked = 0, 0
for cluster_id in clusters() do
  local upgrades = PREFIX .. ':upgrades:' .. cluster_id
  local old = redis.call('ZRANGEBYSCORE', upgrades, '-inf', '(' .. before)
  local latest = #old > 0 and redis.call('HGET', PREFIX .. ':cluster:' .. cluster_id, 'upgrade')
  for _, id in ipairs(old) do
    if count < tonumber(limit) and id ~= latest and isOver(id) then
      local key = PREFIX .. ':upgrade:' .. id
      redis.call('DEL', key, key .. ':events')
      redis.call('ZREM', upgrades, id)
      count = count + 1
    end
  end
  looked = looked + 1
  if count >= tonumber(limit) then break end
end
return { count, looked }`,
});

export class RedisUpgrades extends RedisPart implements UpgradeStore {
  readonly #notifies: boolean;
  /** The versions by their JSON text: the same text arrives hundreds of times a second. */
  readonly #versions = new Map<string, readonly DatastoreVersion[]>();
  readonly #measured = new Map<string, { readonly times: MeasuredTimes; readonly at: number }>();

  constructor(port: RedisPort, { notifies }: { readonly notifies: boolean }) {
    super(port);
    this.#notifies = notifies;
  }

  async begin(upgrade: Upgrade, event: UpgradeEvent, cast: PendingCast | null, wake_at: Instant) {
    const { id, cluster_id, created } = upgrade;
    const answer = await this.port.run(BEGIN, {
      ...{ id, cluster_id, created, wake_at, notifies: this.#notifies, ...heldOf(upgrade) },
      event: eventField(event),
      from_id: upgrade.from_version_id,
      to_id: upgrade.to_version_id,
      goal_id: goalIdOf(upgrade),
      ...castArgs(cast, created),
    });
    const [verdict, task, upgrade_id] = answer as [BeginVerdict['verdict'], ClusterTask, string];
    return verdict === 'busy' ? { verdict, task, upgrade_id: upgrade_id || null } : { verdict };
  }

  async get(id: string) {
    const [upgrade = null] = await this.getMany([id]);
    return upgrade;
  }

  async getMany(ids: readonly string[]) {
    return (await this.port.fieldOf('upgrade', ids, 'doc')).map(upgradeFrom);
  }

  async list(cluster_id: string, page: PageRequest) {
    const { items, next_marker } = await this.port.newestFirst(this.port.key('upgrades', cluster_id), page);
    return { items: await this.getMany(items), next_marker };
  }

  async load(id: string): Promise<Loaded | null> {
    const answer = await this.port.run(LOAD, { id });
    if (answer === null) return null;
    const [doc, cluster, versions] = answer as [string, string | null, string];
    return {
      upgrade: upgradeFrom(doc),
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

  async commit({ upgrade, events, instance_tasks, measured, release, wake_at, now, moves_batch }: Commit) {
    const { id, cluster_id, revision, batch } = upgrade;
    const done = await this.port.run(COMMIT, {
      ...{ id, cluster_id, revision_read: revision - 1, revision, wake_at, now, measured },
      ...heldOf(upgrade),
      events: eventRows(events),
      cluster_fields: instance_tasks.flatMap(({ instance_id, task, fault, in_doubt, told_version }) => [
        { field: `task:${instance_id}`, value: taskField({ task, fault, in_doubt }) },
        ...(told_version === undefined ? [] : [{ field: `told:${instance_id}`, value: told_version }]),
      ]),
      version_id: release?.datastore_version_id ?? null,
      version: release?.datastore_version ?? null,
      measured_steps: MEASURED_STEPS,
      batch_id: batch && moves_batch ? batch.id : null,
      hint: batch && hintOf(batch.position, revision),
      look_by: now + HINT_GRACE_MS,
    });
    return done === 1 ? 'committed' : 'conflict';
  }

  events(id: string, after_seq: number, request: EventsRequest): Promise<readonly UpgradeEvent[]> {
    return this.port.events('upgrade', id, after_seq, request);
  }

  /**
   * Every request to upgrade needs these times, and they hardly ever change: they are read again only now and
   * then.
   */
  async measuredTimes(manager: string): Promise<MeasuredTimes> {
    const held = this.#measured.get(manager);
    if (held && performance.now() - held.at < MEASURED_TIMES_AGE_MS) return held.times;
    const [instance = [], switchover = []] = await this.port.ask((redis) =>
      Promise.all(MEASURED_KINDS.map((kind) => redis.lrange(this.port.key('steps', manager, kind), 0, -1))),
    );
    const times = { instance: instance.map(Number), switchover: switchover.map(Number) };
    this.#measured.set(manager, { times, at: performance.now() });
    return times;
  }

  async forget(before: Instant, page: PageRequest): Promise<Forgotten> {
    const { items, next_marker } = await this.port.idsAfter(this.port.key('clusters'), page);
    const answer = await this.port.run(FORGET, { before, limit: FORGET_AT_ONCE, clusters: items });
    const [count, looked] = answer as [number, number];
    return { count, next_marker: looked < items.length ? (items[looked - 1] ?? null) : next_marker };
  }
}

/**
 * The record from its text. An older release may have written it, without a field that the policy has by now: that
 * field gets its default.
 */
export function upgradeFrom(doc: string): Upgrade {
  const upgrade = JSON.parse(doc) as Upgrade;
  return { ...upgrade, policy: { ...DEFAULT_POLICY, ...upgrade.policy } };
}

/**
 * The record as its hash holds it. `uses` are the versions that an active upgrade keeps from being deleted:
 * the version that it goes to, and the version that it came from.
 */
function heldOf(upgrade: Upgrade) {
  const uses = isActive(upgrade) ? `${upgrade.from_version_id} ${upgrade.to_version_id}` : '';
  return { doc: JSON.stringify(upgrade), state: upgrade.state.name, uses };
}
