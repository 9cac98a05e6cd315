/** What is asked of batches over REST, and the job with which another service starts a batch: `docs/batches.md`. */
import { z } from 'zod';
import { BATCH_ACTIONS, type BatchAction, MEMBER_STATES } from '../core/batch/record.ts';
import { DEFAULT_WAVE, WAVE_LIMITS } from '../core/batch/waves.ts';
import { isRange } from '../core/versions.ts';
import { Id, isId, nothing, Reference, share, TenantId, text, whole } from './fields.ts';
import { PageQuery, TenantParams } from './http.ts';
import { PolicyRequest } from './policy.ts';

/** A request body that names more clusters than this is refused; a selector may find more. */
const MAX_NAMED = 5_000;
const MAX_WAVES = 50;
const outage = WAVE_LIMITS.write_outage_budget_seconds;

const VersionRange = text(255).refine(
  isRange,
  "is not a range of versions, such as '>=17.5 <17.10' or '17.x'",
);

const SelectorRequest = z
  .strictObject({
    datastore: Reference.exactOptional().meta({ description: 'Id or name.' }),
    version: VersionRange.exactOptional().meta({
      description: 'A range that the present version lies in; two-part versions count as x.y.0.',
    }),
    name: text(255)
      .exactOptional()
      .meta({ description: 'A pattern: `*` for any text, `?` for one character.' }),
    tag: text(255).exactOptional().meta({ description: 'One of `extended_properties.tags`.' }),
  })
  .refine((selector) => Object.keys(selector).length > 0, 'must hold at least one condition')
  .meta({ id: 'Selector', description: 'Clusters for which all that is given holds.' });

const WaveRequest = z
  .strictObject({
    share: share('clusters', WAVE_LIMITS.share).exactOptional().meta({
      description:
        'So many of all clusters, or such a percentage of them; all that are left if neither this nor a selector is given.',
    }),
    selector: SelectorRequest.exactOptional(),
    max_concurrent: whole(WAVE_LIMITS.max_concurrent)
      .exactOptional()
      .meta({ description: `Clusters at once. Default ${DEFAULT_WAVE.max_concurrent}.` }),
    failure_budget: share('clusters', WAVE_LIMITS.failure_budget)
      .exactOptional()
      .meta({
        description: `Clusters that may fail before the batch pauses: a number, or a percentage of the wave, which is at least one unless it is 0%. Default ${DEFAULT_WAVE.failure_budget}.`,
      }),
    write_outage_budget_seconds: z
      .number()
      .min(outage.least)
      .max(outage.most)
      .nullable()
      .exactOptional()
      .meta({
        description: 'Write outage that its clusters may have together before the batch pauses.',
      }),
    soak_seconds: whole(WAVE_LIMITS.soak_seconds).exactOptional().meta({
      description: 'Afterwards all that was upgraded must stay healthy this long before the next wave.',
    }),
    approval: z.boolean().exactOptional().meta({ description: 'A person must approve it before it starts.' }),
  })
  .meta({ id: 'WaveRequest' });

const chosen = z.union([
  Id.transform((id) => ({ id: id.toLowerCase() })),
  z.strictObject({ id: Id.transform((id) => id.toLowerCase()), policy: PolicyRequest.exactOptional() }),
]);

const fields = {
  name: text(255)
    .refine((name) => !isId(name), 'must not have the form of an id')
    .exactOptional(),
  datastore_version: Reference.meta({ description: 'Id of the version to go to, or its name.' }),
  clusters: z
    .array(chosen)
    .min(1)
    .max(MAX_NAMED)
    .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, 'holds a cluster twice')
    .exactOptional()
    .meta({
      description: 'Ids; in place of an id `{"id": …, "policy": …}` for one with a policy of its own.',
    }),
  selector: SelectorRequest.exactOptional(),
  all_tenants: z
    .boolean()
    .default(false)
    .meta({ description: 'For administrators: clusters of every tenant.' }),
  policy: PolicyRequest.default({}).meta({
    description: "Of each cluster's upgrade. `on_failure` is `fail` where nothing else is said.",
  }),
  waves: z.array(WaveRequest).min(1).max(MAX_WAVES).exactOptional().meta({
    description: 'In order. Default: one cluster, a tenth, the rest.',
  }),
};

