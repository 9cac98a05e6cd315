/** What the REST API answers about batches: `docs/batches.md`. */
import { z } from 'zod';
import {
  BATCH_ACTIONS,
  BATCH_ENDS,
  BATCH_EVENT_TYPES,
  BATCH_PAUSE_REASONS,
  MEMBER_STATES,
  type WaveCounts,
} from '../core/batch/record.ts';
import { WAVE_LIMITS } from '../core/batch/waves.ts';
import { PAUSE_REASONS } from '../core/record.ts';
import { nextPage, share, Time } from './fields.ts';
import { PolicyDocument } from './policy.ts';

const Counts = z.strictObject(
  Object.fromEntries(MEMBER_STATES.map((name) => [name, z.int()])) as Record<keyof WaveCounts, z.ZodInt>,
);

const WaveDocument = z.strictObject({
  number: z.int().meta({ description: 'From 1.' }),
  size: z.int(),
  counts: Counts,
  max_concurrent: z.int(),
  failure_budget: share('clusters', WAVE_LIMITS.failure_budget),
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
