/** Moves one step: carries out what the table of phases decides. */
import {
  type AnsweredAction,
  type AttemptReport,
  type Instant,
  isTroveGuest,
  type UpgradeInfo,
} from '../domain.ts';
import type { Outstanding, Phase } from '../phase.ts';
import { type Effect, isInFlight, type Step, titleOf } from '../record.ts';
import type { Draft } from './draft.ts';
import type { ServerReport } from './inputs.ts';
import { COFFER_GUEST, settle } from './phases.ts';
import type { At, GuestKind, Outcome, OutstandingPhase, PhaseRules } from './rules.ts';
import { backoffMs, hasTriesLeft } from './tries.ts';
import { TROVE_GUEST } from './trove-guest.ts';

/** An order that no guest has accepted is sent again after this long. */
const RECAST_MS = 2_000;
/**
 * A call is sent again sooner, since the taskmanager that waited for its answer may be dead: this is how soon
 * another one continues.
 */
const RECALL_MS = 1_000;
/**
 * An order that takes long, e.g. while a guest downloads or thousands of others are sent orders too, is sent
 * again less and less often: in the end after this long.
 */
const RECAST_MAX_MS = 8_000;
/**
 * A guest that has accepted the attempt is sent the order again rarely: only a lost report makes that
 * necessary.
 */
const RECAST_ACCEPTED_MS = 15_000;

function guestOf(draft: Draft, { kind, instance_id }: Step): GuestKind {
  const instance = draft.instance(instance_id);
  return kind === 'instance' && instance && isTroveGuest(instance) ? TROVE_GUEST : COFFER_GUEST;
}

function at(draft: Draft, step: Step): At {
  return { draft, step, phase: step.phase, guest: guestOf(draft, step) };
}

function rulesOf({ guest, phase }: At): PhaseRules {
  return guest.phases[phase.name];
}

function isOutstanding(phase: Phase): phase is OutstandingPhase {
  return 'recast' in phase;
}

/** A new attempt begins. */
export function startStep(draft: Draft, step: Step): void {
  const begun = draft.change({ ...step, attempt: step.attempt + 1, started: step.started ?? draft.now });
  draft.emit('step_started', `${title(draft, begun)}: attempt ${begun.attempt}`, begun);
  // Until the guest has its new order, it may carry out an old one. If this upgrade ends before then, the
  // record must still say so.
  if (!draft.isInDoubtBefore(step)) draft.instanceTask(step.instance_id, 'UPGRADING', null);
  carryOut(draft, begun, {
    kind: 'order',
    phase: { name: step.kind === 'fence' ? 'fencing' : 'preparing' },
  });
}

/** M1: a guest has answered the call that `step` waits for. */
export function answered(draft: Draft, step: Step, action: AnsweredAction, info: UpgradeInfo): void {
  const here = at(draft, step);
  if (isAwaited(here, action)) carryOut(draft, step, rulesOf(here).answered?.(here, info) ?? null);
}

/** M1: a guest has failed to carry out the call that `step` waits for. */
export function callFailed(
  draft: Draft,
  step: Step,
  { action, error, permanent }: { action: AnsweredAction; error: string; permanent: boolean },
): void {
  if (!isAwaited(at(draft, step), action)) return;
  carryOut(draft, step, failureOf(error, permanent));
}

/** What follows from a guest's own word that it has failed, in most phases. */
function failureOf(error: string, permanent: boolean): Outcome {
  return { kind: 'fail', error, failing: permanent ? 'permanent' : 'passing' };
}

function isAwaited(here: At, action: AnsweredAction): boolean {
  const { order } = rulesOf(here);
  return order?.isCall === true && order.action === action;
}

/** M1: a guest's report moves `step` on if it is about the very attempt and order that `step` waits for. */
export function reported(draft: Draft, step: Step, instance_id: string, report: AttemptReport): void {
  const here = at(draft, step);
  const { order, succeeded, failed } = rulesOf(here);
  if (order?.action !== report.action || !addresseesOf(here).includes(instance_id)) return;
  if (report.status === 'running') return accept(draft, step);
  // The end of a call is its answer.
  if (order.isCall) return;
  if (report.status === 'succeeded')
    return carryOut(draft, step, succeeded?.(here, { instance_id, result: report.result ?? {} }) ?? null);
  const error = report.error ?? 'the guest agent gave no reason';
  const permanent = report.permanent === true;
  const failure = { instance_id, error, permanent };
  carryOut(draft, step, failed ? failed(here, failure) : failureOf(error, permanent));
}

