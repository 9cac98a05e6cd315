/**
 * How clusters are created, resized and removed. Instances that are being built have the task BUILDING, those
 * that are to go have the task DELETING. On Redis, in addition to the keys of `clusters.ts`:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `build:<cluster>` | string | the build order, until the cluster is built or grown |
 * | `joined:<cluster>` | hash | until the cluster is built or grown: `agent:<agent>` the instance of an external agent, `sent:<agent>` when the agent has asked, and by `<instance>` where it serves |
 */
import type { Cluster, ClusterTask, Instance, Instant } from '../core/domain.ts';
import { ADOPTED, addressClaims, CLAIM, type Claimed, claimsOf, verdictOf } from './adopted.ts';
import { docOfCluster, docOfInstance, taskField } from './cluster-hash.ts';
import type { RedisClusters } from './clusters.ts';
import {
  changeOf,
  END_BUILD,
  endBuildArgs,
  JOINED,
  type JoiningAgent,
  type JoinVerdict,
  joinIn,
} from './joining.ts';
import { joinKeyId, type Keys, NO_KEYS } from './keys.ts';
import { ADD_CAST, castArgs, type PendingCast } from './outbox.ts';
import { RedisPart, type RedisPort } from './redis-port.ts';
import { script } from './script.ts';

/** A build or removal that was not finished is taken up again after this long. */
export const RETRY_CLUSTER_MS = 5_000;

/** What a provisioner needs in addition to the cluster itself. It is removed once the cluster is built. */
export interface BuildOrder {
  readonly databases: readonly string[];
  readonly users: readonly {
    readonly name: string;
    readonly verifier: string;
    readonly databases: readonly string[];
  }[];
}

/**
 * `taken`: there is a cluster of that id. `full`: its tenant has `max_clusters` already. `no_version`: its
 * version was deleted in the meantime. `Claimed`: one of its servers is in another adopted cluster.
 */
type CreateVerdict = 'created' | 'taken' | 'full' | 'no_version' | Claimed;

/**
 * `changed`: the cluster has changed since it was read: read it again. Otherwise the task that the cluster is
 * busy with; null if there is no such cluster.
 */
export type ResizeVerdict = 'begun' | 'changed' | ClusterTask | null;

export interface ProvisioningStore {
  /** Creates a cluster with task BUILDING, its keys, and its `create_cluster` cast, which is then pending. */
  create(
    cluster: Cluster,
    order: BuildOrder,
    cast: PendingCast,
    options?: { readonly max_clusters?: number | null; readonly keys?: Keys },
  ): Promise<CreateVerdict>;
  getOrder(cluster_id: string): Promise<BuildOrder | null>;
  /**
   * Gives an external agent an instance that is being built: the one with `instance_id`, or the next one in
   * creation order, or the one that the agent was given before. That instance will then serve at `endpoint`.
   * Each time that the agent asks, `sent` must be later than before.
   */
  join(cluster_id: string, agent: JoiningAgent): Promise<JoinVerdict>;
  /**
   * BUILDING or GROWING_CLUSTER → NONE, together with the tasks of the instances that were being built. Does
   * nothing if the cluster has another task by now. `since` is the `updated` of the cluster that the caller
   * has judged: the caller knows nothing about a task that has begun later.
   */
  finishBuild(cluster_id: string, now: Instant, since?: Instant): Promise<void>;
  /**
   * Task NONE → GROWING_CLUSTER. Adds these instances at the end, with their keys and a build order, and
   * makes the cast pending. `seen` is the cluster that the decision was based on; see `ResizeVerdict`.
   */
  beginGrow(
    seen: Cluster,
    added: readonly Instance[],
    cast: PendingCast,
    now: Instant,
    keys?: Keys,
  ): Promise<ResizeVerdict>;
  /** Task NONE → SHRINKING_CLUSTER. Sets these instances' tasks to DELETING, and makes the cast pending. */
  beginShrink(seen: Cluster, ids: readonly string[], cast: PendingCast, now: Instant): Promise<ResizeVerdict>;
  /**
   * SHRINKING_CLUSTER → NONE: removes the instances in `removed` and their keys. Other instances that were to
   * go stay, with `fault`. Does nothing if the cluster has changed since it was `seen`.
   */
  finishShrink(seen: Cluster, removed: readonly string[], fault: string | null, now: Instant): Promise<void>;
  /**
   * NONE or BUILDING → DELETING, with the `delete_cluster` cast pending. Otherwise returns the cluster's
   * task, or null if there is no such cluster. BUILDING is allowed because a cluster that never gets built
   * must be deletable.
   */
  beginDelete(cluster_id: string, cast: PendingCast, now: Instant): Promise<'begun' | ClusterTask | null>;
  /** Removes a cluster in task DELETING with its instances, keys, upgrades and events. */
  remove(cluster_id: string): Promise<void>;
}

