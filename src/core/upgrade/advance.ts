/**
 * The upgrade machine: everything that Coffer decides about an upgrade is decided here. The machine is pure: no
 * I/O, no clock, no randomness. The shell around it loads the record, calls `advance`, commits the record and
 * its effects in one atomic step, performs the effects, and only then acknowledges the message that was the
 * input.
 *
 * The record alone says which messages are outstanding: a step in phase `upgrading` *is* the promise to send
 * `upgrade` again until its guest answers. So nothing is lost when a process dies between commit and cast: the
 * process that reads the record next sends the message again, under the same attempt number.
 *
 * Files, in the order in which an input passes through them:
 * - `inputs.ts`: what can happen to an upgrade
 * - `advance.ts`: one function for each input
 * - `phases.ts`: one entry for each phase of a step, of a switchover in `switchover.ts`, of an instance with a
 *   Trove guest in `trove-guest.ts`; their form is in `rules.ts`
 * - `step.ts`: carries out what an entry decides; `tries.ts`: how often a step is tried
 * - `schedule.ts`: what follows from every input: `ending.ts`, `rounds.ts`, `starting.ts` with `gates.ts` and
 *   `closed-window.ts`, `outside.ts`, `silence.ts`
 * - `draft.ts`: the record while it is being changed
 * - `wake.ts`: when to check the record again; `time.ts`: which part of an upgrade's time counts
 * - `judge.ts`, `actions.ts`: which actions of a person are possible
 *
 * Invariants, cited where they are kept:
 * - M1: a report or an answer counts only for the step, attempt and action that is in flight (G4).
 * - M2: no step starts while it would take more than `max_unavailable` instances out of service (G2).
 * - M3: a primary is demoted only for a successor that runs the new version and has caught up (G6).
 * - M4: once demoted, a primary is restored only after its successor reported that it has *not* taken over.
 * - M5: the cluster's version changes only when every instance reports it (G5).
 * - M6: while an upgrade is paused, cancelling or failed, no new step starts; steps in flight end (G8).
 * - M7: a reset ends an upgrade at once: nothing that a guest still does for it changes the record.
 * - M8: no step starts in a replica set that has two primaries, or none, and no instance is taken down there
 *   (G6).
 */
import { scopeOf, versionFindings } from '../admit.ts';
import { type AttemptReport, type Cluster, CUT_OFF, type Instant } from '../domain.ts';
import { isOverridden } from '../policy.ts';
import { isActive, isFailed, isInFlight, isOver, type Step, type Upgrade } from '../record.ts';
import { counted } from '../words.ts';
import { Draft } from './draft.ts';
import type { Input, Next, Seen } from './inputs.ts';
import { judge } from './judge.ts';
import { dropUntouched, rollBack } from './rounds.ts';
import { proceed } from './schedule.ts';
import { answered, callFailed, confirm, heard, recover, reported } from './step.ts';
import { awaitsConfirmation } from './trove-guest.ts';

/** Moves an upgrade on. */
export function advance(upgrade: Upgrade, input: Input, seen: Seen, now: Instant): Next {
  const draft = new Draft(upgrade, seen, now);
  if (!isActive(upgrade)) {
    return input.type === 'action'
      ? refused(upgrade, `the upgrade has ended: ${upgrade.state.name}`)
      : draft.finish();
  }
  const refusal = apply(draft, input);
  if (refusal !== undefined) return refused(upgrade, refusal);
  // Heartbeats arrive from all guests all the time, so they cause no message to be sent again: time has an
  // input of its own for that.
  if (isActive(draft.upgrade)) proceed(draft, input.type !== 'reported');
  return draft.finish();
}

/** Applies one input; returns the reason if a person's action is not possible. */
function apply(draft: Draft, input: Input): string | undefined {
  switch (input.type) {
    case 'wake':
      return undefined;
    case 'recover':
      for (const step of draft.steps) recover(draft, step);
      return undefined;
    case 'answered': {
      const step = draft.stepInFlight(input.step, input.attempt);
      if (step) answered(draft, step, input.action, input.info);
      return undefined;
    }
    case 'call_failed': {
      const step = draft.stepInFlight(input.step, input.attempt);
      if (step) callFailed(draft, step, input);
      return undefined;
    }
    case 'reported':
      if (input.server) heard(draft, input.instance_id, input.server);
      return applyReport(draft, input.instance_id, input.report);
    case 'reset':
      return reset(draft, input.by);
    case 'action':
      return actOnce(draft, input);
    default:
      return input satisfies never;
  }
}

/**
 * M7. An instance whose step was in flight may be in any state by now. Its record says so until the next
 * upgrade mends it.
 */
function reset(draft: Draft, by: string): undefined {
  dropUntouched(draft);
  const open = draft.steps.filter((step) => isInFlight(step) || (step.returns && !isOver(step)));
  for (const step of open) {
    draft.change({ ...step, phase: { name: 'failed', ended: draft.now, error: CUT_OFF } });
    draft.doubtInstance(step.instance_id, CUT_OFF);
  }
  const ended = `status reset by ${by}; ${counted(open.length, 'step was', 'steps were')} in flight`;
  draft.end('cancelled', [ended, ...open.flatMap((step) => mayLackPrimary(draft, step))].join('; '));
}

/**
 * M4 forbids guessing which of the two instances is to serve. The person who reset the upgrade can check, and
 * must be told to.
 */
