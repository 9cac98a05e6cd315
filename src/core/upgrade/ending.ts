/** Ends: when an upgrade is over, and what follows from a step that has failed. */
import { type Instant, isHealthy, versionOf } from '../domain.ts';
import { goalOf, isInFlight, isOver, meantBy } from '../record.ts';
import { counted } from '../words.ts';
import type { Draft } from './draft.ts';
import { rollbackRefusal } from './judge.ts';
import { owesReturn, planRound, rollBack } from './rounds.ts';
import { expiresAt } from './time.ts';
import { awaitsConfirmation } from './trove-guest.ts';

/** M6, M5: ends the upgrade if nothing is in flight and there is nothing to wait for. */
export function endIfOver(draft: Draft): boolean {
  const { state, cancelling } = draft.upgrade;
  if (state.name !== 'running' && state.name !== 'paused') return true;
  const failure = failureOf(draft);
  if (draft.steps.some(isInFlight) || owesReturn(draft)) {
    // G1: it can no longer be resumed, whatever it was paused for: the person has to be told about the failure.
    if (failure !== null && state.name === 'paused') draft.pause('failure', askForRetry(draft, failure));
    return false;
  }
  if (cancelling) {
    draft.end('cancelled', `cancelled; ${tally(draft)}`);
  } else if (failure !== null) {
    afterFailure(draft, failure);
  } else if (draft.steps.every(isOver)) {
    // Whether paused or not: there is no step left to hold back.
    succeedOrWait(draft, state.started);
  }
  return draft.upgrade.state.name !== 'running';
}

/** Which instance's step has failed, and why; null if none has. */
function failureOf(draft: Draft): string | null {
  const failed = draft.steps.find((step) => step.phase.name === 'failed');
  if (failed?.phase.name !== 'failed') return null;
  return `${draft.nameOf(failed.instance_id)}: ${failed.phase.error}`;
}

function askForRetry({ upgrade }: Draft, failure: string): string {
  const unconfirmed = awaitsConfirmation(upgrade);
  if (!unconfirmed) return `${failure}: retry it, or cancel it`;
  const { to_version } = unconfirmed;
  return `${failure}. Look which version its server runs: confirm it if that is ${to_version}; else retry it, or cancel it`;
}

/** A step has used up its attempts. During a rollback a person is asked, whatever the policy says. */
function afterFailure(draft: Draft, message: string): void {
  const { policy, direction, state } = draft.upgrade;
  // M6: the person who paused the upgrade also decides whether it rolls back.
  const isHeld = state.name === 'paused' && state.reason !== 'window' && policy.on_failure === 'rollback';
  if (direction === 'back' || policy.on_failure === 'pause' || isHeld) {
    return draft.pause('failure', askForRetry(draft, message));
  }
  if (policy.on_failure === 'fail') return draft.end('failed', `${message}; ${tally(draft)}`);
  const refusal = rollbackRefusal(draft.upgrade, (id) => draft.nameOf(id));
  if (refusal) return draft.pause('failure', askForRetry(draft, `${message}, and ${refusal}`));
  rollBack(draft, message);
  planRound(draft);
}

/**
 * M5: every step is done. Every instance that the upgrade is about must also report the goal's version,
 * including those that needed no step.
 */
function succeedOrWait(draft: Draft, started: Instant): void {
  const { policy } = draft.upgrade;
  const goal = goalOf(draft.upgrade);
  const meant = meantBy(draft.upgrade, draft.seen);
  if (meant.length === 0) return draft.end('failed', 'its instance is no longer part of the cluster');
  const lacking = meant.filter((instance) => versionOf(instance) !== goal || !isHealthy(instance, draft.now));
  if (lacking.length === 0)
    return endAtGoal(draft, `${counted(meant.length, 'instance runs', 'instances run')} ${goal}`);
  const ended = draft.steps.map(({ phase }) => ('ended' in phase ? phase.ended : started));
  if (draft.now - Math.max(started, ...ended) < policy.step_timeout_seconds * 1000) return;
  const names = lacking.map((instance) => instance.name).join(', ');
  draft.pause('gate', `instances_healthy: ${names} not healthy on ${goal}; mend, then resume`);
}

function endAtGoal(draft: Draft, message: string): void {
  const { direction, back_because } = draft.upgrade;
  if (direction === 'forward') return draft.end('succeeded', message);
  draft.end('rolled_back', back_because === undefined ? message : `${back_because}: ${message} again`);
}

/** On how many instances the goal's version runs, in a few words. */
export function tally(draft: Draft): string {
  const goal = goalOf(draft.upgrade);
  const there = draft.seen.instances.filter((instance) => versionOf(instance) === goal).length;
  return `${goal} runs on ${there} of ${counted(draft.seen.instances.length, 'instance')}`;
}

/** Pauses the upgrade if the time for all of it is up, not counting the time that it waited for a person. */
export function expire(draft: Draft): void {
  const at = expiresAt(draft.upgrade);
  if (at === null || draft.now < at) return;
  const { timeout_seconds } = draft.upgrade.policy;
  draft.pause('failure', `not done within ${timeout_seconds} s: resume it, or cancel it`);
}
