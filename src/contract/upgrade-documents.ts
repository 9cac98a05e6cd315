/** The documents of upgrades: the upgrade itself, its plan before it begins, and its events. */
import { z } from 'zod';
import { FINDINGS, ROLES } from '../core/domain.ts';
import { STEP_KINDS } from '../core/history.ts';
import { GATES, PHASE_NAMES } from '../core/phase.ts';
import { PAUSE_REASONS, UPGRADE_EVENT_TYPES } from '../core/record.ts';
import { ACTIONS } from '../core/upgrade/inputs.ts';
import { nextPage, Time } from './fields.ts';
import { PolicyDocument } from './policy.ts';

export const UPGRADE_STATES = [
  'scheduled',
  'running',
  'paused',
  'rolling_back',
  'succeeded',
  'failed',
  'rolled_back',
  'cancelled',
] as const;

/** Where an upgrade stands, as all documents say it. */
export const standing = {
  state: z.enum(UPGRADE_STATES),
  reason: z.enum(PAUSE_REASONS).nullable().meta({ description: 'Why it is paused.' }),
  message: z.string().nullable().meta({ description: 'What it waits for, or why it ended.' }),
  since: Time.nullable().meta({ description: 'Since when it is paused; null unless it is.' }),
  silent: z
    .boolean()
    .meta({ description: 'Nothing has moved for longer than its steps usually take: see `no_progress`.' }),
};
const until = Time.nullable().meta({
  description: 'Of one that is paused: when it goes on by itself; null where it waits for a person.',
});

/** The progress of the upgrade that holds a cluster's task. */
export const PresentUpgrade = z.strictObject({
  ...standing,
  to: z.string().meta({ description: 'Name of the version that it goes to.' }),
  cancelling: z.boolean(),
  until,
});

/** A gate that does not hold, and why. */
export const GateFinding = z.strictObject({ gate: z.enum(GATES), reason: z.string() });

const Blocked = z.strictObject({ gate: z.enum(GATES), reason: z.string(), since: Time });

const StepDocument = z.strictObject({
  id: z.int(),
  stage: z.int().meta({ description: 'Steps of a lower stage end before one of a higher stage starts.' }),
  kind: z.enum(STEP_KINDS),
  instance_id: z.string(),
  instance_name: z.string().nullable(),
  successor_id: z
    .string()
    .nullable()
    .meta({ description: 'Of a switchover: who takes over, once it is known.' }),
  phase: z.enum(PHASE_NAMES),
  attempt: z.int(),
  error: z.string().nullable(),
  blocked: Blocked.nullable(),
  repeat_due: Time.nullable().meta({
    description: 'When the order is sent to its guest again, unless the guest answers; null if none is out.',
  }),
  started: Time.nullable(),
  ended: Time.nullable(),
});
export type StepDocument = z.output<typeof StepDocument>;

const VersionReference = z.strictObject({ id: z.string(), name: z.string() });

export const UpgradeDocument = z
  .strictObject({
    id: z.string(),
    cluster_id: z.string(),
    cluster_name: z.string().nullable(),
    instance_id: z
      .string()
      .nullable()
      .meta({ description: 'The one instance that it is about; null where it is the whole cluster.' }),
    ...standing,
    until,
    status: z.string().meta({
      description: 'How far it is, what it does or waits for, and what a person can do, in a sentence.',
    }),
    cancelling: z
      .boolean()
      .meta({ description: 'It was cancelled, and ends as soon as nothing is in flight.' }),
    actions: z.array(z.enum(ACTIONS)).meta({
      description:
        'What a person can do now. Of one that is paused and waits for a person, the first makes it go on. To retry or roll back one that has ended begins another upgrade.',
    }),
    from: VersionReference,
    to: VersionReference,
    policy: PolicyDocument,
    progress: z.strictObject({ done: z.int(), total: z.int() }),
    steps: z.array(StepDocument),
    seq: z.int().meta({ description: 'Number of its last event.' }),
    requested_by: z.strictObject({
      user: z.string().nullable(),
      request_id: z.string(),
      via: z.enum(['rest', 'rpc', 'queue']),
    }),
    follows: z
      .strictObject({ upgrade_id: z.string(), as: z.enum(['retry', 'rollback']) })
      .nullable()
      .meta({ description: 'The ended upgrade that it takes up again.' }),
    batch_id: z.string().nullable().meta({ description: 'The batch that it is part of.' }),
    write_outage_ms: z.number().meta({
      description:
        'For how long the cluster took no writes because of it, as the taskmanager heard of it: an upper bound.',
    }),
    created: Time,
    started: Time.nullable(),
    ended: Time.nullable(),
    last_progress: Time.meta({ description: 'When something has moved last.' }),
    estimated_end: Time.nullable().meta({
      description:
        'If every step takes as long as others did; null unless running, and until such steps have been measured.',
    }),
  })
  .meta({ id: 'Upgrade' });
