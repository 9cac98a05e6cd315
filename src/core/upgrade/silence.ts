import type { Instant } from '../domain.ts';
import { isActive, isInFlight, type Step, type Upgrade } from '../record.ts';
import { iso } from '../words.ts';
import type { Draft } from './draft.ts';
import type { OutstandingPhase } from './rules.ts';

/** Shorter silences are usual: a guest was restarted, or a heartbeat was lost. */
const MIN_QUIET_MS = 30_000;

/**
 * The time at which nothing will have moved for longer than a whole step usually takes. Null where nothing is
 * expected to move by itself (the upgrade waits for its time or for a person), and once the silence has been
 * reported.
 */
export function silentAt(upgrade: Upgrade): Instant | null {
  const { state, steps, expected, progressed, silent } = upgrade;
  if (silent || !isActive(upgrade) || state.name === 'scheduled') return null;
  if (state.name === 'paused' && !steps.some(isInFlight)) return null;
  const usual_ms = Math.max(expected.instance.p95_ms, expected.switchover.p95_ms);
  // A back-off and a soak are expected to last until their time.
  const since = Math.max(progressed, ...steps.map(({ phase }) => ('until' in phase ? phase.until : 0)));
  return since + Math.max(MIN_QUIET_MS, usual_ms);
}

/**
 * Reports once that nothing moves, and what the upgrade waits for: a person who watches should not have to
 * guess.
 */
export function tellSilence(draft: Draft): void {
  const at = silentAt(draft.upgrade);
  if (at === null || draft.now < at) return;
  const seconds = Math.round((draft.now - draft.upgrade.progressed) / 1000);
  draft.emit('no_progress', `nothing has moved for ${seconds} s: ${awaited(draft)}`);
}

function awaited(draft: Draft): string {
  const about = (step: Step, what: string) => `${draft.nameOf(step.instance_id)} ${what}`;
  const found = draft.steps.flatMap((step) => {
    const { phase } = step;
    if ('recast' in phase) return [about(step, `is ${phase.name}, and ${orderOf(phase)}`)];
    if (isInFlight(step)) return [about(step, `is ${phase.name}`)];
    if (phase.name === 'pending' && phase.blocked) return [about(step, `waits for ${phase.blocked.gate}`)];
    return [];
  });
  return found.length > 0 ? found.join(', ') : 'not every instance reports that it is healthy';
}

function orderOf({ accepted, recast }: OutstandingPhase): string {
  const guest = accepted ? 'its guest agent has accepted the order' : 'its guest agent has not answered';
  return `${guest} (the order is repeated at ${iso(recast)})`;
}