function accept(draft: Draft, step: Step): void {
  const { phase } = step;
  if (!isOutstanding(phase) || phase.accepted) return;
  draft.hear();
  draft.change({ ...step, phase: { ...phase, accepted: true, recast: draft.now + RECAST_ACCEPTED_MS } });
}

/** M1: a heartbeat counts for the one order that its instance is carrying out. */
export function heard(draft: Draft, instance_id: string, report: ServerReport): void {
  const step = draft.steps.find((each) => each.instance_id === instance_id && isInFlight(each));
  if (!step) return;
  const here = at(draft, step);
  carryOut(draft, step, rulesOf(here).heard?.(here, report) ?? null);
}

/**
 * A person has checked the server: its instance runs the version. The instance's heartbeat must still say that
 * it is healthy.
 */
export function confirm(draft: Draft, step: Step): void {
  draft.instanceTask(step.instance_id, 'UPGRADING', null);
  carryOut(draft, step, settle(at(draft, step)));
}

/** Does what is due for one step. `mayRepeat`: also send again an order that nobody has answered. */
export function check(draft: Draft, step: Step, mayRepeat: boolean): void {
  const here = at(draft, step);
  carryOut(draft, step, rulesOf(here).check?.(here) ?? null);
  const checked = draft.step(step.id) ?? step;
  const { phase } = checked;
  if (!('deadline' in phase)) return;
  if (draft.now >= phase.deadline) timedOut(draft, checked);
  else if (mayRepeat && isOutstanding(phase) && draft.now >= phase.recast) sayAgain(draft, checked, phase);
}

function timedOut(draft: Draft, step: Step): void {
  const here = at(draft, step);
  const { step_timeout_seconds } = draft.upgrade.policy;
  const error = `the guest agent did not finish ${step.phase.name} within ${step_timeout_seconds} s`;
  const { silent } = rulesOf(here);
  carryOut(draft, step, silent ? silent(here, error) : { kind: 'fail', error, failing: 'silence' });
}

function carryOut(draft: Draft, before: Step, outcome: Outcome): void {
  if (outcome === null) return;
  const step = { ...before, ...outcome.step };
  switch (outcome.kind) {
    case 'done':
      return done(draft, step);
    case 'enter':
      draft.enter(step, outcome.phase);
      return;
    case 'note':
      draft.change({ ...step, phase: outcome.phase });
      return;
    case 'order':
      return order(draft, step, { ...outcome.phase, ...outstanding(draft) });
    case 'order_later':
      return orderLater(draft, step, outcome.phase);
    case 'fail':
      return attemptFailed(draft, step, outcome);
    case 'ask':
      return stepFailed(draft, { ...step, in_doubt: true }, { error: outcome.error, unconfirmed: true });
    default:
      return outcome satisfies never;
  }
}

function outstanding(draft: Draft): Outstanding {
  const deadline = draft.now + draft.upgrade.policy.step_timeout_seconds * 1000;
  return { since: draft.now, recast: deadline, deadline, accepted: false };
}

/** Enters a phase that waits for guests, and sends them its order. */
function order(draft: Draft, step: Step, phase: OutstandingPhase): void {
  const here = { ...at(draft, step), phase };
  const entered = draft.enter(step, { ...phase, recast: repeatAt(here) });
  for (const effect of messagesOf(at(draft, entered))) draft.say(effect);
}

/**
 * A server that cannot carry out an order must not get it again and again at once: the next attempt within the
 * phase is sent after a pause.
 */
function orderLater(draft: Draft, step: Step, phase: OutstandingPhase): void {
  const next = outstanding(draft);
  const wait = backoffMs(draft, step);
  draft.change({
    ...step,
    attempt: step.attempt + 1,
    phase: { ...phase, ...next, recast: draft.now + wait, deadline: next.deadline + wait },
  });
}

/** Sends an order again that has not been answered. */
function sayAgain(draft: Draft, step: Step, phase: OutstandingPhase): void {
  const here = { ...at(draft, step), phase };
  draft.change({ ...step, phase: { ...phase, recast: repeatAt(here) } });
  if (rulesOf(here).order?.repeat_ms === null) return;
  for (const effect of messagesOf(here)) draft.say(effect);
}

