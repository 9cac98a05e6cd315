/**
 * Clusters whose servers existed before. No server is in two of them: each server is claimed by its address
 * and by its system identifier. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `adopted` | hash | ids of clusters, by `at:<tenant>:<host>:<port>` and by `system:<system identifier>` |
 */
import type { Settlement } from '../core/adopted.ts';
import type { Cluster, Instant } from '../core/domain.ts';
import { taskField } from './cluster-hash.ts';
import { changeOf, END_BUILD, endBuildArgs, idsBeingBuilt } from './joining.ts';
import { RedisPart } from './redis-port.ts';
import { script } from './script.ts';

/** Another adopted cluster has a server already. */
export interface Claimed {
  readonly claimed_by: string;
  /** `at:<tenant>:<host>:<port>` or `system:<system identifier>`. */
  readonly claim: string;
}

/**
 * `changed`: the cluster has changed since it was seen, or is busy. `no_version`: the version was deleted in
 * the meantime.
 */
type SettleVerdict = 'settled' | 'changed' | 'no_version' | Claimed;

export interface AdoptionStore {
  /**
   * Writes the version and the system identifier of an adopted cluster. BUILDING → NONE, together with the
   * tasks of its instances; a cluster with task NONE keeps its task.
   */
  settle(seen: Cluster, settlement: Settlement, now: Instant): Promise<SettleVerdict>;
  /**
   * Writes why a cluster cannot be settled, with each of its instances that wait for that. Does nothing if the
   * cluster has changed since it was seen.
   */
  blame(seen: Cluster, fault: string): Promise<void>;
}

export const ADOPTED = { adopted: ['hash', 'adopted'] } as const;

/** Takes the claims, or returns who has one of them. The arguments and keys of the script must have `id`. */
export const CLAIM = {
  lists: { claims: ['claim'] },
  lua: `
for claim in claims() do
  local owner = redis.call('HGET', ADOPTED, claim)
  if owner and owner ~= id then return { 'claimed', claim, owner } end
end
for claim in claims() do redis.call('HSET', ADOPTED, claim, id) end
`,
} as const;

export function addressClaims({ tenant_id, instances }: Cluster): readonly string[] {
  return instances.flatMap(({ address }) =>
    address ? [`at:${tenant_id}:${address.host}:${address.port}`] : [],
  );
}

/** All claims that a cluster can have. */
export function claimsOf(cluster: Cluster): readonly string[] {
  const { system_identifier: system } = cluster;
  return [...addressClaims(cluster), ...(system === undefined ? [] : [systemClaim(system)])];
}

function systemClaim(system_identifier: string): string {
  return `system:${system_identifier}`;
}

/** The verdict of a script with `CLAIM`. */
export function verdictOf(answer: unknown): unknown {
  if (!Array.isArray(answer)) return answer;
  const [, claim, claimed_by] = answer as [string, string, string];
  return { claim, claimed_by } satisfies Claimed;
}

const SETTLE = script('adopted.settle', {
  keys: {
    ...ADOPTED,
    ...END_BUILD.keys,
    versions: ['set', 'catalogue:versions'],
    uses: ['set', 'uses:<version_id>'],
  },
  args: ['id', 'since', 'updated', 'version_id', 'version', 'system', ...END_BUILD.args],
  lists: { ...CLAIM.lists, ...END_BUILD.lists },
  lua: `
local held = redis.call('HMGET', CLUSTER, 'task', 'updated', 'version_id')
if (held[1] ~= 'BUILDING' and held[1] ~= 'NONE') or held[2] ~= since then return 'changed' end
if redis.call('SISMEMBER', VERSIONS, version_id) == 0 then return 'no_version' end
local old_uses = PREFIX .. ':uses:' .. held[3]
redis.call('SCARD', old_uses)
${CLAIM.lua}
if held[3] ~= version_id then redis.call('SREM', old_uses, 'cluster:' .. id) end
redis.call('SADD', USES, 'cluster:' .. id)
redis.call('HSET', CLUSTER, 'version_id', version_id, 'version', version, 'system', system, 'updated', updated)
if held[1] == 'NONE' then return 'settled' end
${END_BUILD.lua}
return 'settled'`,
});

const BLAME = script('adopted.blame', {
  keys: { cluster: ['hash', 'cluster:<id>'] },
  args: ['id', 'since', 'work'],
  lists: { waiting: ['instance_id'] },
  lua: `
local held = redis.call('HMGET', CLUSTER, 'task', 'updated')
if held[1] ~= 'BUILDING' or held[2] ~= since then return end
for instance_id in waiting() do redis.call('HSET', CLUSTER, 'task:' .. instance_id, work) end`,
});

export class RedisAdoption extends RedisPart implements AdoptionStore {
  async settle(seen: Cluster, { version, system_identifier }: Settlement, now: Instant) {
    const verdict = await this.port.run(SETTLE, {
      ...{ id: seen.id, ...changeOf(seen, now), ...endBuildArgs(seen) },
      ...{ version_id: version.id, version: version.name, system: system_identifier },
      claims: [systemClaim(system_identifier)],
    });
    return verdictOf(verdict) as SettleVerdict;
  }

  async blame(seen: Cluster, fault: string) {
    await this.port.run(BLAME, {
      ...{ id: seen.id, since: seen.updated, waiting: idsBeingBuilt(seen) },
      work: taskField({ task: 'BUILDING', fault, in_doubt: false }),
    });
  }
}
