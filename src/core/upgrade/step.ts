/**
 * The phases of a step. An instance: preparing → upgrading → verifying → (settling) → (soaking) → done.
 * A fence: fencing → done.
 * A switchover: preparing → demoting → promoting → following → done; or, when the successor refuses,
 * promoting → restoring → another attempt.
 */
import {
  type AnsweredAction,
  type AttemptReport,
  type Endpoint,
  type GuestAction,
  type Instance,
  type Instant,
  isCall,
  isHealthy,
  primaryOf,
  type ServiceStatus,
  type UpgradeInfo,
  versionOf,
} from '../domain.ts';
import { type Effect, type Evidence, isInFlight, type Phase, type Step, titleOf } from '../record.ts';
import type { Draft } from './draft.ts';
import { onePrimary, setOf, successorOf, unacknowledged } from './gates.ts';
import {
  isCarriedOut,
  isUnconfirmed,
  isWithTroveGuest,
  latestEvidence,
  noEvidence,
  repeatAt,
  whatWasSeen,
  withReport,
} from './trove-guest.ts';

/** A message that no guest has accepted is sent again after this long. */
const RECAST_MS = 2_000;
/**
 * A call is sent again sooner, since the taskmanager that waited for its answer may be dead: this is how soon
 * another one continues.
 */
const RECALL_MS = 1_000;
/**
 * A message that takes long, e.g. while a guest downloads or thousands of others are sent messages too, is sent
 * again less and less often: in the end after this long.
 */
const RECAST_MAX_MS = 8_000;
/**
 * A guest that has accepted the attempt is sent the message again rarely: only a lost report makes that
 * necessary.
 */
const RECAST_ACCEPTED_MS = 15_000;
/** A log position that every server has reached. */
const ANY_POSITION = '0/0';
const BACKOFF_BASE_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;

type OutstandingPhase = Extract<Phase, { recast: number }>;

/** A new attempt begins: the guest prepares while its server continues to serve. */
export function startStep(draft: Draft, step: Step): void {
  const begun = draft.change({ ...step, attempt: step.attempt + 1, started: step.started ?? draft.now });
  draft.emit('step_started', `${title(draft, begun)}: attempt ${begun.attempt}`, begun);
  // Until the guest has its new order, it may carry out an old one. If this upgrade ends before then, the
  // record must still say so.
  if (!draft.isInDoubtBefore(step)) draft.instanceTask(step.instance_id, 'UPGRADING', null);
  if (step.kind === 'fence') say(draft, begun, { name: 'fencing', ...outstanding(draft) });
  else say(draft, begun, { name: 'preparing', ...outstanding(draft, RECALL_MS) });
}

/** A guest answered the call that `step` waits for. */
export function answered(draft: Draft, step: Step, action: AnsweredAction, info: UpgradeInfo): void {
  const { phase } = step;
  if (phase.name === 'preparing' && action === 'pre_upgrade') {
    const shut = isWithTroveGuest(draft, step) ? null : onePrimary(draft, step);
    // M8 again: somebody may have promoted another instance while the guest prepared. That does not count as a
    // try of this guest.
    if (shut) {
      return attemptFailed(draft, forgiven(step), shut.reason, 'passing');
    }
    if (step.kind === 'switchover') return startSwitchover(draft, step, info);
    if (isWithTroveGuest(draft, step)) return orderTroveGuest(draft, step, info);
    const surprise = unexpectedRole(draft, step, info);
    if (surprise) return attemptFailed(draft, step, surprise, 'permanent');
    // The guest has received this attempt, and carries out no older one any more.
    const told = { ...step, reversible: info.reversible ?? null, touched: true, in_doubt: false };
    if (isOfUnknownKind(draft, step)) draft.instanceTask(step.instance_id, 'UPGRADING', null, null);
    else if (draft.isInDoubtBefore(step)) draft.instanceTask(step.instance_id, 'UPGRADING', null);
    say(draft, told, { name: 'upgrading', info, ...outstanding(draft) });
  } else if (phase.name === 'upgrading' && action === 'upgrade') {
    if (phase.evidence) weigh(draft, step, phase, { ...phase.evidence, answered: true });
  } else if (phase.name === 'verifying' && action === 'post_upgrade') {
    settle(draft, step);
  }
}

/**
 * True for a registered instance whose guest agent has not reported yet. The agent may be Trove's, and then nobody
 * knows from the order on which version the instance runs.
 */
