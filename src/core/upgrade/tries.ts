/** How often a step is tried, and how long it rests between two attempts. */
import { fractionOf } from '../digest.ts';
import type { Step } from '../record.ts';
import type { Draft } from './draft.ts';

const BACKOFF_BASE_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;

/** The guest did not cause what stops its attempt, so the attempt does not count as a try. */
export function forgiven({ attempts_forgiven }: Step): Pick<Step, 'attempts_forgiven'> {
  return { attempts_forgiven: attempts_forgiven + 1 };
}

export function hasTriesLeft(draft: Draft, step: Step): boolean {
  return step.attempt - step.attempts_forgiven <= draft.upgrade.policy.retries;
}

/**
 * 1 s, 2 s, 4 s … up to a minute, each varied by ±25 % so that the instances of a fleet do not all retry at the
 * same moment.
 */
export function backoffMs(draft: Draft, step: Step): number {
  const nominal = Math.min(
    BACKOFF_BASE_MS * 2 ** (step.attempt - step.attempts_forgiven - 1),
    BACKOFF_MAX_MS,
  );
  return Math.round(nominal * (0.75 + 0.5 * fractionOf(`${draft.upgrade.id}/${step.id}/${step.attempt}`)));
}
