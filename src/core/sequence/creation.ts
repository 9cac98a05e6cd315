import { type Cluster, type Instant, isHealthy, versionOf } from '../domain.ts';
import type { Move } from './sequence.ts';

/** Broken instances first, then all others in the order in which they were created. */
export function creationSequence(cluster: Cluster, to_version: string, now: Instant): readonly Move[] {
  return cluster.instances
    .filter((instance) => versionOf(instance) !== to_version)
    .map((instance) => {
      const repair = !isHealthy(instance, now);
      return { kind: 'instance' as const, instance_id: instance.id, stage: repair ? 0 : 1, repair };
    })
    .sort((a, b) => a.stage - b.stage);
}
