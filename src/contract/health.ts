/** The state of all parts of an installation, for its administrators. */
import { z } from 'zod';
import { BATCH_ACTIONS, BATCH_PAUSE_REASONS } from '../core/batch/record.ts';
import { GATES } from '../core/phase.ts';
import { ACTIONS } from '../core/upgrade/inputs.ts';
import { BATCH_STATES } from './batch-documents.ts';
import { INSTANCE_STATUSES, StoreCheck } from './documents.ts';
import { Time } from './fields.ts';
import { standing } from './upgrade-documents.ts';

const Status = z.enum(['ok', 'unreachable']);

const Queue = z.strictObject({
  name: z.string(),
  messages: z.int().meta({ description: 'That wait.' }),
  consumers: z.int().meta({ description: 'Who take from it.' }),
});

const ClusterProblem = z.strictObject({
  cluster_id: z.string(),
  cluster_name: z.string(),
  tenant_id: z.string(),
  gate: z.enum(GATES),
  reason: z.string(),
});

const Guest = z.strictObject({
  instance_id: z.string(),
  instance_name: z.string(),
  cluster_id: z.string(),
  cluster_name: z.string(),
  tenant_id: z.string(),
  status: z.enum(INSTANCE_STATUSES),
  heard: Time.nullable().meta({ description: 'When its guest agent spoke last.' }),
  message: z
    .string()
    .nullable()
    .meta({ description: 'Why its guest agent finds the server so, in its words.' }),
  fault: z.string().nullable(),
});

const TroubledUpgrade = z.strictObject({
  id: z.string(),
  cluster_id: z.string(),
  cluster_name: z.string().nullable(),
  tenant_id: z.string(),
  ...standing,
  last_progress: Time,
  ended: Time.nullable(),
  actions: z.array(z.enum(ACTIONS)).meta({ description: 'What a person can do now.' }),
});

const TroubledBatch = z.strictObject({
  id: z.string(),
  name: z.string().nullable(),
  tenant_id: z.string(),
  state: z.enum(BATCH_STATES),
  reason: z.enum(BATCH_PAUSE_REASONS).nullable().meta({ description: 'Why it is paused.' }),
  message: z.string().nullable().meta({ description: 'What it waits for, or how it ended.' }),
  since: Time.nullable().meta({ description: 'Since when it is paused.' }),
  ended: Time.nullable(),
  actions: z.array(z.enum(BATCH_ACTIONS)).meta({ description: 'What a person can do now.' }),
});

export const HealthReportDocument = z
  .strictObject({
    redis: z.strictObject({
      status: StoreCheck.meta({ description: 'A replica, or a Redis that is full, refuses writes.' }),
      latency_ms: z.number().nullable().meta({ description: 'Of one question, as the api hears it.' }),
    }),
    rabbitmq: z.strictObject({ status: Status, queues: z.array(Queue), dead_letters: z.int().nullable() }),
    taskmanagers: z
      .int()
      .nullable()
      .meta({ description: 'How many take casts; null while RabbitMQ cannot be asked.' }),
    work: z
      .strictObject({
        upgrades: z.record(z.string(), z.int()).meta({ description: 'That have not ended, by state.' }),
        overdue: z.int().meta({ description: 'Upgrades and clusters that are due and were not looked at.' }),
        overdue_ms: z.number(),
        pending_casts: z.int().meta({ description: 'Safe in Redis, and not confirmed by RabbitMQ yet.' }),
        pending_casts_ms: z.number().meta({ description: 'How old the oldest of them is.' }),
      })
      .nullable()
      .meta({ description: 'Null while Redis is away.' }),
    batch_requests: z
      .strictObject({
        waiting: z
          .int()
          .meta({ description: 'Jobs that ask for batches and that no taskmanager has taken.' }),
        failed: z.int().meta({ description: 'Jobs that were refused, or that failed for good.' }),
        latest: z
          .array(z.strictObject({ job_id: z.string(), reason: z.string(), at: Time }))
          .meta({ description: 'The latest that failed, the newest first: five at most.' }),
      })
      .nullable()
      .meta({ description: 'Jobs of other services on the BullMQ queue; null while Redis is away.' }),
    upgrades: z.array(TroubledUpgrade).nullable().meta({
      description:
        'Of all tenants, a hundred at most: those that wait for a person, in which nothing moves, or that have ended and left their cluster on more than one version. Null while Redis is away.',
    }),
    batches: z.array(TroubledBatch).nullable().meta({
      description:
        'Of all tenants, a hundred at most: those that wait for a person, and the incomplete ones of the last seven days. Null while Redis is away.',
    }),
    guests: z
      .strictObject({
        counted: Time.meta({ description: 'The count is of then: it is made every ten seconds at most.' }),
        clusters: z.int(),
        total: z.int(),
        by_status: z.record(z.string(), z.int()),
        unwell: z.array(Guest).meta({ description: 'A hundred at most that are not active.' }),
        problems: z.array(ClusterProblem).meta({
          description:
            'Clusters that no upgrade can begin in as they are, e.g. with two primaries: a hundred at most.',
        }),
      })
      .nullable()
      .meta({
        description: 'Instances of all tenants, as their guest agents report; null while Redis is away.',
      }),
  })
  .meta({ id: 'HealthReport' });
export type HealthReportDocument = z.output<typeof HealthReportDocument>;
export const HealthReportAnswer = z.strictObject({ health: HealthReportDocument });
export type HealthReportAnswer = z.output<typeof HealthReportAnswer>;
