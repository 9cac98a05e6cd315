/**
 * The REST interface: what requests may hold and what answers hold. The api validates with these schemas and
 * makes its OpenAPI document from them; the client takes its types from them.
 *
 * Files: `http.ts` requests · `documents.ts` answers · `rpc.ts` the RPC interface · `policy.ts` the policy of
 * an upgrade · `simulated.ts` how simulated clusters behave · `dead-letters.ts` · `catalogue.ts` ·
 * `health.ts` the state of all parts · `permissions.ts` what a caller may do · `fields.ts` shared fields ·
 * `explain.ts` zod's findings in Trove's words.
 */
import { z } from 'zod';
import type { Action } from '../core/upgrade/inputs.ts';
import { Id, Identifier, isId, nothing, Reference, TenantId, text } from './fields.ts';
import { PolicyRequest } from './policy.ts';
import { ExtendedProperties } from './simulated.ts';

/** The number of answers on a page when the request names none; Trove's default. */
const DEFAULT_LIMIT = 20;
export const MAX_LIMIT = 100;

export const TenantParams = z.object({ tenant_id: TenantId });
export const ClusterParams = TenantParams.extend({
  cluster_id: Reference.meta({
    description: "The cluster's id, or its name if no other cluster of the tenant has it.",
  }),
});
/**
 * In a path, an id of the wrong form counts as an id that does not exist: 404, which clients that try names
 * first expect.
 */
const PathId = Reference.transform((id) => id.toLowerCase());
const InstanceReference = Reference.meta({
  description: "The instance's id, or its name if no other instance has it.",
});
export const ClusterInstanceParams = ClusterParams.extend({ instance_id: InstanceReference });
export const InstanceParams = TenantParams.extend({ instance_id: InstanceReference });
export const FlavorParams = TenantParams.extend({ flavor: text(255) });
export const DatastoreParams = TenantParams.extend({
  datastore: Reference.meta({ description: 'Id or name.' }),
});
export const DatastoreVersionParams = DatastoreParams.extend({
  version: Reference.meta({ description: 'Id or name.' }),
});
export const VersionParams = TenantParams.extend({ version_id: PathId });
export const UpgradeParams = TenantParams.extend({ upgrade_id: PathId });

/** A whole number in a query string. */
function numeral(min: number, max: number) {
  return z
    .string()
    .regex(/^\d{1,9}$/, 'is not a whole number')
    .transform(Number)
    .pipe(z.number().min(min).max(max));
}

/** A request for more than the largest page gets the largest page, as in Trove. */
const Limit = numeral(1, 999_999_999).transform((limit) => Math.min(limit, MAX_LIMIT));
const Marker = Id.exactOptional().meta({ description: 'The last id of the page before.' });

export const PageQuery = z.object({ limit: Limit.default(DEFAULT_LIMIT), marker: Marker });

/** For a listing that Trove returns whole: it is split into pages only for clients that ask for a page. */
export const SomePageQuery = z.object({ limit: Limit.exactOptional(), marker: Marker });
export type SomePageQuery = z.output<typeof SomePageQuery>;

/** Booleans as Python writes them, and as JavaScript does. */
const Truth = z.stringbool({ truthy: ['true', '1'], falsy: ['false', '0'] });
export const InstancesQuery = PageQuery.extend({
  include_clustered: Truth.default(false).meta({
    description: 'Whether to list instances of clusters; others there are none, as in Trove.',
  }),
});

const UpgradeRequest = z.strictObject({
  datastore_version: Reference.meta({ description: 'Id of the version to go to, or its name.' }),
  policy: PolicyRequest.exactOptional(),
  dry_run: z
    .boolean()
    .exactOptional()
    .meta({ description: 'Answers 200 with the plan, and changes nothing.' }),
  plan_hash: z
    .string()
    .regex(/^[0-9a-f]{16}$/, 'must be the hash of a plan: 16 hexadecimal digits')
    .exactOptional()
    .meta({ description: 'Of a plan that a dry run has shown: 409 if it is no longer the same.' }),
});
export type UpgradeRequest = z.output<typeof UpgradeRequest>;

