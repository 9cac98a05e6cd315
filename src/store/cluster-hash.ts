import type { Cluster, ClusterTask, GuestReport, Instance, InstanceTask } from '../core/domain.ts';

type StaticInstance = Pick<
  Instance,
  'id' | 'cluster_id' | 'name' | 'flavor_id' | 'volume_size' | 'told_version'
>;
type StaticCluster = Omit<
  Cluster,
  'task' | 'upgrade_id' | 'datastore_version_id' | 'datastore_version' | 'updated' | 'instances'
>;

/** The part of a cluster that never changes: field `doc` of its hash. */
export function docOfCluster(cluster: Cluster): StaticCluster {
  const { task, upgrade_id, datastore_version_id, datastore_version, updated, instances, ...rest } = cluster;
  return rest;
}

/** The part of an instance that never changes: field `instance:<id>` of its cluster's hash. */
export function docOfInstance(instance: Instance): StaticInstance {
  const { id, cluster_id, name, flavor_id, volume_size, told_version } = instance;
  // The version that it was registered with; what it was told since is in the field `told:<id>`.
  return {
    id,
    cluster_id,
    name,
    flavor_id,
    volume_size,
    ...(told_version !== undefined && { told_version }),
  };
}

/** What an instance is busy with: field `task:<id>`. */
export function taskField({ task, fault }: Pick<Instance, 'task' | 'fault'>): string {
  return JSON.stringify({ task, fault });
}

/** A cluster from its hash; null if there is none. */
export function clusterFromHash(hash: Readonly<Record<string, string>>): Cluster | null {
  const { doc } = hash;
  if (doc === undefined) return null;
  const ids = (hash['members'] ?? '').split(' ').filter((id) => id !== '');
  return {
    ...(JSON.parse(doc) as StaticCluster),
    task: hash['task'] as ClusterTask,
    upgrade_id: hash['upgrade'] ?? null,
    datastore_version_id: hash['version_id'] ?? '',
    datastore_version: hash['version'] ?? '',
    updated: Number(hash['updated']),
    instances: ids.map((id) => instanceFromHash(id, hash)),
  };
}

function instanceFromHash(id: string, hash: Readonly<Record<string, string>>): Instance {
  const { task, fault } = JSON.parse(hash[`task:${id}`] ?? '{"task":"NONE","fault":null}') as {
    task: InstanceTask;
    fault: string | null;
  };
  const report = hash[`report:${id}`];
  const heard = hash[`heard:${id}`];
  const told = hash[`told:${id}`];
  return {
    ...(JSON.parse(hash[`instance:${id}`] ?? '{}') as StaticInstance),
    ...(told !== undefined && { told_version: told === '' ? null : told }),
    task,
    fault,
    report: report === undefined ? null : (JSON.parse(report) as GuestReport),
    heard: heard === undefined ? null : Number(heard),
  };
}