const CLUSTER = { cluster: ['hash', 'cluster:<id>'] } as const;
const DUE = { due: ['zset', 'due'] } as const;
const BUILD = { build: ['string', 'build:<id>'] } as const;
const INSTANCE_KEYS = { instance_keys: ['hash', 'keys'] } as const;
const INDEXES = {
  clusters: ['zset', 'clusters'],
  of_tenant: ['zset', 'clusters:<tenant_id>'],
  of_name: ['zset', 'cluster-name:<tenant_id>:<name>'],
} as const;

/** Work of a provisioner begins: it is due, and its cast is pending. */
const BEGIN_WORK = {
  keys: { ...DUE, ...ADD_CAST.keys },
  args: ['due_at', ...ADD_CAST.args],
  lua: `redis.call('ZADD', DUE, due_at, 'cluster:' .. id) ${ADD_CAST.lua}`,
} as const;

function workArgs(cast: PendingCast, now: Instant, cast_at: Instant) {
  return { due_at: now + RETRY_CLUSTER_MS, ...castArgs(cast, cast_at) };
}

/** Instances that are to be built, with their keys. */
const ADD_INSTANCES = {
  lists: { sealed: ['of', 'key'], instances: ['instance_id', 'instance_doc', 'task'] },
  lua: `
for of, key in sealed() do redis.call('HSET', INSTANCE_KEYS, of, key) end
for instance_id, instance_doc, task in instances() do
  redis.call('SET', PREFIX .. ':instance:' .. instance_id, id)
  redis.call('HSET', CLUSTER, 'instance:' .. instance_id, instance_doc, 'task:' .. instance_id, task)
end
`,
} as const;

function instanceRows(instances: readonly Instance[], keys: Keys) {
  return {
    sealed: [...keys].map(([of, key]) => ({ of, key })),
    instances: instances.map((instance) => ({
      instance_id: instance.id,
      instance_doc: JSON.stringify(docOfInstance(instance)),
      task: taskField(instance),
    })),
  };
}

const CREATE = script('provisioning.create', {
  keys: {
    ...{ ...CLUSTER, ...INDEXES, ...BUILD, ...INSTANCE_KEYS, ...ADOPTED, ...BEGIN_WORK.keys },
    versions: ['set', 'catalogue:versions'],
    uses: ['set', 'uses:<version_id>'],
  },
  // biome-ignore format: one name after the other
  args: ['id', 'doc', 'version_id', 'version', 'created', 'order', 'members', 'datastore_id', 'max_clusters', ...BEGIN_WORK.args],
  lists: { ...CLAIM.lists, ...ADD_INSTANCES.lists },
  lua: `
if redis.call('EXISTS', CLUSTER) == 1 then return 'taken' end
if max_clusters ~= '' and redis.call('ZCARD', OF_TENANT) >= tonumber(max_clusters) then return 'full' end
if version_id ~= '' and redis.call('SISMEMBER', VERSIONS, version_id) == 0 then return 'no_version' end
${CLAIM.lua}
redis.call('HSET', CLUSTER, 'doc', doc, 'task', 'BUILDING', 'version_id', version_id, 'version', version,
  'updated', created, 'members', members, 'datastore', datastore_id)
if version_id ~= '' then redis.call('SADD', USES, 'cluster:' .. id) end
redis.call('ZADD', OF_TENANT, 0, id)
redis.call('ZADD', CLUSTERS, 0, id)
redis.call('ZADD', OF_NAME, created, id)
redis.call('SET', BUILD, order)
${BEGIN_WORK.lua}
${ADD_INSTANCES.lua}
return 'created'`,
});

const FINISH_BUILD = script('provisioning.finishBuild', {
  keys: END_BUILD.keys,
  args: ['id', 'since', 'updated', ...END_BUILD.args],
  lists: END_BUILD.lists,
  lua: `
local held = redis.call('HMGET', CLUSTER, 'task', 'updated')
if (held[1] ~= 'BUILDING' and held[1] ~= 'GROWING_CLUSTER') or held[2] ~= since then return end
${END_BUILD.lua}
redis.call('HSET', CLUSTER, 'updated', updated)`,
});

