import type { Cluster, Instant } from './domain.ts';
import { orderFor } from './order/order.ts';
import type { Step } from './record.ts';

/** The ordered steps that bring `cluster` to `to_version`, given what its guests report now. */
export function planSteps(cluster: Cluster, to_version: string, now: Instant): readonly Step[] {
  return orderFor(cluster.manager)(cluster, to_version, now).map((move, id) => ({
    id,
    stage: move.stage,
    kind: move.kind,
    instance_id: move.instance_id,
    successor_id: null,
    repair: move.repair,
    attempt: 0,
    attempts_forgiven: 0,
    started: null,
    phase: { name: 'pending', blocked: null },
  }));
}
