/** The documents that the REST API answers with: Trove's documents where Trove has them, with our fields added. */
import { z } from 'zod';
import { CLUSTER_TASKS, ROLES, SERVICE_STATUSES } from '../core/domain.ts';
import { Links, nextPage, TroveTime } from './fields.ts';
import { GateFinding, PresentUpgrade } from './upgrade-documents.ts';

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

export const ClusterDocument = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    task: z.strictObject({ id: z.int(), name: z.enum(CLUSTER_TASKS), description: z.string() }),
    created: TroveTime,
    updated: TroveTime,
    links: Links,
    datastore: z.strictObject({ type: z.string(), version: z.string() }),
    adopted: z.literal(true).exactOptional().meta({
      description:
        'Its servers existed before, and go on when it is released. Until they have said their version, `datastore.version` is empty.',
    }),
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
        'Gates that the cluster itself keeps shut: `one_primary` where a replica set has two primaries, or none; `adoption_accepted` where an agent of an adopted cluster refuses something, or has not reported. Each says what to do.',
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

export const ClustersAnswer = z.strictObject({ clusters: z.array(ClusterDocument), ...nextPage });
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
export const InstancesAnswer = z.strictObject({ instances: z.array(InstanceDocument), ...nextPage });

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

export const LiveAnswer = z.strictObject({ status: z.literal('live') });
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

const ApiVersion = z.strictObject({
  id: z.literal('v1.0'),
  status: z.literal('CURRENT'),
  updated: z.string(),
  links: Links,
});
export const ApiVersionsAnswer = z.strictObject({ versions: z.array(ApiVersion) });
export const ApiVersionAnswer = z.strictObject({ version: ApiVersion });

/** `{"itemNotFound": {"code": 404, "message": "…", "error": "cluster_not_found"}}` */
export const ErrorAnswer = z
  .record(z.string(), z.strictObject({ code: z.int(), message: z.string(), error: z.string() }))
  .meta({
    id: 'Error',
    description: "One key, Trove's name for the kind of error; `error` is the stable code.",
  });
export type ErrorAnswer = z.output<typeof ErrorAnswer>;