/** Checks that the cluster is idle, and as it was seen. */
const MUST_BE_IDLE = `
local held = redis.call('HMGET', CLUSTER, 'task', 'updated', 'members')
if not held[1] then return false end
if held[1] ~= 'NONE' then return held[1] end
if held[2] ~= since then return 'changed' end
`;

const BEGIN_GROW = script('provisioning.beginGrow', {
  keys: { ...CLUSTER, ...BUILD, ...INSTANCE_KEYS, ...BEGIN_WORK.keys },
  args: ['id', 'since', 'updated', 'order', ...BEGIN_WORK.args],
  lists: ADD_INSTANCES.lists,
  lua: `${MUST_BE_IDLE}
${ADD_INSTANCES.lua}
local members = held[3]
for instance_id in instances() do members = members .. ' ' .. instance_id end
redis.call('HSET', CLUSTER, 'task', 'GROWING_CLUSTER', 'updated', updated, 'members', members)
redis.call('SET', BUILD, order)
${BEGIN_WORK.lua}
return 'begun'`,
});

const BEGIN_SHRINK = script('provisioning.beginShrink', {
  keys: { ...CLUSTER, ...BEGIN_WORK.keys },
  args: ['id', 'since', 'updated', 'deleting', ...BEGIN_WORK.args],
  lists: { leaving: ['instance_id'] },
  lua: `${MUST_BE_IDLE}
redis.call('ZREM', DUE, 'cluster:' .. id)
redis.call('HSET', CLUSTER, 'task', 'SHRINKING_CLUSTER', 'updated', updated)
for instance_id in leaving() do redis.call('HSET', CLUSTER, 'task:' .. instance_id, deleting) end
${BEGIN_WORK.lua}
return 'begun'`,
});

const FINISH_SHRINK = script('provisioning.finishShrink', {
  keys: { ...CLUSTER, ...DUE, ...INSTANCE_KEYS },
  args: ['id', 'since', 'updated', 'members', 'idle'],
  lists: { spared: ['instance_id'], removed: ['instance_id'] },
  lua: `
local held = redis.call('HMGET', CLUSTER, 'task', 'updated')
if held[1] ~= 'SHRINKING_CLUSTER' or held[2] ~= since then return end
redis.call('ZREM', DUE, 'cluster:' .. id)
for instance_id in spared() do redis.call('HSET', CLUSTER, 'task:' .. instance_id, idle) end
for instance_id in removed() do
  redis.call('DEL', PREFIX .. ':instance:' .. instance_id)
  redis.call('HDEL', INSTANCE_KEYS, instance_id)
  for _, field in ipairs({ 'instance:', 'task:', 'report:', 'sent:', 'heard:', 'told:' }) do
    redis.call('HDEL', CLUSTER, field .. instance_id)
  end
end
redis.call('HSET', CLUSTER, 'task', 'NONE', 'updated', updated, 'members', members)`,
});

const BEGIN_DELETE = script('provisioning.beginDelete', {
  keys: { ...CLUSTER, ...BEGIN_WORK.keys },
  args: ['id', 'updated', ...BEGIN_WORK.args],
  lua: `
local task = redis.call('HGET', CLUSTER, 'task')
if not task then return false end
if task ~= 'NONE' and task ~= 'BUILDING' then return task end
redis.call('ZREM', DUE, 'cluster:' .. id)
redis.call('HSET', CLUSTER, 'task', 'DELETING', 'updated', updated)
${BEGIN_WORK.lua}
return 'begun'`,
});

const REMOVE = script('provisioning.remove', {
  keys: {
    ...{ ...CLUSTER, ...INDEXES, ...BUILD, ...DUE, ...JOINED, ...INSTANCE_KEYS, ...ADOPTED },
    upgrades: ['zset', 'upgrades:<id>'],
  },
  args: ['id'],
  lists: { instances: ['instance_id'], sealed: ['key_of'], ...CLAIM.lists },
  lua: `
if redis.call('HGET', CLUSTER, 'task') ~= 'DELETING' then return end
redis.call('SREM', PREFIX .. ':uses:' .. redis.call('HGET', CLUSTER, 'version_id'), 'cluster:' .. id)
for _, upgrade in ipairs(redis.call('ZRANGE', UPGRADES, 0, -1)) do
  local key = PREFIX .. ':upgrade:' .. upgrade
  redis.call('DEL', key, key .. ':events')
end
for instance_id in instances() do
  redis.call('DEL', PREFIX .. ':instance:' .. instance_id)
end
for key_of in sealed() do redis.call('HDEL', INSTANCE_KEYS, key_of) end
for claim in claims() do
  if redis.call('HGET', ADOPTED, claim) == id then redis.call('HDEL', ADOPTED, claim) end
end
for _, index in ipairs({ CLUSTERS, OF_TENANT, OF_NAME }) do redis.call('ZREM', index, id) end
redis.call('ZREM', DUE, 'cluster:' .. id)
redis.call('DEL', CLUSTER, BUILD, UPGRADES, JOINED)`,
});