function mayLackPrimary(draft: Draft, { instance_id, successor_id, phase }: Step): readonly string[] {
  if (phase.name !== 'demoting' && phase.name !== 'promoting' && phase.name !== 'restoring') return [];
  const [old, next] = [draft.nameOf(instance_id), draft.nameOf(successor_id ?? '')];
  return [
    `${old} was handing over to ${next}: if neither serves as the primary now, promote ${next} by hand, then start a new upgrade`,
  ];
}

function applyReport(draft: Draft, instance_id: string, report: AttemptReport | null): undefined {
  if (!report || report.upgrade_id !== draft.upgrade.id) return;
  const step = draft.stepInFlight(report.step, report.attempt);
  if (step) reported(draft, step, instance_id, report);
}

/** A copy of a message that arrives after another action must not undo that action (G8). */
function actOnce(draft: Draft, input: Extract<Input, { type: 'action' }>): string | undefined {
  const { id } = input;
  if (id !== undefined && draft.upgrade.acted.includes(id)) return undefined;
  const refusal = act(draft, input);
  if (id !== undefined && refusal === undefined && isActive(draft.upgrade)) draft.acted(id);
  return refusal;
}

/** Applies a person's action. Actions are idempotent; an impossible action is refused with the reason. */
function act(
  draft: Draft,
  { action, by, target, about }: Extract<Input, { type: 'action' }>,
): string | undefined {
  const { to_version } = draft.upgrade;
  if (target && target.name !== to_version) {
    if (action === 'retry') return retarget(draft, by, target);
    // Approval of the canary of one version says nothing about another version.
    if (action === 'approve') return `it goes to ${to_version} by now, and ${target.name} was approved`;
  }
  const judgement = judge(draft.upgrade, action, (id) => draft.nameOf(id));
  if (judgement.name === 'refused') return judgement.reason;
  if (judgement.name === 'needless') return undefined;
  switch (action) {
    case 'pause':
      draft.pause('requested', `paused by ${by}: resume it, or cancel it`);
      return undefined;
    case 'resume':
      draft.resume(`resumed by ${by}`);
      return undefined;
    case 'approve':
      draft.approve(by);
      return undefined;
    case 'confirm':
      return confirmStep(draft, by, about);
    case 'retry':
      return retry(draft, by);
    case 'cancel':
      draft.cancel(by);
      return undefined;
    case 'rollback':
      rollBack(draft, `asked for by ${by}`);
      return undefined;
    default:
      return action satisfies never;
  }
}

/** A person confirms that the one instance that the pause is about runs the version. */
function confirmStep(
  draft: Draft,
  by: string,
  about: Pick<AttemptReport, 'step' | 'attempt'> | undefined,
): string | undefined {
  const step = awaitsConfirmation(draft.upgrade);
  if (!step) return undefined;
  if (about && (about.step !== step.id || about.attempt !== step.attempt))
    return 'another attempt waits to be confirmed by now: look at its server first';
  confirm(draft, step);
  draft.resume(`${by} confirms that ${draft.nameOf(step.instance_id)} runs ${step.to_version}`);
  return undefined;
}

function retry(draft: Draft, by: string): undefined {
  for (const step of draft.steps.filter(isFailed)) {
    draft.change({ ...step, attempts_forgiven: step.attempt, phase: { name: 'pending', blocked: null } });
  }
  draft.forgiveInFlight();
  draft.resume(`retried by ${by}`);
}

/**
 * A corrected version replaces a failing one while the upgrade runs: instances that have the failing version
 * are upgraded again.
 */
function retarget(draft: Draft, by: string, target: { id: string; name: string }): string | undefined {
  if (draft.upgrade.direction === 'back')
    return 'it is on its way back: start a new upgrade once it has ended';
  if (draft.upgrade.state.name === 'scheduled')
    return 'it has not started yet: cancel it, and ask for the other version';
  if (draft.upgrade.cancelling) return 'it is being cancelled';
  const refusal = targetRefusal(draft, target);
  if (refusal !== null) return refusal;
  draft.newRound({ to_version_id: target.id, to_version: target.name });
  draft.emit('retargeted', `${by} has it go to ${target.name} instead`);
  draft.resume(`retried by ${by}`);
  return undefined;
}

/**
 * Another version must be one that an upgrade could have asked for in the first place. Instances that this
 * upgrade has taken to the failing version do not rule out a corrected version that is older.
 */
function targetRefusal(draft: Draft, { id, name }: { id: string; name: string }) {
  const { upgrade, versions } = draft;
  const target = versions.find((version) => version.id === id);
  if (!target) return `datastore version ${name} is not in the catalogue`;
  const whole = asItWas(draft);
  const scope = scopeOf(versions, whole, upgrade.instance_id);
  const finding = versionFindings(scope, target, { versions, whole }).find(
    ({ gate }) => !isOverridden(upgrade.policy, gate),
  );
  return finding ? `${finding.gate}: ${finding.reason}` : null;
}

/** The cluster as if the upgrade had not sent an order to any instance yet. */
function asItWas({ upgrade, seen, steps }: Draft): Cluster {
  const told = new Set(steps.filter(({ touched }) => touched).map(({ instance_id }) => instance_id));
  const instances = seen.instances.map((instance) =>
    told.has(instance.id) && instance.report
      ? { ...instance, report: { ...instance.report, version: upgrade.from_version } }
      : instance,
  );
  return { ...seen, instances };
}

function refused(upgrade: Upgrade, reason: string): Next {
  return { upgrade, effects: [], events: [], verdict: 'refused', reason };
}
