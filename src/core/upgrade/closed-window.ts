/** Windows: an upgrade whose window is closed pauses at a safe point, and continues when the window opens. */
import type { Instant } from '../domain.ts';
import { expectedOf } from '../history.ts';
import type { Step } from '../record.ts';
import { nextOpening, windowAt } from '../window.ts';
import { iso } from '../words.ts';
import type { Draft } from './draft.ts';

/**
 * A taskmanager may be this late to act on something that has become due: the other taskmanager had to be
 * killed, or Redis was away.
 */
const LATE_MS = 10_000;

interface Closed {
  readonly reason: string;
  /** Null for a window that nobody can read. */
  readonly until: Instant | null;
}

/**
 * Pauses the upgrade until its window opens. If that opening passed while nobody checked the record, the next
 * one is recorded.
 */
export function park(draft: Draft, { reason, until }: Closed): void {
  draft.pause('window', `${reason}: it goes on by itself`, until);
}

/**
 * An upgrade that waits for its window continues by itself when the window opens; the time until then does not
 * count.
 */
export function awaitWindow(draft: Draft): void {
  const { state } = draft.upgrade;
  if (state.name !== 'paused' || state.reason !== 'window') return;
  if (state.until !== null && draft.now < state.until) return;
  const next = draft.steps.find(({ phase }) => phase.name === 'pending' || phase.name === 'backoff');
  const closed = next ? closedWindow(draft, next) : null;
  if (closed) park(draft, closed);
  else draft.resume('its window is open');
}

/**
 * Why no step may start now, and when one may: the window is closed, or closes before a step could be done. A
 * rollback waits for no window, nor does an old primary that is down: every hour of waiting is an hour on mixed
 * versions.
 */
export function closedWindow({ upgrade, now }: Draft, step: Step): Closed | null {
  const { policy, expected, direction } = upgrade;
  const { window } = policy;
  if (!window || direction === 'back' || step.returns) return null;
  const state = windowAt(window, now);
  // A window that is hardly longer than a step has room for one step, if the step starts as soon as the window
  // opens.
  const longest_ms = window.duration_seconds * 1000 - LATE_MS;
  const needed_ms = Math.min(expectedOf(expected, step.kind).p95_ms, longest_ms);
  if (state.name === 'open' && state.closes - now >= needed_ms) return null;
  const until = state.name === 'open' ? nextOpening(window, now) : state.opens;
  const why = state.name === 'open' ? 'its window closes too soon for another step' : 'its window is closed';
  return { reason: `${why}; ${until === null ? 'it never opens' : `it opens at ${iso(until)}`}`, until };
}
