/** Starts: which steps begin now, and what holds the others back. */
import type { Finding } from '../phase.ts';
import { isInFlight, isOver, type Step } from '../record.ts';
import { closedWindow, park } from './closed-window.ts';
import type { Draft } from './draft.ts';
import { tally } from './ending.ts';
import { gateFor, skippedGates } from './gates.ts';
import { rollbackRefusal } from './judge.ts';
import { isBegun } from './rounds.ts';
import { startStep } from './step.ts';

/** Starts every step whose turn it is and that no gate holds back. */
export function startWhatCan(draft: Draft): void {
  for (const { id } of draft.steps) {
    const step = draft.step(id);
    if (!step || !isItsTurn(draft, step)) continue;
    const closed = closedWindow(draft, step);
    if (closed) {
      // Steps in flight end first: then the upgrade pauses at a safe point.
      if (!draft.steps.some(isInFlight)) park(draft, closed);
      continue;
    }
    if (!awaitsApproval(draft, step)) startOrBlock(draft, step);
    else if (doneInstances(draft).length >= draft.upgrade.policy.canary) {
      return draft.pause('canary', `${tally(draft)}: approve it to go on, or cancel it`);
    }
  }
}

function isItsTurn(draft: Draft, step: Step): boolean {
  const { phase } = step;
  if (phase.name === 'backoff' ? draft.now < phase.until : phase.name !== 'pending') return false;
  if (!step.returns && !mayStart(draft)) return false;
  return draft.steps.every(
    (other) => isOver(other) || (other.round === step.round && other.stage >= step.stage),
  );
}

/** M6. */
export function mayStart(draft: Draft): boolean {
  const { state, cancelling } = draft.upgrade;
  return state.name === 'running' && !cancelling && draft.steps.every((step) => step.phase.name !== 'failed');
}

/**
 * No more instances than the canary are begun before a person has approved, even where steps run side by side.
 */
function awaitsApproval(draft: Draft, step: Step): boolean {
  const { policy, approved, direction, round } = draft.upgrade;
  if (policy.canary === 0 || approved || direction === 'back' || step.attempt > 0 || step.returns)
    return false;
  const begun = draft.steps.filter(
    (other) => other.round === round && other.kind === 'instance' && isBegun(other),
  );
  return begun.length >= policy.canary;
}

function startOrBlock(draft: Draft, step: Step): void {
  const finding = gateFor(draft, step);
  const before = step.phase.name === 'pending' ? step.phase.blocked : null;
  if (!finding) {
    if (before) draft.emit('gate_cleared', `${before.gate} holds`, step);
    tellSkipped(draft, step);
    return startStep(draft, step);
  }
  // While other steps are at work, a step that waits is not blocked: its turn has not come yet.
  if (draft.steps.some((other) => isAtWork(draft, other))) {
    if (before) draft.change({ ...step, phase: { name: 'pending', blocked: null } });
    return;
  }
  const name = draft.nameOf(step.instance_id);
  const since = before?.gate === finding.gate ? before.since : draft.now;
  if (before?.gate !== finding.gate) {
    draft.emit('gate_blocked', `${name} waits for ${finding.gate}: ${finding.reason}`, step);
  }
  if (before?.gate !== finding.gate || before.reason !== finding.reason) {
    draft.change({ ...step, phase: { name: 'pending', blocked: { ...finding, since } } });
  }
  // Waiting does not help against the catalogue's rules: a person has to decide.
  const isForGood = finding.gate === 'version_path';
  if (isForGood || draft.now - since >= draft.upgrade.policy.step_timeout_seconds * 1000) {
    draft.pause('gate', `${name} waits for ${finding.gate}: ${finding.reason}; ${remedyFor(draft, finding)}`);
  }
}

/**
 * What a person can do about a gate that stays shut. Nobody can mend which version an instance runs by now, so
 * the message names a way out (G1).
 */
function remedyFor(draft: Draft, { gate }: Finding): string {
  if (gate === 'version_path')
    return 'change the catalogue, then resume; or cancel it, and start a new upgrade';
  if (gate === 'one_primary') return 'then resume; or cancel it first';
  if (gate !== 'version_active') return 'mend it, then resume';
  const canGoBack = rollbackRefusal(draft.upgrade, (id) => draft.nameOf(id)) === null;
  return `activate it, then resume; or ${canGoBack ? 'rollback, or ' : ''}cancel`;
}

/** Keeps with the upgrade who let the step start all the same, and why. */
function tellSkipped(draft: Draft, step: Step): void {
  const { policy, requested_by } = draft.upgrade;
  for (const { gate, reason } of skippedGates(draft, step)) {
    const why = policy.overrides.find((override) => override.gate === gate)?.reason;
    const who = requested_by.user ?? 'an operator';
    const name = draft.nameOf(step.instance_id);
    draft.emit(
      'gate_overridden',
      `${name} starts though ${reason}: ${gate} overridden by ${who}: ${why}`,
      step,
    );
  }
}

function isAtWork(draft: Draft, step: Step): boolean {
  return isInFlight(step) || (step.phase.name === 'backoff' && draft.now < step.phase.until);
}

function doneInstances(draft: Draft): readonly Step[] {
  const { round } = draft.upgrade;
  return draft.steps.filter(
    (step) => step.round === round && step.kind === 'instance' && step.phase.name === 'done',
  );
}
