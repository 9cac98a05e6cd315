import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { ClusterAnswer, ClustersAnswer, CreatedClusterAnswer } from '../../src/contract/documents.ts';
import {
  ClusterActionBody,
  ClusterParams,
  CreateClusterBody,
  PageQuery,
  PatchClusterBody,
  TenantParams,
  TROVE_ACTIONS,
  type UpgradeRequest,
} from '../../src/contract/http.ts';
import { ResetStatusAnswer } from '../../src/contract/rpc.ts';
import { PlanAnswer } from '../../src/contract/upgrade-documents.ts';
import { busy } from '../../src/core/admit.ts';
import type { Cluster } from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import { reachableIn } from '../../src/core/reachable.ts';
import type { Upgrade } from '../../src/core/record.ts';
import { beginUpgrade, planUpgrade } from '../../src/store/begin-upgrade.ts';
import type { Found } from '../../src/store/clusters.ts';
import { type Caller, requestedBy } from '../access/caller.ts';
import { actionRule } from '../access/enforce.ts';
import { askTaskmanager } from '../actions.ts';
import { releaseCluster } from '../adoptions/adopt.ts';
import { clusterCast, publish } from '../casts.ts';
import type { App, Deps } from '../deps.ts';
import { requireOneAction } from '../http/one-action.ts';
import { nextLink, urlsOf } from '../http/urls.ts';
import { planView } from '../upgrades/view.ts';
import { createCluster } from './create.ts';
import { findCluster, lookUp } from './look-up.ts';
import { beginRemoval } from './removal.ts';
import { growCluster, shrinkCluster } from './resize.ts';
import { clusterView } from './view.ts';

const tags = ['clusters'];

/** `/clusters`. */
export function clusterRoutes(app: App, deps: Deps): void {
  readRoutes(app, deps);
  upgradeRoutes(app, deps);

  app.post(
    '/clusters',
    {
      config: { rule: 'cluster:create' },
      schema: {
        tags,
        summary: 'Create a cluster',
        params: TenantParams,
        body: CreateClusterBody,
        response: { 200: CreatedClusterAnswer },
      },
    },
    async (request) => {
      const { cluster, join_token } = await createCluster(
        deps,
        request.caller,
        request.body.cluster,
        request.claim?.operation_id,
      );
      const view = clusterView(cluster, urlsOf(request), deps.now());
      return { cluster: { ...view, ...(join_token !== null && { join_token }) } };
    },
  );

  app.delete(
    '/clusters/:cluster_id',
    {
      config: { rule: 'cluster:delete' },
      schema: { tags, summary: 'Delete a cluster', params: ClusterParams, response: { 202: z.literal('') } },
    },
    async (request, reply) => {
      const cluster = await findCluster(deps, request.caller, request.params.cluster_id);
      await deleteCluster(deps, request.caller, cluster);
      return reply.code(202).type('application/json').send('');
    },
  );
}

function readRoutes(app: App, deps: Deps): void {
  app.get(
    '/clusters',
    {
      config: { rule: 'cluster:index' },
      schema: {
        tags,
        summary: "A page of the tenant's clusters",
        params: TenantParams,
        querystring: PageQuery,
        response: { 200: ClustersAnswer },
      },
    },
    async (request) => {
      const { limit, marker = null } = request.query;
      const [page, catalogue] = await Promise.all([
        deps.store.clusters.list(request.caller.tenant_id, { limit, marker }),
        deps.store.catalogue.get(),
      ]);
      const urls = urlsOf(request);
      const upgradesTo = reachableIn(catalogue);
      const upgrades = await presentUpgrades(deps, page.items);
      return {
        clusters: page.items.map((cluster) =>
          clusterView(cluster, urls, deps.now(), {
            upgrade: upgrades.get(cluster.id) ?? null,
            upgrades_to: upgradesTo(cluster),
            versions: catalogue.versions,
          }),
        ),
        ...nextLink(urls, 'clusters', limit, page.next_marker),
      };
    },
  );

  app.get(
    '/clusters/:cluster_id',
    {
      config: { rule: 'cluster:show' },
      schema: {
        tags,
        summary: 'A cluster with its instances',
        params: ClusterParams,
        response: { 200: ClusterAnswer },
      },
    },
    async (request) => {
      const { cluster, catalogue } = await lookUp(deps, request.caller, request.params.cluster_id);
      const { versions } = catalogue;
      const upgrades_to = reachableIn(catalogue)(cluster);
      const upgrade = (await presentUpgrades(deps, [cluster])).get(cluster.id) ?? null;
      return {
        cluster: clusterView(cluster, urlsOf(request), deps.now(), { upgrade, upgrades_to, versions }),
      };
    },
  );
}

/**
 * The upgrades that are these clusters' task, by the id of the cluster. No upgrade is read for idle clusters.
 */
async function presentUpgrades(
  { store }: Deps,
  clusters: readonly Cluster[],
): Promise<ReadonlyMap<string, Upgrade>> {
  const ids = clusters.flatMap(({ task, upgrade_id }) =>
    task === 'UPGRADING_CLUSTER' && upgrade_id !== null ? [upgrade_id] : [],
  );
  if (ids.length === 0) return new Map();
  const upgrades = await store.upgrades.getMany(ids);
  return new Map(upgrades.map((upgrade) => [upgrade.cluster_id, upgrade]));
}

