/**
 * The account of an upgrade's time: the time since its start is the time that it has worked plus the time that
 * it has waited (`waited_ms`, and the pause that it is in). Only the time that it has worked counts against
 * `timeout_seconds`.
 */
import type { Instant } from '../domain.ts';
import type { Upgrade } from '../record.ts';

type Account = Pick<Upgrade, 'state' | 'waited_ms'>;

/** How long the upgrade has worked for its present goal. */
function workedMs({ state, waited_ms }: Account, now: Instant): number {
  if (state.name === 'scheduled') return 0;
  const until = state.name === 'paused' ? state.since : 'ended' in state ? state.ended : now;
  return until - state.started - waited_ms;
}

/** `waited_ms` if the upgrade stops waiting now. */
export function waitedMs({ state, waited_ms }: Account, now: Instant): number {
  return state.name === 'paused' ? waited_ms + now - state.since : waited_ms;
}

/**
 * `waited_ms` if a person lets the upgrade continue: an upgrade that had run out of time gets the whole time
 * anew.
 */
export function waitedWhenResumed(upgrade: Account & Pick<Upgrade, 'policy'>, now: Instant): number {
  const worked_ms = workedMs(upgrade, now);
  const isUp = worked_ms >= upgrade.policy.timeout_seconds * 1000;
  return waitedMs(upgrade, now) + (isUp ? worked_ms : 0);
}

/** `waited_ms` if the upgrade turns to another goal, which gets the whole time for itself. */
export function waitedForNewGoal(upgrade: Account, now: Instant): number {
  return upgrade.waited_ms + workedMs(upgrade, now);
}

/**
 * When the upgrade's time is up. Null while the upgrade waits, and once it is to be cancelled: then there is
 * nothing more to ask a person for.
 */
export function expiresAt({ state, cancelling, waited_ms, policy }: Upgrade): Instant | null {
  if (state.name !== 'running' || cancelling) return null;
  return state.started + waited_ms + policy.timeout_seconds * 1000;
}
