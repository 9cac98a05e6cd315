/** The policy of an upgrade, as a request states it: every field is optional, the defaults are in the core. */
import { z } from 'zod';
import { ON_FAILURE, OVERRIDABLE_GATES, type Percentage, type Policy } from '../core/policy.ts';
import { windowProblem } from '../core/window.ts';

const DAY_SECONDS = 86_400;

const PERCENTAGE = /^([1-9]\d?|100)%$/;
const percentage = z
  .custom<Percentage>(
    (value) => typeof value === 'string' && PERCENTAGE.test(value),
    'must be a number of instances, or a percentage from 1% to 100%',
  )
  .meta({ type: 'string', pattern: PERCENTAGE.source });

const fields = {
  max_unavailable: z.union([z.int().min(1).max(100), percentage]).meta({
    description: 'Instances that may be out of service at once: a number, or a percentage such as "25%".',
  }),
  canary: z
    .int()
    .min(0)
    .max(100)
    .meta({ description: 'After this many instances, wait for `approve`; 0: never.' }),
  soak_seconds: z
    .int()
    .min(0)
    .max(DAY_SECONDS)
    .meta({ description: 'After a step forward, health must hold this long.' }),
  step_timeout_seconds: z.int().min(1).max(DAY_SECONDS).meta({ description: 'For one attempt of a step.' }),
  timeout_seconds: z
    .int()
    .min(1)
    .max(30 * DAY_SECONDS)
    .meta({ description: 'For the whole upgrade, without the time that it waited for a person.' }),
  retries: z.int().min(0).max(20).meta({ description: 'Attempts per step beyond the first.' }),
  on_failure: z.enum(ON_FAILURE).meta({ description: 'What to do when a step has used up its retries.' }),
  window: z
    .strictObject({
      cron: z.string().max(200).meta({
        description: 'When it opens: minute hour day-of-month month day-of-week, as in crontab(5).',
      }),
      duration_seconds: z.int().min(60).max(DAY_SECONDS),
      time_zone: z.string().max(100).default('UTC'),
    })
    .superRefine((window, context) => {
      const message = windowProblem(window);
      if (message) context.addIssue({ code: 'custom', message });
    })
    .meta({
      description:
        'A step forward is started only while it is open, and only if it can finish in it. A way back waits for no window.',
    }),
  overrides: z
    .array(z.strictObject({ gate: z.enum(OVERRIDABLE_GATES), reason: z.string().min(1).max(500) }))
    .max(OVERRIDABLE_GATES.length)
    .meta({ description: 'Gates to skip, and why.' }),
};
const notBefore = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-11-23T02:00:00Z' });

/** The whole policy, as an upgrade shows it. */
export const PolicyDocument = z
  .strictObject({ ...fields, not_before: notBefore.nullable(), window: fields.window.nullable() })
  .meta({ id: 'Policy' });
export type PolicyDocument = z.output<typeof PolicyDocument>;

/**
 * The policy in a request. An unknown field is refused, because a misspelt limit must not count as a missing
 * limit.
 */
export const PolicyRequest = z
  .strictObject({
    max_unavailable: fields.max_unavailable.exactOptional(),
    canary: fields.canary.exactOptional(),
    soak_seconds: fields.soak_seconds.exactOptional(),
    step_timeout_seconds: fields.step_timeout_seconds.exactOptional(),
    timeout_seconds: fields.timeout_seconds.exactOptional(),
    retries: fields.retries.exactOptional(),
    on_failure: fields.on_failure.exactOptional(),
    not_before: notBefore
      .transform((text) => Date.parse(text))
      .exactOptional()
      .meta({ description: 'Starts no step before.' }),
    window: fields.window.exactOptional(),
    overrides: fields.overrides.exactOptional(),
  } satisfies Record<keyof Policy, z.ZodType>)
  .meta({ id: 'PolicyRequest' });
/** The policy as a client writes it. */
export type PolicyRequest = z.input<typeof PolicyRequest>;
