import { type Context, isFinal, noSuchMethod, type Request } from '../src/bus/bus.ts';
import { parseAs } from '../src/contract/explain.ts';
import {
  type BeginArgs,
  ClusterArgs,
  HeartbeatArgs,
  ReleaseClusterArgs,
  type ResetStatusAnswer,
  ResetStatusArgs,
  reportOf,
  type UpgradeActionAnswer,
  UpgradeActionArgs,
  UpgradeClusterArgs,
  UpgradeInstanceArgs,
} from '../src/contract/rpc.ts';
import type { UpgradeRequest } from '../src/core/admit.ts';
import { uuidFrom } from '../src/core/digest.ts';
import { type GuestReport, type Instant, isHealthy } from '../src/core/domain.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Follows, RequestedBy } from '../src/core/record.ts';
import { counted } from '../src/core/words.ts';
import { beginFollowUp, beginUpgrade } from '../src/store/begin-upgrade.ts';
import type { Store } from '../src/store/store.ts';
import { settleAdopted } from './adoption.ts';
import type { Batches } from './batch-engine.ts';
import { batchAction } from './batch-jobs.ts';
import type { Engine, EngineDeps } from './engine.ts';
import { join } from './join.ts';
import { tellOfRefusal } from './notifier.ts';
import type { Provisioning } from './provisioning.ts';

/** If a guest's clock is ahead by more than this, the clock is wrong, and its report counts as sent now. */
const MAX_AHEAD_MS = 60_000;

export interface RequestDeps extends EngineDeps {
  readonly store: Store;
  readonly engine: Engine;
  readonly provisioning: Provisioning;
  readonly batches: Batches;
  readonly newId: () => string;
  /** The id of the installation, for the agents that join. */
  readonly installation?: string;
  /** Notifies services of requests that cannot be carried out. */
  readonly notifies?: boolean;
}

/** Handles the requests of other services on the topic `taskmanager`. */
export async function handleTaskmanagerRequest(deps: RequestDeps, request: Request): Promise<unknown> {
  switch (request.method) {
    case 'upgrade_cluster':
      return tellingOfRefusal(deps, request, 'dbaas.cluster_upgrade.error', upgradeCluster);
    case 'upgrade':
      return tellingOfRefusal(deps, request, 'dbaas.upgrade.error', upgradeInstance);
    case 'upgrade_action':
      return upgradeAction(deps, request);
    case 'batch_action':
      return batchAction(deps, request);
    case 'reset_status':
      return resetStatus(deps, request);
    case 'create_cluster':
      return deps.provisioning.create(parseAs(ClusterArgs, request.args, 'create_cluster').cluster_id);
    case 'grow_cluster':
      return deps.provisioning.grow(parseAs(ClusterArgs, request.args, 'grow_cluster').cluster_id);
    case 'shrink_cluster':
      return deps.provisioning.shrink(parseAs(ClusterArgs, request.args, 'shrink_cluster').cluster_id);
    case 'join':
      return join(deps, request);
    case 'delete_cluster':
      return deps.provisioning.remove(parseAs(ClusterArgs, request.args, 'delete_cluster').cluster_id);
    case 'release_cluster': {
      const { cluster_id, force } = parseAs(ReleaseClusterArgs, request.args, 'release_cluster');
      return deps.provisioning.remove(cluster_id, { force });
    }
    default:
      throw noSuchMethod(request.method);
  }
}

/**
 * A cast has no answer. So a notification reports that the cast cannot be carried out, before the message
 * goes to the dead letters.
 */
async function tellingOfRefusal(
  deps: RequestDeps,
  request: Request,
  event_type: string,
  work: (deps: RequestDeps, request: Request) => Promise<void>,
): Promise<void> {
  try {
    await work(deps, request);
  } catch (err) {
    if (deps.notifies && err instanceof CofferError && isFinal(err)) {
      const message_id = uuidFrom(`coffer refusal of ${request.unique_id}`);
      await tellOfRefusal(deps, { event_type, message_id, context: request.context }, err.message);
    }
    throw err;
  }
}

/**
 * Coffer's own api has begun the upgrade and names its id: the taskmanager takes the upgrade up, and begins
 * it again if the store has lost it. For any other service the upgrade begins here. Its id follows from the
 * message, so that a redelivered message gets the same id.
 */
