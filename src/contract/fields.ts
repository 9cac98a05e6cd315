/** Fields that several schemas share. */
import { z } from 'zod';
import { type Limits, PERCENTAGE, type Percentage } from '../core/policy.ts';

/** Letters, digits and symbols of any script; no control characters (NUL, escape codes), no lone surrogates. */
const PRINTABLE = /^[^\p{Cc}\p{Cs}]*$/u;

/** Text that a person typed: printable, not empty, at most `max` characters. */
export function text(max: number) {
  return z.string().min(1).max(max).regex(PRINTABLE, 'must not contain control characters');
}

export function whole({ least, most }: Limits) {
  return z.int().min(least).max(most);
}

/** A number of clusters or instances, or a percentage of them; `least` is the least allowed value of either. */
export function share(noun: string, { least, most }: Limits<0 | 1>) {
  const form = PERCENTAGE[least];
  const percentage = z
    .custom<Percentage>(
      (value) => typeof value === 'string' && form.test(value),
      `must be a number of ${noun}, or a percentage from ${least}% to 100%`,
    )
    .meta({ type: 'string', pattern: form.source });
  return z.union([whole({ least, most }), percentage]);
}

/** An id as Coffer and Trove make them: 8-4-4-4-12 hexadecimal digits. */
export const Id = z.guid('must be an id such as 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a');

/** Names a thing by its id or its name. */
export const Reference = text(255);

/** A Keystone project id, or any short word where there is no Keystone. */
export const TenantId = z
  .string()
  .max(64)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'must consist of letters, digits, dots, dashes and underscores');

/** True for text that has the form of an id: such text is looked up only as an id. */
export function isId(value: string): boolean {
  return Id.safeParse(value).success;
}

/** The name of a database or of a user: PostgreSQL truncates longer names. */
export const Identifier = text(63).refine(
  (name) => new TextEncoder().encode(name).length <= 63,
  'must be at most 63 bytes long',
);

/**
 * `2026-11-22T16:49:48`, UTC without a mark of the zone: Trove's clients expect this form in Trove's
 * documents.
 */
export const TroveTime = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
/** `2026-11-22T16:49:48.123Z`, in documents of our own. */
export const Time = z.iso.datetime({ precision: 3 });

export const Links = z.array(z.strictObject({ href: z.string(), rel: z.enum(['self', 'bookmark', 'next']) }));
/** Of a page that is not the last: the link to the next one. */
export const nextPage = { links: Links.exactOptional() };

/** The value of an action that takes no arguments. */
export const nothing = z.strictObject({});