function oneWayToSelect(
  { clusters, selector }: { clusters?: unknown; selector?: unknown },
  context: z.RefinementCtx,
): void {
  if ((clusters === undefined) !== (selector === undefined)) return;
  const message =
    clusters === undefined
      ? "must say which clusters: 'clusters' or 'selector'"
      : "must hold either 'clusters' or 'selector', not both";
  context.addIssue({ code: 'custom', message });
}

const BatchRequest = z
  .strictObject({
    ...fields,
    dry_run: z
      .boolean()
      .default(false)
      .meta({ description: 'Answers 200 with what would be done, and changes nothing.' }),
  })
  .superRefine(oneWayToSelect)
  .meta({ id: 'BatchRequest' });
export type BatchRequest = z.output<typeof BatchRequest>;
/** The same as a client writes it. */
export type CreateBatchInput = z.input<typeof BatchRequest>;

/** Body of `POST …/upgrade-batches`. */
export const CreateBatchBody = z.strictObject({ batch: BatchRequest });

/** Data of a job in the queue `coffer-batches`. Whoever may write to Redis is trusted with all tenants. */
export const BatchJob = z
  .strictObject({
    ...fields,
    tenant_id: TenantId,
    user: text(255).exactOptional().meta({ description: 'In whose name: shown with the batch.' }),
    request_id: text(255).exactOptional(),
  })
  .superRefine(oneWayToSelect);

export const BatchParams = TenantParams.extend({
  batch_id: Reference.transform((id) => id.toLowerCase()),
});
export const BatchMembersQuery = PageQuery.extend({
  marker: z
    .string()
    .regex(/^\d{1,7}$/, 'must be the position of the last cluster of the page before')
    .exactOptional(),
  state: z.enum(MEMBER_STATES).exactOptional(),
});

export const BatchReportQuery = z.object({ format: z.enum(['json', 'csv']).default('json') });

const these = z.strictObject({
  clusters: z
    .array(Id.transform((id) => id.toLowerCase()))
    .min(1)
    .max(MAX_NAMED)
    .exactOptional(),
});

/** Body of `POST …/upgrade-batches/{batch_id}`: exactly one action. */
export const BatchActionBody = z.strictObject({
  pause: nothing.exactOptional().meta({ description: 'Begins no further cluster; what is in flight ends.' }),
  resume: nothing
    .exactOptional()
    .meta({ description: 'Goes on after a pause, with its budgets whole again.' }),
  approve: nothing.exactOptional().meta({ description: 'Lets the next wave that needs it start.' }),
  retry: these
    .exactOptional()
    .meta({ description: 'Tries again what failed, or the clusters named, and goes on.' }),
  skip: these
    .exactOptional()
    .meta({ description: 'Leaves what failed behind, or takes out the clusters named.' }),
  rollback: z
    .strictObject({ wave: z.int().min(1).max(MAX_WAVES).exactOptional() })
    .exactOptional()
    .meta({
      description: 'Takes a wave back, by its number from 1; the last that has started if none is given.',
    }),
  cancel: nothing
    .exactOptional()
    .meta({ description: 'Begins no further cluster, and ends when what is in flight has.' }),
} satisfies Record<BatchAction, z.ZodType>);

/** taskmanager: `batch_action`, the action that a person wants on a batch. */
export const BatchActionArgs = z.looseObject({
  batch_id: Id,
  action: z.enum(BATCH_ACTIONS),
  by: text(255),
  clusters: z.array(Id).exactOptional(),
  /** From 0. */
  wave: z.int().min(0).exactOptional(),
});
