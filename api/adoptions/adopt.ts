import { joinKeyOf } from '../../src/bus/joining.ts';
import type { AdoptRequest } from '../../src/contract/adoption-documents.ts';
import { placeOf } from '../../src/core/adopted.ts';
import { findDatastore, versionsOf } from '../../src/core/catalogue.ts';
import { type Cluster, type Datastore, isAlive } from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import { managerOf } from '../../src/core/managers/index.ts';
import { joinKeyId, type Keys } from '../../src/store/keys.ts';
import type { Caller } from '../access/caller.ts';
import { clusterCast, publish } from '../casts.ts';
import { newInstance, newKeys, quotaExceeded } from '../clusters/create.ts';
import { newJoinToken } from '../clusters/join-token.ts';
import { beginRemoval } from '../clusters/removal.ts';
import type { Deps } from '../deps.ts';

interface Adopted {
  readonly cluster: Cluster;
  /** By the ids of instances. Empty if an earlier try of the same request has created the cluster. */
  readonly join_tokens: ReadonlyMap<string, string>;
}

const SIZES = { flavorRef: '1', volume: { size: 1 } };

/**
 * Stores a cluster of servers that exist, in task BUILDING until their agents have joined and reported. Each
 * agent has a join token of its own. Under a given id, an earlier try of the same request may have created the
 * cluster: the tokens were in the answer to that try.
 */
export async function adoptCluster(
  deps: Deps,
  caller: Caller,
  request: AdoptRequest,
  id: string = deps.newId(),
): Promise<Adopted> {
  const { store, masterKey, max_clusters } = deps;
  const { datastore, manager } = await adoptable(deps, request);
  if (!masterKey) {
    refuse(
      'Coffer adopts a cluster only where the messages of its agents are protected: set COFFER_MASTER_KEY for the api and the taskmanagers.',
    );
  }
  const cluster = newCluster(deps, caller, { datastore, manager }, request, id);
  const join_tokens = new Map(cluster.instances.map((instance) => [instance.id, newJoinToken(id)]));
  const sealed = [...join_tokens].map(([of, token]) => {
    const key_id = joinKeyId(of);
    return [key_id, masterKey.seal(joinKeyOf(token), key_id)] as const;
  });
  const keys: Keys = new Map([...newKeys(masterKey, cluster.instances), ...sealed]);
  const cast = clusterCast(caller, 'create_cluster', cluster);
  const outcome = await store.provisioning.create(cluster, { databases: [], users: [] }, cast, {
    max_clusters,
    keys,
  });
  if (outcome === 'full') throw quotaExceeded(max_clusters);
  if (typeof outcome === 'object') throw alreadyAdopted(outcome.claim);
  if (outcome === 'created') {
    await publish(deps, cast);
    return { cluster, join_tokens };
  }
  const earlier = await store.clusters.get(id);
  if (outcome === 'taken' && earlier?.tenant_id === caller.tenant_id)
    return { cluster: earlier, join_tokens: new Map() };
  throw new Error(`a new cluster could not be created: ${outcome}`);
}

/** The datastore that the request names, and its manager, if Coffer has a driver that adopts its servers. */
async function adoptable(
  { store }: Deps,
  { datastore: { type }, instances }: AdoptRequest,
): Promise<{ readonly datastore: Datastore; readonly manager: string }> {
  const catalogue = await store.catalogue.get();
  const datastore = findDatastore(catalogue, type);
  // The servers say their version later: all versions of a datastore that can be adopted have one manager.
  const [version] = versionsOf(catalogue, datastore.id);
  const manager = managerOf(version?.manager ?? datastore.name);
  if (!manager.adoptsServers) {
    refuse(
      `Coffer has no driver that adopts servers of datastore '${datastore.name}'. If you upgrade them with hooks, create the cluster instead: coffer cluster-create.`,
    );
  }
  if (instances.length > manager.maxInstances) {
    const most = `at most ${manager.maxInstances} for datastore '${datastore.name}'`;
    throw new CofferError(
      'invalid_request',
      `Validation error: adoption['instances'] has too many items (${most})`,
    );
  }
  return { datastore, manager: manager.name };
}

function newCluster(
  deps: Deps,
  { tenant_id }: Caller,
  { datastore, manager }: { readonly datastore: Datastore; readonly manager: string },
  { name, instances }: AdoptRequest,
  id: string,
): Cluster {
  const now = deps.now();
  return {
    ...{ id, tenant_id, name, adopted: true, datastore_id: datastore.id, datastore_name: datastore.name },
    ...{ manager, datastore_version_id: '', datastore_version: '' },
    ...{ task: 'BUILDING', upgrade_id: null, extended_properties: {}, created: now, updated: now },
    instances: instances.map((address, index) => ({
      ...newInstance({ cluster_id: id, id: deps.newId(), name: `${name}-member-${index + 1}` }, SIZES),
      address,
    })),
  };
}

function alreadyAdopted(claim: string): CofferError {
  const place = claim.replace(/^at:[^:]*:/, '');
  return new CofferError(
    'conflict',
    `The server at ${place} is in another adopted cluster: let that one go first (coffer cluster-release).`,
  );
}

/**
 * Lets an adopted cluster go. Its agents must be there to take back what Coffer has set, unless the caller
 * forces it.
 */
export async function releaseCluster(
  deps: Deps,
  caller: Caller,
  cluster: Cluster,
  { force }: { readonly force: boolean },
): Promise<void> {
  const { name, adopted, task } = cluster;
  if (!adopted)
    refuse(`Cluster ${name} was built by Coffer, and is not released: coffer cluster-delete ${name}.`);
  const isIdle = task === 'NONE' || task === 'BUILDING';
  const away = cluster.instances.filter((one) => one.heard !== null && !isAlive(one, deps.now()));
  if (isIdle && !force && away.length > 0) {
    const places = away.map((one) => `${one.name} (${placeOf(one.address)})`).join(', ');
    refuse(
      `The guest agent of ${places} has not been heard lately, and takes back nothing: start it, then release the cluster; or, if that host is gone for good, coffer cluster-release ${name} --force.`,
    );
  }
  const cast = clusterCast(caller, 'release_cluster', cluster, { force });
  if ((await beginRemoval(deps, cluster, cast)) === 'begun' || force) await publish(deps, cast);
}

function refuse(message: string): never {
  throw new CofferError('action_refused', message);
}
