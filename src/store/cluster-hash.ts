/**
 * How Redis holds a cluster with its instances: the hash `cluster:<id>` with the fields
 *
 * - `doc`: what never changes; `datastore`, `task`, `upgrade`, `version_id`, `version`, `updated`; `system` of
 *   an adopted cluster: its system identifier
 * - `members`: ids of instances in creation order, separated by blanks
 * - per instance `instance:<id>` (what never changes), `task:<id>`, `report:<id>`, `sent:<id>`, `heard:<id>`,
 *   `told:<id>`
 */
import type { Cluster, ClusterTask, GuestReport, Instance, Instant } from '../core/domain.ts';

type StaticInstance = Pick<
  Instance,
  'id' | 'cluster_id' | 'name' | 'flavor_id' | 'volume_size' | 'address' | 'told_version'
>;
type StaticCluster = Omit<
  Cluster,
  | 'task'
  | 'upgrade_id'
  | 'datastore_version_id'
  | 'datastore_version'
  | 'system_identifier'
  | 'updated'
  | 'instances'
>;

/** The part of a cluster that never changes: field `doc` of its hash. */
export function docOfCluster(cluster: Cluster): StaticCluster {
  const { task, upgrade_id, datastore_version_id, datastore_version, ...others } = cluster;
  const { system_identifier, updated, instances, ...rest } = others;
  return rest;
}

/** The part of an instance that never changes: field `instance:<id>` of its cluster's hash. */
export function docOfInstance(instance: Instance): StaticInstance {
  const { id, cluster_id, name, flavor_id, volume_size, address, told_version } = instance;
  // The version that the instance was registered with. The version of the latest order is in the field
  // `told:<id>`.
  return {
    id,
    cluster_id,
    name,
    flavor_id,
    volume_size,
    ...(address !== undefined && { address }),
    ...(told_version !== undefined && { told_version }),
  };
}

type Work = Pick<Instance, 'task' | 'fault' | 'in_doubt'>;

/** What an instance is busy with: field `task:<id>`. */
export function taskField({ task, fault, in_doubt }: Work): string {
  return JSON.stringify({ task, fault, in_doubt });
}

/**
 * For a script: returns a cluster as one JSON text, which `clusterFromText` reads. If each field were a reply of its own, a client would need more time for them than Redis needs
 * to find and join them here.
 */
export const CLUSTER_TEXT = `
local function clusterText(key)
  local held = redis.call('HMGET', key, 'doc', 'updated', 'members', 'task', 'upgrade', 'version_id', 'version', 'system')
  if not held[1] then return nil end
  local instances = {}
  for id in string.gmatch(held[3] or '', '%S+') do
    local of = redis.call('HMGET', key, 'instance:' .. id, 'task:' .. id, 'report:' .. id, 'heard:' .. id, 'told:' .. id)
    for i = 1, 4 do of[i] = of[i] or 'null' end
    of[5] = of[5] and cjson.encode(of[5]) or 'null'
    instances[#instances + 1] = '[' .. table.concat(of, ',') .. ']'
  end
  local state = cjson.encode({ held[4], held[5] or '', held[6], held[7], held[8] or '' })
  return table.concat({ '[' .. held[1], held[2], state, '[' .. table.concat(instances, ',') .. ']]' }, ',')
end
`;

/** A cluster in the form that `CLUSTER_TEXT` returns. */
type HeldCluster = readonly [
  doc: StaticCluster,
  updated: Instant,
  state: readonly [
    task: ClusterTask,
    upgrade_id: string,
    version_id: string,
    version: string,
    system: string,
  ],
  instances: readonly HeldInstance[],
];
type HeldInstance = readonly [
  doc: StaticInstance,
  work: Work | null,
  report: GuestReport | null,
  heard: Instant | null,
  told: string | null,
];

/** A cluster from its text; null if there is none. */
export function clusterFromText(text: string | null): Cluster | null {
  if (text === null) return null;
  const [doc, updated, state, instances] = JSON.parse(text) as HeldCluster;
  const [task, upgrade_id, datastore_version_id, datastore_version, system] = state;
  return {
    ...doc,
    task,
    upgrade_id: upgrade_id === '' ? null : upgrade_id,
    datastore_version_id,
    datastore_version,
    ...(system !== '' && { system_identifier: system }),
    updated,
    instances: instances.map(instanceFrom),
  };
}

function instanceFrom([doc, work, report, heard, told]: HeldInstance): Instance {
  const { task, fault, in_doubt } = work ?? { task: 'NONE', fault: null, in_doubt: false };
  return {
    ...doc,
    ...(told !== null && { told_version: told === '' ? null : told }),
    task,
    fault,
    in_doubt,
    report,
    heard,
  };
}
