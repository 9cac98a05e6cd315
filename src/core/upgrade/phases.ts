/**
 * The table of phases: one entry says all that is decided about a step in that phase. `step.ts` carries out what
 * an entry decides. The phases of a switchover are in `switchover.ts`; guests of Trove's kind have a table of
 * their own, in `trove-guest.ts`.
 *
 * - An instance: preparing → upgrading → verifying → (settling) → (soaking) → done.
 * - A fence: fencing → done.
 * - A switchover: preparing → demoting → promoting → following → done; or, when the successor refuses,
 *   promoting → restoring → another attempt.
 */
import {
  type Endpoint,
  type Instance,
  type Instant,
  isHealthy,
  primaryOf,
  type UpgradeInfo,
  versionOf,
} from '../domain.ts';
import { isCascaded } from '../primaries.ts';
import type { Step } from '../record.ts';
import type { Draft } from './draft.ts';
import { onePrimary, setOf } from './gates.ts';
import type { At, GuestKind, Outcome, PhaseOf, PhaseRules, Phases } from './rules.ts';
import { SWITCHOVER_PHASES, startSwitchover } from './switchover.ts';
import { forgiven } from './tries.ts';

/** Conditions that no event announces (a gate, a missing heartbeat) are checked this often. */
export const LOOK_MS = 1_000;

/** The guest fetches and checks, while its server continues to serve. */
const preparing: PhaseRules<PhaseOf<'preparing'>> = {
  order: {
    action: 'pre_upgrade',
    isCall: true,
    args: ({ step }) => ({ datastore_version: step.to_version }),
  },
  answered(at, info) {
    const { draft, step } = at;
    // M8 again: somebody may have promoted another instance while the guest prepared. That does not count as a
    // try of this guest.
    const shut = onePrimary(draft, step);
    if (shut) return { kind: 'fail', error: shut.reason, failing: 'passing', step: forgiven(step) };
    if (step.kind === 'switchover') return startSwitchover(at, info);
    const surprise = unexpectedRole(draft, step, info);
    if (surprise) return { kind: 'fail', error: surprise, failing: 'permanent' };
    if (isOfUnknownKind(draft, step)) draft.instanceTask(step.instance_id, 'UPGRADING', null, null);
    else if (draft.isInDoubtBefore(step)) draft.instanceTask(step.instance_id, 'UPGRADING', null);
    return {
      kind: 'order',
      phase: { name: 'upgrading', info },
      // The guest has received this attempt, and carries out no older one any more.
      step: { reversible: info.reversible ?? null, touched: true, in_doubt: false },
    };
  },
};

/** The instance is out of service for a moment. */
const upgrading: PhaseRules<PhaseOf<'upgrading'>> = {
  order: { action: 'upgrade', isCall: false, args: argsWithPrimary },
  succeeded({ draft, phase }) {
    if (phase.info.role === 'primary') draft.writesAgain(phase.since);
    return { kind: 'order', phase: { name: 'verifying', info: phase.info } };
  },
};

/** The guest checks itself. */
const verifying: PhaseRules<PhaseOf<'verifying'>> = {
  order: { action: 'post_upgrade', isCall: true, args: argsWithPrimary },
  answered: settle,
};

/** The guest has done everything; its heartbeat must say so too: healthy, on the new version. */
const settling: PhaseRules<PhaseOf<'settling'>> = {
  check: (at) => (isSettled(at) ? settled(at, at.phase.since) : null),
  wakeAt: ({ deadline }, now) => Math.min(deadline, now + LOOK_MS),
};

/**
 * Health must hold for the whole soak: one bad report starts the soak anew. That does not last for ever:
 * `since` is kept, so that an instance that is healthy and broken by turns runs out of the step's time.
 */
const soaking: PhaseRules<PhaseOf<'soaking'>> = {
  check(at) {
    const { draft, step, phase } = at;
    const { since, until } = phase;
    if (isSettled(at)) return draft.now >= until || !hasToSoak(draft, step) ? { kind: 'done' } : null;
    const { soak_seconds, step_timeout_seconds } = draft.upgrade.policy;
    const deadline = since + (soak_seconds + step_timeout_seconds) * 1000;
    return { kind: 'enter', phase: { name: 'settling', since, deadline } };
  },
  wakeAt: ({ until }, now) => Math.min(until, now + LOOK_MS),
};

/**
 * The guest is to report that it has received an order of this upgrade, and so carries out no older one any
 * more. What the last of those orders has done is known only then, so the plan may have to change.
 */
const fencing: PhaseRules<PhaseOf<'fencing'>> = {
  order: { action: 'fence', isCall: false, args: () => ({}) },
  succeeded({ draft, step }) {
    const instance = draft.instance(step.instance_id);
    if (!instance || !isHealthy(instance, draft.now)) draft.newRound({});
    return { kind: 'done' };
  },
};

const PHASES: Phases = {
  pending: {},
  // If `until` is past, the back-off is over and something else holds the step back.
  backoff: { wakeAt: ({ until }, now) => (until > now ? until : null) },
  preparing,
  upgrading,
  verifying,
  settling,
  soaking,
  fencing,
  ...SWITCHOVER_PHASES,
  done: {},
  failed: {},
  skipped: {},
};

/** The guest agent of Coffer. */
export const COFFER_GUEST: GuestKind = { dialect: 'coffer', saysVersion: true, phases: PHASES };

/** After `post_upgrade` the instance's own heartbeat decides (G5). */
export function settle(at: At): Outcome {
  const { draft } = at;
  if (isSettled(at)) return settled(at, draft.now);
  const deadline = draft.now + draft.upgrade.policy.step_timeout_seconds * 1000;
  return { kind: 'enter', phase: { name: 'settling', since: draft.now, deadline } };
}

function isSettled({ draft, step, guest }: At): boolean {
  const instance = draft.instance(step.instance_id);
  if (!instance || !isHealthy(instance, draft.now)) return false;
  return !guest.saysVersion || versionOf(instance) === step.to_version;
}

function settled({ draft, step }: At, since: Instant): Outcome {
  const soak_ms = draft.upgrade.policy.soak_seconds * 1000;
  if (soak_ms === 0 || !hasToSoak(draft, step)) return { kind: 'done' };
  return { kind: 'enter', phase: { name: 'soaking', since, until: draft.now + soak_ms } };
}

/**
 * A soak decides whether the next instance may follow to the new version. So there is none after a cancel, nor
 * on the way back.
 */
function hasToSoak({ upgrade }: Draft, step: Step): boolean {
  return !upgrade.cancelling && upgrade.direction === 'forward' && step.round === upgrade.round;
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

/** The guest's answer to `pre_upgrade`, the version, and the primary to replicate from. */
function argsWithPrimary({ draft, step, phase }: At<PhaseOf<'upgrading' | 'verifying'>>) {
  return { ...phase.info, datastore_version: step.to_version, primary: primaryFor(draft, step) };
}

/**
 * The server that this instance is to replicate from after its upgrade: the primary, or the replica from which
 * the operator of an adopted cluster feeds it (G12); null for the primary itself.
 */
function primaryFor(draft: Draft, step: Step): Endpoint | null {
  const isOther = (instance: Instance) => instance.id !== step.instance_id;
  const set = setOf(draft, step);
  const own = draft.instance(step.instance_id);
  if (draft.seen.adopted && own && isCascaded(own, { instances: set })) return own.report?.upstream ?? null;
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