function isOfUnknownKind(draft: Draft, step: Step): boolean {
  const instance = draft.instance(step.instance_id);
  return instance !== undefined && instance.report === null && instance.told_version !== undefined;
}

/**
 * From here on the instance may run either version. The guest's answer is handed back to it unchanged, and
 * means nothing to us.
 */
function orderTroveGuest(draft: Draft, step: Step, info: UpgradeInfo): void {
  draft.instanceTask(step.instance_id, 'UPGRADING', null, null);
  const evidence = noEvidence(draft.instance(step.instance_id), draft.now);
  say(
    draft,
    { ...step, touched: true, in_doubt: false },
    { name: 'upgrading', info, evidence, ...outstanding(draft) },
  );
}

/** M1: a Trove guest's report counts for the one order that its instance is carrying out. */
export function watchTroveGuest(
  draft: Draft,
  instance_id: string,
  { status, sent }: { readonly status: ServiceStatus; readonly sent: Instant },
): void {
  const step = draft.steps.find((each) => each.instance_id === instance_id && isInFlight(each));
  if (step?.phase.name !== 'upgrading' || !step.phase.evidence || !isWithTroveGuest(draft, step)) return;
  weigh(draft, step, step.phase, withReport(step.phase.evidence, status, sent));
}

type Upgrading = Extract<Phase, { name: 'upgrading' }>;

function weigh(draft: Draft, step: Step, phase: Upgrading, evidence: Evidence): void {
  if (isCarriedOut(evidence)) {
    return say(draft, step, { name: 'verifying', info: phase.info, ...outstanding(draft) });
  }
  if (evidence === phase.evidence) return;
  const accepted = phase.accepted || evidence.has_left || evidence.answered;
  draft.change({ ...step, phase: { ...phase, evidence, accepted } });
}

/**
 * A person has checked the server: its instance runs the version. The instance's heartbeat must still say that
 * it is healthy.
 */
export function confirm(draft: Draft, step: Step): void {
  draft.instanceTask(step.instance_id, 'UPGRADING', null);
  settle(draft, step);
}

/**
 * G6: a primary that serves must not be taken down like a replica. It may have become the primary since the
 * plan was made, or it was broken then and is well now.
 */
function unexpectedRole(draft: Draft, step: Step, info: UpgradeInfo): string | null {
  const instance = draft.instance(step.instance_id);
  // The guest has answered just now: the answer is fresher than its last heartbeat.
  const serves = info.service_status === 'healthy' || (instance && isHealthy(instance, draft.now));
  if (info.role !== 'primary' || !instance || !serves) return null;
  // An instance that has sent no report yet may be a replica too.
  const mayHaveReplicas = setOf(draft, step).some(
    ({ id, report }) => id !== instance.id && (report?.role ?? 'replica') === 'replica',
  );
  if (!mayHaveReplicas) return null;
  return `${instance.name} serves as the primary, which was not so when the upgrade was planned: cancel, and start a new upgrade`;
}

/** The guest did not cause what stops its attempt, so the attempt does not count as a try. */
function forgiven(step: Step): Step {
  return { ...step, attempts_forgiven: step.attempts_forgiven + 1 };
}

