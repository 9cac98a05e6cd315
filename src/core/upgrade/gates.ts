import { versionActive } from '../admit.ts';
import { refusalsOf } from '../adopted.ts';
import {
  type GuestFinding,
  type Instance,
  isAlive,
  isHealthy,
  isInDoubt,
  lagOf,
  replicaSetOf,
  versionOf,
} from '../domain.ts';
import { lossesAmong } from '../left-behind.ts';
import type { Finding } from '../phase.ts';
import { isOverridden, maxUnavailable } from '../policy.ts';
import { isCascaded, noPrimary, twoPrimaries } from '../primaries.ts';
import { isInFlight, type Step } from '../record.ts';
import { mixRefusal, pathRefusal } from '../version-path.ts';
import { counted } from '../words.ts';
import type { Draft } from './draft.ts';

/** How much log a successor may still have to replay: the rest is sent while the primary stops. */
export const CAUGHT_UP_LAG_BYTES = 1024 * 1024;

/**
 * The first gate that holds `step` back now, or null. A fence takes no instance down, and may be sent at any
 * time.
 */
export function gateFor(draft: Draft, step: Step): Finding | null {
  if (step.kind === 'fence') return null;
  const { policy } = draft.upgrade;
  const unlessSkipped = (finding: Finding | null) =>
    finding && isOverridden(policy, finding.gate) ? null : finding;
  const broken = isOverridden(policy, 'instances_healthy') ? victimsOf(draft) : brokenOf(draft);
  return (
    onePrimary(draft, step) ??
    adoptionAccepted(draft, step) ??
    unlessSkipped(versionOpen(draft, step)) ??
    unlessSkipped(guestAlive(draft, step)) ??
    availability(draft, step, broken) ??
    successorReady(draft, step, { mayLag: isOverridden(policy, 'replication_caught_up') }) ??
    unacknowledged(draft, step, draft.instance(step.instance_id)?.report?.findings)
  );
}

/**
 * For a step that starts all the same: the gates that do not hold, each of them overridden. A person who reads
 * the events later should know which gates were skipped.
 */
export function skippedGates(draft: Draft, step: Step): readonly Finding[] {
  if (step.kind === 'fence') return [];
  const findings = [
    versionOpen(draft, step),
    guestAlive(draft, step),
    availability(draft, step, brokenOf(draft)),
    successorReady(draft, step, { mayLag: false }),
    ...lossesIn(draft, step, draft.instance(step.instance_id)?.report?.findings),
  ];
  return findings.filter((finding) => finding !== null);
}

/**
 * Checks what the catalogue says now, whatever it said when the upgrade was accepted. The catalogue keeps no
 * cluster from going back, and it does not keep an old primary, which stepped down for its successor, from
 * coming back.
 */
function versionOpen(draft: Draft, step: Step): Finding | null {
  if (draft.upgrade.direction === 'back' || step.returns) return null;
  const target = draft.versions.find(({ name }) => name === step.to_version);
  if (!target) {
    return {
      gate: 'version_active',
      reason: `datastore version ${step.to_version} is no longer in the catalogue`,
    };
  }
  const { datastore_version, instances } = draft.seen;
  const own = draft.instance(step.instance_id);
  // If this upgrade itself took the instance to its version, a corrected version may be an older one.
  const wasTold = draft.steps.some((other) => other.touched && other.instance_id === step.instance_id);
  const from = wasTold ? draft.upgrade.from_version : ((own && versionOf(own)) ?? datastore_version);
  const neighbours = instances.filter(({ id }) => id !== step.instance_id).map(versionOf);
  const reasons = [
    pathRefusal(from, target),
    ...neighbours.map((version) => version && mixRefusal(target.name, version, draft.versions)),
  ];
  const reason = reasons.find((one) => one !== null);
  return versionActive(target) ?? (reason ? { gate: 'version_path', reason } : null);
}

/**
 * The agent of an adopted server would refuse its order. A step that has begun goes on, and so does the
 * way back: a server that is down for its upgrade gives its agent reasons to refuse.
 */
