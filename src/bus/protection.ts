/**
 * How messages are protected on their way through a broker that others use too.
 *
 * Files: `protection.ts` what a protection is · `sealed.ts` our own: nobody can read or forge a message
 * without the instance's key · `trove-secure.ts` Trove's: nobody can read a message without the key ·
 * `instance-key.ts` an instance's key, and for which of the two it is · `joining.ts` how an agent that joins
 * receives its key.
 */

/** The inner message: `method`, `args`, `_context_…`, or `result` and `failure`. */
export type Body = Readonly<Record<string, unknown>>;

/** Protects messages under one instance's key. The functions that open throw `MessageRefused`. */
export interface Protection {
  /** The instance whose key it is: the other party, or the instance that we act for. */
  readonly instance_id: string;
  sealRequest(body: Body, topic: string): Body;
  /** `redelivered` must come from the broker, never from the message itself. */
  openRequest(body: Body, topic: string, redelivered: boolean): Body;
  /** The work of an opened request could not be done: the same message may be opened once more. */
  release(body: Body): void;
  sealReply(body: Body): Body;
  openReply(body: Body): Body;
}

/**
 * Finds the protection of an incoming request; null if the request is unencrypted and may be so. Rejects with
 * `MessageRefused`.
 */
export type Guard = (body: Body) => Promise<Protection | null>;

/** The message is not from its claimed sender, is not for this receiver, or is too old. */
export class MessageRefused extends Error {
  override readonly name = 'MessageRefused';
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
