import { isActive, type Step, type Upgrade } from '../src/core/record.ts';
import { spanWithin, type TraceParent, type Tracing } from '../src/tracing.ts';
import type { Observe } from './metrics.ts';

/**
 * An upgrade and its steps may last longer than any process. So the ids of their spans follow from the ids of
 * upgrade and step: every taskmanager works within the same spans, and the taskmanager that commits the end
 * reports them. Undefined where nothing is traced.
 */
export function upgradeSpan({ id, requested_by }: Upgrade): TraceParent | undefined {
  return requested_by.trace && spanWithin(requested_by.trace, id);
}

export function stepSpan({ id, requested_by }: Upgrade, step: number): TraceParent | undefined {
  return requested_by.trace && spanWithin(requested_by.trace, id, step);
}

/**
 * Reports each step when it is done. Reports an upgrade when it has ended, together with the steps that were
 * not done.
 */
export function observeSpans(tracing: Tracing): Observe {
  return ({ upgrade, events }) => {
    if (!tracing.isOn || upgrade.requested_by.trace === undefined) return;
    for (const { type, step: id } of events) {
      const step = upgrade.steps.find((each) => each.id === id);
      if (type === 'step_done' && step) tellOfStep(tracing, upgrade, step);
    }
    if (isActive(upgrade) || !('ended' in upgrade.state)) return;
    // A step that has failed could have been tried again. Only now is it over.
    for (const step of upgrade.steps) if (step.phase.name !== 'done') tellOfStep(tracing, upgrade, step);
    tellOfUpgrade(tracing, upgrade, upgrade.requested_by.trace);
  };
}

function tellOfStep(tracing: Tracing, upgrade: Upgrade, step: Step): void {
  const { id, kind, instance_id, attempt, started, phase, to_version } = step;
  const [name, parent] = [stepSpan(upgrade, id), upgradeSpan(upgrade)];
  if (!name || !parent || started === null || !('ended' in phase)) return;
  const error = phase.name === 'failed' ? phase.error : phase.name === 'skipped' ? 'not done any more' : null;
  const attributes = {
    ...{ 'coffer.upgrade_id': upgrade.id, 'coffer.step': id, 'coffer.attempts': attempt },
    ...{ 'coffer.instance_id': instance_id, 'coffer.to_version': to_version },
  };
  tracing.tell(`step ${kind}`, { name, parent, started, ended: phase.ended, attributes, error });
}

function tellOfUpgrade(tracing: Tracing, upgrade: Upgrade, parent: TraceParent): void {
  const { id, cluster_id, state, created, from_version, to_version, requested_by } = upgrade;
  const name = upgradeSpan(upgrade);
  if (!name || !('ended' in state)) return;
  const attributes = {
    ...{ 'coffer.upgrade_id': id, 'coffer.cluster_id': cluster_id, 'coffer.state': state.name },
    ...{ 'coffer.from_version': from_version, 'coffer.to_version': to_version },
    'coffer.request_id': requested_by.request_id,
  };
  const error = state.name === 'failed' ? state.message : null;
  tracing.tell('upgrade', { name, parent, started: created, ended: state.ended, attributes, error });
}