function adoptionAccepted(draft: Draft, step: Step): Finding | null {
  if (step.returns || step.touched || draft.upgrade.direction === 'back') return null;
  const instance = draft.instance(step.instance_id);
  return (instance && refusalsOf(instance)[0]) ?? null;
}

function guestAlive(draft: Draft, step: Step): Finding | null {
  const instance = draft.instance(step.instance_id);
  if (instance && isAlive(instance, draft.now)) return null;
  return {
    gate: 'guests_alive',
    reason: `the guest agent of ${draft.nameOf(step.instance_id)} has not been heard lately: start it`,
  };
}

/**
 * M8. The old primary comes back even so: it is down, follows its successor and takes no writes. While a
 * switchover is under way, its replica set has no primary for a moment.
 */
export function onePrimary(draft: Draft, step: Step): Finding | null {
  if (step.returns) return null;
  const set = setOf(draft, step);
  const isOfSet = (other: Step) => set.some(({ id }) => id === other.instance_id);
  const isSwitching = draft.steps.some(
    (other) => other.kind === 'switchover' && isInFlight(other) && isOfSet(other),
  );
  return twoPrimaries(set, draft.seen) ?? (isSwitching ? null : noPrimary(set));
}

/**
 * M2. An instance that is down already costs no further availability. Any other instance may go down only if,
 * counting itself, no more than `max_unavailable` instances are down. An instance that sends no heartbeats, or
 * whose attempt was given up, may be serving all the while. So it counts as down when another instance wants to
 * go down, and does not count as down when its own turn comes.
 *
 * A step that waits for its next attempt counts too: a guest that was not heard from in time may still be at
 * work on the last attempt, and its earlier reports say nothing about that.
 *
 * If the gate is overridden, broken instances do not count. The number of instances that the upgrade itself
 * takes down is not part of the gate: that limit stays.
 */
function availability(draft: Draft, step: Step, broken: readonly Instance[]): Finding | null {
  const { policy } = draft.upgrade;
  const max_unavailable = maxUnavailable(policy, draft.seen.instances.length);
  const others = draft.steps.filter(
    (other) => other.id !== step.id && (isInFlight(other) || other.phase.name === 'backoff'),
  );
  const doubt = new Set([...givenUp(draft), ...doubtful(draft)]);
  const certain = [...others.map((other) => other.instance_id), ...broken.map(({ id }) => id)];
  const down = new Set([...certain, ...doubt]);
  const costsNothing = saysThatItIsDown(draft, step) || step.returns;
  // Two instances in doubt would wait for each other for ever. So for an instance in doubt, the other instances
  // in doubt do not count. An instance that has already had an order in this step is itself in doubt.
  const beside = new Set(step.touched || doubt.has(step.instance_id) ? certain : down);
  beside.delete(step.instance_id);
  if (others.length < max_unavailable && (costsNothing || beside.size < max_unavailable)) return null;
  const names = [...down].map((id) => draft.nameOf(id)).join(', ');
  return {
    gate: 'instances_healthy',
    reason: `${down.size} of at most ${counted(max_unavailable, 'instance')} out of service already: ${names}`,
  };
}

/**
 * The instances in doubt. In an upgrade of the whole cluster they need not be counted: they get a new order
 * before all others.
 */
function doubtful({ upgrade, seen }: Draft): readonly string[] {
  if (upgrade.instance_id === undefined) return [];
  return seen.instances.filter(isInDoubt).map(({ id }) => id);
}

function saysThatItIsDown(draft: Draft, { instance_id }: Step): boolean {
  const instance = draft.instance(instance_id);
  return !!instance && isAlive(instance, draft.now) && !isHealthy(instance, draft.now);
}

/** The instances that this very upgrade has left broken, and tries again. */
function victimsOf(draft: Draft): readonly Instance[] {
  const isTried = ({ id }: Instance) =>
    draft.steps.some(
      ({ instance_id, attempt, phase }) => instance_id === id && attempt > 0 && phase.name === 'pending',
    );
  return brokenOf(draft).filter(isTried);
}

