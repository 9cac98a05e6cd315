/**
 * Guests that Trove's own agent speaks for. They know `pre_upgrade`, `upgrade` and perhaps
 * `post_upgrade`, and report nothing but how their server is: no attempt number fences anything off.
 * So an order to upgrade is said once per attempt, and its end is read off the reports (decision 0007).
 */
import { type Instant, isTroveGuest, type ServiceStatus } from '../domain.ts';
import type { Phase, Step } from '../record.ts';
import type { Draft } from './draft.ts';

/** A call whose answer stays away is repeated after this long: these guests would carry out every copy. */
const REPEAT_CALL_MS = 120_000;
/** Without a word of being down: so many reports of health, and so long after the order, mean that it is done. */
const HEALTHY_REPORTS = 3;
const QUIET_MS = 10_000;

type Upgrading = Extract<Phase, { name: 'upgrading' }>;

/** True while a Trove guest speaks for the step's instance. */
export function isWithTroveGuest(draft: Draft, { kind, instance_id }: Step): boolean {
  const instance = draft.instance(instance_id);
  return kind === 'instance' && instance !== undefined && isTroveGuest(instance);
}

/** When it is said again: an order to upgrade never is, within an attempt. */
export function repeatAt(name: Phase['name'], deadline: Instant, now: Instant): Instant {
  return name === 'upgrading' ? deadline : Math.min(deadline, now + REPEAT_CALL_MS);
}

/**
 * What a report says of the order to upgrade: `ended`, or the phase as it is from now on. A server that
 * was not healthy since, and is now, has been through it. One whose guest speaks so rarely that it was
 * never caught at it has to be healthy for a while.
 */
export function watch(phase: Upgrading, status: ServiceStatus, now: Instant): Upgrading | 'ended' {
  if (status !== 'healthy') return phase.accepted ? phase : { ...phase, accepted: true };
  if (phase.accepted) return 'ended';
  const healthy_reports = (phase.healthy_reports ?? 0) + 1;
  if (healthy_reports >= HEALTHY_REPORTS && now - phase.since >= QUIET_MS) return 'ended';
  return healthy_reports > HEALTHY_REPORTS ? phase : { ...phase, healthy_reports };
}
