import { createHash } from 'node:crypto';

/**
 * An id in the form of a UUID that depends only on `text`: processes that begin the same thing twice give it
 * the same id.
 */
export function uuidFrom(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
