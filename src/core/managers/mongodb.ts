import {
  type Cluster,
  type Instance,
  type Instant,
  isHealthy,
  lagOf,
  replicaSetOf,
  versionOf,
} from '../domain.ts';
import { primaryReplicaSequence } from '../sequence/primary-replica.ts';
import type { Move } from '../sequence/sequence.ts';
import { operatorsOwn } from './manager.ts';

export const mongodb = operatorsOwn('mongodb', mongodbOrder);

/**
 * Broken instances, the config servers, then shard by shard, and the query routers last: a router must not be
 * newer than the servers that it routes to. Within a set the secondaries go one by one, since the set elects by
 * majority; then the primary steps down for one of them (G6), and is upgraded last.
 *
 * If no guest reports its place, the cluster is one plain replica set.
 */
function mongodbOrder(cluster: Cluster, to_version: string, now: Instant): readonly Move[] {
  if (!cluster.instances.some(isPlaced)) return primaryReplicaSequence(cluster, to_version, now);
  const isBroken = (instance: Instance) => !isHealthy(instance, now);
  const moving = cluster.instances.filter((instance) => versionOf(instance) !== to_version);
  const routers = moving.filter((each) => isRouter(each) && !isBroken(each));
  const sets = setsOf(cluster).flatMap((members) => movesOfSet(members, to_version, now));
  return [
    ...moving.filter(isBroken).map((each) => ({ ...moveOf(each), stage: BROKEN, repair: true })),
    ...sets.map((move, index) => ({ ...move, stage: 1 + index, repair: false })),
    ...routers.map((each) => ({ ...moveOf(each), stage: 1 + sets.length, repair: false })),
  ];
}

const BROKEN = 0;

type PartOfMove = Pick<Move, 'kind' | 'instance_id'>;

function moveOf({ id }: Instance): PartOfMove {
  return { kind: 'instance', instance_id: id };
}

/**
 * The replica sets in the order in which they were created, with that of the config servers before all others.
 */
function setsOf(cluster: Cluster): readonly (readonly Instance[])[] {
  const members = cluster.instances.filter((instance) => !isRouter(instance));
  const isConfig = (instance: Instance) => instance.report?.placement?.kind === 'config';
  const names = new Set([...members.filter(isConfig), ...members].map(replicaSetOf));
  return [...names].map((name) => members.filter((each) => replicaSetOf(each) === name));
}

/** The moves of the healthy members of one set; a primary without secondaries is upgraded in place. */
function movesOfSet(members: readonly Instance[], to_version: string, now: Instant): readonly PartOfMove[] {
  const moving = members.filter((each) => versionOf(each) !== to_version && isHealthy(each, now));
  const primaries = members.filter(({ report }) => report?.role === 'primary');
  const primary = primaries.length === 1 ? moving.find((each) => each === primaries[0]) : undefined;
  // A set without roles reports no lag: its members stay in the order in which they were created.
  const others = moving.filter((each) => each !== primary).sort((a, b) => lagOf(a) - lagOf(b));
  if (!primary) return others.map(moveOf);
  const stepDown = members.length === 1 ? [] : [{ kind: 'switchover' as const, instance_id: primary.id }];
  return [...others.map(moveOf), ...stepDown, moveOf(primary)];
}

function isPlaced({ report }: Instance): boolean {
  return report?.placement?.kind !== undefined || report?.placement?.shard !== undefined;
}

function isRouter({ report }: Instance): boolean {
  return report?.placement?.kind === 'router';
}
