/**
 * What an upgrade is doing, in a sentence for people: how far it has come, what it waits for, and what they can
 * do.
 */
import type { Cluster, Instant } from './domain.ts';
import { expectedOf } from './history.ts';
import { workMs } from './plan.ts';
import { isActive, isInFlight, isOver, type Step, titleOf, type Upgrade } from './record.ts';
import { possibleActions } from './upgrade/actions.ts';
import { iso } from './words.ts';

/** `cluster` gives the instances their names; null once it has been removed. */
export function describe(upgrade: Upgrade, cluster: Cluster | null, now: Instant): string {
  const { state } = upgrade;
  const actions = possibleActions(upgrade, cluster);
  const canDo = actions.length > 0 ? `; a person can: ${actions.join(', ')}` : '';
  if (!isActive(upgrade)) {
    const how = 'message' in state ? `: ${state.message}` : `; ${tally(upgrade)}`;
    return `${state.name}${how}${canDo}`;
  }
  const silence = upgrade.silent ? `; nothing has moved for ${ago(upgrade.progressed, now)}` : '';
  return `${activity(upgrade, cluster, now)}${silence}${canDo || '; nothing is left for a person to do'}`;
}

/**
 * When the upgrade ends if every further step takes as long as earlier ones did. Null unless the upgrade is
 * running, and if no step was measured.
 */
export function estimatedEnd(upgrade: Upgrade, cluster: Cluster | null, now: Instant): Instant | null {
  const { state, cancelling, policy, expected, round, planned_round } = upgrade;
  if (state.name !== 'running' || cancelling || !cluster || planned_round !== round) return null;
  const left = present(upgrade).filter((step) => !isOver(step));
  const soak_seconds = upgrade.direction === 'back' ? 0 : policy.soak_seconds;
  const work_ms = workMs(left, cluster, { ...policy, soak_seconds }, expected);
  if (work_ms === null) return null;
  const spent = left
    .filter(isInFlight)
    .map(({ kind, started }) => Math.min(expectedOf(expected, kind).median_ms ?? 0, now - (started ?? now)));
  const spent_ms = spent.length > 0 ? Math.min(...spent) : 0;
  return now + work_ms - spent_ms;
}

function activity(upgrade: Upgrade, cluster: Cluster | null, now: Instant): string {
  const { state, policy } = upgrade;
  if (state.name === 'scheduled') {
    const { not_before } = policy;
    return not_before !== null && not_before > now
      ? `accepted, and starts no step before ${iso(not_before)}`
      : `accepted ${ago(upgrade.created, now)} ago, and waits for a taskmanager`;
  }
  const work = workOf(upgrade, cluster, now);
  if (state.name !== 'paused') return `${tally(upgrade)}; ${work}`;
  const then = state.until === null ? '' : `; it goes on by itself at ${iso(state.until)}`;
  const meanwhile = upgrade.steps.some(isInFlight) ? `; ${work}` : '';
  return `${tally(upgrade)}; paused since ${iso(state.since)}: ${state.message}${then}${meanwhile}`;
}

/** The steps in flight and the next one; if none is in flight, what holds the next step back. */
function workOf(upgrade: Upgrade, cluster: Cluster | null, now: Instant): string {
  const { cancelling, round, planned_round } = upgrade;
  const atWork = upgrade.steps.filter(isInFlight);
  const waiting = present(upgrade).filter(
    ({ phase }) => phase.name === 'pending' || phase.name === 'backoff',
  );
  const [next] = waiting;
  if (atWork.length > 0) {
    const doing = atWork.map((step) => `${nameOf(step, cluster)}: ${phaseOf(step, now)}`).join(', ');
    if (cancelling) return `now ${doing}; then it ends as cancelled`;
    if (planned_round !== round) return `now ${doing}; next: a new plan`;
    return `now ${doing}; next: ${next ? nameOf(next, cluster) : 'nothing'}`;
  }
  if (cancelling) return 'being cancelled';
  if (!next) {
    const isWaiting = planned_round === round && present(upgrade).every(isOver);
    return isWaiting ? 'waits for every instance to report that it is healthy' : 'being planned';
  }
  return waitOf(next, cluster, now);
}

function waitOf(step: Step, cluster: Cluster | null, now: Instant): string {
  const { phase } = step;
  const name = nameOf(step, cluster);
  if (phase.name === 'backoff' && phase.until > now) {
    return `${name} tries again in ${ago(now, phase.until)} after: ${phase.error}`;
  }
  if (phase.name !== 'pending' || phase.blocked === null) return `next: ${name}`;
  const { gate, reason, since } = phase.blocked;
  return `${name} waits for ${gate} since ${ago(since, now)}: ${reason}`;
}

function phaseOf({ phase }: Step, now: Instant): string {
  return 'since' in phase ? `${phase.name} for ${ago(phase.since, now)}` : phase.name;
}

/** Counts the steps of the present goal: after a rollback has begun, the steps back. */
function tally(upgrade: Upgrade): string {
  const steps = present(upgrade).filter(({ phase }) => phase.name !== 'skipped');
  const done = steps.filter((step) => step.phase.name === 'done').length;
  const way = upgrade.direction === 'back' ? ' on the way back' : '';
  return `${done} of ${steps.length} done${way}`;
}

function present({ steps, round }: Upgrade): readonly Step[] {
  return steps.filter((step) => step.round === round);
}

function nameOf(step: Step, cluster: Cluster | null): string {
  const { instance_id } = step;
  return titleOf(step, cluster?.instances.find(({ id }) => id === instance_id)?.name ?? instance_id);
}

/** From one instant to a later one, roughly; never negative, since the clocks of hosts differ. */
function ago(from: Instant, to: Instant): string {
  const seconds = Math.max(0, Math.round((to - from) / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