function upgradeRoutes(app: App, deps: Deps): void {
  app.patch(
    '/clusters/:cluster_id',
    {
      config: { rule: 'cluster:action' },
      schema: {
        tags,
        summary: 'Upgrade a cluster',
        description:
          'The header Location of the answer leads to the upgrade. `/v1/{tenant_id}/cluster/{cluster_id}` is the same place.',
        params: ClusterParams,
        body: PatchClusterBody,
        response: { 200: PlanAnswer, 202: z.strictObject({}) },
      },
    },
    async (request, reply) => {
      const found = await lookUp(deps, request.caller, request.params.cluster_id);
      if (request.body.dry_run) return plan(deps, found, request.body);
      await upgrade(deps, request, reply, found, request.body);
      return reply.code(202).send({});
    },
  );

  app.post(
    '/clusters/:cluster_id',
    {
      preValidation: requireOneAction(Object.keys(ClusterActionBody.shape), TROVE_ACTIONS),
      config: {
        rule: actionRule({
          ...{ upgrade: 'cluster:action', grow: 'cluster:action', shrink: 'cluster:action' },
          release: 'cluster:delete',
          'reset-status': 'cluster:reset-status',
        }),
      },
      schema: {
        tags,
        summary: 'Act on a cluster: upgrade, grow, shrink, release, or reset its status',
        params: ClusterParams,
        body: ClusterActionBody,
        response: { 200: PlanAnswer, 202: ClusterAnswer },
      },
    },
    async (request, reply) => {
      const found = await lookUp(deps, request.caller, request.params.cluster_id);
      const wanted = request.body.upgrade;
      if (wanted?.dry_run) return plan(deps, found, wanted);
      const after = wanted
        ? await upgrade(deps, request, reply, found, wanted)
        : await actOn(deps, request, found.cluster, request.body);
      return reply.code(202).send({ cluster: clusterView(after, urlsOf(request), deps.now()) });
    },
  );
}

/** Carries out an action other than an upgrade, and returns the cluster as it is from now on. */
async function actOn(
  deps: Deps,
  { caller, claim }: FastifyRequest,
  cluster: Cluster,
  { grow, shrink, release }: ClusterActionBody,
): Promise<Cluster> {
  if (release) return letGo(deps, caller, cluster, release);
  if (grow) return growCluster(deps, caller, cluster, grow, claim?.operation_id);
  if (!shrink) return resetStatus(deps, caller, cluster);
  return shrinkCluster(
    deps,
    caller,
    cluster,
    shrink.map(({ id }) => id),
  );
}

/** What the same request without `dry_run` would begin; only for one instance, if that is named. */
export async function plan(
  deps: Deps,
  found: Found,
  { datastore_version, policy = {} }: UpgradeRequest,
  only: { readonly instance_id?: string } = {},
): Promise<PlanAnswer> {
  return { plan: planView(await planUpgrade(deps, found, { datastore_version, policy, ...only })) };
}

/**
 * Begins the upgrade, only for one instance if that is named, publishes its cast, and returns the cluster as
 * it is from now on.
 */
export async function upgrade(
  deps: Deps,
  request: FastifyRequest,
  reply: FastifyReply,
  found: Found,
  { datastore_version, policy = {}, plan_hash }: UpgradeRequest,
  only: { readonly instance_id?: string } = {},
): Promise<Cluster> {
  const { caller } = request;
  const { cluster } = found;
  const wanted = {
    cluster_id: cluster.id,
    ...only,
    tenant_id: cluster.tenant_id,
    datastore_version,
    policy,
    ...(plan_hash !== undefined && { plan_hash }),
    requested_by: { ...requestedBy(caller), client_ip: request.ip, server_ip: request.host },
    ...(request.claim && { upgrade_id: request.claim.operation_id }),
  };
  const begun = await beginUpgrade(deps, wanted, found);
  await publish(deps, begun.cast);
  const { id, created } = begun.upgrade;
  reply.header('location', `${urlsOf(request).tenant}/upgrades/${id}`);
  return { ...cluster, task: 'UPGRADING_CLUSTER', upgrade_id: id, updated: created };
}

/** Makes a taskmanager free a cluster of its task, and returns the cluster as it is afterwards. */
async function resetStatus(deps: Deps, caller: Caller, cluster: Cluster): Promise<Cluster> {
  const { id: cluster_id, name, adopted, task } = cluster;
  if (adopted && task === 'BUILDING') {
    const message = `Cluster ${name} is being adopted, and waits for what its agents report: coffer cluster-report ${name} says for what, and coffer cluster-release ${name} ends it.`;
    throw new CofferError('action_refused', message);
  }
  const answer = await askTaskmanager(deps, caller, 'reset_status', { cluster_id });
  if (ResetStatusAnswer.parse(answer).verdict === 'busy') throw busy('DELETING', null);
  return findCluster(deps, caller, cluster_id);
}

/** Lets an adopted cluster go, and returns the cluster as it is from now on. */
async function letGo(
  deps: Deps,
  caller: Caller,
  cluster: Cluster,
  options: { readonly force: boolean },
): Promise<Cluster> {
  await releaseCluster(deps, caller, cluster, options);
  return { ...cluster, task: 'DELETING' };
}

async function deleteCluster(deps: Deps, caller: Caller, cluster: Cluster): Promise<void> {
  if (cluster.adopted) {
    const message = `Cluster ${cluster.name} is adopted: its servers and their data belong to their operator, and Coffer never deletes them. Let it go: coffer cluster-release ${cluster.name}.`;
    throw new CofferError('action_refused', message);
  }
  const cast = clusterCast(caller, 'delete_cluster', cluster);
  if ((await beginRemoval(deps, cluster, cast)) === 'begun') await publish(deps, cast);
}
