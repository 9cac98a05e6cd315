/** What follows from a text alone, and tells texts apart: names, ids and fractions. None of it is a secret. */
import { createHash } from 'node:crypto';

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** A short name for a long text: 16 hexadecimal digits. */
export function digestOf(text: string): string {
  return sha256(text).slice(0, 16);
}

/**
 * An id in the form of a UUID: processes that begin the same thing twice give the same text, and so the same
 * id.
 */
export function uuidFrom(text: string): string {
  const hex = sha256(text);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A number in [0, 1): the core has no randomness of its own. */
export function fractionOf(text: string): number {
  return Number.parseInt(sha256(text).slice(0, 8), 16) / 2 ** 32;
}
