import { type Cluster, type Instance, type Instant, isHealthy, versionOf } from '../domain.ts';
import { creationSequence } from '../sequence/creation.ts';
import type { Move } from '../sequence/sequence.ts';
import { operatorsOwn } from './manager.ts';

export const cassandra = operatorsOwn('cassandra', cassandraOrder);

/**
 * Broken instances, the seeds, and then rack by rack, in the order in which the racks were created. A rack
 * holds no range twice, so its instances may be away together; the seeds go by racks for the same reason. An
 * instance that names no rack goes alone.
 *
 * If no guest reports its place: creation order.
 */
function cassandraOrder(cluster: Cluster, to_version: string, now: Instant): readonly Move[] {
  if (!cluster.instances.some(isPlaced)) return creationSequence(cluster, to_version, now);
  const racks = [...new Set(cluster.instances.map(rackOf))];
  const place = (instance: Instance) => {
    if (!isHealthy(instance, now)) return BROKEN;
    return 1 + racks.indexOf(rackOf(instance)) + (isSeed(instance) ? 0 : racks.length);
  };
  const moves = cluster.instances
    .filter((instance) => versionOf(instance) !== to_version)
    .map((instance) => ({ instance, place: place(instance) }))
    .sort((a, b) => a.place - b.place);
  const places = [...new Set([BROKEN, ...moves.map((move) => move.place)])];
  return moves.map((move) => ({
    kind: 'instance',
    instance_id: move.instance.id,
    stage: places.indexOf(move.place),
    repair: move.place === BROKEN,
  }));
}

const BROKEN = 0;

function isPlaced({ report }: Instance): boolean {
  return report?.placement?.rack !== undefined || report?.placement?.seed !== undefined;
}

function isSeed({ report }: Instance): boolean {
  return report?.placement?.seed ?? false;
}

/**
 * The name of the rack; without a rack, that of the instance itself. A rack may have any name, even that of an
 * instance.
 */
function rackOf({ id, report }: Instance): string {
  const rack = report?.placement?.rack;
  return rack === undefined ? `instance ${id}` : `rack ${rack}`;
}
