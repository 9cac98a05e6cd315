/**
 * Guests that Trove's own agent speaks for. They know `pre_upgrade`, `upgrade` and perhaps
 * `post_upgrade`, and report nothing but how their server is: no attempt number fences anything off.
 * So an order to upgrade is said once per attempt. Its end is read off what the guest reports, and when
 * nothing tells the end from silence a person is asked (decision 0007).
 */
import { type Instance, type Instant, isHealthy, isTroveGuest, type ServiceStatus } from '../domain.ts';
import type { Evidence, Phase, Step, Upgrade } from '../record.ts';
import type { Draft } from './draft.ts';

/** A call whose answer stays away is repeated after this long: these guests would carry out every copy. */
const REPEAT_CALL_MS = 120_000;

/** True while a Trove guest speaks for the step's instance. */
export function isWithTroveGuest(draft: Draft, { kind, instance_id }: Step): boolean {
  const instance = draft.instance(instance_id);
  return kind === 'instance' && instance !== undefined && isTroveGuest(instance);
}

/** When a message is said again: an order to upgrade never is, within an attempt. */
export function repeatAt(name: Phase['name'], deadline: Instant, now: Instant): Instant {
  return name === 'upgrading' ? deadline : Math.min(deadline, now + REPEAT_CALL_MS);
}

/** Before the guest has said anything about its order. */
export function noEvidence(instance: Instance | undefined, now: Instant): Evidence {
  const { report = null, heard = null } = instance ?? {};
  return {
    // The guest's clock, as far ahead of its last report as ours is.
    told_at: report === null || heard === null ? null : report.sent + now - heard,
    was_healthy: instance !== undefined && isHealthy(instance, now),
    is_healthy: null,
    has_left: false,
    answered: false,
    reports: 0,
  };
}

/** What a report adds. One that was sent before the order tells nothing of it. */
export function withReport(evidence: Evidence, status: ServiceStatus, sent: Instant): Evidence {
  if (evidence.told_at !== null && sent < evidence.told_at) return evidence;
  const is_healthy = status === 'healthy';
  const was_healthy = evidence.is_healthy ?? evidence.was_healthy;
  return {
    ...evidence,
    is_healthy,
    has_left: evidence.has_left || (was_healthy && !is_healthy),
    reports: evidence.reports + 1,
  };
}

/**
 * The order is carried out when the server was healthy, went down and is healthy again; or when it was
 * broken before, is healthy now, and its guest says that it has finished. Not by the guest's word alone: the
 * agents of some datastores accept `upgrade` and do nothing.
 */
export function isCarriedOut({ was_healthy, is_healthy, has_left, answered }: Evidence): boolean {
  return is_healthy === true && (has_left || (!was_healthy && answered));
}

/** What is known once its time is up: a report may be in the store whose message has got lost. */
export function latestEvidence(draft: Draft, step: Step, evidence: Evidence): Evidence {
  const report = isWithTroveGuest(draft, step) ? draft.instance(step.instance_id)?.report : undefined;
  return report ? withReport(evidence, report.service_status, report.sent) : evidence;
}

/** Its server serves: nothing tells an order that was carried out unseen from one that was refused unheard. */
export function isUnconfirmed(draft: Draft, step: Step): boolean {
  const instance = draft.instance(step.instance_id);
  return isWithTroveGuest(draft, step) && instance !== undefined && isHealthy(instance, draft.now);
}

/** What was seen of an order whose end nobody can tell. */
export function whatWasSeen({ reports, answered }: Evidence): string {
  const said = answered ? 'it answered that it had finished' : 'it did not answer';
  const seen =
    reports === 0 ? 'it has not reported since' : `its server was healthy in all ${reports} reports`;
  return `${said}, and ${seen}, so nobody can tell whether it carried the order out`;
}

/** The step that waits for a person to say that its instance runs the version: the first that has failed. */
export function awaitsConfirmation({ steps }: Pick<Upgrade, 'steps'>): Step | null {
  const failed = steps.find(({ phase }) => phase.name === 'failed');
  return failed?.phase.name === 'failed' && failed.phase.unconfirmed === true ? failed : null;
}
