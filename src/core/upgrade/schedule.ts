import type { Finding } from '../admit.ts';
import { type Cluster, type Instant, isHealthy, primaryOf, versionOf } from '../domain.ts';
import { expectedOf } from '../history.ts';
import { planSteps } from '../plan.ts';
import { goalOf, isInFlight, isOver, meantBy, type Phase, type Step, titleOf } from '../record.ts';
import { nextOpening, windowAt } from '../window.ts';
import { counted } from '../words.ts';
import { type Draft, doubtAbout } from './draft.ts';
import { gateFor, givenUp, isReturn, setOf, skippedGates } from './gates.ts';
import { rollbackRefusal } from './judge.ts';
import { tellSilence } from './silence.ts';
import { check, startStep } from './step.ts';
import { expiresAt } from './time.ts';
import { awaitsConfirmation } from './trove-guest.ts';

/**
 * A taskmanager may be this late to act on something that has become due: the other taskmanager had to be
 * killed, or Redis was away.
 */
const LATE_MS = 10_000;

/**
 * Checks everything that waits: what is due, what can start, what has ended. `mayRepeat`: also send again the
 * messages that nobody has answered.
 */
export function proceed(draft: Draft, mayRepeat: boolean): void {
  if (draft.upgrade.state.name === 'scheduled' && !begin(draft)) return;
  if (draft.upgrade.cancelling) dropUntouched(draft);
  for (const { id } of draft.steps) {
    const step = draft.step(id);
    if (step) check(draft, step, mayRepeat);
  }
  expire(draft);
  awaitWindow(draft);
  if (planRound(draft)) {
    if (endIfOver(draft)) return;
    if (mayStart(draft)) planAnew(draft);
  }
  startWhatCan(draft);
  tellSilence(draft);
}

/**
 * Skips steps whose instance only prepares and serves as before. The guest is sent nothing more, and its late
 * answer finds no attempt in flight (M1). A step whose earlier attempt may have changed something ends like any
 * other, and so does the return of an old primary.
 */
export function dropUntouched(draft: Draft): void {
  for (const step of draft.steps) {
    const isUntouched = step.phase.name === 'preparing' && !step.touched && !isReturn(draft.steps, step);
    if (isUntouched) skip(draft, step);
  }
}

/** A taskmanager starts the upgrade, if its time has come. */
function begin(draft: Draft): boolean {
  const { cancelling, policy, direction, from_version, to_version } = draft.upgrade;
  if (cancelling) {
    draft.end('cancelled', 'cancelled before it started');
    return false;
  }
  if (draft.now < (policy.not_before ?? 0)) return false;
  draft.start();
  draft.emit(
    'started',
    direction === 'back' ? `back to ${from_version}` : `upgrade from ${from_version} to ${to_version}`,
  );
  return true;
}

/**
 * A new goal gets a new plan, once no step of the old plan is in flight. Steps that have not begun, wait for
 * another attempt or have failed are skipped. An old primary that is down comes back first, whatever the new
 * plan does with it then (G8). True when the present round has its plan.
 */
function planRound(draft: Draft): boolean {
  const { round, planned_round } = draft.upgrade;
  if (planned_round === round) return true;
  for (const step of draft.steps) {
    if (isAtServer(step) || isOver(step) || willReturn(draft, step)) continue;
    skip(draft, step);
  }
  if (draft.steps.some(isInFlight) || owesReturn(draft)) return false;
  plan(draft, draft.steps, stepsOfRound(draft));
  return true;
}

/** A guest may still carry out an order that it did not answer. The record must say so, whatever comes next. */
function skip(draft: Draft, step: Step): void {
  draft.change({ ...step, phase: { name: 'skipped', ended: draft.now } });
  if (step.attempt === 0 || draft.isInDoubtBefore(step)) return;
  const doubt = doubtAbout(step);
  if (doubt === null) draft.instanceTask(step.instance_id, 'NONE', null);
  else draft.doubtInstance(step.instance_id, doubt);
}

function stepsOfRound(draft: Draft): readonly Step[] {
  const { direction, round, instance_id } = draft.upgrade;
  const first_id = Math.max(-1, ...draft.steps.map((step) => step.id)) + 1;
  return planSteps(
    knownOf(draft),
    { to_version: goalOf(draft.upgrade), direction, round, first_id, instance_id },
    draft.now,
  );
}

/**
 * The cluster as far as it is certain. A guest whose attempt was given up may still be at work on it, so its
 * earlier reports say nothing about its present state. The new plan therefore has a step for its instance in
 * any case, among the first steps.
 */
function knownOf(draft: Draft): Cluster {
  const uncertain = givenUp(draft);
  const instances = draft.seen.instances.map((instance) => {
    if (!uncertain.has(instance.id) || !instance.report) return instance;
    const report = { ...instance.report, version: null, service_status: 'unknown' as const };
    return { ...instance, in_doubt: true, report };
  });
  return { ...draft.seen, instances };
}

