/**
 * In which order the instances of a cluster are upgraded, one pure function per kind of datastore.
 *
 * Files: `primary-replica.ts` replicas first, then a switchover, the old primary last ·
 * `cassandra.ts` seeds, then rack by rack · `galera.ts` strictly one by one · `mongodb.ts` config servers,
 * shard by shard, query routers last · `creation.ts` one after the other, as they were made.
 */
import type { Cluster, Instant } from '../domain.ts';
import type { StepKind } from '../history.ts';
import { cassandraOrder } from './cassandra.ts';
import { creationOrder } from './creation.ts';
import { galeraOrder } from './galera.ts';
import { mongodbOrder } from './mongodb.ts';
import { primaryReplicaOrder } from './primary-replica.ts';

/** A step before it has an identity: what, to whom, and in which stage. */
export interface Move {
  readonly kind: StepKind;
  readonly instance_id: string;
  /** Moves of one stage may run side by side, as far as `max_unavailable` allows. */
  readonly stage: number;
  /** The instance is broken already, so that its upgrade costs no availability. */
  readonly repair: boolean;
}

/** Instances that already run `to_version` need no move. */
export type Order = (cluster: Cluster, to_version: string, now: Instant) => readonly Move[];

const ORDERS: Readonly<Record<string, Order>> = {
  postgresql: primaryReplicaOrder,
  mysql: primaryReplicaOrder,
  redis: primaryReplicaOrder,
  simulated: primaryReplicaOrder,
  cassandra: cassandraOrder,
  mariadb: galeraOrder,
  pxc: galeraOrder,
  mongodb: mongodbOrder,
};

/** The order for a manager; instance creation order where nothing better is known. */
export function orderFor(manager: string): Order {
  return Object.hasOwn(ORDERS, manager) ? (ORDERS[manager] ?? creationOrder) : creationOrder;
}
