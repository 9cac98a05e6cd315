/**
 * Clusters as they are now, with the reports of their guests. `provisioning.ts` creates, resizes and removes
 * them; `upgrades.ts` upgrades them. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `cluster:<id>` | hash | a cluster: see `cluster-hash.ts` |
 * | `instance:<id>` | string | the id of the instance's cluster |
 * | `clusters` | sorted set | ids of all clusters, in order of id |
 * | `clusters:<tenant>` | sorted set | a tenant's cluster ids, in order of id |
 * | `cluster-name:<tenant>:<name>` | sorted set | cluster ids by creation |
 */
import type { Catalogue } from '../core/catalogue.ts';
import type { Cluster, ClusterTask, GuestReport, Instant } from '../core/domain.ts';
import type { RedisCatalogue } from './catalogue.ts';
import { CLUSTER_TEXT, clusterFromText } from './cluster-hash.ts';
import type { Page, PageRequest } from './page.ts';
import { inParts, RedisPart, type RedisPort } from './redis-port.ts';
import { script } from './script.ts';

/**
 * No report is under way for this long. If a report is older than the last one by more than this, the guest's
 * clock was set back.
 */
export const CLOCK_STEP_MS = 60_000;
/** Redis serves no other client while it reads this many clusters. */
const CLUSTERS_AT_ONCE = 20;

/** A cluster, and the catalogue that decisions about it are based on. */
export interface Found {
  readonly cluster: Cluster;
  readonly catalogue: Catalogue;
}

interface HeartbeatOutcome {
  /** False for a report older than the one already held. */
  readonly fresh: boolean;
  readonly cluster_id: string;
  readonly task: ClusterTask;
  readonly upgrade_id: string | null;
  /** Of an adopted cluster: the version that the record says; null for any other cluster. */
  readonly adopted_version: string | null;
}

export interface ClusterStore {
  get(id: string): Promise<Cluster | null>;
  /** Reads the cluster and the catalogue. The catalogue may be a later one. */
  see(id: string): Promise<Found | null>;
  /** Those of these clusters that exist. */
  getMany(ids: readonly string[]): Promise<readonly Cluster[]>;
  /** The ids of a tenant's clusters of that name, oldest first. */
  find(tenant_id: string, name: string): Promise<readonly string[]>;
  /** Clusters in order of id; null: those of all tenants. */
  list(tenant_id: string | null, page: PageRequest): Promise<Page<Cluster>>;
  /** The id of an instance's cluster. */
  ofInstance(instance_id: string): Promise<string | null>;
  /**
   * Writes a guest's report if it is newer than the last one (by `sent`), or older by `CLOCK_STEP_MS` or
   * more: then the guest's clock was set back. Null for an unknown instance.
   */
  heartbeat(instance_id: string, report: GuestReport, now: Instant): Promise<HeartbeatOutcome | null>;
}

const GET_MANY = script('clusters.getMany', {
  lists: { wanted: ['id'] },
  lua: `${CLUSTER_TEXT}
local texts = {}
for id in wanted() do texts[#texts + 1] = clusterText(PREFIX .. ':cluster:' .. id) end
return texts`,
});

const SEE = script('clusters.see', {
  keys: { cluster: ['read', 'cluster:<id>'], catalogue: ['read', 'catalogue'] },
  lua: `${CLUSTER_TEXT}
return { clusterText(CLUSTER) or false, redis.call('HGET', CATALOGUE, 'revision') }`,
});

const HEARTBEAT = script('clusters.heartbeat', {
  keys: { instance: ['read', 'instance:<instance_id>'] },
  args: ['instance_id', 'sent', 'now', 'report', 'clock_step_ms'],
  lua: `
local cluster_id = redis.call('GET', INSTANCE)
if not cluster_id then return false end
local cluster = PREFIX .. ':cluster:' .. cluster_id
local held = redis.call('HMGET', cluster, 'task', 'upgrade', 'sent:' .. instance_id, 'version', 'system')
if not held[1] then return false end
local fresh = 0
local behind = tonumber(held[3] or sent) - tonumber(sent)
if behind <= 0 or behind >= tonumber(clock_step_ms) then
  fresh = 1
  redis.call('HDEL', cluster, 'sent:' .. instance_id)
  redis.call('HSET', cluster, 'report:' .. instance_id, report, 'sent:' .. instance_id, sent, 'heard:' .. instance_id, now)
end
return { fresh, cluster_id, held[1], held[2] or '', held[5] and held[4] or false }`,
});

type Outcome = [
  fresh: number,
  cluster_id: string,
  task: ClusterTask,
  upgrade_id: string,
  adopted_version: string | null,
];

export class RedisClusters extends RedisPart implements ClusterStore {
  readonly #catalogue: RedisCatalogue;

  constructor(port: RedisPort, catalogue: RedisCatalogue) {
    super(port);
    this.#catalogue = catalogue;
  }

  async get(id: string) {
    return (await this.getMany([id]))[0] ?? null;
  }

  async see(id: string) {
    const answer = await this.port.run(SEE, { id });
    const [text, revision] = answer as [string | null, string | null];
    const cluster = clusterFromText(text);
    return cluster && { cluster, catalogue: await this.#catalogue.at(revision) };
  }

  async getMany(ids: readonly string[]) {
    const parts = inParts(ids, CLUSTERS_AT_ONCE).map((wanted) => this.port.run(GET_MANY, { wanted }));
    const texts = (await Promise.all(parts)) as (readonly string[])[];
    return texts
      .flat()
      .map(clusterFromText)
      .filter((one) => one !== null);
  }

  find(tenant_id: string, name: string) {
    const key = this.port.key('cluster-name', tenant_id, name);
    return this.port.ask((redis) => redis.zrange(key, '0', '-1'));
  }

  async list(tenant_id: string | null, page: PageRequest) {
    const key = this.port.key('clusters', ...(tenant_id === null ? [] : [tenant_id]));
    const { items, next_marker } = await this.port.idsAfter(key, page);
    return { items: await this.getMany(items), next_marker };
  }

  ofInstance(instance_id: string) {
    return this.port.ask((redis) => redis.get(this.port.key('instance', instance_id)));
  }

  async heartbeat(instance_id: string, report: GuestReport, now: Instant) {
    const told = { instance_id, sent: report.sent, report: JSON.stringify(report) };
    const answer = await this.port.run(HEARTBEAT, { ...told, now, clock_step_ms: CLOCK_STEP_MS });
    if (answer === null) return null;
    const [fresh, cluster_id, task, upgrade_id, adopted_version] = answer as Outcome;
    const outcome = { cluster_id, task, upgrade_id: upgrade_id === '' ? null : upgrade_id };
    return { ...outcome, fresh: fresh === 1, adopted_version };
  }
}
