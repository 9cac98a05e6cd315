/**
 * Which instance is the primary of each replica set, by what guests report. With two primaries writes are lost:
 * each takes some that the other lacks. Instances that report no roles (`member`, or nothing at all) are never
 * judged here.
 */

import { type Cluster, type Instance, isPrimary, replicaSetOf, sameEndpoint } from './domain.ts';
import type { Finding } from './phase.ts';

/** The instances of a cluster by replica set. */
export function replicaSetsOf({ instances }: Cluster): readonly (readonly Instance[])[] {
  const names = [...new Set(instances.map(replicaSetOf))];
  return names.map((name) => instances.filter((instance) => replicaSetOf(instance) === name));
}

/**
 * The gate `one_primary`, shut because more than one instance of the set reports to be the primary; null
 * otherwise.
 */
export function twoPrimaries(
  set: readonly Instance[],
  { name, adopted }: Pick<Cluster, 'name' | 'adopted'>,
): Finding | null {
  const primaries = set.filter(isPrimary);
  if (primaries.length < 2) return null;
  const names = primaries.map(placeOf).join(' and ');
  const all = primaries.length === 2 ? 'both' : 'all';
  const replace =
    ', or replace it while no upgrade is under way ' +
    `(coffer cluster-shrink ${name} <the other>, then coffer cluster-grow ${name})`;
  return {
    gate: 'one_primary',
    reason:
      `${names} are ${all} primary, and each takes writes that the other lacks: let clients write to one of them only, then ` +
      `make the other a replica again by hand${adopted ? '' : replace}`,
  };
}

/**
 * The gate `one_primary`, shut because all instances of the set have reported, it has replicas, and none is the
 * primary; null otherwise.
 */
export function noPrimary(set: readonly Instance[]): Finding | null {
  const isKnown = set.every(({ report }) => report !== null);
  if (!isKnown || set.some(isPrimary) || !set.some(({ report }) => report?.role === 'replica')) return null;
  const names = set.map(({ name }) => name).join(', ');
  return {
    gate: 'one_primary',
    reason:
      `none of ${names} is the primary, and no client can write: on its host, promote the one that has the latest writes ` +
      `(PostgreSQL: pg_ctl promote)`,
  };
}

/** True if the instance says that it replicates from `other`. */
export function replicatesFrom({ report }: Instance, other: Instance): boolean {
  const [from, to] = [report?.upstream, other.report?.endpoint];
  return !!from && !!to && sameEndpoint(from, to);
}

/**
 * True for a replica that is fed by another replica of the cluster. Such a replica can't take over from the
 * primary, which does not know it.
 */
export function isCascaded(instance: Instance, { instances }: Pick<Cluster, 'instances'>): boolean {
  return instances.some((other) => !isPrimary(other) && replicatesFrom(instance, other));
}

/**
 * What is wrong with the primaries of a cluster. A cluster that is busy may be without a primary for a moment.
 */
export function primaryProblems(cluster: Cluster): readonly Finding[] {
  return replicaSetsOf(cluster)
    .map((set) => twoPrimaries(set, cluster) ?? (cluster.task === 'NONE' ? noPrimary(set) : null))
    .filter((finding) => finding !== null);
}

function placeOf({ name, report }: Instance): string {
  const endpoint = report?.endpoint;
  return endpoint ? `${name} (${endpoint.host}:${endpoint.port})` : name;
}
