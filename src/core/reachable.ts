/** Which versions a cluster can be upgraded to: its owner may want to know before asking for one. */
import { versionFindings } from './admit.ts';
import type { Catalogue } from './catalogue.ts';
import { type Cluster, versionOf } from './domain.ts';
import { compareVersions } from './versions.ts';

/** Earlier results, kept as long as the catalogue is the same. */
const knownIn = new WeakMap<Catalogue, Map<string, readonly string[]>>();
const MAX_KNOWN = 1_000;

/**
 * Names of the versions that the catalogue lets a cluster go to, oldest first. Whether the cluster is busy, and
 * whether its instances are healthy, is not checked. Clusters that run the same versions are checked once.
 */
export function reachableIn(catalogue: Catalogue): (cluster: Cluster) => readonly string[] {
  const known = knownIn.get(catalogue) ?? new Map<string, readonly string[]>();
  knownIn.set(catalogue, known);
  return (cluster) => {
    const key = keyOf(cluster);
    const found = known.get(key) ?? reachable(catalogue, cluster);
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(key, found);
    return found;
  };
}

function reachable({ versions }: Catalogue, cluster: Cluster): readonly string[] {
  const own = versions.filter(({ datastore_id }) => datastore_id === cluster.datastore_id);
  return own
    .filter(({ id }) => id !== cluster.datastore_version_id)
    .filter((version) => versionFindings(cluster, version, { versions: own }).length === 0)
    .map(({ name }) => name)
    .toSorted(compareVersions);
}

/** Everything that the result depends on. */
function keyOf({ datastore_version_id, manager, instances }: Cluster): string {
  return JSON.stringify([datastore_version_id, manager, instances.map(versionOf).toSorted()]);
}
