/** The documents that the REST API answers with: Trove's documents where Trove has them, with our fields added. */
import { z } from 'zod';
import { CLUSTER_TASKS, FINDINGS, ROLES, SERVICE_STATUSES } from '../core/domain.ts';
import { STEP_KINDS } from '../core/history.ts';
import { GATES, PAUSE_REASONS, UPGRADE_EVENT_TYPES } from '../core/record.ts';
import { ACTIONS } from '../core/upgrade/advance.ts';
import { PolicyDocument } from './policy.ts';

/**
 * `2026-11-22T16:49:48`, UTC without a mark of the zone: Trove's clients expect this form in Trove's
 * documents.
 */
const TroveTime = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
/** `2026-11-22T16:49:48.123Z`, in documents of our own. */
const Time = z.iso.datetime({ precision: 3 });

export const Links = z.array(z.strictObject({ href: z.string(), rel: z.enum(['self', 'bookmark', 'next']) }));
const Address = z.strictObject({ address: z.string(), type: z.literal('private'), network: z.string() });
const Flavor = z.strictObject({ id: z.string(), links: Links });
const Volume = z.strictObject({ size: z.int() });

export const INSTANCE_STATUSES = ['ACTIVE', 'BUILD', 'UPGRADE', 'ERROR', 'SHUTDOWN', 'UNKNOWN'] as const;
export type InstanceStatus = (typeof INSTANCE_STATUSES)[number];

/** The fields of an instance that our documents have beyond Trove's. */
const observed = {
  role: z.enum(ROLES).nullable(),
  version: z.string().nullable().meta({ description: "The server's version as it answers itself." }),
  endpoint: z.strictObject({ host: z.string(), port: z.int() }).nullable(),
  lag_bytes: z.number().nullable().meta({ description: 'Replication log that a replica has yet to replay.' }),
  service_status: z.enum(SERVICE_STATUSES),
  in_doubt: z.boolean().meta({
    description:
      'Its guest agent may still carry out an order of an upgrade that has ended. The next upgrade orders it first, which ends that.',
  }),
  service_message: z.string().nullable().meta({
    description: 'Why its guest agent finds the server so, in its words; null where it says nothing.',
  }),
  heard: TroveTime.nullable().meta({
    description: 'When its guest agent spoke last; null before the first time.',
  }),
  fault: z
    .strictObject({ message: z.string(), created: TroveTime })
    .exactOptional()
    .meta({ description: 'What went wrong with what Coffer did to it last.' }),
};

const Neighbour = z.strictObject({ id: z.string(), links: Links });
const ReplicaOf = Neighbour.exactOptional().meta({
  description: 'Of a replica: the instance that it replicates from, as its server says.',
});

const ClusterInstance = z.strictObject({
  id: z.string(),
  name: z.string(),
  type: z.literal('member'),
  links: Links,
  status: z.enum(INSTANCE_STATUSES),
  volume: Volume,
  flavor: Flavor,
  ip: z.array(Address),
  replica_of: ReplicaOf,
  ...observed,
});

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

const Silent = z
  .boolean()
  .meta({ description: 'Nothing has moved for longer than its steps usually take: see `no_progress`.' });

/** The progress of the upgrade that holds a cluster's task. */
const PresentUpgrade = z.strictObject({
  state: z.enum(UPGRADE_STATES),
  to: z.string().meta({ description: 'Name of the version that it goes to.' }),
  reason: z.enum(PAUSE_REASONS).nullable().meta({ description: 'Why it is paused.' }),
  message: z.string().nullable().meta({ description: 'What it waits for.' }),
  cancelling: z.boolean(),
  silent: Silent,
  since: Time.nullable().meta({ description: 'Since when it is paused; null unless it is.' }),
  until: Time.nullable().meta({
    description: 'Of one that is paused: when it goes on by itself; null where it waits for a person.',
  }),
});

/** A gate that does not hold, and why. */
const GateFinding = z.strictObject({ gate: z.enum(GATES), reason: z.string() });

export const ClusterDocument = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    task: z.strictObject({ id: z.int(), name: z.enum(CLUSTER_TASKS), description: z.string() }),
    created: TroveTime,
    updated: TroveTime,
    links: Links,
    datastore: z.strictObject({ type: z.string(), version: z.string() }),
    instances: z.array(ClusterInstance),
    ip: z.array(Address).exactOptional(),
    extended_properties: z.record(z.string(), z.unknown()).exactOptional(),
    upgrade_id: z
      .string()
      .nullable()
      .meta({ description: "The upgrade that is the cluster's task, or its last one." }),
    upgrade: PresentUpgrade.exactOptional().meta({
      description: 'How far that upgrade is, while it is the task. In answers to GET.',
    }),
    problems: z.array(GateFinding).meta({
      description:
        'Gates that the cluster itself keeps shut: `one_primary` where a replica set has two primaries, or none. Each says what to do.',
    }),
    upgrades_to: z.array(z.string()).exactOptional().meta({
      description:
        'Names of the versions that it can be upgraded to as the catalogue is now, oldest first. In answers to GET.',
    }),
  })
  .meta({ id: 'Cluster' });
