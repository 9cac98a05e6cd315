/**
 * Arguments of the RPC methods. The schemas ignore keys that they do not know: Trove's services and guests
 * send keys of their own, and a newer peer may add more. The schemas are strict about the keys that Coffer
 * uses.
 */
import { z } from 'zod';
import {
  GUEST_ACTIONS,
  GUEST_FINDINGS,
  type GuestAction,
  type GuestReport,
  HINDRANCES,
  ROLES,
  SERVER_KINDS,
  SERVICE_STATUSES,
  type ServiceStatus,
  type UpgradeInfo,
} from '../core/domain.ts';
import { FOLLOW_UPS } from '../core/follow-up.ts';
import { WAYS_IN } from '../core/record.ts';
import { ACTIONS } from '../core/upgrade/inputs.ts';
import { AdoptionReportArg } from './adoption.ts';
import { Id, Reference, text } from './fields.ts';
import { PolicyRequest } from './policy.ts';

/** The arguments that begin an upgrade, of a cluster or of one instance. All but the version are Coffer's own. */
const beginArgs = {
  datastore_version_id: Reference,
  upgrade_id: Id.exactOptional(),
  policy: PolicyRequest.exactOptional(),
  /** Sent by our api: who asked the api for the upgrade. Without it: the user of the message's context. */
  requested_by: z.looseObject({ user: z.string().nullable(), via: z.enum(WAYS_IN) }).exactOptional(),
  /** The ended upgrade that this one takes up. */
  follows: z.looseObject({ upgrade_id: Id, as: z.enum(FOLLOW_UPS) }).exactOptional(),
};
export type BeginArgs = Pick<UpgradeClusterArgs, keyof typeof beginArgs>;

/** taskmanager: `upgrade_cluster`. */
export const UpgradeClusterArgs = z.looseObject({ cluster_id: Id, ...beginArgs });
export type UpgradeClusterArgs = z.output<typeof UpgradeClusterArgs>;

/** taskmanager: `upgrade`, for one instance. */
export const UpgradeInstanceArgs = z.looseObject({ instance_id: Id, ...beginArgs });

/** taskmanager: `create_cluster`, `grow_cluster`, `shrink_cluster` and `delete_cluster`. */
export const ClusterArgs = z.looseObject({ cluster_id: Id });

/** taskmanager: `release_cluster`, which lets an adopted cluster go. */
export const ReleaseClusterArgs = z.looseObject({ cluster_id: Id, force: z.boolean().default(false) });

/** A guest agent's answer to `release`: nothing that Coffer has set is left on its server. */
export const ReleaseAnswer = z.looseObject({ released: z.literal(true) });

/** taskmanager: `upgrade_action`, the action that a person wants on an upgrade. */
export const UpgradeActionArgs = z.looseObject({
  upgrade_id: Id,
  action: z.enum(ACTIONS),
  /** Who wants the action, in the words of the event that reports it. */
  by: text(255),
  /** With `retry`: the version to go to instead. With `approve`: the version that the person has looked at. */
  target: z.object({ id: Id, name: text(255) }).exactOptional(),
  /**
   * With `confirm`: the attempt that the person confirms. A confirmation that comes late does not apply to
   * another attempt.
   */
  about: z.object({ step: z.int().min(0), attempt: z.int().min(0) }).exactOptional(),
});

/** The answer. `stale`: the upgrade was in that state already. `missing`: the upgrade no longer exists. */
export const UpgradeActionAnswer = z.discriminatedUnion('verdict', [
  z.object({ verdict: z.enum(['applied', 'stale', 'missing']) }),
  z.object({ verdict: z.literal('refused'), reason: z.string() }),
]);
export type UpgradeActionAnswer = z.output<typeof UpgradeActionAnswer>;

/** taskmanager: `reset_status`: an administrator wants to free a cluster of its task. */
export const ResetStatusArgs = z.looseObject({ cluster_id: Id, by: text(255) });

/** The answer. `busy`: the cluster has a task that a reset does not end. */
export const ResetStatusAnswer = z.object({ verdict: z.enum(['done', 'missing', 'busy']) });
export type ResetStatusAnswer = z.output<typeof ResetStatusAnswer>;

