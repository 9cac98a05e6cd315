/**
 * Instances whose guest agent is Trove's own. These guests know `pre_upgrade`, `upgrade` and perhaps
 * `post_upgrade`, and report nothing but the state of their server: no attempt number fences anything off. So
 * an order to upgrade is sent once per attempt. Its end is inferred from the guest's reports. When the reports
 * do not tell the end from silence, a person is asked (decision 0007).
 */
import { type Instance, type Instant, isAlive, isHealthy, type ServiceStatus } from '../domain.ts';
import type { Evidence } from '../phase.ts';
import type { Step, Upgrade } from '../record.ts';
import type { Draft } from './draft.ts';
import { COFFER_GUEST, settle } from './phases.ts';
import type { At, GuestKind, Outcome, PhaseOf, PhaseRules } from './rules.ts';

/** A call without an answer is repeated after this long: these guests would carry out every copy. */
const REPEAT_CALL_MS = 120_000;

type Upgrading = PhaseOf<'upgrading'>;

const preparing: PhaseRules<PhaseOf<'preparing'>> = {
  order: {
    action: 'pre_upgrade',
    isCall: true,
    args: ({ step }) => ({ datastore_version: step.to_version }),
    repeat_ms: REPEAT_CALL_MS,
  },
  /**
   * From here on the instance may run either version. The guest's answer is handed back to it unchanged, and
   * means nothing to us.
   */
  answered({ draft, step }, info) {
    draft.instanceTask(step.instance_id, 'UPGRADING', null, null);
    const evidence = noEvidence(draft.instance(step.instance_id), draft.now);
    return {
      kind: 'order',
      phase: { name: 'upgrading', info, evidence },
      step: { touched: true, in_doubt: false },
    };
  },
};

/** A guest that refuses to upgrade tells only its caller. */
const upgrading: PhaseRules<Upgrading> = {
  order: {
    action: 'upgrade',
    isCall: true,
    args: ({ step, phase }) => ({ ...phase.info, datastore_version: step.to_version }),
    repeat_ms: null,
  },
  answered: (at) => weigh(at, (evidence) => ({ ...evidence, answered: true })),
  heard: (at, { status, sent }) => weigh(at, (evidence) => withReport(evidence, status, sent)),
  silent,
};

const verifying: PhaseRules<PhaseOf<'verifying'>> = {
  order: {
    action: 'post_upgrade',
    isCall: true,
    args: ({ step, phase }) => ({ ...phase.info, datastore_version: step.to_version }),
    repeat_ms: REPEAT_CALL_MS,
  },
  answered: settle,
};

export const TROVE_GUEST: GuestKind = {
  dialect: 'trove',
  saysVersion: false,
  phases: { ...COFFER_GUEST.phases, preparing, upgrading, verifying },
};

/** What becomes of the order now that more is known. */
function weigh({ phase }: At<Upgrading>, add: (evidence: Evidence) => Evidence): Outcome {
  if (!phase.evidence) return null;
  const evidence = add(phase.evidence);
  if (isCarriedOut(evidence)) return { kind: 'order', phase: { name: 'verifying', info: phase.info } };
  if (evidence === phase.evidence) return null;
  const accepted = phase.accepted || evidence.has_left || evidence.answered;
  return { kind: 'note', phase: { ...phase, evidence, accepted } };
}

/**
 * The time is up. A server that serves may run either version, and another order could take it down for
 * nothing.
 */
function silent(at: At<Upgrading>, error: string): Outcome {
  const { draft, step, phase } = at;
  const evidence = phase.evidence && latestEvidence(draft, step, phase.evidence);
  if (!evidence || !serves(draft, step)) return { kind: 'fail', error, failing: 'silence' };
  if (isCarriedOut(evidence)) return weigh(at, () => evidence);
  return { kind: 'ask', error: `${error}: ${whatWasSeen(evidence)}` };
}

/** The evidence before the guest has reported anything about its order. */
export function noEvidence(instance: Instance | undefined, now: Instant): Evidence {
  const { report = null, heard = null } = instance ?? {};
  return {
    // The time now by the guest's clock: when the guest sent its last report, plus the time that has passed by
    // our clock since that report came in. The report may have been long on its way, and then this time would be too
    // early: so our own clock counts if it is ahead.
    since: report === null || heard === null ? now : Math.max(now, report.sent + now - heard),
    was_healthy: instance !== undefined && isAlive(instance, now) ? wasHealthy(report?.service_status) : null,
    is_healthy: null,
    has_left: false,
    answered: false,
    reports: 0,
  };
}

/**
 * Null for a server that is neither well nor down, such as one that Trove calls `running` or `restart required`: such a
 * server may recover by itself, which is no sign of an upgrade.
 */
function wasHealthy(status: ServiceStatus | undefined): boolean | null {
  if (status === 'healthy') return true;
  return status === 'shutdown' || status === 'failed' ? false : null;
}

/**
 * The evidence with one more report. A report that was sent before the order says nothing about the order, and one
 * that was overtaken by a later report says nothing any more.
 */
export function withReport(evidence: Evidence, status: ServiceStatus, sent: Instant): Evidence {
  if (sent < evidence.since) return evidence;
  const is_healthy = status === 'healthy';
  const was_healthy = evidence.is_healthy ?? evidence.was_healthy;
  return {
    ...evidence,
    since: sent,
    is_healthy,
    has_left: evidence.has_left || (was_healthy === true && !is_healthy),
    reports: evidence.reports + 1,
  };
}

/**
 * The order counts as carried out when the server was healthy, went down and is healthy again; or when it was
 * broken before, is healthy now, and its guest has answered that it has finished. The guest's answer alone is
 * not enough: the agents of some datastores accept `upgrade` and do nothing. A server of which it is
 * not known whether it was down must be reported healthy, otherwise, and healthy again.
 */
export function isCarriedOut({ was_healthy, is_healthy, has_left, answered }: Evidence): boolean {
  return is_healthy === true && (has_left || (was_healthy === false && answered));
}

/** The evidence once the time is up: the store may hold a report whose message was lost. */
function latestEvidence(draft: Draft, { instance_id }: Step, evidence: Evidence): Evidence {
  const report = draft.instance(instance_id)?.report;
  return report ? withReport(evidence, report.service_status, report.sent) : evidence;
}

/** Then nobody can tell whether the order was carried out without a report, or refused without an answer. */
function serves(draft: Draft, { instance_id }: Step): boolean {
  const instance = draft.instance(instance_id);
  return instance !== undefined && isHealthy(instance, draft.now);
}

/** What was observed of an order when nobody can tell whether it was carried out. */
function whatWasSeen({ reports, answered }: Evidence): string {
  const said = answered ? 'it answered that it had finished' : 'it did not answer';
  const seen =
    reports === 0 ? 'it has not reported since' : `its server was healthy in all ${reports} reports`;
  return `${said}, and ${seen}, so nobody can tell whether it carried the order out`;
}

/**
 * The step that waits for a person to confirm that its instance runs the version: the first step that has
 * failed.
 */
export function awaitsConfirmation({ steps }: Pick<Upgrade, 'steps'>): Step | null {
  const failed = steps.find(({ phase }) => phase.name === 'failed');
  return failed?.phase.name === 'failed' && failed.phase.unconfirmed === true ? failed : null;
}