async function upgradeCluster(deps: RequestDeps, request: Request): Promise<void> {
  const args = parseAs(UpgradeClusterArgs, request.args, 'upgrade_cluster');
  return upgrade(deps, request, args, { cluster_id: args.cluster_id });
}

/** The same for one instance of a cluster. */
async function upgradeInstance(deps: RequestDeps, request: Request): Promise<void> {
  const args = parseAs(UpgradeInstanceArgs, request.args, 'upgrade');
  const { instance_id } = args;
  const cluster_id = await deps.store.clusters.ofInstance(instance_id);
  if (cluster_id === null)
    throw new CofferError('instance_not_found', `Instance ${instance_id} cannot be found.`);
  return upgrade(deps, request, args, { cluster_id, instance_id });
}

async function upgrade(
  deps: RequestDeps,
  request: Request,
  args: BeginArgs,
  what: Pick<UpgradeRequest, 'cluster_id' | 'instance_id'>,
): Promise<void> {
  const upgrade_id = args.upgrade_id ?? uuidFrom(`coffer upgrade ${request.unique_id}`);
  if ((await deps.store.upgrades.get(upgrade_id)) === null) {
    const requested_by = requestedBy(deps, request, args);
    if (args.follows) await followUp(deps, { ...what, follows: args.follows, requested_by, upgrade_id });
    else {
      await beginUpgrade(deps, {
        ...what,
        tenant_id: null,
        datastore_version: args.datastore_version_id,
        ...(args.policy && { policy: args.policy }),
        requested_by,
        upgrade_id,
      });
    }
  }
  const verdict = await deps.engine.handle(upgrade_id, { type: 'wake' });
  // Redis has lost the record just now. The message is delivered again, and begins the upgrade again.
  if (verdict === 'missing')
    throw new CofferError('store_unavailable', `Upgrade '${upgrade_id}' has just been lost.`);
  await deps.store.outbox.castConfirmed(upgrade_id);
}

/** Begins the follow-up of an ended upgrade, with the version, policy and direction of that upgrade. */
async function followUp(
  deps: RequestDeps,
  {
    cluster_id,
    follows,
    requested_by,
    upgrade_id,
  }: Required<Pick<UpgradeRequest, 'cluster_id' | 'requested_by' | 'upgrade_id'>> & {
    readonly follows: Follows;
  },
): Promise<void> {
  const ended = await deps.store.upgrades.load(follows.upgrade_id);
  if (ended?.upgrade.cluster_id !== cluster_id) {
    const message = `Upgrade '${follows.upgrade_id}' of cluster '${cluster_id}' cannot be found: its ${follows.as} cannot begin.`;
    throw new CofferError('upgrade_not_found', message);
  }
  await beginFollowUp(deps, ended, { as: follows.as, requested_by, upgrade_id });
}

/**
 * Who wants the upgrade: Coffer's api names the person who asked for it; any other service is itself the one
 * who asks.
 */
function requestedBy(deps: RequestDeps, { context }: Request, args: BeginArgs): RequestedBy {
  const { user, via } = args.requested_by ?? { user: context.user, via: 'rpc' };
  return { user, request_id: context.request_id, ...addressesIn(context), via, ...traceOf(deps) };
}

function traceOf({ tracing }: RequestDeps): { trace?: string } {
  const trace = tracing?.current();
  return trace === undefined ? {} : { trace };
}

/** The addresses of client and server, as Trove's services pass them on. */
function addressesIn({ notification = {} }: Context): { client_ip?: string; server_ip?: string } {
  const { client_ip, server_ip } = notification;
  return {
    ...(typeof client_ip === 'string' && client_ip !== '' && { client_ip }),
    ...(typeof server_ip === 'string' && server_ip !== '' && { server_ip }),
  };
}

/**
 * Carries out what a person wants done to an upgrade. If the state of the upgrade does not allow it, that is
 * an answer and not a failure.
 */
async function upgradeAction({ engine, log }: RequestDeps, request: Request): Promise<UpgradeActionAnswer> {
  const { upgrade_id, action, by, target, about } = parseAs(
    UpgradeActionArgs,
    request.args,
    'upgrade_action',
  );
  // The result is logged under the request that began the upgrade.
  const { request_id } = request.context;
  log.info({ upgrade_id, action, by, request_id }, `${by} asks for: ${action}`);
  try {
    const verdict = await engine.handle(upgrade_id, {
      type: 'action',
      id: request.unique_id,
      action,
      by,
      ...(target && { target }),
      ...(about && { about }),
    });
    if (verdict === 'refused') return { verdict, reason: 'the state of the upgrade does not allow it' };
    return { verdict };
  } catch (err) {
    if (err instanceof CofferError && err.code === 'action_refused') {
      return { verdict: 'refused', reason: err.message };
    }
    throw err;
  }
}