/** A process that starts sends the order again at once, except to guests that would carry it out again. */
export function recover(draft: Draft, step: Step): void {
  const here = at(draft, step);
  if (rulesOf(here).order?.repeat_ms !== undefined) return;
  for (const effect of messagesOf(here)) draft.say(effect);
}

/** When the order that is sent now is sent again, unless the guests answer. */
function repeatAt(here: At<OutstandingPhase>): Instant {
  const { draft, step, phase } = here;
  const { order: rules } = rulesOf(here);
  if (rules?.repeat_ms === null) return phase.deadline;
  if (rules?.repeat_ms !== undefined) return Math.min(phase.deadline, draft.now + rules.repeat_ms);
  if (phase.accepted) return draft.now + RECAST_ACCEPTED_MS;
  const [first_ms, patience_ms] = rules?.isCall
    ? [RECALL_MS, draft.patience.call_ms]
    : [RECAST_MS, draft.patience.cast_ms];
  // No client can write during a switchover, so its orders do not become rarer.
  const so_far_ms = step.kind === 'switchover' ? 0 : draft.now - phase.since;
  return draft.now + Math.max(patience_ms, Math.min(Math.max(so_far_ms, first_ms), RECAST_MAX_MS));
}

/** The messages that carry the step's order to its guests. */
function messagesOf(here: At): readonly Effect[] {
  const { draft, step, phase, guest } = here;
  const { order: rules } = rulesOf(here);
  if (!rules || !isOutstanding(phase)) return [];
  const { action, isCall } = rules;
  const message = {
    kind: isCall ? ('call' as const) : ('cast' as const),
    attempt: draft.attemptOf(step, action),
    dialect: guest.dialect,
    args: rules.args(here),
    timeout_ms: Math.max(1, phase.deadline - draft.now),
  };
  return addresseesOf(here).map((instance_id) => ({ ...message, instance_id }));
}

/** The instances whose guests get the step's order. */
function addresseesOf(here: At): readonly string[] {
  return rulesOf(here).order?.addressees?.(here) ?? [here.step.instance_id];
}

function done(draft: Draft, step: Step): void {
  measure(draft, step);
  const { saysVersion } = guestOf(draft, step);
  const ended = draft.change({ ...step, phase: { name: 'done', ended: draft.now } });
  // After a switchover the old primary still has to be upgraded: it stays busy.
  if (step.kind === 'switchover') draft.oweReturn(step);
  else draft.instanceTask(step.instance_id, 'NONE', null, saysVersion ? undefined : step.to_version);
  draft.emit('step_done', `${title(draft, ended)}: done`, ended);
}

/**
 * Only first attempts are measured: later ones took longer for reasons that say nothing about the next step.
 * The length of a soak is known beforehand and is left out.
 */
function measure(draft: Draft, { kind, attempt, started, phase }: Step): void {
  if (kind === 'fence' || attempt !== 1 || started === null) return;
  const ended = phase.name === 'soaking' ? phase.since : draft.now;
  draft.say({ kind: 'measured', step: kind, ms: ended - started });
}

/** An attempt has ended without success: another one follows after a pause, or the step has failed. */
function attemptFailed(draft: Draft, of: Step, { error, failing }: Extract<Outcome, { kind: 'fail' }>): void {
  // A guest that has only prepared has no order to be at work on, unless an earlier attempt left one.
  const step = { ...of, in_doubt: of.in_doubt || (failing === 'silence' && of.touched) };
  if (failing === 'permanent' || !hasTriesLeft(draft, step)) return stepFailed(draft, step, { error });
  const until = draft.now + backoffMs(draft, step);
  draft.emit('step_retrying', `${title(draft, step)}: ${error}`, step);
  draft.change({ ...step, phase: { name: 'backoff', until, error } });
}

function stepFailed(
  draft: Draft,
  step: Step,
  failure: { readonly error: string; readonly unconfirmed?: true },
): void {
  const { error } = failure;
  if (!draft.isInDoubtBefore(step)) draft.instanceTask(step.instance_id, 'UPGRADING_ERROR', error);
  draft.change({ ...step, phase: { name: 'failed', ended: draft.now, ...failure } });
  draft.emit('step_failed', `${title(draft, step)}: ${error}`, step);
}

function title(draft: Draft, step: Step): string {
  const from = titleOf(step, draft.nameOf(step.instance_id));
  return step.successor_id === null ? from : `${from} to ${draft.nameOf(step.successor_id)}`;
}
