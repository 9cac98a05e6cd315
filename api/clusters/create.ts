import { newInstanceKey, sealKey } from '../../src/bus/instance-key.ts';
import { joinKeyOf } from '../../src/bus/joining.ts';
import type { ClusterRequest } from '../../src/contract/http.ts';
import type { ExtendedProperties } from '../../src/contract/simulated.ts';
import { findDatastore, findVersion, versionsOf } from '../../src/core/catalogue.ts';
import type { Cluster, Datastore, DatastoreVersion, Instance } from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import { managerOf } from '../../src/core/managers/index.ts';
import type { MasterKey } from '../../src/master-key.ts';
import { scramVerifier } from '../../src/scram.ts';
import { joinKeyId, type Keys, NO_KEYS } from '../../src/store/keys.ts';
import type { BuildOrder } from '../../src/store/provisioning.ts';
import type { Caller } from '../access/caller.ts';
import { clusterCast, publish } from '../casts.ts';
import type { Deps } from '../deps.ts';
import { newJoinToken } from './join-token.ts';

interface Created {
  readonly cluster: Cluster;
  /**
   * The token with which external agents join the cluster; null where the provisioner makes the instances. To
   * be shown once.
   */
  readonly join_token: string | null;
}

/**
 * Stores a new cluster in task BUILDING, and makes a taskmanager build it. Under a given id, an earlier try
 * of the same request may have created the cluster: the token was in the answer to that try.
 */
export async function createCluster(
  deps: Deps,
  caller: Caller,
  request: ClusterRequest,
  id: string = deps.newId(),
): Promise<Created> {
  const { datastore, version } = await chosen(deps, request);
  checkFit(version, request);
  if (isRegistration(request)) await checkRegistration(deps, caller, request, id);
  const cluster = newCluster(deps, caller, datastore, version, request, id);
  const cast = clusterCast(caller, 'create_cluster', cluster);
  const isJoined = deps.provisioner === 'external' && !isRegistration(request);
  const join_token = isJoined ? newJoinToken(cluster.id) : null;
  const { max_clusters } = deps;
  const order = await buildOrder(request);
  const keys = keysFor(deps, request, cluster, join_token);
  const outcome = await deps.store.provisioning.create(cluster, order, cast, { max_clusters, keys });
  if (outcome === 'full') throw quotaExceeded(max_clusters);
  if (outcome === 'taken') {
    const earlier = await deps.store.clusters.get(cluster.id);
    if (earlier?.tenant_id === caller.tenant_id) return { cluster: earlier, join_token: null };
    throw new Error(`a new cluster was given the id ${cluster.id}, which is taken`);
  }
  if (outcome === 'no_version') {
    const message = `Datastore version '${version.name}' was deleted a moment ago.`;
    throw new CofferError('datastore_version_not_found', message);
  }
  if (outcome !== 'created') throw new Error(`an address of ${cluster.id} is claimed: it has none`);
  await publish(deps, cast);
  return { cluster, join_token };
}

export function quotaExceeded(max: number | null): CofferError {
  const message = `Quota exceeded for resources: ['clusters']. A tenant may have ${max}: delete one, or ask for more.`;
  return new CofferError('quota_exceeded', message);
}

/**
 * Instances that exist already, named by their ids: they become part of the cluster through their guests'
 * heartbeats.
 */
function isRegistration({ instances }: ClusterRequest): boolean {
  return instances.some((instance) => instance.id !== undefined);
}

/** Naming an instance claims it for a cluster of one's own, so only an administrator may do it. */
async function checkRegistration(
  { provisioner, store }: Deps,
  { is_admin }: Caller,
  { instances }: ClusterRequest,
  cluster_id: string,
): Promise<void> {
  if (!is_admin) {
    throw new CofferError('forbidden', "Only an administrator may name instances by 'id'.");
  }
  if (provisioner !== 'external') {
    refuse("cluster['instances'] 'id' is for COFFER_PROVISIONER=external: here instances are made");
  }
  const ids = instances.map((instance) => instance.id);
  if (ids.includes(undefined)) refuse("cluster['instances'] either every instance has an 'id', or none");
  if (new Set(ids).size < ids.length) refuse("cluster['instances'] has an 'id' twice");
  for (const id of ids) {
    const owner = await store.clusters.ofInstance(id ?? '');
    if (owner === null || owner === cluster_id) continue;
    throw new CofferError('conflict', `Instance '${id}' belongs to a cluster already.`);
  }
}

/**
 * Keys are stored encrypted, before anybody learns of the instances: nobody can speak for an instance of ours
 * without its key, not even before the instance is built. Registered instances have the keys that Trove has
 * given them, if any.
 */
