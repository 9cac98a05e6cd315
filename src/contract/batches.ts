/** The REST interface of batches, and the job with which another service starts a batch: `docs/batches.md`. */
import { Range } from 'semver';
import { z } from 'zod';
import {
  BATCH_ACTIONS,
  BATCH_ENDS,
  BATCH_EVENT_TYPES,
  BATCH_PAUSE_REASONS,
  type BatchAction,
  MEMBER_STATES,
  type WaveCounts,
} from '../core/batch/record.ts';
import { PAUSE_REASONS } from '../core/record.ts';
import { Id, isId, nextPage, Reference, share, TenantId, Time, text } from './fields.ts';
import { PageQuery, TenantParams } from './http.ts';
import { PolicyDocument, PolicyRequest } from './policy.ts';

/** A request body that names more clusters than this is refused; a selector may find more. */
const MAX_NAMED = 5_000;
const MAX_WAVES = 50;
const MOST_CLUSTERS = 1_000_000;
const DAY_SECONDS = 86_400;

const VersionRange = text(255).refine(
  (range) => isRange(range),
  "is not a range of versions, such as '>=17.5 <17.10' or '17.x'",
);

function isRange(range: string): boolean {
  try {
    return new Range(range).range !== undefined;
  } catch {
    return false;
  }
}

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
    share: share('clusters', { least: 1, most: MOST_CLUSTERS }).exactOptional().meta({
      description:
        'So many of all clusters, or such a percentage of them; all that are left if neither this nor a selector is given.',
    }),
    selector: SelectorRequest.exactOptional(),
    max_concurrent: z
      .int()
      .min(1)
      .max(10_000)
      .exactOptional()
      .meta({ description: 'Clusters at once. Default 10.' }),
    failure_budget: share('clusters', { least: 0, most: MOST_CLUSTERS }).exactOptional().meta({
      description:
        'Clusters that may fail before the batch pauses: a number, or a percentage of the wave, which is at least one unless it is 0%. Default 5%.',
    }),
    write_outage_budget_seconds: z.number().min(0).max(DAY_SECONDS).nullable().exactOptional().meta({
      description: 'Write outage that its clusters may have together before the batch pauses.',
    }),
    soak_seconds: z
      .int()
      .min(0)
      .max(30 * DAY_SECONDS)
      .exactOptional()
      .meta({
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

const nothing = z.strictObject({});
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

const Counts = z.strictObject(
  Object.fromEntries(MEMBER_STATES.map((name) => [name, z.int()])) as Record<keyof WaveCounts, z.ZodInt>,
);

const WaveDocument = z.strictObject({
  number: z.int().meta({ description: 'From 1.' }),
  size: z.int(),
  counts: Counts,
  max_concurrent: z.int(),
  failure_budget: share('clusters', { least: 0, most: MOST_CLUSTERS }),
  failures_allowed: z.int().meta({ description: 'The failure budget as a number of its clusters.' }),
  write_outage_budget_seconds: z.number().nullable(),
  write_outage_ms: z.number(),
  soak_seconds: z.int(),
  approval: z.boolean(),
  started: Time.nullable(),
  ended: Time.nullable(),
});
export type WaveDocument = z.output<typeof WaveDocument>;

export const BATCH_STATES = ['scheduled', 'running', 'rolling_back', 'paused', ...BATCH_ENDS] as const;

export const BatchDocument = z
  .strictObject({
    id: z.string(),
    name: z.string().nullable(),
    state: z.enum(BATCH_STATES),
    reason: z.enum(BATCH_PAUSE_REASONS).nullable().meta({ description: 'Why it is paused.' }),
    message: z.string().nullable().meta({ description: 'What it waits for, or how it ended.' }),
    since: Time.nullable().meta({ description: 'Since when it is paused; null unless it is.' }),
    cancelling: z.boolean(),
    actions: z.array(z.enum(BATCH_ACTIONS)).meta({
      description: 'What a person can do now. Of one that is paused, the first makes it go on.',
    }),
    datastore: z.string(),
    to: z.strictObject({ id: z.string(), name: z.string() }),
    policy: PolicyDocument.partial().meta({ description: "Of each cluster's upgrade: what was said of it." }),
    selection: z.strictObject({
      clusters: z.int().nullable().meta({ description: 'How many were named; null with a selector.' }),
      selector: z.record(z.string(), z.string()).nullable(),
      all_tenants: z.boolean(),
    }),
    size: z.int(),
    left_out: z
      .int()
      .meta({ description: 'Selected, but with nothing to do or no way there: skipped from the start.' }),
    counts: Counts.meta({ description: 'Of all clusters, those left out included.' }),
    wave: z.int().meta({ description: 'Number of the wave at work, from 1.' }),
    soaks_until: Time.nullable(),
    waves: z.array(WaveDocument),
    write_outage_ms: z.number(),
    seq: z.int().meta({ description: 'Number of its last event.' }),
    requested_by: z.strictObject({
      user: z.string().nullable(),
      request_id: z.string(),
      via: z.enum(['rest', 'rpc', 'queue']),
    }),
    created: Time,
    started: Time.nullable(),
    ended: Time.nullable(),
    estimated_end: Time.nullable().meta({ description: 'At the pace so far; null while that is unknown.' }),
  })
  .meta({ id: 'UpgradeBatch' });
export type BatchDocument = z.output<typeof BatchDocument>;

export const BatchMemberDocument = z
  .strictObject({
    position: z.int(),
    cluster_id: z.string(),
    cluster_name: z.string(),
    tenant_id: z.string(),
    wave: z.int().nullable(),
    from: z.string(),
    to: z.string(),
    state: z.enum(MEMBER_STATES),
    held: z
      .enum(PAUSE_REASONS)
      .nullable()
      .meta({ description: 'Of one that runs: why its upgrade is paused; null unless it is.' }),
    reason: z.string().nullable().meta({ description: 'What it waits for, or why it did not succeed.' }),
    until: Time.nullable().meta({ description: 'Of one that waits: when its turn comes again.' }),
    tries: z.int(),
    upgrade_id: z.string().nullable(),
    started: Time.nullable(),
    ended: Time.nullable(),
    duration_ms: z.number().nullable(),
    write_outage_ms: z.number(),
  })
  .meta({ id: 'UpgradeBatchCluster' });
export type BatchMemberDocument = z.output<typeof BatchMemberDocument>;

export const BatchAnswer = z.strictObject({ batch: BatchDocument });
export type BatchAnswer = z.output<typeof BatchAnswer>;
/** The outcome of a request, cluster by cluster. */
export const ResolvedBatchAnswer = z.strictObject({
  batch: BatchDocument,
  clusters: z.array(BatchMemberDocument),
});
export type ResolvedBatchAnswer = z.output<typeof ResolvedBatchAnswer>;
export const BatchesAnswer = z.strictObject({ batches: z.array(BatchDocument), ...nextPage });
export type BatchesAnswer = z.output<typeof BatchesAnswer>;
export const BatchMembersAnswer = z.strictObject({ clusters: z.array(BatchMemberDocument), ...nextPage });
export type BatchMembersAnswer = z.output<typeof BatchMembersAnswer>;

export const BatchEventDocument = z
  .strictObject({
    seq: z.int().meta({ description: 'Gapless within a batch, from 1.' }),
    at: Time,
    type: z.enum(BATCH_EVENT_TYPES),
    wave: z.int().nullable(),
    cluster_id: z.string().nullable(),
    upgrade_id: z.string().nullable(),
    message: z.string(),
  })
  .meta({ id: 'UpgradeBatchEvent' });
export type BatchEventDocument = z.output<typeof BatchEventDocument>;
export const BatchEventsAnswer = z.strictObject({ events: z.array(BatchEventDocument) });
export type BatchEventsAnswer = z.output<typeof BatchEventsAnswer>;

/** taskmanager: `batch_action`, the action that a person wants on a batch. */
export const BatchActionArgs = z.looseObject({
  batch_id: Id,
  action: z.enum(BATCH_ACTIONS),
  by: text(255),
  clusters: z.array(Id).exactOptional(),
  /** From 0. */
  wave: z.int().min(0).exactOptional(),
});
