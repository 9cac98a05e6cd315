/** The policy of an upgrade, as a request states it: every field optional, defaults in the core. */
import { z } from 'zod';
import { ON_FAILURE, type Policy } from '../core/policy.ts';

const DAY_SECONDS = 86_400;

const fields = {
  max_unavailable: z
    .int()
    .min(1)
    .max(100)
    .meta({ description: 'Instances that may be out of service at once.' }),
  canary: z
    .int()
    .min(0)
    .max(100)
    .meta({ description: 'After this many instances, wait for `approve`; 0: never.' }),
  soak_seconds: z
    .int()
    .min(0)
    .max(DAY_SECONDS)
    .meta({ description: 'After a step, health must hold this long.' }),
  step_timeout_seconds: z.int().min(1).max(DAY_SECONDS).meta({ description: 'For one attempt of a step.' }),
  timeout_seconds: z
    .int()
    .min(1)
    .max(30 * DAY_SECONDS)
    .meta({ description: 'For the whole upgrade, without the time that it waited for a person.' }),
  retries: z.int().min(0).max(20).meta({ description: 'Attempts per step beyond the first.' }),
  on_failure: z.enum(ON_FAILURE).meta({ description: 'What to do when a step has used up its retries.' }),
} satisfies Record<keyof Policy, z.ZodType>;

/** The whole policy, as an upgrade shows it. */
export const PolicyDocument = z.strictObject(fields).meta({ id: 'Policy' });

/** What a request may say of it. An unknown field is refused: a misspelt limit must not be a missing one. */
export const PolicyRequest = z
  .strictObject({
    max_unavailable: fields.max_unavailable.exactOptional(),
    canary: fields.canary.exactOptional(),
    soak_seconds: fields.soak_seconds.exactOptional(),
    step_timeout_seconds: fields.step_timeout_seconds.exactOptional(),
    timeout_seconds: fields.timeout_seconds.exactOptional(),
    retries: fields.retries.exactOptional(),
    on_failure: fields.on_failure.exactOptional(),
  })
  .meta({ id: 'PolicyRequest' });
export type PolicyRequest = z.output<typeof PolicyRequest>;
