import {
  type Cluster,
  type Instance,
  type Instant,
  isHealthy,
  isPrimary,
  lagOf,
  versionOf,
} from '../domain.ts';
import { creationSequence } from './creation.ts';
import type { Move } from './sequence.ts';

/**
 * Broken instances, asynchronous replicas by lag, synchronous replicas, a switchover to an upgraded replica,
 * and the old primary last (G6: the primary is only taken down when an upgraded replica is ready).
 *
 * Where no guest reports a primary there are no roles to respect: creation order. A primary without replicas is
 * upgraded in place, since no instance could take over.
 */
export function primaryReplicaSequence(cluster: Cluster, to_version: string, now: Instant): readonly Move[] {
  const primaries = cluster.instances.filter(isPrimary);
  const [primary] = primaries;
  if (!primary || primaries.length > 1) return creationSequence(cluster, to_version, now);

  // The replica that is least behind goes first: it returns to service the soonest.
  const replicas = cluster.instances
    .filter((instance) => instance !== primary && versionOf(instance) !== to_version)
    .map((instance) => ({ instance, stage: stageOf(instance, now) }))
    .sort((a, b) => a.stage - b.stage || lagOf(a.instance) - lagOf(b.instance));
  const moves: Move[] = replicas.map(({ instance, stage }) => ({
    kind: 'instance',
    instance_id: instance.id,
    stage,
    repair: stage === BROKEN,
  }));
  if (versionOf(primary) === to_version) return moves;
  const last = { instance_id: primary.id, repair: !isHealthy(primary, now) };
  // A broken primary cannot hand over; to mend it in place is the way back to service.
  if (last.repair) return [{ kind: 'instance', stage: BROKEN, ...last }, ...moves];
  if (cluster.instances.length === 1) return [{ kind: 'instance', stage: OLD_PRIMARY, ...last }];
  return [
    ...moves,
    { kind: 'switchover', stage: SWITCHOVER, ...last },
    { kind: 'instance', stage: OLD_PRIMARY, ...last },
  ];
}

const BROKEN = 0;
const ASYNCHRONOUS = 1;
const SYNCHRONOUS = 2;
const SWITCHOVER = 3;
const OLD_PRIMARY = 4;

function stageOf(replica: Instance, now: Instant): number {
  if (!isHealthy(replica, now)) return BROKEN;
  return replica.report?.synchronous ? SYNCHRONOUS : ASYNCHRONOUS;
}
