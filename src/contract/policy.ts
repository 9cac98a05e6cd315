/** The schemas of an upgrade's policy: made from the table of its fields, which also has the defaults. */
import { z } from 'zod';
import {
  OVERRIDABLE_GATES,
  POLICY,
  type Policy,
  type PolicyField,
  type PolicyFieldName,
  type PolicyInJson,
  type StatedPolicy,
  WINDOW_PARTS,
} from '../core/policy.ts';
import { windowProblem } from '../core/window.ts';
import { share, whole } from './fields.ts';

const time = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-11-23T02:00:00Z' });

const { cron, duration_seconds, time_zone } = WINDOW_PARTS;
const window = z
  .strictObject({
    cron: z.string().max(cron.most).meta({ description: cron.meaning }),
    duration_seconds: whole(duration_seconds).meta({ description: duration_seconds.meaning }),
    time_zone: z
      .string()
      .max(time_zone.most)
      .default(time_zone.default)
      .meta({ description: time_zone.meaning }),
  })
  .superRefine((value, context) => {
    const message = windowProblem(value);
    if (message) context.addIssue({ code: 'custom', message });
  });
const override = z.strictObject({ gate: z.enum(OVERRIDABLE_GATES), reason: z.string().min(1).max(500) });

/** A time is text here; `null` is left to the document. */
function schemaOf(field: PolicyField): z.ZodType {
  switch (field.kind) {
    case 'count':
    case 'seconds':
      return whole(field);
    case 'share':
      return share('instances', field);
    case 'choice':
      return z.enum(Object.keys(field.choices));
    case 'time':
      return time;
    case 'window':
      return window;
    case 'overrides':
      return z.array(override).max(OVERRIDABLE_GATES.length);
  }
}

/** An object schema with a schema for each field. */
function shapeOf(schema: (field: PolicyField) => z.ZodType) {
  return Object.fromEntries(
    POLICY.map((field) => [field.name, schema(field).meta({ description: field.meaning })]),
  );
}

/** The whole policy, as an upgrade shows it. */
export const PolicyDocument = z
  .strictObject(
    shapeOf((field) => (field.default === null ? schemaOf(field).nullable() : schemaOf(field))) as {
      [Name in PolicyFieldName]: z.ZodType<PolicyInJson[Name], PolicyInJson[Name]>;
    },
  )
  .meta({ id: 'Policy' });
export type PolicyDocument = z.output<typeof PolicyDocument>;

/**
 * The policy in a request. An unknown field is refused, because a misspelt limit must not count as a missing
 * limit.
 */
export const PolicyRequest = z
  .strictObject(
    shapeOf((field) =>
      (field.kind === 'time' ? time.transform((text) => Date.parse(text)) : schemaOf(field)).exactOptional(),
    ) as {
      [Name in PolicyFieldName]: z.ZodExactOptional<
        z.ZodType<NonNullable<Policy[Name]>, NonNullable<StatedPolicy[Name]>>
      >;
    },
  )
  .meta({ id: 'PolicyRequest' });
/** The policy as a client writes it. */
export type PolicyRequest = z.input<typeof PolicyRequest>;
