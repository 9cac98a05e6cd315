import type {
  EventDocument,
  PlanDocument,
  StepDocument,
  UpgradeDocument,
} from '../../src/contract/upgrade-documents.ts';
import type { Cluster, Instant } from '../../src/core/domain.ts';
import { policyInJson } from '../../src/core/policy.ts';
import type { Plan } from '../../src/core/preview.ts';
import type { Step, Upgrade, UpgradeEvent } from '../../src/core/record.ts';
import { describe, estimatedEnd } from '../../src/core/status.ts';
import { possibleActions } from '../../src/core/upgrade/actions.ts';
import { iso } from '../../src/core/words.ts';
import { isoOrNull } from '../times.ts';

/** `cluster` gives the instances their names; null once it has been removed. */
export function upgradeView(upgrade: Upgrade, cluster: Cluster | null, now: Instant): UpgradeDocument {
  const { state, steps } = upgrade;
  const { user, request_id, via } = upgrade.requested_by;
  const estimated_end = estimatedEnd(upgrade, cluster, now);
  return {
    id: upgrade.id,
    cluster_id: upgrade.cluster_id,
    cluster_name: cluster?.name ?? null,
    instance_id: upgrade.instance_id ?? null,
    ...stateOf(upgrade),
    status: describe(upgrade, cluster, now),
    cancelling: upgrade.cancelling,
    actions: [...possibleActions(upgrade, cluster)],
    from: { id: upgrade.from_version_id, name: upgrade.from_version },
    to: { id: upgrade.to_version_id, name: upgrade.to_version },
    policy: policyInJson(upgrade.policy),
    progress: progressOf(upgrade),
    steps: steps.map((step) => stepView(step, cluster)),
    seq: upgrade.seq,
    requested_by: { user, request_id, via },
    follows: upgrade.follows,
    batch_id: upgrade.batch?.id ?? null,
    write_outage_ms: upgrade.write_outage_ms,
    created: iso(upgrade.created),
    started: 'started' in state ? iso(state.started) : null,
    ended: 'ended' in state ? iso(state.ended) : null,
    silent: upgrade.silent,
    last_progress: iso(upgrade.progressed),
    estimated_end: isoOrNull(estimated_end),
  };
}

/** The state as documents show it: the direction, why the upgrade is paused, since when, and until when. */
export function stateOf({ state, direction }: Upgrade) {
  const isPaused = state.name === 'paused';
  return {
    state: state.name === 'running' && direction === 'back' ? ('rolling_back' as const) : state.name,
    reason: isPaused ? state.reason : null,
    message: 'message' in state ? state.message : null,
    since: isPaused ? iso(state.since) : null,
    until: isPaused ? isoOrNull(state.until) : null,
  };
}

/** Counts the steps towards the present goal: once a rollback has begun, the steps back. */
function progressOf({ steps, round }: Upgrade): { done: number; total: number } {
  const present = steps.filter((step) => step.round === round);
  return { done: present.filter((step) => step.phase.name === 'done').length, total: present.length };
}

function stepView(step: Step, cluster: Cluster | null): StepDocument {
  const { phase } = step;
  const blocked = phase.name === 'pending' ? phase.blocked : null;
  return {
    id: step.id,
    stage: step.stage,
    kind: step.kind,
    instance_id: step.instance_id,
    instance_name: instanceName(cluster, step.instance_id),
    successor_id: step.successor_id,
    phase: phase.name,
    attempt: step.attempt,
    error: 'error' in phase ? phase.error : null,
    blocked: blocked && { gate: blocked.gate, reason: blocked.reason, since: iso(blocked.since) },
    repeat_due: 'recast' in phase ? iso(phase.recast) : null,
    started: isoOrNull(step.started),
    ended: 'ended' in phase ? iso(phase.ended) : null,
  };
}

export function planView({ steps, gates, findings, ...plan }: Plan): PlanDocument {
  return { ...plan, steps: [...steps], gates: [...gates], findings: [...findings] };
}

export function eventView(event: UpgradeEvent, cluster: Cluster | null): EventDocument {
  const instance_id = event.instance_id ?? null;
  return {
    seq: event.seq,
    at: iso(event.at),
    type: event.type,
    instance_id,
    instance_name: instance_id === null ? null : instanceName(cluster, instance_id),
    step: event.step ?? null,
    attempt: event.attempt ?? null,
    phase: event.phase ?? null,
    message: event.message,
  };
}

function instanceName(cluster: Cluster | null, id: string): string | null {
  return cluster?.instances.find((instance) => instance.id === id)?.name ?? null;
}
