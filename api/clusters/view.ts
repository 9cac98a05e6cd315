import type { ClusterDocument } from '../../src/contract/documents.ts';
import { adoptionFindings } from '../../src/core/adopted.ts';
import type { Cluster, ClusterTask, DatastoreVersion, Instant } from '../../src/core/domain.ts';
import { primaryProblems } from '../../src/core/primaries.ts';
import { isActive, type Upgrade } from '../../src/core/record.ts';
import { links, type Urls } from '../http/urls.ts';
import { addresses, clusterInstance } from '../instances/view.ts';
import { troveTime } from '../times.ts';
import { stateOf } from '../upgrades/view.ts';

/** Trove's ids and descriptions of the tasks. */
const TASKS: Readonly<Record<ClusterTask, { readonly id: number; readonly description: string }>> = {
  NONE: { id: 1, description: 'No tasks for the cluster.' },
  BUILDING: { id: 2, description: 'Building the initial cluster.' },
  DELETING: { id: 3, description: 'Deleting the cluster.' },
  GROWING_CLUSTER: { id: 5, description: 'Increasing the size of the cluster.' },
  SHRINKING_CLUSTER: { id: 6, description: 'Decreasing the size of the cluster.' },
  UPGRADING_CLUSTER: { id: 7, description: 'Upgrading the cluster to new version.' },
};

function descriptionOf({ task, adopted }: Cluster): string {
  if (adopted && task === 'BUILDING') return 'Adopting the cluster: its agents join and report.';
  if (adopted && task === 'DELETING') return 'Releasing the cluster: its servers go on.';
  return TASKS[task].description;
}

/** What is read together with a cluster. */
interface Known {
  /** The record of `upgrade_id`; null if it is gone or was not read. */
  readonly upgrade?: Upgrade | null;
  readonly upgrades_to?: readonly string[];
  /** Of the catalogue. */
  readonly versions?: readonly DatastoreVersion[];
}

export function clusterView(
  cluster: Cluster,
  urls: Urls,
  now: Instant,
  { upgrade, upgrades_to, versions }: Known = {},
): ClusterDocument {
  const ip = cluster.instances.flatMap(addresses);
  return {
    id: cluster.id,
    name: cluster.name,
    task: { id: TASKS[cluster.task].id, name: cluster.task, description: descriptionOf(cluster) },
    created: troveTime(cluster.created),
    updated: troveTime(cluster.updated),
    links: links(urls, `clusters/${cluster.id}`),
    datastore: { type: cluster.datastore_name, version: cluster.datastore_version },
    ...(cluster.adopted && { adopted: true as const }),
    instances: cluster.instances.map((instance) => clusterInstance(cluster, instance, urls, now)),
    ...(ip.length > 0 && { ip }),
    ...(Object.keys(cluster.extended_properties).length > 0 && {
      extended_properties: cluster.extended_properties,
    }),
    upgrade_id: cluster.upgrade_id,
    problems: [...primaryProblems(cluster), ...adoptionFindings(cluster, versions ?? null)],
    ...(upgrade && isActive(upgrade) && { upgrade: presentUpgrade(upgrade) }),
    ...(upgrades_to && { upgrades_to: [...upgrades_to] }),
  };
}

function presentUpgrade(upgrade: Upgrade): NonNullable<ClusterDocument['upgrade']> {
  return {
    ...stateOf(upgrade),
    to: upgrade.to_version,
    cancelling: upgrade.cancelling,
    silent: upgrade.silent,
  };
}