function keysFor(
  { masterKey }: Deps,
  request: ClusterRequest,
  cluster: Cluster,
  join_token: string | null,
): Keys {
  if (!masterKey) return NO_KEYS;
  if (!isRegistration(request)) {
    const keys = newKeys(masterKey, cluster.instances);
    if (join_token === null) return keys;
    const id = joinKeyId(cluster.id);
    return new Map([...keys, [id, masterKey.seal(joinKeyOf(join_token), id)]]);
  }
  const secrets = request.instances.map(({ id = '', rpc_secret: secret }) => ({ id, secret }));
  return new Map(
    secrets.flatMap(({ id, secret }) =>
      secret === undefined ? [] : [[id, sealKey(masterKey, id, { mode: 'trove', secret })] as const],
    ),
  );
}

/** A key of its own for each instance. */
export function newKeys(masterKey: MasterKey, instances: readonly Instance[]): Keys {
  return new Map(instances.map(({ id }) => [id, sealKey(masterKey, id, newInstanceKey())]));
}

/**
 * The version that the request names, or its datastore's default. Throws if that version is not available.
 */
async function chosen({ store }: Deps, { datastore: { type, version: name } }: ClusterRequest) {
  const catalogue = await store.catalogue.get();
  const datastore = findDatastore(catalogue, type);
  const reference = name ?? datastore.default_version_id;
  if (reference === null) {
    refuse(
      `cluster['datastore'] 'version' is a required property: '${datastore.name}' has no default version`,
    );
  }
  const version = findVersion(versionsOf(catalogue, datastore.id), reference);
  if (version.active) return { datastore, version };
  throw new CofferError(
    'gate_blocked',
    `Datastore version '${version.name}' is not active. (version_active)`,
  );
}

/** Checks what the schema can't, because it depends on the manager. */
function checkFit({ manager }: DatastoreVersion, request: ClusterRequest): void {
  const {
    datastore: { type: name },
    instances,
    extended_properties,
  } = request;
  const max = managerOf(manager).maxInstances;
  if (instances.length > max) {
    refuse(`cluster['instances'] has too many items (at most ${max} for datastore '${name}')`);
  }
  if (managerOf(manager).hasServers && extended_properties.simulated !== undefined) {
    refuse(`cluster['extended_properties'] 'simulated' is not for the datastore '${name}'`);
  }
  checkContents(manager, request);
  for (const { instance } of faultsOf(extended_properties)) {
    if (instance < instances.length) continue;
    refuse(`cluster['extended_properties'] there is no instance ${instance}: they count from 0`);
  }
}

/**
 * Databases and users are created together with a server, so never for a server that somebody else creates.
 */
function checkContents(manager: string, request: ClusterRequest): void {
  const { databases, users, datastore } = request;
  if (databases.length + users.length === 0 || (managerOf(manager).buildsServers && !isRegistration(request)))
    return;
  const asked = databases.length > 0 ? 'databases' : 'users';
  refuse(
    `cluster['${asked}'] would not be made: these servers of datastore '${datastore.type}' are their operator's. Leave out 'databases' and 'users', and make them with the datastore's own tools`,
  );
}

function faultsOf({ simulated }: ExtendedProperties): readonly { readonly instance: number }[] {
  return [...(simulated?.fail ?? []), ...(simulated?.silent ?? [])];
}

function refuse(problem: string): never {
  throw new CofferError('invalid_request', `Validation error: ${problem}`);
}

function newCluster(
  deps: Deps,
  caller: Caller,
  datastore: Datastore,
  version: DatastoreVersion,
  request: ClusterRequest,
  id: string,
): Cluster {
  const now = deps.now();
  return {
    id,
    tenant_id: caller.tenant_id,
    name: request.name,
    datastore_id: datastore.id,
    datastore_name: datastore.name,
    manager: version.manager,
    datastore_version_id: version.id,
    datastore_version: version.name,
    task: 'BUILDING',
    upgrade_id: null,
    extended_properties: request.extended_properties,
    created: now,
    updated: now,
    instances: request.instances.map((instance, index) => ({
      ...newInstance(
        { cluster_id: id, id: instance.id ?? deps.newId(), name: `${request.name}-member-${index + 1}` },
        instance,
      ),
      // The version comes from an administrator, because the instance's guest does not report it.
      ...(instance.id !== undefined && { told_version: version.name }),
    })),
  };
}

/** An instance that is about to be built. */
export function newInstance(
  names: Pick<Instance, 'id' | 'cluster_id' | 'name'>,
  { flavorRef, volume }: ClusterRequest['instances'][number],
): Instance {
  return {
    ...names,
    flavor_id: flavorRef,
    volume_size: volume.size,
    task: 'BUILDING',
    fault: null,
    in_doubt: false,
    report: null,
    heard: null,
  };
}

/** Passwords go no further than this: only their verifiers are stored. */
async function buildOrder({ databases, users }: ClusterRequest): Promise<BuildOrder> {
  return {
    databases: databases.map((database) => database.name),
    users: await Promise.all(
      users.map(async (user) => ({
        name: user.name,
        verifier: await scramVerifier(user.password),
        databases: user.databases.map((database) => database.name),
      })),
    ),
  };
}
