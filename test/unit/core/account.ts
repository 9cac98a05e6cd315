/** A second account of an upgrade's time, kept by what is seen of it from outside: `waited_ms` must agree with it. */
import type { Instant } from '../../../src/core/domain.ts';
import { isActive, type Upgrade } from '../../../src/core/record.ts';
import type { Next } from '../../../src/core/upgrade/inputs.ts';
import { expiresAt } from '../../../src/core/upgrade/time.ts';

export class Account {
  #at: Instant = 0;
  #worked_ms = 0;

  /** The record before and after an input at `now`; what is wrong with it, in words. */
  follow(before: Upgrade, { upgrade: after, events }: Next, now: Instant): readonly string[] {
    if (before.id !== after.id || before.state.name === 'scheduled') this.#worked_ms = 0;
    else if (before.state.name === 'running') this.#worked_ms += now - this.#at;
    this.#at = now;
    const timeout_ms = after.policy.timeout_seconds * 1000;
    const isResumed = events.some(({ type }) => type === 'resumed');
    // Another goal has the whole time for itself, and whoever resumes what ran out of time gives it all anew.
    if (after.round !== before.round || (isResumed && this.#worked_ms >= timeout_ms)) this.#worked_ms = 0;
    if (after.state.name === 'scheduled') return [];
    const { state, waited_ms, cancelling } = after;
    const pause_ms = state.name === 'paused' ? now - state.since : 0;
    const elapsed_ms = (isActive(after) ? now : 'ended' in state ? state.ended : now) - state.started;
    const found: string[] = [];
    if (isActive(after) || isActive(before)) {
      const sum_ms = this.#worked_ms + waited_ms + pause_ms;
      if (sum_ms !== elapsed_ms)
        found.push(`worked ${this.#worked_ms} + waited ${waited_ms + pause_ms} ms is not ${elapsed_ms} ms`);
    }
    const expires = state.name === 'running' && !cancelling ? now + timeout_ms - this.#worked_ms : null;
    if (expiresAt(after) !== expires) found.push(`its time is up at ${expiresAt(after)}, not at ${expires}`);
    return found;
  }
}
