/** The phases of a switchover: the primary of a replica set hands over to its successor. */

import { streamNameOf } from '../adopted.ts';
import type { Instance, Instant, UpgradeInfo } from '../domain.ts';
import type { PhaseName } from '../phase.ts';
import { replicatesFrom } from '../primaries.ts';
import type { Step } from '../record.ts';
import type { Draft } from './draft.ts';
import { setOf, successorOf, unacknowledged } from './gates.ts';
import type { At, Failure, Outcome, PhaseOf, Phases, Success } from './rules.ts';
import { forgiven, hasTriesLeft } from './tries.ts';

/** A log position that every server has reached. */
const ANY_POSITION = '0/0';

type Demoting = PhaseOf<'demoting'>;
type Promoting = PhaseOf<'promoting'>;
type Following = PhaseOf<'following'>;
type Restoring = PhaseOf<'restoring'>;
type SwitchoverName = Extract<PhaseName, 'demoting' | 'promoting' | 'following' | 'restoring'>;

export const SWITCHOVER_PHASES: Pick<Phases, SwitchoverName> = {
  /** The old primary stops after sending everything. */
  demoting: {
    order: {
      action: 'demote',
      isCall: false,
      args: ({ draft, step }) => {
        const { successor_id } = step;
        if (successor_id === null) return { successor: null };
        const successor = draft.instance(successor_id);
        return { successor: successor ? streamNameOf(successor) : successor_id };
      },
    },
    succeeded: demoted,
    // The primary may or may not have stopped: the order to serve as the primary is right in both cases.
    silent: (at, error) => restore(at, ANY_POSITION, error),
  },
  /** The successor takes over once it has everything up to `lsn`. */
  promoting: {
    order: {
      action: 'promote',
      isCall: false,
      addressees: ({ step }) => (step.successor_id === null ? [] : [step.successor_id]),
      args: ({ phase: { lsn, handover } }) => ({ lsn, ...(handover !== undefined && { handover }) }),
    },
    succeeded: switchedOver,
    failed: promotionFailed,
    silent: promotionSilent,
  },
  /** The other standbys follow the new primary. */
  following: {
    order: {
      action: 'follow',
      isCall: false,
      addressees: ({ phase }) => phase.remaining,
      args: ({ phase }) => ({ primary: phase.primary }),
    },
    succeeded: followed,
    failed: followFailed,
    silent: followSilent,
  },
  /** The successor refused, so the old primary serves again. */
  restoring: {
    order: { action: 'promote', isCall: false, args: ({ phase }) => ({ lsn: phase.lsn }) },
    succeeded: restored,
    failed: restoreFailed,
    silent: restoreSilent,
  },
};

/** The primary has prepared: it is told to step down, if its successor is still ready. */
export function startSwitchover({ draft, step }: At, info: UpgradeInfo): Outcome {
  // Findings may be newer than the last heartbeat: the guest has just checked.
  const loss = unacknowledged(draft, step, info.findings);
  if (loss) {
    const error = `${loss.gate}: ${loss.reason}`;
    return { kind: 'fail', error, failing: 'passing', step: forgiven(step) };
  }
  // M3 again: the guest prepared after the gate was checked, and the successor may have fallen behind
  // meanwhile.
  const successor = successorOf(draft, step);
  if (!successor)
    return { kind: 'fail', error: 'the successor fell behind before the switchover', failing: 'passing' };
  return { kind: 'order', phase: { name: 'demoting' }, step: { successor_id: successor.id } };
}