export class RedisProvisioning extends RedisPart implements ProvisioningStore {
  readonly #clusters: RedisClusters;

  constructor(port: RedisPort, clusters: RedisClusters) {
    super(port);
    this.#clusters = clusters;
  }

  async create(...[cluster, order, cast, options = {}]: Parameters<ProvisioningStore['create']>) {
    const { id, tenant_id, name, created } = cluster;
    const verdict = await this.port.run(CREATE, {
      ...{ id, tenant_id, name, created, datastore_id: cluster.datastore_id },
      doc: JSON.stringify(docOfCluster(cluster)),
      version_id: cluster.datastore_version_id,
      version: cluster.datastore_version,
      members: idsOf(cluster.instances).join(' '),
      max_clusters: options.max_clusters ?? null,
      order: JSON.stringify(order),
      ...workArgs(cast, created, created),
      ...instanceRows(cluster.instances, options.keys ?? NO_KEYS),
      claims: addressClaims(cluster),
    });
    return verdictOf(verdict) as CreateVerdict;
  }

  async getOrder(cluster_id: string) {
    const text = await this.port.ask((redis) => redis.get(this.port.key('build', cluster_id)));
    return text === null ? null : (JSON.parse(text) as BuildOrder);
  }

  async join(id: string, agent: JoiningAgent): Promise<JoinVerdict> {
    const cluster = await this.#clusters.get(id);
    return cluster ? joinIn(this.port, cluster, agent) : 'full';
  }

  async finishBuild(id: string, now: Instant, since?: Instant) {
    const cluster = await this.#clusters.get(id);
    if (!cluster) return;
    await this.port.run(FINISH_BUILD, {
      ...{ id, ...changeOf(cluster, now), since: since ?? cluster.updated },
      ...endBuildArgs(cluster),
    });
  }

  async beginGrow(...[seen, added, cast, now, keys = NO_KEYS]: Parameters<ProvisioningStore['beginGrow']>) {
    const change = changeOf(seen, now);
    const verdict = await this.port.run(BEGIN_GROW, {
      ...{ id: seen.id, ...change, ...workArgs(cast, now, change.updated), ...instanceRows(added, keys) },
      order: JSON.stringify({ databases: [], users: [] } satisfies BuildOrder),
    });
    return verdict as ResizeVerdict;
  }

  async beginShrink(seen: Cluster, leaving: readonly string[], cast: PendingCast, now: Instant) {
    const change = changeOf(seen, now);
    const verdict = await this.port.run(BEGIN_SHRINK, {
      ...{ id: seen.id, ...change, ...workArgs(cast, now, change.updated), leaving },
      deleting: taskField({ task: 'DELETING', fault: null, in_doubt: false }),
    });
    return verdict as ResizeVerdict;
  }

  async finishShrink(seen: Cluster, removed: readonly string[], fault: string | null, now: Instant) {
    const staying = seen.instances.filter(({ id }) => !removed.includes(id));
    await this.port.run(FINISH_SHRINK, {
      ...{ id: seen.id, ...changeOf(seen, now), removed },
      members: idsOf(staying).join(' '),
      idle: taskField({ task: 'NONE', fault, in_doubt: false }),
      spared: idsOf(staying.filter(({ task }) => task === 'DELETING')),
    });
  }

  async beginDelete(id: string, cast: PendingCast, now: Instant) {
    const verdict = await this.port.run(BEGIN_DELETE, { id, updated: now, ...workArgs(cast, now, now) });
    return verdict as 'begun' | ClusterTask | null;
  }

  async remove(id: string) {
    const cluster = await this.#clusters.get(id);
    if (!cluster) return;
    const { tenant_id, name, instances } = cluster;
    const ids = idsOf(instances);
    await this.port.run(REMOVE, {
      ...{ id, tenant_id, name, instances: ids, claims: claimsOf(cluster) },
      sealed: [...ids, ...[id, ...ids].map(joinKeyId)],
    });
  }
}

function idsOf(instances: readonly Instance[]): readonly string[] {
  return instances.map(({ id }) => id);
}
