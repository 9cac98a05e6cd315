import { type Instant, isHealthy, versionOf } from '../domain.ts';
import { planSteps } from '../plan.ts';
import { isInFlight, type Phase, type Step, type Upgrade } from '../record.ts';
import type { Draft } from './draft.ts';
import { gateFor, isReturn } from './gates.ts';
import { isOutstanding, sayAgain, settle, soak, startStep, timedOut } from './step.ts';

/** Looks at everything that waits: what is due, what can start, what has ended. */
export function proceed(draft: Draft): void {
  if (draft.upgrade.state.name === 'scheduled') begin(draft);
  for (const { id } of draft.steps) {
    const step = draft.step(id);
    if (step) look(draft, step);
  }
  expire(draft);
  if (endIfOver(draft)) return;
  if (mayStart(draft)) planAnew(draft);
  startWhatCan(draft);
}

/** A taskmanager takes the upgrade up: plans it. */
function begin(draft: Draft): void {
  if (draft.upgrade.cancelling) return draft.end('cancelled', 'cancelled before it started');
  draft.start();
  draft.emit('started', `upgrade from ${draft.upgrade.from_version} to ${draft.upgrade.to_version}`);
  plan(draft, planSteps(draft.seen, draft.upgrade.to_version, draft.now));
}

function plan(draft: Draft, steps: readonly Step[]): void {
  draft.plan(steps);
  const names = steps.map((step) =>
    step.kind === 'switchover' ? 'switchover' : draft.nameOf(step.instance_id),
  );
  draft.emit(
    'planned',
    names.length > 0 ? names.join(', ') : 'nothing to do: every instance runs the version',
  );
}

/**
 * An instance that was taken for broken turns out to be well: with its guest, or the whole bus, away
 * for a moment a primary looks like a wreck that may be upgraded in place (G6). What has started
 * stays; the rest is ordered by what is known now, under ids that nobody has used.
 */
function planAnew(draft: Draft): void {
  const begun = draft.steps.filter((step) => step.attempt > 0);
  const isMended = (step: Step) => step.attempt === 0 && step.repair && isWell(draft, step.instance_id);
  if (begun.some((step) => step.kind === 'switchover') || !draft.steps.some(isMended)) return;
  for (const step of draft.steps) {
    if (step.phase.name !== 'pending' || !step.phase.blocked || !isWell(draft, step.instance_id)) continue;
    draft.emit('gate_cleared', `${step.phase.blocked.gate} holds`, step);
  }
  const nextId = Math.max(...draft.steps.map((step) => step.id)) + 1;
  const rest = planSteps(draft.seen, draft.upgrade.to_version, draft.now)
    .filter((step) => begun.every((other) => other.instance_id !== step.instance_id))
    .map((step, index) => ({ ...step, id: nextId + index, phase: stillPending(draft, step) }));
  plan(draft, [...begun, ...rest]);
}

/** What holds an instance back that is broken still, it has held back since it did. */
function stillPending({ steps }: Draft, { kind, instance_id, repair, phase }: Step): Phase {
  const same = steps.find((other) => other.kind === kind && other.instance_id === instance_id);
  return (repair ? same?.phase : undefined) ?? phase;
}

function isWell(draft: Draft, instance_id: string): boolean {
  const instance = draft.instance(instance_id);
  return instance !== undefined && isHealthy(instance, draft.now);
}

/** One step: is something due? */
function look(draft: Draft, step: Step): void {
  const { phase } = step;
  const { now } = draft;
  if (phase.name === 'settling') {
    settle(draft, step);
    if (draft.step(step.id)?.phase === phase && now >= phase.deadline) timedOut(draft, step);
  } else if (phase.name === 'soaking') {
    soak(draft, step, phase);
  } else if (isOutstanding(phase)) {
    if (now >= phase.deadline) timedOut(draft, step);
    else if (now >= phase.recast) sayAgain(draft, step, phase);
  }
}

/** The whole upgrade's time is up, not counting the time that it waited for a person. */
function expire(draft: Draft): void {
  const at = expiresAt(draft.upgrade);
  if (at === null || draft.now < at) return;
  const { timeout_seconds } = draft.upgrade.policy;
  draft.pause('failure', `not done within ${timeout_seconds} s: resume it, or cancel it`);
}

/** Null while it waits for a person, and once it is to be cancelled: there is nothing more to ask for. */
export function expiresAt({ state, cancelling, waited_ms, policy }: Upgrade): Instant | null {
  if (state.name !== 'running' || cancelling) return null;
  return state.started + waited_ms + policy.timeout_seconds * 1000;
}