function startSwitchover(draft: Draft, step: Step, info: UpgradeInfo): void {
  // Findings may be newer than the last heartbeat: the guest has just checked.
  const loss = unacknowledged(draft, step, info.findings);
  if (loss) return attemptFailed(draft, forgiven(step), `${loss.gate}: ${loss.reason}`, 'passing');
  // M3 again: the guest prepared after the gate was checked, and the successor may have fallen behind
  // meanwhile.
  const successor = successorOf(draft, step);
  if (!successor)
    return attemptFailed(draft, step, 'the successor fell behind before the switchover', 'passing');
  const chosen = { ...step, successor_id: successor.id };
  say(draft, chosen, { name: 'demoting', ...outstanding(draft) });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** M1: a guest's report moves `step` on if it is about the very attempt and action that `step` waits for. */
export function reported(draft: Draft, step: Step, instance_id: string, report: AttemptReport): void {
  if (!isOutstanding(step.phase) || !addresseesOf(step).includes(instance_id)) return;
  if (report.action !== actionOf(step.phase)) return;
  if (report.status === 'running') return accept(draft, step, step.phase);
  if (report.status === 'failed') return failed(draft, step, instance_id, report);
  succeeded(draft, step, instance_id, report);
}

function accept(draft: Draft, step: Step, phase: OutstandingPhase): void {
  if (phase.accepted) return;
  draft.hear();
  draft.change({ ...step, phase: { ...phase, accepted: true, recast: draft.now + RECAST_ACCEPTED_MS } });
}

function succeeded(draft: Draft, step: Step, instance_id: string, report: AttemptReport): void {
  const { phase } = step;
  switch (phase.name) {
    case 'upgrading':
      if (phase.info.role === 'primary') draft.writesAgain(phase.since);
      return say(draft, step, { name: 'verifying', info: phase.info, ...outstanding(draft, RECALL_MS) });
    case 'fencing':
      return fenced(draft, step);
    case 'demoting':
      return demoted(draft, step, phase.since, report.result ?? {});
    case 'promoting':
      return switchedOver(draft, step);
    case 'following':
      return followed(draft, step, phase, instance_id);
    case 'restoring':
      draft.writesAgain(phase.down_since);
      return attemptFailed(draft, step, phase.error, 'passing');
    default:
      // `preparing` and `verifying` end with the answer to their call, not with a report.
      return;
  }
}

function failed(draft: Draft, step: Step, instance_id: string, report: AttemptReport): void {
  const error = report.error ?? 'the guest agent gave no reason';
  const { phase } = step;
  switch (phase.name) {
    case 'upgrading':
    case 'fencing':
    case 'demoting':
      return attemptFailed(draft, step, error, report.permanent === true ? 'permanent' : 'passing');
    case 'promoting':
      // M4: a failed promotion means that the successor is still a standby, unless its own heartbeat says that
      // it is the primary.
      if (draft.instance(instance_id)?.report?.role === 'primary') return switchedOver(draft, step);
      return restore(draft, step, phase.lsn, error);
    case 'following':
      return followFailed(draft, step, phase, instance_id, error, report.permanent ?? false);
    case 'restoring':
      return restoreFailed(draft, step, phase, error);
    default:
      return;
  }
}

/**
 * The guest carries out no older order any more. What the last of those orders has done is known only now, so
 * the plan may have to change.
 */
function fenced(draft: Draft, step: Step): void {
  done(draft, step);
  const instance = draft.instance(step.instance_id);
  if (!instance || !isHealthy(instance, draft.now)) draft.newRound({});
}

/** G6: the successor must know up to which log position it has to catch up before it takes over. */
function demoted(
  draft: Draft,
  step: Step,
  down_since: Instant,
  result: Readonly<Record<string, unknown>>,
): void {
  const { lsn, handover } = result;
  if (typeof lsn !== 'string') {
    return restore(draft, step, ANY_POSITION, 'the demoted primary did not say where its log ends');
  }
  const passedOn = isRecord(handover) ? { handover } : {};
  say(draft, step, { name: 'promoting', lsn, ...passedOn, down_since, ...outstanding(draft) });
}

/**
 * The old primary is to serve again. The order has an attempt number of its own, which does not count as a try.
 * The new number fences off a `demote` that is still under way: otherwise that `demote` would stop the primary
 * again, after everybody has gone.
 */
function restore(draft: Draft, step: Step, lsn: string, error: string): void {
  const fenced = { ...step, attempt: step.attempt + 1, attempts_forgiven: step.attempts_forgiven + 1 };
  const down_since = downSince(step.phase) ?? draft.now;
  say(draft, fenced, { name: 'restoring', lsn, error, down_since, ...outstanding(draft) });
}

/** Since when no primary takes writes, as far as is known: since the primary was told to stop. */
function downSince(phase: Phase): Instant | null {
  if (phase.name === 'demoting') return phase.since;
  return phase.name === 'promoting' || phase.name === 'restoring' ? phase.down_since : null;
}

function switchedOver(draft: Draft, step: Step): void {
  draft.writesAgain(downSince(step.phase) ?? draft.now);
  const successor = step.successor_id === null ? undefined : draft.instance(step.successor_id);
  const primary = successor?.report?.endpoint ?? null;
  draft.emit('switched_over', `${draft.nameOf(step.successor_id ?? '')} is the primary now`, step);
  const remaining = setOf(draft, step)
    .filter(
      ({ id, report }) => id !== step.instance_id && id !== step.successor_id && report?.role === 'replica',
    )
    .map(({ id }) => id);
  if (!primary || remaining.length === 0) return done(draft, step);
  // The tries that the switchover used do not count against its followers.
  const begun = { ...step, attempts_forgiven: step.attempt - 1 };
  say(draft, begun, { name: 'following', primary, remaining, ...outstanding(draft) });
}

type Following = Extract<Phase, { name: 'following' }>;

function followed(draft: Draft, step: Step, phase: Following, instance_id: string): void {
  const remaining = phase.remaining.filter((id) => id !== instance_id);
  if (remaining.length === 0) return done(draft, step);
  draft.change({ ...step, phase: { ...phase, remaining } });
}

/**
 * The switchover itself stands: only this standby needs another try, under a new attempt number. When its tries
 * are used up, the gates deal with it: an instance that does not stream is not healthy.
 */
function followFailed(
  draft: Draft,
  step: Step,
  phase: Following,
  instance_id: string,
  error: string,
  permanent: boolean,
): void {
  draft.emit('step_retrying', `${draft.nameOf(instance_id)} does not follow the new primary: ${error}`, step);
  if (permanent || !hasTriesLeft(draft, step)) return followed(draft, step, phase, instance_id);
  sayLater(draft, step, phase);
}

type Restoring = Extract<Phase, { name: 'restoring' }>;

function restoreFailed(draft: Draft, step: Step, phase: Restoring, error: string): void {
  if (!hasTriesLeft(draft, step)) {
    const name = draft.nameOf(step.instance_id);
    draft.pause(
      'failure',
      `${name} is stopped and can't be brought back as primary (${error}): mend it, then retry`,
    );
  }
  sayLater(draft, step, phase);
}

/**
 * The next attempt within a phase. It is sent after a pause: a server that cannot carry out an order must not
 * get it again and again at once.
 */
function sayLater(draft: Draft, step: Step, phase: Following | Restoring): void {
  const next = outstanding(draft);
  const wait = backoffMs(draft, step);
  draft.change({
    ...step,
    attempt: step.attempt + 1,
    phase: { ...phase, ...next, recast: draft.now + wait, deadline: next.deadline + wait },
  });
}

/** After `post_upgrade` the instance's own heartbeat decides (G5). */
export function settle(draft: Draft, step: Step): void {
  if (isSettled(draft, step)) return settled(draft, step);
  if (step.phase.name === 'settling') return;
  const deadline = draft.now + draft.upgrade.policy.step_timeout_seconds * 1000;
  draft.enter(step, { name: 'settling', since: draft.now, deadline });
}

function isSettled(draft: Draft, step: Step): boolean {
  const instance = draft.instance(step.instance_id);
  if (!instance || !isHealthy(instance, draft.now)) return false;
  return isWithTroveGuest(draft, step) || versionOf(instance) === step.to_version;
}

function settled(draft: Draft, step: Step): void {
  const soakMs = draft.upgrade.policy.soak_seconds * 1000;
  if (soakMs === 0 || !hasToSoak(draft, step)) return done(draft, step);
  const since = step.phase.name === 'settling' ? step.phase.since : draft.now;
  draft.enter(step, { name: 'soaking', since, until: draft.now + soakMs });
}

/**
 * Health must hold for the whole soak: one bad report starts the soak anew. That does not last for ever:
 * `since` is kept, so that an instance that is healthy and broken by turns runs out of the step's time.
 */
export function soak(draft: Draft, step: Step, { since, until }: Extract<Phase, { name: 'soaking' }>): void {
  const { policy } = draft.upgrade;
  if (!isSettled(draft, step)) {
    const deadline = since + (policy.soak_seconds + policy.step_timeout_seconds) * 1000;
    const settling = draft.enter(step, { name: 'settling', since, deadline });
    if (draft.now >= deadline) timedOut(draft, settling);
  } else if (draft.now >= until || !hasToSoak(draft, step)) {
    done(draft, step);
  }
}

/**
 * A soak decides whether the next instance may follow to the new version. So there is none after a cancel, nor
 * on the way back.
 */
function hasToSoak({ upgrade }: Draft, step: Step): boolean {
  return !upgrade.cancelling && upgrade.direction === 'forward' && step.round === upgrade.round;
}

function done(draft: Draft, step: Step): void {
  measure(draft, step);
  const ended = draft.change({ ...step, phase: { name: 'done', ended: draft.now } });
  // After a switchover the old primary still has to be upgraded: it stays busy.
  const told = isWithTroveGuest(draft, step) ? step.to_version : undefined;
  if (step.kind !== 'switchover') draft.instanceTask(step.instance_id, 'NONE', null, told);
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

/**
 * How an attempt failed. `passing`: another one may succeed. `permanent`: none would. `silence`: the guest sent
 * nothing within the step's time, and may still be at work on the order.
 */
export type Failing = 'passing' | 'permanent' | 'silence';

/** An attempt has ended without success: another one follows after a pause, or the step has failed. */
export function attemptFailed(draft: Draft, of: Step, error: string, failing: Failing): void {
  // A guest that has only prepared has no order to be at work on, unless an earlier attempt left one.
  const step = { ...of, in_doubt: of.in_doubt || (failing === 'silence' && of.touched) };
  if (failing !== 'permanent' && hasTriesLeft(draft, step)) {
    const until = draft.now + backoffMs(draft, step);
    draft.emit('step_retrying', `${title(draft, step)}: ${error}`, step);
    draft.change({ ...step, phase: { name: 'backoff', until, error } });
    return;
  }
  stepFailed(draft, step, { error });
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

/** The step's time is up, and its guest has not sent what the step waits for. */
export function timedOut(draft: Draft, step: Step): void {
  const { phase } = step;
  const name = draft.nameOf(step.instance_id);
  const error = `the guest agent did not finish ${phase.name} within ${draft.upgrade.policy.step_timeout_seconds} s`;
  switch (phase.name) {
    case 'demoting':
      // The primary may or may not have stopped: the order to serve as the primary is right in both cases.
      return restore(draft, step, ANY_POSITION, error);
    case 'promoting':
      // M4: the successor may have taken over. Nothing is certain until it reports, so keep asking the guest,
      // and ask a person for help.
      draft.pause(
        'failure',
        `${draft.nameOf(step.successor_id ?? '')} does not say whether it took over from ${name}: bring its guest agent back, then retry`,
      );
      return say(draft, step, { ...phase, ...outstanding(draft) });
    case 'restoring':
      draft.pause(
        'failure',
        `${name} is stopped and its guest agent does not answer: bring it back, then retry`,
      );
      return say(draft, step, { ...phase, ...outstanding(draft) });
    case 'following': {
      const silent = phase.remaining.map((id) => draft.nameOf(id)).join(', ');
      draft.emit('step_retrying', `${silent}: no word on following the new primary; going on`, step);
      return done(draft, step);
    }
    case 'upgrading':
      return upgradeTimedOut(draft, step, phase, error);
    default:
      return attemptFailed(draft, step, error, 'silence');
  }
}

/**
 * If a Trove guest's server serves, it may run either version, and another order could take it down for
 * nothing.
 */
function upgradeTimedOut(draft: Draft, step: Step, phase: Upgrading, error: string): void {
  const evidence = phase.evidence && latestEvidence(draft, step, phase.evidence);
  if (!evidence || !isUnconfirmed(draft, step)) return attemptFailed(draft, step, error, 'silence');
  if (isCarriedOut(evidence)) return weigh(draft, step, phase, evidence);
  stepFailed(
    draft,
    { ...step, in_doubt: true },
    { error: `${error}: ${whatWasSeen(evidence)}`, unconfirmed: true },
  );
}

function hasTriesLeft(draft: Draft, step: Step): boolean {
  return step.attempt - step.attempts_forgiven <= draft.upgrade.policy.retries;
}

/**
 * 1 s, 2 s, 4 s … up to a minute, each varied by ±25 % so that the instances of a fleet do not all retry at the
 * same moment.
 */
function backoffMs(draft: Draft, step: Step): number {
  const nominal = Math.min(
    BACKOFF_BASE_MS * 2 ** (step.attempt - step.attempts_forgiven - 1),
    BACKOFF_MAX_MS,
  );
  return Math.round(nominal * (0.75 + 0.5 * spread(`${draft.upgrade.id}/${step.id}/${step.attempt}`)));
}

/** A number in [0, 1) that depends on the text alone (FNV-1a): the core has no randomness of its own. */
function spread(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash / 2 ** 32;
}

export function isOutstanding(phase: Phase): phase is OutstandingPhase {
  return 'recast' in phase;
}

function outstanding(draft: Draft, recast_ms = RECAST_MS) {
  return {
    since: draft.now,
    recast: draft.now + recast_ms,
    deadline: draft.now + draft.upgrade.policy.step_timeout_seconds * 1000,
    accepted: false,
  };
}

/** Enters a phase that waits for guests, and sends them its message. */
function say(draft: Draft, step: Step, phase: OutstandingPhase): void {
  const { name, deadline } = phase;
  const isTrove = isWithTroveGuest(draft, step);
  const entered = draft.enter(
    step,
    isTrove ? { ...phase, recast: repeatAt(name, deadline, draft.now) } : phase,
  );
  for (const effect of outstandingOf(draft, entered)) draft.say(effect);
}

/** Sends a message again that has not been answered. */
export function sayAgain(draft: Draft, step: Step, phase: OutstandingPhase): void {
  const isTrove = isWithTroveGuest(draft, step);
  const recast = isTrove
    ? repeatAt(phase.name, phase.deadline, draft.now)
    : draft.now + pauseOf(draft, step, phase);
  draft.change({ ...step, phase: { ...phase, recast } });
  if (isTrove && phase.name === 'upgrading') return;
  for (const effect of outstandingOf(draft, step)) draft.say(effect);
}

/** A process that starts sends the message again at once, except to guests that would carry it out again. */
export function recover(draft: Draft, step: Step): void {
  if (isWithTroveGuest(draft, step)) return;
  for (const effect of outstandingOf(draft, step)) draft.say(effect);
}

function pauseOf(draft: Draft, step: Step, phase: OutstandingPhase): number {
  if (phase.accepted) return RECAST_ACCEPTED_MS;
  // No client can write meanwhile.
  if (step.kind === 'switchover') return RECAST_MS;
  const first = isCall(actionOf(phase)) ? RECALL_MS : RECAST_MS;
  return Math.min(Math.max(draft.now - phase.since, first), RECAST_MAX_MS);
}

/** The messages that a step in this phase has sent to its guests and that are not answered yet. */
function outstandingOf(draft: Draft, step: Step): readonly Effect[] {
  const { phase } = step;
  if (!isInFlight(step) || !isOutstanding(phase)) return [];
  const action = actionOf(phase);
  const attempt = draft.attemptOf(step, action);
  const dialect = isWithTroveGuest(draft, step) ? ('trove' as const) : ('coffer' as const);
  // A Trove guest that refuses to upgrade reports that to its caller only.
  const kind = isCall(action) || dialect === 'trove' ? ('call' as const) : ('cast' as const);
  const timeout_ms = Math.max(1, phase.deadline - draft.now);
  const args = argsOf(draft, step, phase);
  return addresseesOf(step).map((instance_id) => ({
    ...{ kind, instance_id, attempt, dialect, args, timeout_ms },
  }));
}

function actionOf(phase: OutstandingPhase): GuestAction {
  switch (phase.name) {
    case 'preparing':
      return 'pre_upgrade';
    case 'upgrading':
      return 'upgrade';
    case 'verifying':
      return 'post_upgrade';
    case 'fencing':
      return 'fence';
    case 'demoting':
      return 'demote';
    case 'promoting':
    case 'restoring':
      return 'promote';
    case 'following':
      return 'follow';
    default:
      return phase satisfies never;
  }
}

/** The instances whose guests get the message of this phase. */
function addresseesOf(step: Step): readonly string[] {
  if (step.phase.name === 'following') return step.phase.remaining;
  if (step.phase.name === 'promoting') return step.successor_id === null ? [] : [step.successor_id];
  return [step.instance_id];
}

function argsOf(draft: Draft, step: Step, phase: OutstandingPhase): Readonly<Record<string, unknown>> {
  switch (phase.name) {
    case 'preparing':
      return { datastore_version: step.to_version };
    case 'upgrading':
    case 'verifying':
      return { ...phase.info, datastore_version: step.to_version, primary: primaryFor(draft, step) };
    case 'promoting':
      return { lsn: phase.lsn, ...(phase.handover !== undefined && { handover: phase.handover }) };
    case 'restoring':
      return { lsn: phase.lsn };
    case 'following':
      return { primary: phase.primary };
    case 'demoting':
      return { successor: step.successor_id === null ? null : draft.nameOf(step.successor_id) };
    case 'fencing':
      return {};
    default:
      return phase satisfies never;
  }
}

/** The primary that this instance is to replicate from after its upgrade; null for the primary itself. */
function primaryFor(draft: Draft, step: Step): Endpoint | null {
  const isOther = (instance: Instance) => instance.id !== step.instance_id;
  const set = setOf(draft, step);
  const switchover = draft.steps.findLast(
    (other) =>
      other.kind === 'switchover' &&
      other.phase.name === 'done' &&
      set.some(({ id }) => id === other.instance_id),
  );
  const primary = switchover?.successor_id
    ? draft.instance(switchover.successor_id)
    : primaryOf({ instances: set });
  return primary && isOther(primary) ? (primary.report?.endpoint ?? null) : null;
}

function title(draft: Draft, step: Step): string {
  const from = titleOf(step, draft.nameOf(step.instance_id));
  return step.successor_id === null ? from : `${from} to ${draft.nameOf(step.successor_id)}`;
}
