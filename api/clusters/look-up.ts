import { isId } from '../../src/contract/fields.ts';
import type { Cluster } from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import type { Found } from '../../src/store/clusters.ts';
import type { Caller } from '../access/caller.ts';
import type { Deps } from '../deps.ts';

/**
 * A cluster that the caller may see, by its id; or one of the tenant, by its name if no other has that name.
 */
export async function findCluster(deps: Deps, caller: Caller, reference: string): Promise<Cluster> {
  return (await lookUp(deps, caller, reference)).cluster;
}

/** The same, together with the catalogue. */
export async function lookUp(deps: Deps, caller: Caller, reference: string): Promise<Found> {
  const ids = isId(reference)
    ? [reference.toLowerCase()]
    : await deps.store.clusters.find(caller.tenant_id, reference);
  const [id] = ids;
  if (ids.length > 1) {
    const message = `${ids.length} clusters are named '${reference}'. Use the id of one: ${ids.slice(0, 5).join(', ')}.`;
    throw new CofferError('conflict', message);
  }
  const found = id === undefined ? null : await deps.store.clusters.see(id);
  // Another tenant's cluster is treated as missing, so that nobody learns which ids exist.
  if (!found || !caller.sees(found.cluster.tenant_id)) throw clusterMissing(reference);
  return found;
}

export function clusterMissing(reference: string): CofferError {
  return new CofferError('cluster_not_found', `Cluster '${reference}' cannot be found.`);
}
