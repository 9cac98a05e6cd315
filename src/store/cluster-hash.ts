import type { Cluster, ClusterTask, GuestReport, Instance, InstanceTask, Instant } from '../core/domain.ts';

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

/** A cluster as `CLUSTER_TEXT` puts it. */
type HeldCluster = readonly [
  doc: StaticCluster,
  updated: Instant,
  state: readonly [task: ClusterTask, upgrade_id: string, version_id: string, version: string],
  instances: readonly HeldInstance[],
];
type HeldInstance = readonly [
  doc: StaticInstance,
  work: { readonly task: InstanceTask; readonly fault: string | null } | null,
  report: GuestReport | null,
  heard: Instant | null,
  told: string | null,
];

/** A cluster from its text; null if there is none. */
export function clusterFromText(text: string | null): Cluster | null {
  if (text === null) return null;
  const [doc, updated, [task, upgrade_id, datastore_version_id, datastore_version], instances] = JSON.parse(
    text,
  ) as HeldCluster;
  return {
    ...doc,
    task,
    upgrade_id: upgrade_id === '' ? null : upgrade_id,
    datastore_version_id,
    datastore_version,
    updated,
    instances: instances.map(instanceFrom),
  };
}

function instanceFrom([doc, work, report, heard, told]: HeldInstance): Instance {
  const { task, fault } = work ?? { task: 'NONE', fault: null };
  return {
    ...doc,
    ...(told !== null && { told_version: told === '' ? null : told }),
    task,
    fault,
    report,
    heard,
  };
}
