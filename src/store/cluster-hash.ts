import type { Cluster, ClusterTask, GuestReport, Instance, Instant } from '../core/domain.ts';

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
  // The version that the instance was registered with. The version of the latest order is in the field
  // `told:<id>`.
  return {
    id,
    cluster_id,
    name,
    flavor_id,
    volume_size,
    ...(told_version !== undefined && { told_version }),
  };
}

type Work = Pick<Instance, 'task' | 'fault' | 'in_doubt'>;

/** What an instance is busy with: field `task:<id>`. */
export function taskField({ task, fault, in_doubt }: Work): string {
  return JSON.stringify({ task, fault, in_doubt });
}

/** A cluster in the form that `CLUSTER_TEXT` returns. */
type HeldCluster = readonly [
  doc: StaticCluster,
  updated: Instant,
  state: readonly [task: ClusterTask, upgrade_id: string, version_id: string, version: string],
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
