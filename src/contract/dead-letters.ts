/** The REST interface of the dead letters: messages that nobody could process, kept until a person decides. */
import { z } from 'zod';
import { nothing, Reference, Time } from './fields.ts';
import { PageQuery, TenantParams } from './http.ts';

export const DEAD_LETTER_ACTIONS = ['replay', 'discard'] as const;
export type DeadLetterAction = (typeof DEAD_LETTER_ACTIONS)[number];

export const DeadLettersQuery = PageQuery.pick({ limit: true });
export const DeadLetterParams = TenantParams.extend({ letter_id: Reference });

/** Body of `POST …/dead-letters/{letter_id}`: exactly one action. */
export const DeadLetterActionBody = z.strictObject({
  replay: nothing.exactOptional().meta({ description: 'Sends it again, as it was, to its topic.' }),
  discard: nothing.exactOptional().meta({ description: 'Removes it for good.' }),
} satisfies Record<DeadLetterAction, z.ZodType>);

const listed = {
  id: z.string(),
  topic: z.string().nullable().meta({ description: 'Where it was to go.' }),
  method: z.string().nullable().meta({ description: 'Null if nobody can read it.' }),
  reason: z.string().nullable().meta({ description: 'Why nobody could act on it.' }),
  buried: Time.nullable(),
  bytes: z.int(),
};

export const DeadLetterListed = z.strictObject(listed).meta({ id: 'DeadLetterListed' });
export type DeadLetterListed = z.output<typeof DeadLetterListed>;

export const DeadLetterDocument = z
  .strictObject({
    ...listed,
    body: z.string().meta({ description: 'As it came; cut off if it is very long.' }),
  })
  .meta({ id: 'DeadLetter' });
export type DeadLetterDocument = z.output<typeof DeadLetterDocument>;

export const DeadLetterAnswer = z.strictObject({ dead_letter: DeadLetterDocument });
export type DeadLetterAnswer = z.output<typeof DeadLetterAnswer>;

export const DeadLettersAnswer = z.strictObject({
  dead_letters: z.array(DeadLetterListed),
  total: z.int().meta({ description: 'How many there are, listed or not.' }),
});
export type DeadLettersAnswer = z.output<typeof DeadLettersAnswer>;