export type ClusterDocument = z.output<typeof ClusterDocument>;
export type ClusterInstanceDocument = ClusterDocument['instances'][number];

export const ClusterAnswer = z.strictObject({ cluster: ClusterDocument });
export type ClusterAnswer = z.output<typeof ClusterAnswer>;

/** Adds the field that only the answer to the creation of a cluster holds. */
export const CreatedClusterDocument = ClusterDocument.extend({
  join_token: z.string().exactOptional().meta({
    description:
      'With external agents: what an agent needs to join the cluster. Shown only now and stored nowhere; whoever knows it can join until the cluster is built.',
  }),
}).meta({ id: 'CreatedCluster' });
export type CreatedClusterDocument = z.output<typeof CreatedClusterDocument>;
export const CreatedClusterAnswer = z.strictObject({ cluster: CreatedClusterDocument });
export type CreatedClusterAnswer = z.output<typeof CreatedClusterAnswer>;

export const ClustersAnswer = z.strictObject({
  clusters: z.array(ClusterDocument),
  links: Links.exactOptional(),
});
export type ClustersAnswer = z.output<typeof ClustersAnswer>;

export const InstanceDocument = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    status: z.enum(INSTANCE_STATUSES),
    operating_status: z.enum(['HEALTHY', '']),
    links: Links,
    flavor: Flavor,
    datastore: z.strictObject({ type: z.string(), version: z.string(), version_number: z.string() }),
    region: z.null(),
    access: z.strictObject({ is_public: z.boolean(), allowed_cidrs: z.array(z.string()) }),
    tenant_id: z.string(),
    volume: Volume,
    ip: z.array(z.string()),
    addresses: z.array(Address),
    created: TroveTime,
    updated: TroveTime,
    service_status_updated: TroveTime,
    cluster_id: z.string(),
    server_id: z.null(),
    volume_id: z.null(),
    encrypted_rpc_messaging: z.boolean(),
    replica_of: ReplicaOf,
    replicas: z.array(Neighbour).exactOptional().meta({
      description: 'The instances that replicate from this one, as their servers say.',
    }),
    ...observed,
  })
  .meta({ id: 'Instance' });
export type InstanceDocument = z.output<typeof InstanceDocument>;
export const InstanceAnswer = z.strictObject({ instance: InstanceDocument });
export type InstanceAnswer = z.output<typeof InstanceAnswer>;
export const InstancesAnswer = z.strictObject({
  instances: z.array(InstanceDocument),
  links: Links.exactOptional(),
});
export type InstancesAnswer = z.output<typeof InstancesAnswer>;

/** A label that is stored and shown: Coffer chooses no hosts, so a flavor has no size. */
export const FlavorDocument = z
  .strictObject({
    id: z.int().nullable().meta({ description: 'Where the label is a number.' }),
    str_id: z.string(),
    name: z.string(),
    links: Links,
    ...{ ram: z.literal(0), vcpus: z.literal(0), disk: z.literal(0), ephemeral: z.literal(0) },
  })
  .meta({ id: 'Flavor' });
export type FlavorDocument = z.output<typeof FlavorDocument>;
export const FlavorAnswer = z.strictObject({ flavor: FlavorDocument });
export const FlavorsAnswer = z.strictObject({ flavors: z.array(FlavorDocument) });

/** The limits of what a tenant may have and ask; -1 means no limit. */
const AbsoluteLimits = z.strictObject({
  verb: z.literal('ABSOLUTE'),
  ...{ max_instances: z.int(), max_ram: z.int(), max_backups: z.int(), max_volumes: z.int() },
  max_clusters: z.int(),
});
const RateLimit = z.strictObject({
  verb: z.string(),
  ...{ uri: z.literal('*'), regex: z.literal('.*'), unit: z.literal('MINUTE') },
  ...{ value: z.int(), remaining: z.int(), nextAvailable: z.string() },
});
export type LimitsAnswer = z.output<typeof LimitsAnswer>;
export const LimitsAnswer = z.strictObject({
  limits: z
    .tuple([AbsoluteLimits], RateLimit)
    .meta({ description: 'First what may be had, then what may be asked.' }),
});

/** Which versions can be upgraded to this one, and which versions can serve beside it. */
export const VersionPaths = {
  upgrade_from: z.string().nullable().meta({
    description:
      'The versions that it can be reached from, as a semver range; null: what its manager allows.',
  }),
  not_mixed_with: z.string().nullable().meta({
    description: 'The versions that must not run beside it in one cluster, as a semver range; null: none.',
  }),
};

const version = {
  id: z.string(),
  name: z.string(),
  version: z.string(),
  links: Links,
  packages: z.string(),
  image: z.string(),
  image_tags: z.array(z.string()),
  ...VersionPaths,
};

