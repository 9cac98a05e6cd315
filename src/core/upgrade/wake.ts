import type { Instant } from '../domain.ts';
import { isActive, isInFlight, type Step, type Upgrade } from '../record.ts';
import { COFFER_GUEST, LOOK_MS } from './phases.ts';
import type { PhaseRules } from './rules.ts';
import { silentAt } from './silence.ts';
import { expiresAt } from './time.ts';

/** An accepted upgrade whose cast was lost is taken up after this long. */
const TAKE_UP_MS = 2_000;
/** While the upgrade waits for a person nothing is due; a slow check keeps the record true all the same. */
const IDLE_LOOK_MS = 60_000;

/** When the upgrade must be checked again, whatever happens or does not happen; null once it has ended. */
export function wakeAt(upgrade: Upgrade, now: Instant): Instant | null {
  if (!isActive(upgrade)) return null;
  if (upgrade.state.name === 'scheduled') return Math.max(now + TAKE_UP_MS, upgrade.policy.not_before ?? 0);
  const times = upgrade.steps.map((step) => stepWakeAt(step, now)).filter((at) => at !== null);
  if (!upgrade.steps.some(isInFlight)) {
    times.push(now + (upgrade.state.name === 'paused' ? IDLE_LOOK_MS : LOOK_MS));
  }
  // If `until` is past, the check that finds that out records anew what the upgrade waits for.
  const until = upgrade.state.name === 'paused' ? upgrade.state.until : null;
  if (until !== null && until > now) times.push(until);
  return Math.min(...times, expiresAt(upgrade) ?? Infinity, silentAt(upgrade) ?? Infinity);
}

function stepWakeAt({ phase }: Step, now: Instant): Instant | null {
  const rules: PhaseRules = COFFER_GUEST.phases[phase.name];
  if (rules.wakeAt) return rules.wakeAt(phase, now);
  return 'recast' in phase ? Math.min(phase.recast, phase.deadline) : null;
}