/** M6, M5: ends the upgrade if nothing is in flight and there is nothing to wait for. */
function endIfOver(draft: Draft): boolean {
  const { state, cancelling, policy } = draft.upgrade;
  if (state.name !== 'running' && state.name !== 'paused') return true;
  if (draft.steps.some(isInFlight) || owesReturn(draft)) return false;
  const failed = draft.steps.find((step) => step.phase.name === 'failed');
  if (cancelling) {
    draft.end('cancelled', `cancelled; ${tally(draft)}`);
  } else if (failed?.phase.name === 'failed') {
    const message = `${draft.nameOf(failed.instance_id)}: ${failed.phase.error}`;
    if (policy.on_failure === 'fail') draft.end('failed', `${message}; ${tally(draft)}`);
    else draft.pause('failure', `${message}: retry it, or cancel it`);
  } else if (draft.steps.every((step) => step.phase.name === 'done')) {
    // Paused or not: there is nothing left to hold back.
    succeedOrWait(draft, state.started);
  }
  return draft.upgrade.state.name !== 'running';
}

/** M5: every step is done; every instance must say so, those that needed no step included. */
function succeedOrWait(draft: Draft, started: Instant): void {
  const { to_version, policy } = draft.upgrade;
  const lacking = draft.seen.instances.filter(
    (instance) => versionOf(instance) !== to_version || !isHealthy(instance, draft.now),
  );
  if (lacking.length === 0) {
    return draft.end('succeeded', `${draft.seen.instances.length} instance(s) run ${to_version}`);
  }
  const ended = draft.steps.map((step) => (step.phase.name === 'done' ? step.phase.ended : started));
  if (draft.now - Math.max(started, ...ended) < policy.step_timeout_seconds * 1000) return;
  const names = lacking.map((instance) => instance.name).join(', ');
  draft.pause('gate', `instances_healthy: ${names} not healthy on ${to_version}; mend, then resume`);
}

/** After a switchover the old primary is down: its return belongs to what is in flight (G8). */
function owesReturn(draft: Draft): boolean {
  return draft.steps.some(
    (step) => isReturn(draft.steps, step) && (step.phase.name === 'pending' || step.phase.name === 'backoff'),
  );
}

/** Starts every step whose turn it is and that no gate holds back. */
function startWhatCan(draft: Draft): void {
  for (const { id } of draft.steps) {
    const step = draft.step(id);
    if (!step || !isItsTurn(draft, step)) continue;
    if (!awaitsApproval(draft, step)) startOrBlock(draft, step);
    else if (doneInstances(draft).length >= draft.upgrade.policy.canary) {
      return draft.pause('canary', `${tally(draft)}: approve it to go on, or cancel it`);
    }
  }
}

function isItsTurn(draft: Draft, step: Step): boolean {
  const { phase } = step;
  if (phase.name === 'backoff' ? draft.now < phase.until : phase.name !== 'pending') return false;
  if (!isReturn(draft.steps, step) && !mayStart(draft)) return false;
  return draft.steps.every((other) => other.stage >= step.stage || other.phase.name === 'done');
}

/** M6. */
function mayStart(draft: Draft): boolean {
  const { state, cancelling } = draft.upgrade;
  return state.name === 'running' && !cancelling && draft.steps.every((step) => step.phase.name !== 'failed');
}

/** Side by side or not, no more instances than the canary are begun before a person has approved. */
function awaitsApproval(draft: Draft, step: Step): boolean {
  const { policy, approved } = draft.upgrade;
  if (policy.canary === 0 || approved || step.attempt > 0 || isReturn(draft.steps, step)) return false;
  return (
    draft.steps.filter((other) => other.kind === 'instance' && other.attempt > 0).length >= policy.canary
  );
}

function startOrBlock(draft: Draft, step: Step): void {
  const finding = gateFor(draft, step);
  const before = step.phase.name === 'pending' ? step.phase.blocked : null;
  if (!finding) {
    if (before) draft.emit('gate_cleared', `${before.gate} holds`, step);
    return startStep(draft, step);
  }
  // While others are at work, a step that waits is not blocked, it is just not its turn.
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
  if (draft.now - since >= draft.upgrade.policy.step_timeout_seconds * 1000) {
    draft.pause('gate', `${name} waits for ${finding.gate}: ${finding.reason}; mend it, then resume`);
  }
}

function isAtWork(draft: Draft, step: Step): boolean {
  return isInFlight(step) || (step.phase.name === 'backoff' && draft.now < step.phase.until);
}

function doneInstances(draft: Draft): readonly Step[] {
  return draft.steps.filter((step) => step.kind === 'instance' && step.phase.name === 'done');
}

/** What runs what, in a few words. */
function tally(draft: Draft): string {
  const { to_version } = draft.upgrade;
  const upgraded = draft.seen.instances.filter((instance) => versionOf(instance) === to_version).length;
  return `${upgraded} of ${draft.seen.instances.length} instance(s) run ${to_version}`;
}
