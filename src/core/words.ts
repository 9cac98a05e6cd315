/** Words for people: a number with its noun, in the form that fits; times. */
import type { Instant } from './domain.ts';

/** `1 instance`, `3 instances`; for another plural, or a verb with it, give both: `1 key is`, `2 keys are`. */
export function counted(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** In UTC, to the millisecond. */
export function iso(at: Instant): string {
  return new Date(at).toISOString();
}