function brokenOf({ seen, now }: Draft): readonly Instance[] {
  return seen.instances.filter((instance) => !isHealthy(instance, now));
}

/**
 * Instances whose attempt was given up for another goal. Their guests may still be at work on that attempt,
 * until they have done what the new goal asks of them.
 */
export function givenUp({ steps, upgrade }: Draft): ReadonlySet<string> {
  const isSettled = (id: string) =>
    steps.some(
      (step) => step.round === upgrade.round && step.instance_id === id && step.phase.name === 'done',
    );
  const ids = steps
    .filter((step) => step.touched && step.phase.name === 'skipped')
    .map((step) => step.instance_id);
  return new Set(ids.filter((id) => !isSettled(id)));
}

/**
 * M3. If the gate is overridden, the switchover may begin while its successor still catches up. There must be a
 * successor even then, and it must have caught up before the primary steps down (G6).
 */
function successorReady(draft: Draft, step: Step, { mayLag }: { mayLag: boolean }): Finding | null {
  if (step.kind !== 'switchover' || successorOf(draft, step)) return null;
  if (mayLag && candidatesOf(draft, step).length > 0) return null;
  const name = draft.nameOf(step.instance_id);
  const hindered = upgradedReplicas(draft, step).filter(({ report }) => report?.hindrance);
  if (hindered.length > 0) {
    const reasons = hindered.map((instance) => `${instance.name}: ${instance.report?.hindrance?.reason}`);
    const reason = `no replica that runs ${step.to_version} can take over from ${name} (${reasons.join('; ')})`;
    return { gate: 'replication_caught_up', reason };
  }
  const reason = mayLag
    ? `no replica runs ${step.to_version}: there is nobody to take over from ${name}`
    : `no replica that runs ${step.to_version} has caught up with ${name}`;
  return { gate: 'replication_caught_up', reason };
}

/** The first loss that the switchover would cause and that nobody has acknowledged. */
export function unacknowledged(
  draft: Draft,
  step: Step,
  found: readonly GuestFinding[] | undefined,
): Finding | null {
  const losses = lossesIn(draft, step, found);
  return losses.find(({ gate }) => !isOverridden(draft.upgrade.policy, gate)) ?? null;
}

/**
 * Losses count on the way forward only: data that was created on the new primary since then keeps no cluster
 * from going back.
 */
function lossesIn(
  { upgrade }: Draft,
  { kind }: Step,
  found: readonly GuestFinding[] | undefined,
): readonly Finding[] {
  return kind === 'switchover' && upgrade.direction === 'forward' ? lossesAmong(found) : [];
}

/** M3: the upgraded, healthy replica of the same set that is least behind, if it is close enough. */
export function successorOf(draft: Draft, step: Step): Instance | null {
  const ready = candidatesOf(draft, step)
    .filter((instance) => lagOf(instance) <= CAUGHT_UP_LAG_BYTES)
    .sort((a, b) => lagOf(a) - lagOf(b));
  return ready[0] ?? null;
}

/**
 * A replica that does not replay the log that it has is left out: it would have to replay that log before
 * anybody can write again.
 */
function candidatesOf(draft: Draft, step: Step): readonly Instance[] {
  return upgradedReplicas(draft, step).filter(
    (instance) =>
      isHealthy(instance, draft.now) && !instance.report?.hindrance && !isCascaded(instance, draft.seen),
  );
}

function upgradedReplicas(draft: Draft, step: Step): readonly Instance[] {
  const { instance_id, to_version } = step;
  return setOf(draft, step).filter(
    (instance) =>
      instance.id !== instance_id &&
      instance.report?.role === 'replica' &&
      versionOf(instance) === to_version,
  );
}

/** The replica set of the step's instance, that instance included. */
export function setOf(draft: Draft, { instance_id }: Pick<Step, 'instance_id'>): readonly Instance[] {
  const own = draft.instance(instance_id);
  return draft.seen.instances.filter((other) => !own || replicaSetOf(other) === replicaSetOf(own));
}
