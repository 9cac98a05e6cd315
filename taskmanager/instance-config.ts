import type { JoinedInstance } from '../src/contract/guest-config.ts';
import type { Cluster, Endpoint, Instance } from '../src/core/domain.ts';
import type { BuildOrder } from '../src/store/store.ts';

const NOWHERE: Endpoint = { host: '127.0.0.1', port: 0 };

/**
 * What an instance is to be, less the secret of its cluster. The first instance is built as the primary, the
 * others copy it; simulated ones are all alike.
 */
export function instanceConfig(
  cluster: Cluster,
  instance: Instance,
  order: BuildOrder,
  endpoints: ReadonlyMap<string, Endpoint>,
): JoinedInstance {
  const [first] = cluster.instances;
  const isFirst = first?.id === instance.id;
  const isReplicated = cluster.manager !== 'simulated';
  return {
    instance_id: instance.id,
    cluster_id: cluster.id,
    name: instance.name,
    ordinal: cluster.instances.indexOf(instance),
    manager: cluster.manager,
    datastore_version: cluster.datastore_version,
    role: !isReplicated ? 'member' : isFirst ? 'primary' : 'replica',
    endpoint: endpoints.get(instance.id) ?? NOWHERE,
    primary: isReplicated && !isFirst && first ? (endpoints.get(first.id) ?? null) : null,
    extended_properties: cluster.extended_properties,
    databases: isFirst ? order.databases : [],
    users: isFirst ? order.users : [],
  };
}