/** Body of `PATCH …/cluster/{cluster_id}`: the upgrade's fields at the top level, or within `cluster`. */
export const PatchClusterBody = z
  .strictObject({
    cluster: UpgradeRequest.exactOptional(),
    ...UpgradeRequest.shape,
    datastore_version: UpgradeRequest.shape.datastore_version.exactOptional(),
  })
  .transform((body, context): UpgradeRequest => {
    const { cluster, ...bare } = body;
    const { datastore_version } = bare;
    if (cluster === undefined && datastore_version !== undefined) return { ...bare, datastore_version };
    if (cluster !== undefined && Object.keys(bare).length === 0) return cluster;
    const message =
      cluster === undefined
        ? "'datastore_version' is a required property"
        : "must hold the version either bare or within 'cluster', not both";
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });

/** GiB; Trove's command line sends it as text. */
const VolumeSize = z.preprocess(
  (size) => (typeof size === 'string' && /^\d{1,6}$/.test(size) ? Number(size) : size),
  z.int().min(1).max(65_536),
);

const InstanceRequest = z.strictObject({
  flavorRef: z.union([text(255), z.int().min(0).transform(String)]).default('1'),
  volume: z.strictObject({ size: VolumeSize }).default({ size: 1 }),
  nics: z.unknown().optional().meta({ description: 'Accepted from Trove clients, and ignored.' }),
  availability_zone: z
    .unknown()
    .optional()
    .meta({ description: 'Accepted from Trove clients, and ignored.' }),
  region_name: z.unknown().optional().meta({ description: 'Accepted from Trove clients, and ignored.' }),
});

const NewInstance = InstanceRequest.extend({
  id: Id.exactOptional().meta({
    description:
      'Of an instance that is there already, with a guest agent of Trove: registered, not built. For administrators, where the provisioner is external; then every instance has one.',
  }),
  rpc_secret: text(255).exactOptional().meta({
    description:
      "Of an instance with an 'id': its guest agent's instance_rpc_encr_key, where that is in use.",
  }),
});

const AddedInstance = InstanceRequest.extend({
  name: text(255)
    .refine((name) => !isId(name), 'must not have the form of an id')
    .exactOptional()
    .meta({ description: "The cluster's name and a number, when left out." }),
});
export type AddedInstance = z.output<typeof AddedInstance>;
export type AddedInstanceInput = z.input<typeof AddedInstance>;

/** Body of `PATCH …/instances/{instance_id}`: the target version of this one instance. */
export const PatchInstanceBody = z.strictObject({ instance: UpgradeRequest });

/** Body of `POST …/clusters/{cluster_id}`: exactly one action. */
export const ClusterActionBody = z.strictObject({
  upgrade: UpgradeRequest.exactOptional(),
  'reset-status': z.strictObject({}).exactOptional().meta({
    description:
      'Frees a cluster of its task: an upgrade ends at once as cancelled, whatever is in flight; one that is being built or grown counts as built; what is being removed counts as removed.',
  }),
  grow: z
    .array(AddedInstance)
    .min(1)
    .max(100)
    .exactOptional()
    .meta({ description: 'Adds instances, each a replica of the present primary where there is one.' }),
  shrink: z
    .array(z.strictObject({ id: Reference.meta({ description: "An instance's id, or its name." }) }))
    .min(1)
    .max(100)
    .exactOptional()
    .meta({ description: 'Removes these instances with their data; never the primary.' }),
  release: z
    .strictObject({
      force: z.boolean().default(false).meta({
        description:
          'Does not wait for agents that do not answer: what Coffer has set on their servers stays there.',
      }),
    })
    .exactOptional()
    .meta({
      description:
        'Lets an adopted cluster go: its agents take back what Coffer has set, its record is removed, and its servers go on serving.',
    }),
});
export type ClusterActionBody = z.output<typeof ClusterActionBody>;
/**
 * Actions that Trove knows and Coffer does not (yet): they are refused with another message than a misspelt
 * action.
 */
