/** Adoption at the border of HTTP: the request to adopt servers, and the report on what their agents have found. */
import { z } from 'zod';
import { ADOPTION_REFUSALS } from '../core/adoption.ts';
import { ROLES } from '../core/domain.ts';
import { CreatedClusterDocument } from './documents.ts';
import { isId, Reference, Time, text } from './fields.ts';
import { GateFinding } from './upgrade-documents.ts';

const Host = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^\s:/]+$/, 'must be the name or the IPv4 address of a host');
const Address = z.strictObject({ host: Host, port: z.int().min(1).max(65_535) });

const AdoptRequest = z.strictObject({
  name: text(255).refine((name) => !isId(name), 'must not have the form of an id'),
  datastore: z.strictObject({ type: Reference }),
  instances: z
    .array(Address)
    .min(1)
    .max(100)
    .refine(
      (all) => new Set(all.map(({ host, port }) => `${host}:${port}`)).size === all.length,
      'has a server twice',
    )
    .meta({ description: 'Where the servers serve, as their agents will say it (COFFER_ADVERTISE).' }),
});
/** Body of `POST …/adoptions`. */
export const AdoptBody = z.strictObject({ adoption: AdoptRequest });
export type AdoptRequest = z.output<typeof AdoptRequest>;
export type AdoptInput = z.input<typeof AdoptRequest>;

const JoinToken = z.strictObject({
  instance_id: z.string(),
  instance_name: z.string(),
  endpoint: Address,
  join_token: z.string(),
});

/** Adds what only the answer to the adoption of a cluster holds. */
export const AdoptingClusterDocument = CreatedClusterDocument.omit({ join_token: true })
  .extend({
    join_tokens: z.array(JoinToken).meta({
      description:
        'For each server, the token with which the agent on its host joins. Shown only now and stored nowhere. Empty in the answer to a repeated request.',
    }),
  })
  .meta({ id: 'AdoptingCluster' });
export type AdoptingClusterDocument = z.output<typeof AdoptingClusterDocument>;
export const AdoptingClusterAnswer = z.strictObject({ cluster: AdoptingClusterDocument });
export type AdoptingClusterAnswer = z.output<typeof AdoptingClusterAnswer>;

const Server = z.strictObject({
  version: z.string().meta({ description: 'As in the catalogue.' }),
  full_version: z.string().meta({ description: 'As the server says it, with what its distribution adds.' }),
  role: z.enum(['primary', 'replica']),
  upstream: z.strictObject({ host: z.string(), port: z.int() }).nullable(),
  system_identifier: z.string(),
  data_checksums: z.boolean(),
  port: z.int(),
  socket_directories: z.array(z.string()),
  data_directory: z.string(),
  config_file: z.string(),
  settings: z
    .array(z.strictObject({ name: z.string(), value: z.string(), source: z.string() }))
    .meta({ description: 'The settings in force that matter to an upgrade, and where each comes from.' }),
  slots: z.array(
    z.strictObject({ name: z.string(), type: z.enum(['physical', 'logical']), active: z.boolean() }),
  ),
  extensions: z.array(z.strictObject({ database: z.string(), name: z.string(), version: z.string() })),
  preload_libraries: z.array(z.string()),
  tablespaces: z.array(z.strictObject({ name: z.string(), location: z.string() })),
  synchronous_standby_names: z.string(),
  archive_program: z.string().nullable(),
});

const InstanceReport = z.strictObject({
  instance_id: z.string(),
  instance_name: z.string(),
  address: Address.nullable().meta({ description: 'As the request to adopt it has named it.' }),
  role: z.enum(ROLES).nullable(),
  heard: Time.nullable().meta({ description: 'When its agent reported last; null before the first time.' }),
  host: z
    .strictObject({
      control: z.string().meta({ description: 'How the server is started and stopped.' }),
      login: z.string().meta({ description: 'How the agent logs in.' }),
      versions: z.array(z.strictObject({ version: z.string(), from: z.string() })).meta({
        description: 'Where the binaries of which version are, or which command brings them.',
      }),
    })
    .nullable()
    .meta({ description: "What the operator's file on the host says; null before the first report." }),
  server: Server.nullable().meta({ description: 'What the server says; null while it cannot be asked.' }),
  changes: z
    .array(z.strictObject({ what: z.string(), where: z.string(), taken_back: z.string().nullable() }))
    .meta({ description: 'What Coffer would do in an upgrade, and where; and how that is taken back.' }),
  refusals: z
    .array(z.strictObject({ code: z.enum(ADOPTION_REFUSALS), reason: z.string(), way_out: z.string() }))
    .meta({ description: 'What its agent refuses. Each stands until its cause is gone.' }),
});

export const AdoptionDocument = z
  .strictObject({
    cluster_id: z.string(),
    cluster_name: z.string(),
    accepted: z.boolean().meta({ description: 'Every agent has reported, and nothing is refused.' }),
    gates: z.array(GateFinding).meta({ description: 'All that keeps the cluster from being upgraded.' }),
    system_identifier: z.string().nullable(),
    instances: z.array(InstanceReport),
  })
  .meta({ id: 'Adoption' });
export type AdoptionDocument = z.output<typeof AdoptionDocument>;
export const AdoptionAnswer = z.strictObject({ adoption: AdoptionDocument });
export type AdoptionAnswer = z.output<typeof AdoptionAnswer>;
