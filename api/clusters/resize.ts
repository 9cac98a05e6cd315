import type { AddedInstance } from '../../src/contract/http.ts';
import { busy } from '../../src/core/admit.ts';
import {
  type Cluster,
  type Instance,
  type Instant,
  isHealthy,
  isPrimary,
  primaryOf,
} from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import { managerOf } from '../../src/core/managers/index.ts';
import { joinKeyId, NO_KEYS } from '../../src/store/keys.ts';
import type { PendingCast } from '../../src/store/outbox.ts';
import type { ResizeVerdict } from '../../src/store/provisioning.ts';
import type { Caller } from '../access/caller.ts';
import { clusterCast, publish } from '../casts.ts';
import type { Deps } from '../deps.ts';
import { newInstance, newKeys } from './create.ts';
import { clusterMissing } from './look-up.ts';

/**
 * Another request may change the cluster between our read and our write; that happens once, but not again and
 * again.
 */
const MAX_TRIES = 5;

/**
 * Adds instances: task GROWING_CLUSTER until all of them are healthy. A given id is that of the first
 * instance: if that instance exists, an earlier try of the same request has added the instances.
 */
export async function growCluster(
  deps: Deps,
  caller: Caller,
  cluster: Cluster,
  wanted: readonly AddedInstance[],
  id: string = deps.newId(),
): Promise<Cluster> {
  requireOwn(cluster);
  requireBuilt(cluster);
  await requireJoinable(deps, cluster);
  const { masterKey } = deps;
  const cast = clusterCast(caller, 'grow_cluster', cluster);
  return resize(deps, cluster, cast, (seen, now) => {
    if (seen.instances.some((one) => one.id === id)) return null;
    checkRoom(seen, wanted);
    const added = wanted.map((one, index) => {
      const name = one.name ?? `${seen.name}-member-${nextNumber(seen) + index}`;
      return newInstance({ id: index === 0 ? id : deps.newId(), cluster_id: seen.id, name }, one);
    });
    checkNames([...seen.instances, ...added]);
    const keys = masterKey ? newKeys(masterKey, added) : NO_KEYS;
    return deps.store.provisioning.beginGrow(seen, added, cast, now, keys);
  });
}

/** Removes instances, by id or name: task SHRINKING_CLUSTER until nothing is left of them. */
export async function shrinkCluster(
  deps: Deps,
  caller: Caller,
  cluster: Cluster,
  references: readonly string[],
): Promise<Cluster> {
  requireOwn(cluster);
  requireBuilt(cluster);
  const cast = clusterCast(caller, 'shrink_cluster', cluster);
  return resize(deps, cluster, cast, (seen, now) => {
    const doomed = [...new Set(references.map((reference) => instanceIn(seen, reference)))];
    // The same was requested twice: the first request's cast does the work.
    if (seen.task === 'SHRINKING_CLUSTER' && doomed.every(({ task }) => task === 'DELETING')) return null;
    if (seen.task === 'NONE') checkRemovable(seen, doomed, now);
    return deps.store.provisioning.beginShrink(
      seen,
      doomed.map(({ id }) => id),
      cast,
      now,
    );
  });
}

/**
 * Begins the change on the cluster as it is now; `begin` returns null if an earlier request has already begun
 * it.
 */
async function resize(
  deps: Deps,
  cluster: Cluster,
  cast: PendingCast,
  begin: (seen: Cluster, now: number) => Promise<ResizeVerdict> | null,
): Promise<Cluster> {
  let seen = cluster;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    // Later changes have later times, even where the clocks of hosts differ.
    const verdict = await begin(seen, Math.max(deps.now(), seen.updated + 1));
    // Read before the cast is sent: the answer shows what was begun, even if a taskmanager finishes it a
    // moment later.
    const after = await deps.store.clusters.get(cluster.id);
    if (verdict === 'begun') await publish(deps, cast);
    if (!after) throw clusterMissing(cluster.id);
    if (verdict === 'begun' || !verdict) return after;
    if (verdict !== 'changed') throw busy(verdict, after.upgrade_id);
    seen = after;
  }
  throw new CofferError('conflict', 'The cluster keeps changing: look at it, and try again.');
}

/**
 * The creator of instances that were registered by their ids adds and removes them. If Coffer removed one
 * from its records, the instance would continue to run.
 */
