/**
 * Arguments of the RPC methods. Lenient towards keys that it does not know: Trove's services and
 * guests send some of their own, and a newer peer may add more. Strict about what it uses.
 */
import { z } from 'zod';
import {
  GUEST_ACTIONS,
  type GuestAction,
  type GuestReport,
  ROLES,
  type ServiceStatus,
  type UpgradeInfo,
} from '../core/domain.ts';
import { Id, Reference, text } from './fields.ts';
import { PolicyRequest } from './policy.ts';

/** taskmanager: `upgrade_cluster`. */
export const UpgradeClusterArgs = z.looseObject({
  cluster_id: Id,
  datastore_version_id: Reference,
  upgrade_id: Id.exactOptional(),
  policy: PolicyRequest.exactOptional(),
});
export type UpgradeClusterArgs = z.output<typeof UpgradeClusterArgs>;

/** taskmanager: `upgrade`, of one instance. */
export const UpgradeInstanceArgs = z.looseObject({ instance_id: Id, datastore_version_id: Reference });
export type UpgradeInstanceArgs = z.output<typeof UpgradeInstanceArgs>;

/** taskmanager: `create_cluster` and `delete_cluster`. */
export const ClusterArgs = z.looseObject({ cluster_id: Id });
export type ClusterArgs = z.output<typeof ClusterArgs>;

const EndpointArg = z.object({ host: text(255), port: z.int().min(1).max(65_535) });
const attemptNumber = z.int().min(0);

const AttemptReportArg = z.object({
  upgrade_id: Id,
  step: attemptNumber,
  attempt: attemptNumber,
  action: z.enum(GUEST_ACTIONS),
  status: z.enum(['running', 'succeeded', 'failed']),
  error: z.string().nullable().exactOptional(),
  permanent: z.boolean().exactOptional(),
  result: z.record(z.string(), z.unknown()).nullable().exactOptional(),
});

/** Service statuses, Trove's included, by what they mean for an upgrade. */
const STATUS_MEANINGS: ReadonlyMap<string, ServiceStatus> = new Map([
  ['healthy', 'healthy'],
  ['running', 'healthy'],
  ['restart required', 'healthy'],
  ['upgrading', 'upgrading'],
  ['building', 'building'],
  ['new', 'building'],
  ['instance ready', 'building'],
  ['shutdown', 'shutdown'],
  ['paused', 'shutdown'],
  ['deleted', 'shutdown'],
  ['failed', 'failed'],
  ['crashed', 'failed'],
  ['failed to spawn', 'failed'],
  ['guestagent error', 'failed'],
]);

/** What a guest said is kept in the record and shown: a line, not a log. */
const MAX_MESSAGE = 2000;

/**
 * taskmanager: `join`, by which an agent that an operator started takes its place in a cluster. Who
 * knows the token's hash knows the cluster's token; the token itself is never sent.
 */
export const JoinArgs = z.looseObject({
  cluster_id: Id,
  token_sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be a sha256 in hexadecimal digits'),
  agent_id: Id,
  endpoint: EndpointArg,
});

/** conductor: `heartbeat`. `sent` is in seconds with a fraction, as Trove's guests send it. */
export const HeartbeatArgs = z.looseObject({
  instance_id: Id,
  sent: z.number().min(0).max(1e11),
  payload: z.looseObject({
    service_status: z.string().transform((status): ServiceStatus => STATUS_MEANINGS.get(status) ?? 'unknown'),
    version: z.string().max(255).nullable().exactOptional(),
    role: z.enum(ROLES).nullable().exactOptional(),
    lag_bytes: z.number().min(0).nullable().exactOptional(),
    synchronous: z.boolean().exactOptional(),
    endpoint: EndpointArg.nullable().exactOptional(),
    message: z
      .string()
      .transform((message) => message.slice(0, MAX_MESSAGE))
      .nullable()
      .exactOptional(),
    attempt: AttemptReportArg.nullable().exactOptional(),
    agent: z.string().max(255).exactOptional(),
  }),
});
export type HeartbeatArgs = z.output<typeof HeartbeatArgs>;

/** The report within a heartbeat, in the core's words and in milliseconds; keys of others fall away. */
export function reportOf(args: HeartbeatArgs): GuestReport {
  const { service_status, version, role, lag_bytes, synchronous, endpoint, message, attempt, agent } =
    args.payload;
  return {
    service_status,
    sent: Math.round(args.sent * 1000),
    ...(version !== undefined && { version }),
    ...(role !== undefined && { role }),
    ...(lag_bytes !== undefined && { lag_bytes }),
    ...(synchronous !== undefined && { synchronous }),
    ...(endpoint !== undefined && { endpoint }),
    ...(message !== undefined && { message }),
    ...(attempt !== undefined && { attempt }),
    ...(agent !== undefined && { agent }),
  };
}

/** A report as the arguments of a `heartbeat` cast: the inverse of `reportOf`. */
export function heartbeatArgs(instance_id: string, report: GuestReport) {
  const { sent, ...payload } = report;
  return { instance_id, sent: sent / 1000, payload };
}

/** Which attempt a message to a guest belongs to. Absent from a plain Trove taskmanager. */
const attemptOf = {
  upgrade_id: Id.exactOptional(),
  step: attemptNumber.exactOptional(),
  attempt: attemptNumber.exactOptional(),
};

const optionalInfo = z.looseObject({ upgrade_info: z.looseObject(attemptOf).exactOptional() });

/**
 * Arguments of the guest's methods, all in `upgrade_info` as in Trove, where `pre_upgrade` comes
 * without. A version number is all that a guest is told of the version.
 */
export const GUEST_ARGS = {
  pre_upgrade: z.looseObject({
    upgrade_info: z
      .looseObject({ ...attemptOf, datastore_version: text(255).exactOptional() })
      .exactOptional(),
  }),
  upgrade: z.looseObject({
    upgrade_info: z.looseObject({
      ...attemptOf,
      datastore_version: text(255),
      primary: EndpointArg.nullable().exactOptional(),
    }),
  }),
  post_upgrade: optionalInfo,
  demote: optionalInfo,
  promote: z.looseObject({ upgrade_info: z.looseObject({ ...attemptOf, lsn: text(64) }) }),
  follow: z.looseObject({ upgrade_info: z.looseObject({ ...attemptOf, primary: EndpointArg }) }),
} satisfies Record<GuestAction, z.ZodType>;

/** The answer to `pre_upgrade`. A Trove guest answers an object of its own, or nothing at all. */
export const PreUpgradeAnswer = z
  .looseObject({
    reversible: z.boolean().exactOptional(),
    role: z.enum(ROLES).nullable().exactOptional(),
    lag_bytes: z.number().min(0).nullable().exactOptional(),
  })
  .nullable()
  .transform((info): UpgradeInfo => info ?? {});
