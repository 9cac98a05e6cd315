/**
 * The account of an upgrade's time: what has passed since it started is what it has worked and what it has waited
 * (`waited_ms`, and the pause that it is in). Only what it has worked counts against `timeout_seconds`.
 */
import type { Instant } from '../domain.ts';
import type { Upgrade } from '../record.ts';

type Account = Pick<Upgrade, 'state' | 'waited_ms'>;

/** How long it has worked for its present goal. */
export function workedMs({ state, waited_ms }: Account, now: Instant): number {
  if (state.name === 'scheduled') return 0;
  const until = state.name === 'paused' ? state.since : 'ended' in state ? state.ended : now;
  return until - state.started - waited_ms;
}

/** `waited_ms` if it does not wait any more from now on. */
export function waitedMs({ state, waited_ms }: Account, now: Instant): number {
  return state.name === 'paused' ? waited_ms + now - state.since : waited_ms;
}

/** `waited_ms` if a person lets it go on: what had run out of its time has the whole time anew. */
export function waitedWhenResumed(upgrade: Account & Pick<Upgrade, 'policy'>, now: Instant): number {
  const worked_ms = workedMs(upgrade, now);
  const isUp = worked_ms >= upgrade.policy.timeout_seconds * 1000;
  return waitedMs(upgrade, now) + (isUp ? worked_ms : 0);
}

/** `waited_ms` if it turns to another goal, which has the whole time for itself. */
export function waitedForNewGoal(upgrade: Account, now: Instant): number {
  return upgrade.waited_ms + workedMs(upgrade, now);
}

/** When its time is up; null while it waits, and once it is to be cancelled: there is nothing more to ask for. */
export function expiresAt({ state, cancelling, waited_ms, policy }: Upgrade): Instant | null {
  if (state.name !== 'running' || cancelling) return null;
  return state.started + waited_ms + policy.timeout_seconds * 1000;
}
