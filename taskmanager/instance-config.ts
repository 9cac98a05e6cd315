import type { PlannedInstance } from '../src/contract/guest-config.ts';
import { type Cluster, type Endpoint, type Instance, primaryOf } from '../src/core/domain.ts';
import { managerOf } from '../src/core/managers/index.ts';
import type { BuildOrder } from '../src/store/provisioning.ts';

const NOWHERE: Endpoint = { host: '127.0.0.1', port: 0 };

/**
 * The configuration of an instance without its secrets. In a new cluster the first instance is built as the
 * primary, and the others copy it. An instance that is added later copies the primary of that time. Where
 * nothing is copied, all instances are built alike. An adopted server is not built, and has its role already.
 */
export function instanceConfig(
  cluster: Cluster,
  instance: Instance,
  order: BuildOrder,
  endpoints: ReadonlyMap<string, Endpoint>,
  installation?: string,
): PlannedInstance {
  const isAdopted = cluster.adopted === true;
  const copiesPrimary = managerOf(cluster.manager).copiesPrimary && !isAdopted;
  const isNew = cluster.task === 'BUILDING';
  const source = isNew ? cluster.instances[0] : primaryOf(cluster);
  const isFirst = isNew && source?.id === instance.id;
  const sourceAt = source && (endpoints.get(source.id) ?? source.report?.endpoint ?? null);
  return {
    ...(installation !== undefined && { installation }),
    instance_id: instance.id,
    cluster_id: cluster.id,
    name: instance.name,
    ordinal: cluster.instances.indexOf(instance),
    manager: cluster.manager,
    ...(isAdopted && { adopted: true }),
    datastore_version: cluster.datastore_version,
    role: !copiesPrimary ? 'member' : isFirst ? 'primary' : 'replica',
    endpoint: endpoints.get(instance.id) ?? NOWHERE,
    primary: copiesPrimary && !isFirst ? (sourceAt ?? null) : null,
    extended_properties: cluster.extended_properties,
    databases: isFirst ? order.databases : [],
    users: isFirst ? order.users : [],
  };
}
