import type { Cluster, ClusterTask, GuestReport, Instance, InstanceTask } from '../core/domain.ts';

type StaticInstance = Pick<Instance, 'id' | 'cluster_id' | 'name' | 'flavor_id' | 'volume_size'>;
type StaticCluster = Omit<
  Cluster,
  'task' | 'upgrade_id' | 'datastore_version_id' | 'datastore_version' | 'updated' | 'instances'
> & { readonly instances: readonly StaticInstance[] };

/** The part of a cluster that never changes: field `doc` of its hash. */
export function docOfCluster(cluster: Cluster): StaticCluster {
  const { task, upgrade_id, datastore_version_id, datastore_version, updated, instances, ...rest } = cluster;
  return {
    ...rest,
    instances: instances.map(({ id, cluster_id, name, flavor_id, volume_size }) => ({
      id,
      cluster_id,
      name,
      flavor_id,
      volume_size,
    })),
  };
}

/** A cluster from its hash; null if there is none. */
export function clusterFromHash(hash: Readonly<Record<string, string>>): Cluster | null {
  const { doc } = hash;
  if (doc === undefined) return null;
  const cluster = JSON.parse(doc) as StaticCluster;
  return {
    ...cluster,
    task: hash['task'] as ClusterTask,
    upgrade_id: hash['upgrade'] ?? null,
    datastore_version_id: hash['version_id'] ?? '',
    datastore_version: hash['version'] ?? '',
    updated: Number(hash['updated']),
    instances: cluster.instances.map((instance) => instanceFromHash(instance, hash)),
  };
}

function instanceFromHash(instance: StaticInstance, hash: Readonly<Record<string, string>>): Instance {
  const { task, fault } = JSON.parse(hash[`task:${instance.id}`] ?? '{"task":"NONE","fault":null}') as {
    task: InstanceTask;
    fault: string | null;
  };
  const report = hash[`report:${instance.id}`];
  const heard = hash[`heard:${instance.id}`];
  return {
    ...instance,
    task,
    fault,
    report: report === undefined ? null : (JSON.parse(report) as GuestReport),
    heard: heard === undefined ? null : Number(heard),
  };
}