/** Frees a cluster from its task. To ask for that twice does no harm. */
async function resetStatus(
  { store, engine, provisioning, now, log }: RequestDeps,
  request: Request,
): Promise<ResetStatusAnswer> {
  const { cluster_id, by } = parseAs(ResetStatusArgs, request.args, 'reset_status');
  const cluster = await store.clusters.get(cluster_id);
  if (!cluster) return { verdict: 'missing' };
  const { task, upgrade_id } = cluster;
  // An adoption ends with what the servers say, and with nothing else.
  const isAdopting = task === 'BUILDING' && cluster.adopted;
  if (task === 'DELETING' || isAdopting) return { verdict: 'busy' };
  const { request_id } = request.context;
  log.warn({ cluster_id, task, upgrade_id, by, request_id }, 'the status of a cluster is reset');
  if (task === 'BUILDING' || task === 'GROWING_CLUSTER')
    await store.provisioning.finishBuild(cluster_id, now());
  if (task === 'SHRINKING_CLUSTER') await provisioning.abandonShrink(cluster);
  if (task === 'UPGRADING_CLUSTER' && upgrade_id) await engine.handle(upgrade_id, { type: 'reset', by });
  return { verdict: 'done' };
}

/** Handles what guest agents cast to the conductor's topic. */
export async function handleConductorRequest(deps: RequestDeps, request: Request): Promise<void> {
  if (request.method !== 'heartbeat') throw noSuchMethod(request.method);
  const args = parseAs(HeartbeatArgs, request.args, 'heartbeat');
  // G10: a message under the key of an instance may only report on that instance.
  if (request.speaker && request.speaker !== args.instance_id) {
    const message = `instance ${request.speaker} may not speak for ${args.instance_id}`;
    return deps.log.warn({ instance_id: request.speaker, for: args.instance_id }, message);
  }
  const { store, engine, now, log } = deps;
  const report = withSaneClock(reportOf(args), now());
  const outcome = await store.clusters.heartbeat(args.instance_id, report, now());
  if (!outcome) return log.debug({ instance_id: args.instance_id }, 'a heartbeat of an unknown instance');
  if (!outcome.fresh) return;
  if (outcome.task === 'BUILDING' || outcome.task === 'GROWING_CLUSTER')
    return finishBuildIfReady(deps, outcome.cluster_id);
  if (outcome.task === 'NONE' && saysOtherVersion(report, outcome.adopted_version))
    return settleIfThere(deps, outcome.cluster_id);
  if (outcome.task !== 'UPGRADING_CLUSTER' || outcome.upgrade_id === null) return;
  await engine.handle(outcome.upgrade_id, {
    type: 'reported',
    instance_id: args.instance_id,
    report: report.attempt ?? null,
    server: { status: report.service_status, sent: report.sent },
  });
}

function saysOtherVersion({ version = null }: GuestReport, adopted_version: string | null): boolean {
  return adopted_version !== null && version !== null && version !== adopted_version;
}

/** A time far in the future, if it were kept, would make every later report of the guest look old. */
function withSaneClock(report: GuestReport, now: Instant): GuestReport {
  return report.sent - now > MAX_AHEAD_MS ? { ...report, sent: now } : report;
}

async function settleIfThere(deps: RequestDeps, cluster_id: string): Promise<void> {
  const found = await deps.store.clusters.see(cluster_id);
  if (found) await settleAdopted(deps, found);
}

async function finishBuildIfReady(deps: RequestDeps, cluster_id: string): Promise<void> {
  const { store, now, log } = deps;
  const found = await store.clusters.see(cluster_id);
  if (!found) return;
  const { cluster } = found;
  if (cluster.adopted) return settleAdopted(deps, found);
  const fresh = cluster.instances.filter(({ task }) => task === 'BUILDING');
  if (!fresh.every((instance) => isHealthy(instance, now()))) return;
  await store.provisioning.finishBuild(cluster_id, now(), cluster.updated);
  log.info(
    { cluster_id },
    `cluster ready: ${counted(fresh.length, 'new instance is', 'new instances are')} healthy`,
  );
}