function requireOwn({ name, adopted, instances }: Cluster): void {
  if (adopted) {
    refuse(
      `Cluster ${name} is adopted: its operator makes and removes its servers. Then let it go here (coffer cluster-release ${name}), which leaves its servers as they are, and adopt it again with the servers that it has.`,
    );
  }
  if (instances.every(({ told_version }) => told_version === undefined)) return;
  refuse(
    `The instances of cluster ${name} were registered by their ids: whoever made them adds and removes them. Then delete the cluster here, which leaves them as they are, and register it again with those that it has.`,
  );
}

/** The operator creates the servers of instances with hooks: Coffer only upgrades them in place. */
function requireBuilt({ name, datastore_name, manager }: Cluster): void {
  if (managerOf(manager).buildsServers) return;
  refuse(
    `The servers of cluster ${name} are made by their operator: datastore ${datastore_name} has hooks, and no driver that builds instances. To add or remove some, delete the cluster here, which leaves its servers as they are, create it again at the version that they run and with as many instances as there are then, and let each agent join it with a new COFFER_GUEST_DIR.`,
  );
}

/** Where agents are external, new ones join with the token of the cluster, whose key may be lost. */
async function requireJoinable({ provisioner, store }: Deps, { id }: Cluster): Promise<void> {
  if (provisioner === 'local' || (await store.keys.get(joinKeyId(id))) !== null) return;
  refuse('The key with which agents join this cluster is not kept any more: none can join it.');
}

function checkRoom(seen: Cluster, wanted: readonly AddedInstance[]): void {
  const { manager, datastore_name, instances, task } = seen;
  const max = managerOf(manager).maxInstances;
  if (instances.length + wanted.length > max) {
    throw new CofferError(
      'invalid_request',
      `Validation error: grow has too many items (a cluster of datastore '${datastore_name}' has at most ${max} instances, and this one has ${instances.length})`,
    );
  }
  if (!managerOf(manager).copiesPrimary || task !== 'NONE' || primaryOf(seen)?.report?.endpoint) return;
  throw new CofferError(
    'gate_blocked',
    'No instance reports to be the primary: there is nothing to copy. (instances_healthy)',
  );
}

function checkNames(instances: readonly Instance[]): void {
  const names = instances.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return;
  throw new CofferError('invalid_request', `Validation error: grow 'name' ${twice} is taken in this cluster`);
}

/** New numbers follow the highest one: each present name means one instance. */
function nextNumber({ name, instances }: Cluster): number {
  const prefix = `${name}-member-`;
  const numbers = instances
    .filter((one) => one.name.startsWith(prefix))
    .map((one) => Number(one.name.slice(prefix.length)))
    .filter(Number.isInteger);
  return Math.max(0, ...numbers) + 1;
}

function instanceIn({ name, instances }: Cluster, reference: string): Instance {
  const id = reference.toLowerCase();
  const found = instances.find((one) => one.id === id || one.name === reference);
  if (found) return found;
  throw new CofferError('instance_not_found', `Instance ${reference} cannot be found in cluster ${name}.`);
}

function checkRemovable(cluster: Cluster, doomed: readonly Instance[], now: Instant): void {
  if (doomed.length === cluster.instances.length) {
    refuse('A cluster keeps at least one instance: delete the cluster if none of it is needed.');
  }
  if (!managerOf(cluster.manager).copiesPrimary) return;
  checkPrimaryStays(cluster, doomed, now);
}

/**
 * One primary must stay. If there are two, the request decides which of them goes: the other one must be
 * healthy.
 */
function checkPrimaryStays({ instances }: Cluster, doomed: readonly Instance[], now: Instant): void {
  const primaries = instances.filter(isPrimary);
  const [primary, second] = primaries;
  if (!primary) refuse('No instance reports to be the primary: it could be one of those to remove.');
  const [stays, other] = primaries.filter((one) => !doomed.includes(one));
  if (!second && !stays) {
    refuse(
      `Instance ${primary.name} is the primary, and is not removed: name replicas. An upgrade moves the primary to another instance.`,
    );
  }
  if (!second) return;
  const names = primaries.map(({ name }) => name).join(' and ');
  if (!stays || other)
    refuse(`${names} are primaries: name all but the one that is to go on as the primary.`);
  if (!isHealthy(stays, now)) {
    refuse(`${names} are primaries, and ${stays.name}, which would stay, is not healthy: mend it first.`);
  }
}

function refuse(message: string): never {
  throw new CofferError('action_refused', message);
}
