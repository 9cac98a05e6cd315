import type { Instant } from '../src/core/domain.ts';

/** `2026-11-22T16:49:48.123Z` */
export function time(instant: Instant): string {
  return new Date(instant).toISOString();
}

/** `2026-11-22T16:49:48`: Trove omits the time zone. */
export function troveTime(instant: Instant): string {
  return time(instant).slice(0, 19);
}

export function timeOrNull(at: Instant | null): string | null {
  return at === null ? null : time(at);
}
