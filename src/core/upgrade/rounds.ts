/** Rounds: each goal of an upgrade has a plan of its own, made from what is known of the cluster by then. */
import { type Cluster, isHealthy, primaryOf } from '../domain.ts';
import type { Phase } from '../phase.ts';
import { planSteps } from '../plan.ts';
import { goalOf, isInFlight, isOver, type Step, titleOf } from '../record.ts';
import { type Draft, doubtAbout } from './draft.ts';
import { givenUp, setOf } from './gates.ts';

/**
 * Skips steps whose instance only prepares and serves as before. The guest is sent nothing more, and its late
 * answer finds no attempt in flight (M1). A step whose earlier attempt may have changed something ends like any
 * other, and so does the return of an old primary.
 */
export function dropUntouched(draft: Draft): void {
  for (const step of draft.steps) {
    const isUntouched = step.phase.name === 'preparing' && !step.touched && !step.returns;
    if (isUntouched) skip(draft, step);
  }
}

/**
 * A new goal gets a new plan, once no step of the old plan is in flight. Steps that have not begun, wait for
 * another attempt or have failed are skipped. An old primary that is down comes back first, whatever the new
 * plan does with it then (G8). True when the present round has its plan.
 */
export function planRound(draft: Draft): boolean {
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
  const goal = { to_version: goalOf(draft.upgrade), direction, round, first_id, instance_id };
  return planSteps(knownOf(draft), goal, draft.now).map((step) => ({
    ...step,
    returns: isOwed(draft, step),
  }));
}

/** True if the instance of a new step has handed over in an earlier round, and has not come back since. */
function isOwed({ steps }: Draft, { kind, instance_id }: Step): boolean {
  const own = steps.filter((step) => step.instance_id === instance_id && step.phase.name === 'done');
  return (
    kind === 'instance' &&
    own.findLast((step) => step.returns || step.kind === 'switchover')?.kind === 'switchover'
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
export function planAnew(draft: Draft): void {
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

export function isBegun({ attempt, phase }: Step): boolean {
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

/** After a switchover the old primary is down: its return counts as in flight (G8). */
export function owesReturn(draft: Draft): boolean {
  return draft.steps.some(
    ({ returns, phase }) => returns && (phase.name === 'pending' || phase.name === 'backoff'),
  );
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
  if (step.returns) return step.phase.name !== 'failed';
  return draft.steps.some(
    (other) =>
      other.kind === 'switchover' &&
      other.round === step.round &&
      other.instance_id === step.instance_id &&
      other.id !== step.id &&
      isAtServer(other),
  );
}

/** Back to the version that the cluster came from, through the same gates and in the reverse order. */
export function rollBack(draft: Draft, why: string): void {
  draft.newRound({ direction: 'back', back_because: why });
  draft.emit('rolling_back', `${why}: back to ${draft.upgrade.from_version}`);
  draft.resume('rolling back');
}
