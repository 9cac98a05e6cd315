import type { Instant } from '../src/core/domain.ts';
import { iso } from '../src/core/words.ts';

/** `2026-11-22T16:49:48`: Trove omits the time zone. */
export function troveTime(instant: Instant): string {
  return iso(instant).slice(0, 19);
}

export function isoOrNull(at: Instant | null): string | null {
  return at === null ? null : iso(at);
}