/**
 * A version within its datastore. `active` is a number here and a boolean in the document of a single
 * version, as in Trove.
 */
export const DatastoreDocument = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    links: Links,
    versions: z.array(z.strictObject({ ...version, active: z.literal([0, 1]) })),
    default_version: z
      .string()
      .exactOptional()
      .meta({ description: 'What clusters get that name no version; absent when they have to.' }),
  })
  .meta({ id: 'Datastore' });
export type DatastoreDocument = z.output<typeof DatastoreDocument>;
export const DatastoreAnswer = z.strictObject({ datastore: DatastoreDocument });
export type DatastoreAnswer = z.output<typeof DatastoreAnswer>;
export const DatastoresAnswer = z.strictObject({
  datastores: z.array(DatastoreDocument),
  links: Links.exactOptional(),
});
export type DatastoresAnswer = z.output<typeof DatastoresAnswer>;

const ListedVersion = z.strictObject({ ...version, datastore: z.string(), active: z.literal([0, 1]) });
export type DatastoreVersionListed = z.output<typeof ListedVersion>;
export const VersionsAnswer = z.strictObject({
  versions: z.array(ListedVersion),
  links: Links.exactOptional(),
});
export type VersionsAnswer = z.output<typeof VersionsAnswer>;
export const DatastoreVersionDocument = z
  .strictObject({ ...version, datastore: z.string(), active: z.boolean() })
  .meta({ id: 'DatastoreVersion' });
export type DatastoreVersionDocument = z.output<typeof DatastoreVersionDocument>;
export const VersionAnswer = z.strictObject({ version: DatastoreVersionDocument });
export type VersionAnswer = z.output<typeof VersionAnswer>;

/** The names of `Phase` in the core. */
export const STEP_PHASES = [
  'pending',
  'backoff',
  'preparing',
  'upgrading',
  'verifying',
  'settling',
  'soaking',
  'fencing',
  'demoting',
  'promoting',
  'following',
  'restoring',
  'done',
  'failed',
  'skipped',
] as const;

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
  phase: z.enum(STEP_PHASES),
  attempt: z.int(),
  error: z.string().nullable(),
  blocked: Blocked.nullable(),
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
    state: z.enum(UPGRADE_STATES),
    reason: z.enum(PAUSE_REASONS).nullable().meta({ description: 'Why it is paused.' }),
    message: z.string().nullable().meta({ description: 'What it waits for, or why it ended.' }),
    since: Time.nullable().meta({ description: 'Since when it is paused; null unless it is.' }),
    until: Time.nullable().meta({
      description: 'Of one that is paused: when it goes on by itself; null where it waits for a person.',
    }),
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
    silent: Silent,
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
export const UpgradesAnswer = z.strictObject({
  upgrades: z.array(UpgradeDocument),
  links: Links.exactOptional(),
});
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
      .enum(STEP_PHASES)
      .nullable()
      .meta({ description: 'Of a `step_phase`: the phase that the step has entered.' }),
    message: z.string(),
  })
  .meta({ id: 'UpgradeEvent' });
export type EventDocument = z.output<typeof EventDocument>;
export const EventsAnswer = z.strictObject({ events: z.array(EventDocument) });
export type EventsAnswer = z.output<typeof EventsAnswer>;

export const LiveAnswer = z.strictObject({ status: z.literal('live') });
export type LiveAnswer = z.output<typeof LiveAnswer>;
const Check = z.enum(['ok', 'unreachable']);
export const StoreCheck = z.enum(['ok', 'unreachable', 'refuses_writes']);
export const ReadyAnswer = z.strictObject({
  status: z.enum(['ready', 'unavailable']),
  checks: z.strictObject({ redis: StoreCheck, rabbitmq: Check }),
  message: z.string().exactOptional(),
  other_installations: z
    .array(z.string())
    .exactOptional()
    .meta({ description: 'Ids of installations that consume from the same queues.' }),
});
export type ReadyAnswer = z.output<typeof ReadyAnswer>;

const ApiVersion = z.strictObject({
  id: z.literal('v1.0'),
  status: z.literal('CURRENT'),
  updated: z.string(),
  links: Links,
});
export const ApiVersionsAnswer = z.strictObject({ versions: z.array(ApiVersion) });
export type ApiVersionsAnswer = z.output<typeof ApiVersionsAnswer>;
export const ApiVersionAnswer = z.strictObject({ version: ApiVersion });
export type ApiVersionAnswer = z.output<typeof ApiVersionAnswer>;

/** `{"itemNotFound": {"code": 404, "message": "…", "error": "cluster_not_found"}}` */
export const ErrorAnswer = z
  .record(z.string(), z.strictObject({ code: z.int(), message: z.string(), error: z.string() }))
  .meta({
    id: 'Error',
    description: "One key, Trove's name for the kind of error; `error` is the stable code.",
  });
export type ErrorAnswer = z.output<typeof ErrorAnswer>;
