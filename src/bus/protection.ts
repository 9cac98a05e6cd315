/**
 * How messages are protected on their way through a broker that others use too.
 *
 * Files: `protection.ts` what a protection is · `sealed.ts` our own: nobody without the instance's key
 * reads or forges anything · `trove-secure.ts` Trove's: nobody without the key reads · `instance-key.ts` whose
 * key it is, and which of the two it is for · `joining.ts` how an agent that joins comes by its key.
 */

/** The inner message: `method`, `args`, `_context_…`, or `result` and `failure`. */
export type Body = Readonly<Record<string, unknown>>;

/** Under one instance's key. The functions that open throw `MessageRefused`. */
export interface Protection {
  /** Whose key it is: with whom, or for whom, one speaks under it. */
  readonly instance_id: string;
  sealRequest(body: Body, topic: string): Body;
  /** `redelivered`: by the broker's own word, never by one that the message brings with it. */
  openRequest(body: Body, topic: string, redelivered: boolean): Body;
  /** The work of a request that was opened could not be done: the same message may be opened once more. */
  release(body: Body): void;
  sealReply(body: Body): Body;
  openReply(body: Body): Body;
}

/** Finds what an incoming request is protected by; null if it comes in clear and may. Rejects with `MessageRefused`. */
export type Guard = (body: Body) => Promise<Protection | null>;

/** Not from whom it says it is, or not for these eyes, or too old. */
export class MessageRefused extends Error {
  override readonly name = 'MessageRefused';
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
