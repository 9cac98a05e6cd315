import type { Instant } from '../domain.ts';
import { isActive, isInFlight, type Step, type Upgrade } from '../record.ts';
import { isOutstanding } from './step.ts';

/** An accepted upgrade whose cast got lost is taken up after this long. */
const TAKE_UP_MS = 2_000;
/** Conditions that no event announces (a gate, a heartbeat that stays away) are looked at this often. */
const LOOK_MS = 1_000;
/** While a person is awaited nothing is due; a slow look keeps the record true all the same. */
const IDLE_LOOK_MS = 60_000;

/** When the upgrade wants to be looked at again, whatever happens or doesn't; null once it has ended. */
export function wakeAt(upgrade: Upgrade, now: Instant): Instant | null {
  if (!isActive(upgrade)) return null;
  if (upgrade.state.name === 'scheduled') return now + TAKE_UP_MS;
  const idle = now + (upgrade.state.name === 'paused' ? IDLE_LOOK_MS : LOOK_MS);
  const busy = upgrade.steps.filter((step) => isInFlight(step) || step.phase.name === 'backoff');
  if (busy.length === 0) return idle;
  return Math.min(...busy.map((step) => stepWakeAt(step, now)));
}

function stepWakeAt({ phase }: Step, now: Instant): Instant {
  if (isOutstanding(phase)) return Math.min(phase.recast, phase.deadline);
  if (phase.name === 'backoff') return phase.until;
  return now + LOOK_MS;
}