function plan(draft: Draft, kept: readonly Step[], steps: readonly Step[]): void {
  draft.plan([...kept, ...steps]);
  const names = [...kept, ...steps]
    .filter((step) => step.round === draft.upgrade.round && step.phase.name !== 'skipped')
    .map((step) =>
      step.kind === 'switchover' ? 'switchover' : titleOf(step, draft.nameOf(step.instance_id)),
    );
  draft.emit(
    'planned',
    names.length > 0 ? names.join(', ') : 'nothing to do: every instance runs the version',
  );
}

/**
 * Makes the plan anew when an instance that seemed broken turns out to be well. While its guest, or the whole
 * bus, is away for a moment, a primary looks broken, and a broken primary may be upgraded in place (G6). Steps
 * that have started stay in the plan, unless they came to nothing. The others are planned by what is known now,
 * under ids that were never used.
 */
function planAnew(draft: Draft): void {
  const { round } = draft.upgrade;
  const isPresent = (step: Step) => step.round === round;
  const isMended = ({ phase, touched, repair, instance_id }: Step) =>
    phase.name === 'pending' && !touched && repair && isWell(draft, instance_id);
  const present = draft.steps.filter(isPresent);
  if (present.some((step) => step.kind === 'switchover' && step.attempt > 0)) return;
  const isOutdated =
    present.some(isMended) || (present.some((step) => isMisplaced(draft, step)) && isOtherPlan(draft));
  if (!isOutdated) return;
  for (const step of present) {
    if (step.phase.name !== 'pending' || !step.phase.blocked || !isWell(draft, step.instance_id)) continue;
    draft.emit('gate_cleared', `${step.phase.blocked.gate} holds`, step);
  }
  for (const step of present) if (isMended(step) && step.attempt > 0) skip(draft, step);
  const kept = draft.steps.filter((step) => !isPresent(step) || step.attempt > 0);
  const rest = stepsOfRound(draft)
    .filter((step) => !kept.some((other) => isPresent(other) && isBegun(other) && isInstead(other, step)))
    .map((step) => ({ ...step, phase: stillPending(draft, step) }));
  plan(draft, kept, rest);
}

/**
 * The step's instance has another role than when the plan was made: an old primary was made a replica, or a
 * replica was made the primary, e.g. by a person who has just mended a replica set with two primaries.
 */
function isMisplaced(draft: Draft, { phase, attempt, kind, instance_id, repair }: Step): boolean {
  const set = setOf(draft, { instance_id });
  const primary = primaryOf({ instances: set });
  if (phase.name !== 'pending' || attempt > 0 || !primary || set.length === 1) return false;
  if (kind === 'switchover') return primary.id !== instance_id;
  const handsOver = draft.steps.some(
    (other) => other.kind === 'switchover' && other.instance_id === instance_id,
  );
  return (
    kind === 'instance' && primary.id === instance_id && !repair && !handsOver && isWell(draft, instance_id)
  );
}

/** True if a plan made now would have other steps for the instances whose steps have not begun. */
function isOtherPlan(draft: Draft): boolean {
  const textOf = (steps: readonly Step[]) =>
    steps.map(({ kind, instance_id }) => `${kind} ${instance_id}`).join(', ');
  const present = draft.steps.filter(({ round }) => round === draft.upgrade.round);
  const begun = new Set(present.filter(isBegun).map(({ instance_id }) => instance_id));
  const open = (steps: readonly Step[]) => steps.filter(({ instance_id }) => !begun.has(instance_id));
  return textOf(open(present)) !== textOf(open(stepsOfRound(draft)));
}

function isBegun({ attempt, phase }: Step): boolean {
  return attempt > 0 && phase.name !== 'skipped';
}

/**
 * An instance with a step that has begun gets no other step in this round. But a fence does not stand in for an
 * upgrade, nor an upgrade for a fence.
 */
function isInstead(begun: Step, { instance_id, kind }: Step): boolean {
  return begun.instance_id === instance_id && (begun.kind === 'fence') === (kind === 'fence');
}

/**
 * A step whose instance is still broken keeps its phase: if a gate blocks the step, the time since when stays
 * the same.
 */
function stillPending({ steps }: Draft, { kind, instance_id, repair, phase }: Step): Phase {
  const same = steps.findLast((other) => other.kind === kind && other.instance_id === instance_id);
  return (repair ? same?.phase : undefined) ?? phase;
}

function isWell(draft: Draft, instance_id: string): boolean {
  const instance = draft.instance(instance_id);
  return instance !== undefined && isHealthy(instance, draft.now) && !givenUp(draft).has(instance_id);
}

/** Pauses the upgrade if the time for all of it is up, not counting the time that it waited for a person. */
function expire(draft: Draft): void {
  const at = expiresAt(draft.upgrade);
  if (at === null || draft.now < at) return;
  const { timeout_seconds } = draft.upgrade.policy;
  draft.pause('failure', `not done within ${timeout_seconds} s: resume it, or cancel it`);
}