const EndpointArg = z.object({ host: text(255), port: z.int().min(1).max(65_535) });
export const PlacementArg = z.object({
  rack: text(255).exactOptional(),
  seed: z.boolean().exactOptional(),
  shard: text(255).exactOptional(),
  kind: z.enum(SERVER_KINDS).exactOptional(),
});
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

/**
 * Service statuses, Trove's included, mapped to their meaning for an upgrade; any other status is `unknown`.
 * As in Trove only `healthy` means healthy: `running` is the status of a server whose container runs and that
 * does not answer.
 */
const STATUS_MEANINGS: ReadonlyMap<string, ServiceStatus> = new Map([
  ['healthy', 'healthy'],
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

/** The guest's message is kept in the record and shown: it must be a line, not a log. */
const MAX_MESSAGE = 2000;

/** A status for which only Trove has a word is shown in Trove's word. */
function meaningOf({
  service_status: said,
  message,
}: {
  readonly service_status: string;
  readonly message?: string | null;
}): { readonly service_status: ServiceStatus; readonly message?: string | null } {
  const service_status = STATUS_MEANINGS.get(said) ?? 'unknown';
  const isTroves = service_status !== 'healthy' && service_status !== said;
  if (!isTroves || message !== undefined) return { service_status };
  return { service_status, message: `its guest agent reports the status "${said}"` };
}

/** 32 bytes in base64url. */
const publicKey = z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'must be 32 bytes in base64url');

/**
 * taskmanager: `join`, with which an agent that an operator started takes its place in a cluster: see
 * `bus/joining.ts`.
 */
export const JoinArgs = z.object({
  cluster_id: Id,
  endpoint: EndpointArg,
  /** In milliseconds, by the agent's clock. */
  sent: z.int().min(0),
  agent_key: publicKey,
  exchange_key: publicKey,
  proof: z.string().regex(/^[0-9a-f]{64}$/, 'must be 32 bytes in hexadecimal digits'),
  signature: z.string().regex(/^[0-9a-f]{128}$/, 'must be 64 bytes in hexadecimal digits'),
});

/** What an agent that has joined receives: secret, for this agent only. */
export const JoinedInstance = z.object({
  installation: Id.exactOptional(),
  instance_id: Id,
  cluster_id: Id,
  name: z.string(),
  ordinal: z.int().min(0),
  manager: text(255),
  adopted: z.boolean().exactOptional(),
  datastore_version: z.string().max(255),
  role: z.enum(ROLES),
  endpoint: EndpointArg,
  primary: EndpointArg.nullable(),
  extended_properties: z.record(z.string(), z.unknown()),
  databases: z.array(z.string()),
  users: z.array(z.object({ name: z.string(), verifier: z.string(), databases: z.array(z.string()) })),
  rpc_key: z.string(),
});
export type JoinedInstance = z.output<typeof JoinedInstance>;

/** The answer. `refused`: asking again is of no use. */
export const JoinAnswer = z.discriminatedUnion('verdict', [
  z.object({
    verdict: z.literal('joined'),
    sealed: z.object({ exchange_key: publicKey, nonce: z.string(), text: z.string() }),
  }),
  z.object({ verdict: z.literal('refused'), reason: z.string() }),
]);
export type JoinAnswer = z.output<typeof JoinAnswer>;

const HindranceArg = z.object({
  kind: z.enum(HINDRANCES),
  reason: z.string().transform((reason) => reason.slice(0, MAX_MESSAGE)),
});

/** Names that a newer guest may send and that we do not know are dropped. */
const FindingsArg = z
  .array(
    z.looseObject({ name: z.string(), message: z.string().transform((text) => text.slice(0, MAX_MESSAGE)) }),
  )
  .transform((found) =>
    found.flatMap(({ name, message }) => {
      const known = GUEST_FINDINGS.find((each) => each === name);
      return known === undefined ? [] : [{ name: known, message }];
    }),
  );

/** conductor: `heartbeat`. `sent` is in seconds with a fraction, as Trove's guests send it. */
export const HeartbeatArgs = z.looseObject({
  instance_id: Id,
  sent: z.number().min(0).max(1e11),
  payload: z
    .looseObject({
      service_status: z.string().max(255),
      version: z.string().max(255).nullable().exactOptional(),
      role: z.enum(ROLES).nullable().exactOptional(),
      upstream: EndpointArg.nullable().exactOptional(),
      lag_bytes: z.number().min(0).nullable().exactOptional(),
      hindrance: HindranceArg.nullable().exactOptional(),
      synchronous: z.boolean().exactOptional(),
      endpoint: EndpointArg.nullable().exactOptional(),
      placement: PlacementArg.exactOptional(),
      findings: FindingsArg.exactOptional(),
      settings: z.record(z.string().max(255), z.string().max(64)).exactOptional(),
      adoption: AdoptionReportArg.exactOptional(),
      message: z
        .string()
        .transform((message) => message.slice(0, MAX_MESSAGE))
        .nullable()
        .exactOptional(),
      attempt: AttemptReportArg.nullable().exactOptional(),
      heartbeat_ms: z.int().min(0).exactOptional(),
      agent: z.string().max(255).exactOptional(),
    })
    .transform((payload) => ({ ...payload, ...meaningOf(payload) })),
});
export type HeartbeatArgs = z.output<typeof HeartbeatArgs>;

/**
 * The report within a heartbeat, in the core's words and in milliseconds; keys that Coffer does not know are
 * dropped.
 */
export function reportOf(args: HeartbeatArgs): GuestReport {
  const { service_status, version, role, upstream, lag_bytes, hindrance, synchronous } = args.payload;
  const { endpoint, placement, findings, settings, adoption, message } = args.payload;
  const { attempt, heartbeat_ms, agent } = args.payload;
  return {
    service_status,
    sent: Math.round(args.sent * 1000),
    ...(version !== undefined && { version }),
    ...(role !== undefined && { role }),
    ...(upstream !== undefined && { upstream }),
    ...(lag_bytes !== undefined && { lag_bytes }),
    ...(hindrance !== undefined && { hindrance }),
    ...(synchronous !== undefined && { synchronous }),
    ...(endpoint !== undefined && { endpoint }),
    ...(placement !== undefined && { placement }),
    ...(findings !== undefined && { findings }),
    ...(settings !== undefined && { settings }),
    ...(adoption !== undefined && { adoption }),
    ...(message !== undefined && { message }),
    ...(attempt !== undefined && { attempt }),
    ...(heartbeat_ms !== undefined && { heartbeat_ms }),
    ...(agent !== undefined && { agent }),
  };
}

/** A report as the arguments of a `heartbeat` cast: the inverse of `reportOf`. */
export function heartbeatArgs(instance_id: string, report: GuestReport) {
  const { sent, ...payload } = report;
  return { instance_id, sent: sent / 1000, payload };
}

/** The attempt that a message to a guest belongs to. Absent from messages of a plain Trove taskmanager. */
const attemptOf = {
  upgrade_id: Id.exactOptional(),
  step: attemptNumber.exactOptional(),
  attempt: attemptNumber.exactOptional(),
};

const optionalInfo = z.looseObject({ upgrade_info: z.looseObject(attemptOf).exactOptional() });

/**
 * Arguments of the guest's methods, all in `upgrade_info` as in Trove, except that Trove's `pre_upgrade`
 * comes without it. A guest receives nothing of the version but its number.
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
  demote: z.looseObject({
    upgrade_info: z
      .looseObject({ ...attemptOf, successor: z.string().nullable().exactOptional() })
      .exactOptional(),
  }),
  promote: z.looseObject({
    upgrade_info: z.looseObject({
      ...attemptOf,
      lsn: text(64),
      handover: z.record(z.string(), z.unknown()).exactOptional(),
    }),
  }),
  follow: z.looseObject({ upgrade_info: z.looseObject({ ...attemptOf, primary: EndpointArg }) }),
  fence: optionalInfo,
} satisfies Record<GuestAction, z.ZodType>;

/** A Trove guest's answer to `pre_upgrade`: an object of its own, or nothing at all. */
export const TrovePreUpgradeAnswer = z
  .looseObject({})
  .nullable()
  .transform((info): Readonly<Record<string, unknown>> => info ?? {});

/** The answer to `pre_upgrade`, as far as Coffer uses it. */
export const PreUpgradeAnswer = z
  .looseObject({
    reversible: z.boolean().exactOptional(),
    role: z.enum(ROLES).nullable().exactOptional(),
    lag_bytes: z.number().min(0).nullable().exactOptional(),
    service_status: z.enum(SERVICE_STATUSES).exactOptional(),
    findings: FindingsArg.exactOptional(),
  })
  .nullable()
  .transform((info): UpgradeInfo => info ?? {});