/** G6: the successor must know up to which log position it has to catch up before it takes over. */
function demoted(at: At<Demoting>, { result }: Success): Outcome {
  const { lsn, handover } = result;
  if (typeof lsn !== 'string') {
    return restore(at, ANY_POSITION, 'the demoted primary did not say where its log ends');
  }
  const passedOn = isRecord(handover) ? { handover } : {};
  return { kind: 'order', phase: { name: 'promoting', lsn, ...passedOn, down_since: at.phase.since } };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The old primary is to serve again. The order has an attempt number of its own, which does not count as a try.
 * The new number fences off a `demote` that is still under way: otherwise that `demote` would stop the primary
 * again, after everybody has gone.
 */
function restore({ step, phase }: At<Demoting | Promoting>, lsn: string, error: string): Outcome {
  return {
    kind: 'order',
    phase: { name: 'restoring', lsn, error, down_since: downSince(phase) },
    step: { attempt: step.attempt + 1, ...forgiven(step) },
  };
}

/** Since when no primary takes writes, as far as is known: since the primary was told to stop. */
function downSince(phase: Demoting | Promoting): Instant {
  return phase.name === 'demoting' ? phase.since : phase.down_since;
}

function switchedOver(at: At<Promoting>): Outcome {
  const { draft, step, phase } = at;
  draft.writesAgain(phase.down_since);
  const successor = step.successor_id === null ? undefined : draft.instance(step.successor_id);
  const primary = successor?.report?.endpoint ?? null;
  draft.emit('switched_over', `${draft.nameOf(step.successor_id ?? '')} is the primary now`, step);
  const remaining = followersOf(draft, step).map(({ id }) => id);
  if (!primary || remaining.length === 0) return { kind: 'done' };
  return {
    kind: 'order',
    phase: { name: 'following', primary, remaining },
    // The tries that the switchover used do not count against its followers.
    step: { attempts_forgiven: step.attempt - 1 },
  };
}

/**
 * The replicas that must be told to follow the new primary. In an adopted cluster a replica that is fed by
 * another server than the old primary stays where its operator has put it (G12).
 */
function followersOf(draft: Draft, step: Step): readonly Instance[] {
  const others = setOf(draft, step).filter(({ id }) => id !== step.instance_id);
  const isPlaced = (one: Instance) =>
    draft.seen.adopted && others.some((other) => replicatesFrom(one, other));
  return others.filter(
    (one) => one.id !== step.successor_id && one.report?.role === 'replica' && !isPlaced(one),
  );
}

/**
 * M4: a failed promotion means that the successor is still a standby, unless its own heartbeat says that it is
 * the primary.
 */
function promotionFailed(at: At<Promoting>, { instance_id, error }: Failure): Outcome {
  if (at.draft.instance(instance_id)?.report?.role === 'primary') return switchedOver(at);
  return restore(at, at.phase.lsn, error);
}

/**
 * M4: the successor may have taken over. Nothing is certain until it reports, so its guest is asked again and
 * again, and a person is asked for help.
 */
function promotionSilent({ draft, step, phase }: At<Promoting>): Outcome {
  const [old, next] = [draft.nameOf(step.instance_id), draft.nameOf(step.successor_id ?? '')];
  draft.pause(
    'failure',
    `${next} does not say whether it took over from ${old}: bring its guest agent back, then retry`,
  );
  return { kind: 'order', phase };
}

function followed({ phase }: At<Following>, { instance_id }: Pick<Success, 'instance_id'>): Outcome {
  const remaining = phase.remaining.filter((id) => id !== instance_id);
  return remaining.length === 0 ? { kind: 'done' } : { kind: 'note', phase: { ...phase, remaining } };
}

/**
 * The switchover itself stands: only this standby needs another try, under a new attempt number. When its tries
 * are used up, the gates deal with it: an instance that does not stream is not healthy.
 */
function followFailed(at: At<Following>, { instance_id, error, permanent }: Failure): Outcome {
  const { draft, step, phase } = at;
  draft.emit('step_retrying', `${draft.nameOf(instance_id)} does not follow the new primary: ${error}`, step);
  if (permanent || !hasTriesLeft(draft, step)) return followed(at, { instance_id });
  return { kind: 'order_later', phase };
}

function followSilent({ draft, step, phase }: At<Following>): Outcome {
  const silent = phase.remaining.map((id) => draft.nameOf(id)).join(', ');
  draft.emit('step_retrying', `${silent}: no word on following the new primary; going on`, step);
  return { kind: 'done' };
}

/** The primary serves again: the switchover is tried anew. */
function restored({ draft, phase }: At<Restoring>): Outcome {
  draft.writesAgain(phase.down_since);
  return { kind: 'fail', error: phase.error, failing: 'passing' };
}

function restoreFailed({ draft, step, phase }: At<Restoring>, { error }: Failure): Outcome {
  if (!hasTriesLeft(draft, step)) {
    const name = draft.nameOf(step.instance_id);
    draft.pause(
      'failure',
      `${name} is stopped and can't be brought back as primary (${error}): mend it, then retry`,
    );
  }
  return { kind: 'order_later', phase };
}

function restoreSilent({ draft, step, phase }: At<Restoring>): Outcome {
  draft.pause(
    'failure',
    `${draft.nameOf(step.instance_id)} is stopped and its guest agent does not answer: bring it back, then retry`,
  );
  return { kind: 'order', phase };
}