/** M6, M5: ends the upgrade if nothing is in flight and there is nothing to wait for. */
function endIfOver(draft: Draft): boolean {
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

/** Back to the version that the cluster came from, through the same gates and in the reverse order. */
export function rollBack(draft: Draft, why: string): void {
  draft.newRound({ direction: 'back', back_because: why });
  draft.emit('rolling_back', `${why}: back to ${draft.upgrade.from_version}`);
  draft.resume('rolling back');
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

/** After a switchover the old primary is down: its return counts as in flight (G8). */
function owesReturn(draft: Draft): boolean {
  return draft.steps.some((step) => isOwedReturn(draft, step));
}

/**
 * True if a guest is at work on its server: that work is allowed to end. A step that only prepares, or only
 * waits for a heartbeat, does not delay another goal.
 */
function isAtServer(step: Step): boolean {
  return isInFlight(step) && step.phase.name !== 'preparing' && step.phase.name !== 'settling';
}

/**
 * True if the step's instance is down because of a switchover, or is about to be, and this step brings it back.
 */
function willReturn(draft: Draft, step: Step): boolean {
  if (isReturn(draft.steps, step)) return step.phase.name !== 'failed';
  return draft.steps.some(
    (other) =>
      other.kind === 'switchover' &&
      other.round === step.round &&
      other.instance_id === step.instance_id &&
      other.id !== step.id &&
      isAtServer(other),
  );
}

function isOwedReturn(draft: Draft, step: Step): boolean {
  return isReturn(draft.steps, step) && (step.phase.name === 'pending' || step.phase.name === 'backoff');
}

/** Starts every step whose turn it is and that no gate holds back. */
function startWhatCan(draft: Draft): void {
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
  if (!isReturn(draft.steps, step) && !mayStart(draft)) return false;
  return draft.steps.every(
    (other) => isOver(other) || (other.round === step.round && other.stage >= step.stage),
  );
}

/** M6. */
function mayStart(draft: Draft): boolean {
  const { state, cancelling } = draft.upgrade;
  return state.name === 'running' && !cancelling && draft.steps.every((step) => step.phase.name !== 'failed');
}

/**
 * No more instances than the canary are begun before a person has approved, even where steps run side by side.
 */
function awaitsApproval(draft: Draft, step: Step): boolean {
  const { policy, approved, direction, round } = draft.upgrade;
  if (
    policy.canary === 0 ||
    approved ||
    direction === 'back' ||
    step.attempt > 0 ||
    isReturn(draft.steps, step)
  )
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

/** On how many instances the goal's version runs, in a few words. */
function tally(draft: Draft): string {
  const goal = goalOf(draft.upgrade);
  const there = draft.seen.instances.filter((instance) => versionOf(instance) === goal).length;
  return `${goal} runs on ${there} of ${counted(draft.seen.instances.length, 'instance')}`;
}

interface Closed {
  readonly reason: string;
  /** Null for a window that nobody can read. */
  readonly until: Instant | null;
}

/**
 * Pauses the upgrade until its window opens. If that opening passed while nobody checked the record, the next
 * one is recorded.
 */
function park(draft: Draft, { reason, until }: Closed): void {
  draft.pause('window', `${reason}: it goes on by itself`, until);
}

/**
 * An upgrade that waits for its window continues by itself when the window opens; the time until then does not
 * count.
 */
function awaitWindow(draft: Draft): void {
  const { state } = draft.upgrade;
  if (state.name !== 'paused' || state.reason !== 'window') return;
  if (state.until !== null && draft.now < state.until) return;
  const next = draft.steps.find(({ phase }) => phase.name === 'pending' || phase.name === 'backoff');
  const closed = next ? closedWindow(draft, next) : null;
  if (closed) park(draft, closed);
  else draft.resume('its window is open');
}

/**
 * Why no step may start now, and when one may: the window is closed, or closes before a step could be done. A
 * rollback waits for no window, nor does an old primary that is down: every hour of waiting is an hour on mixed
 * versions.
 */
function closedWindow({ upgrade, steps, now }: Draft, step: Step): Closed | null {
  const { policy, expected, direction } = upgrade;
  const { window } = policy;
  if (!window || direction === 'back' || isReturn(steps, step)) return null;
  const state = windowAt(window, now);
  // A window that is hardly longer than a step has room for one step, if the step starts as soon as the window
  // opens.
  const longest_ms = window.duration_seconds * 1000 - LATE_MS;
  const needed_ms = Math.min(expectedOf(expected, step.kind).p95_ms, longest_ms);
  if (state.name === 'open' && state.closes - now >= needed_ms) return null;
  const until = state.name === 'open' ? nextOpening(window, now) : state.opens;
  const why = state.name === 'open' ? 'its window closes too soon for another step' : 'its window is closed';
  return { reason: `${why}; ${until === null ? 'it never opens' : `it opens at ${iso(until)}`}`, until };
}

function iso(at: Instant): string {
  return new Date(at).toISOString();
}