export type UpgradeDocument = z.output<typeof UpgradeDocument>;
export const UpgradeAnswer = z.strictObject({ upgrade: UpgradeDocument });
export type UpgradeAnswer = z.output<typeof UpgradeAnswer>;
export const UpgradesAnswer = z.strictObject({ upgrades: z.array(UpgradeDocument), ...nextPage });
export type UpgradesAnswer = z.output<typeof UpgradesAnswer>;

const PlannedStep = z.strictObject({
  kind: z.enum(STEP_KINDS),
  instance_id: z.string(),
  instance_name: z.string(),
  role: z.enum(ROLES).nullable(),
  stage: z.int().meta({ description: 'Steps of a lower stage end before one of a higher stage starts.' }),
  repair: z.boolean().meta({ description: 'Broken already: goes first, and costs no availability.' }),
});

/** What an upgrade would do, and what would hold it back now. */
export const PlanDocument = z
  .strictObject({
    from: VersionReference,
    to: VersionReference,
    steps: z.array(PlannedStep),
    successor: z
      .strictObject({ instance_id: z.string(), instance_name: z.string() })
      .nullable()
      .meta({ description: 'Who would become primary, by what is known now.' }),
    gates: z.array(GateFinding).meta({ description: 'All that would hold it back now.' }),
    findings: z
      .array(
        z.strictObject({
          name: z.enum(FINDINGS),
          instance_id: z.string(),
          instance_name: z.string(),
          reason: z.string(),
          holds: z.boolean().meta({
            description:
              'It would hold the switchover back, as the gate of this name, until an override acknowledges it.',
          }),
          acknowledged: z.boolean().meta({ description: 'The policy overrides the gate of this name.' }),
        }),
      )
      .meta({ description: 'What a switchover would leave behind, and other findings of the guests.' }),
    estimate_seconds: z.int().nullable().meta({
      description:
        'Work alone: neither windows nor human pauses. Null until steps of this datastore have been measured.',
    }),
    hash: z
      .string()
      .meta({ description: 'The same as long as order, roles, versions and target are: see `plan_hash`.' }),
  })
  .meta({ id: 'Plan' });
export type PlanDocument = z.output<typeof PlanDocument>;
export const PlanAnswer = z.strictObject({ plan: PlanDocument });
export type PlanAnswer = z.output<typeof PlanAnswer>;

export const EventDocument = z
  .strictObject({
    seq: z.int().meta({ description: 'Gapless within an upgrade, from 1.' }),
    at: Time,
    type: z.enum(UPGRADE_EVENT_TYPES),
    instance_id: z.string().nullable(),
    instance_name: z.string().nullable(),
    step: z.int().nullable(),
    attempt: z.int().nullable(),
    phase: z
      .enum(PHASE_NAMES)
      .nullable()
      .meta({ description: 'Of a `step_phase`: the phase that the step has entered.' }),
    message: z.string(),
  })
  .meta({ id: 'UpgradeEvent' });
export type EventDocument = z.output<typeof EventDocument>;
export const EventsAnswer = z.strictObject({ events: z.array(EventDocument) });
export type EventsAnswer = z.output<typeof EventsAnswer>;