export const TROVE_ACTIONS: readonly string[] = [
  'add_shard',
  'restart',
  'configuration_attach',
  'configuration_detach',
];

/** Body of `POST …/upgrades/{upgrade_id}`: exactly one action. */
export const UpgradeActionBody = z.strictObject({
  pause: nothing.exactOptional().meta({ description: 'Starts nothing further; what is in flight ends.' }),
  resume: nothing.exactOptional().meta({ description: 'Goes on after a pause.' }),
  approve: nothing.exactOptional().meta({ description: 'Goes on past the canary.' }),
  confirm: nothing.exactOptional().meta({
    description:
      'The instance that it has paused for runs the new version: the caller has looked at its server.',
  }),
  retry: z.strictObject({ datastore_version: Reference.exactOptional() }).exactOptional().meta({
    description: 'Tries again what has failed, with all its retries anew; with another version, that one.',
  }),
  cancel: nothing
    .exactOptional()
    .meta({ description: 'Starts nothing further, and ends as cancelled once what is in flight has ended.' }),
  rollback: nothing.exactOptional().meta({
    description: 'Goes back to the version that the cluster came from, the same way in the reverse order.',
  }),
} satisfies Record<Action, z.ZodType>);

/** Names that the database server or Coffer needs for itself. */
const RESERVED = /^(pg_|coffer|postgres$|template[01]$)/i;
const OwnIdentifier = Identifier.refine((name) => !RESERVED.test(name), 'is reserved');

/** Printable ASCII only: for other characters, clients and servers disagree on how a password is normalised. */
const Password = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[\x20-\x7e]*$/, 'must consist of printable ASCII characters');

const Databases = z
  .array(z.strictObject({ name: OwnIdentifier }))
  .max(50)
  .refine(areNamesUnique, 'has a name twice');

const Users = z
  .array(
    z.strictObject({
      name: OwnIdentifier,
      password: Password,
      databases: z
        .array(z.strictObject({ name: OwnIdentifier }))
        .max(50)
        .default([]),
    }),
  )
  .max(50)
  .refine(areNamesUnique, 'has a name twice');

function areNamesUnique(items: readonly { readonly name: string }[]): boolean {
  return new Set(items.map((item) => item.name)).size === items.length;
}

const ClusterRequest = z
  .strictObject({
    name: text(255).refine((name) => !isId(name), 'must not have the form of an id'),
    datastore: z.strictObject({ type: Reference, version: Reference.exactOptional() }),
    instances: z.array(NewInstance).min(1).max(100),
    extended_properties: ExtendedProperties.default({}),
    databases: Databases.default([]),
    users: Users.default([]),
  })
  .superRefine((cluster, context) => {
    const known = new Set(cluster.databases.map((database) => database.name));
    for (const [user, { databases }] of cluster.users.entries()) {
      for (const [index, { name }] of databases.entries()) {
        if (known.has(name)) continue;
        const path = ['users', user, 'databases', index, 'name'];
        context.addIssue({ code: 'custom', path, message: "is not among the cluster's databases" });
      }
    }
  });

/** Body of `POST …/clusters`. */
export const CreateClusterBody = z.strictObject({ cluster: ClusterRequest });
export type ClusterRequest = z.output<typeof ClusterRequest>;
/** The same as a client writes it, where everything that has a default may be left out. */
export type CreateClusterInput = z.input<typeof ClusterRequest>;

/**
 * The last event that a reader of an event stream has seen: header `Last-Event-ID`, or this query parameter
 * for clients that can't set the header.
 */
export const EventsQuery = z.object({ last_event_id: numeral(0, 999_999_999).exactOptional() });
