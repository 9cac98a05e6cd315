import { z } from 'zod';
import { InstanceAnswer, InstancesAnswer } from '../../src/contract/documents.ts';
import { isId } from '../../src/contract/fields.ts';
import {
  ClusterInstanceParams,
  InstanceParams,
  InstancesQuery,
  MAX_LIMIT,
  PatchInstanceBody,
  TenantParams,
} from '../../src/contract/http.ts';
import { PlanAnswer } from '../../src/contract/upgrade-documents.ts';
import type { Cluster, Instance } from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import type { ClusterStore } from '../../src/store/clusters.ts';
import { type PageRequest, readAll } from '../../src/store/page.ts';
import type { Caller } from '../access/caller.ts';
import { findCluster } from '../clusters/look-up.ts';
import { plan, upgrade } from '../clusters/routes.ts';
import type { App, Deps } from '../deps.ts';
import { nextLink, urlsOf } from '../http/urls.ts';
import { instanceView } from './view.ts';

const tags = ['instances'];

/** An instance with the cluster that it belongs to. */
interface Placed {
  readonly cluster: Cluster;
  readonly instance: Instance;
}

/** `/instances`, each of them part of a cluster, and the upgrade of a single one. */
export function instanceRoutes(app: App, deps: Deps): void {
  app.get(
    '/instances',
    {
      config: { rule: 'instance:index' },
      schema: {
        tags,
        summary: "A page of the tenant's instances, cluster by cluster",
        params: TenantParams,
        querystring: InstancesQuery,
        response: { 200: InstancesAnswer },
      },
    },
    async (request) => {
      const { limit, marker = null, include_clustered } = request.query;
      const urls = urlsOf(request);
      const after = include_clustered
        ? await readAfter(deps.store.clusters, request.caller, { limit, marker })
        : [];
      const page = after.slice(0, limit);
      const last = after.length > limit ? (page.at(-1)?.instance.id ?? null) : null;
      return {
        instances: page.map(({ cluster, instance }) => instanceView(cluster, instance, urls, deps.now())),
        ...nextLink(urls, 'instances', limit, last, ['include_clustered=True']),
      };
    },
  );

  showRoutes(app, deps);

  app.patch(
    '/instances/:instance_id',
    {
      config: { rule: 'instance:edit' },
      schema: {
        tags,
        summary: 'Upgrade one instance',
        description:
          "The same as an upgrade of the cluster, with this instance's part of its plan. The cluster's version changes when all of its instances have the new one. The header Location of the answer leads to the upgrade.",
        params: InstanceParams,
        body: PatchInstanceBody,
        response: { 200: PlanAnswer, 202: z.literal('') },
      },
    },
    async (request, reply) => {
      const { cluster, instance } = await findInstance(deps, request.caller, request.params.instance_id);
      const wanted = request.body.instance;
      const only = { instance_id: instance.id };
      const found = { cluster, catalogue: await deps.store.catalogue.get() };
      if (wanted.dry_run) return plan(deps, found, wanted, only);
      await upgrade(deps, request, reply, found, wanted, only);
      return reply.code(202).type('application/json').send('');
    },
  );
}

function showRoutes(app: App, deps: Deps): void {
  app.get(
    '/clusters/:cluster_id/instances/:instance_id',
    {
      config: { rule: 'cluster:show_instance' },
      schema: {
        tags,
        summary: 'An instance of a cluster',
        params: ClusterInstanceParams,
        response: { 200: InstanceAnswer },
      },
    },
    async (request) => {
      const { cluster_id, instance_id } = request.params;
      const cluster = await findCluster(deps, request.caller, cluster_id);
      const instance = cluster.instances.find((one) => isNamed(one, instance_id));
      if (!instance) throw instanceMissing(instance_id);
      return { instance: instanceView(cluster, instance, urlsOf(request), deps.now()) };
    },
  );

  app.get(
    '/instances/:instance_id',
    {
      config: { rule: 'instance:show' },
      schema: { tags, summary: 'An instance', params: InstanceParams, response: { 200: InstanceAnswer } },
    },
    async (request) => {
      const { cluster, instance } = await findInstance(deps, request.caller, request.params.instance_id);
      return { instance: instanceView(cluster, instance, urlsOf(request), deps.now()) };
    },
  );
}

/**
 * An instance that the caller may see, by its id; or one of the tenant, by its name if no other has that
 * name.
 */
async function findInstance(deps: Deps, caller: Caller, reference: string): Promise<Placed> {
  const found = isId(reference)
    ? await instancesWithId(deps.store.clusters, reference.toLowerCase())
    : await instancesNamed(deps.store.clusters, caller.tenant_id, reference);
  const [placed] = found.filter(({ cluster }) => caller.sees(cluster.tenant_id));
  if (!placed) throw instanceMissing(reference);
  if (found.length > 1) {
    const ids = found.slice(0, 5).map(({ instance }) => instance.id);
    const message = `${found.length} instances are named '${reference}'. Use the id of one: ${ids.join(', ')}.`;
    throw new CofferError('conflict', message);
  }
  return placed;
}

async function instancesWithId(clusters: ClusterStore, id: string): Promise<readonly Placed[]> {
  const cluster_id = await clusters.ofInstance(id);
  const cluster = cluster_id === null ? null : await clusters.get(cluster_id);
  return cluster ? placedIn(cluster).filter(({ instance }) => instance.id === id) : [];
}

/** Finds names by reading through the tenant's clusters, as Trove's client does, but nearer to the data. */
async function instancesNamed(
  clusters: ClusterStore,
  tenant_id: string,
  name: string,
): Promise<readonly Placed[]> {
  const found: Placed[] = [];
  for await (const cluster of clustersAfter(clusters, tenant_id, null))
    found.push(...placedIn(cluster).filter(({ instance }) => instance.name === name));
  return found;
}

/** The instances after the marker: one more than a page holds, if there are so many. */
async function readAfter(
  clusters: ClusterStore,
  { tenant_id }: Caller,
  { limit, marker }: PageRequest,
): Promise<readonly Placed[]> {
  const found: Placed[] = [];
  const first = marker === null ? [] : await instancesWithId(clusters, marker);
  if (marker !== null && first[0]?.cluster.tenant_id !== tenant_id) {
    throw new CofferError('invalid_request', `marker ${marker} is no instance: begin without one.`);
  }
  for (const { cluster } of first) {
    const all = placedIn(cluster);
    found.push(...all.slice(all.findIndex(({ instance }) => instance.id === marker) + 1));
  }
  for await (const cluster of clustersAfter(clusters, tenant_id, first[0]?.cluster.id ?? null)) {
    if (found.length > limit) break;
    found.push(...placedIn(cluster));
  }
  return found;
}

/** A tenant's clusters by id, beginning after `marker`. */
function clustersAfter(clusters: ClusterStore, tenant_id: string, after: string | null) {
  return readAll((marker) => clusters.list(tenant_id, { limit: MAX_LIMIT, marker }), after);
}

function placedIn(cluster: Cluster): readonly Placed[] {
  return cluster.instances.map((instance) => ({ cluster, instance }));
}

function isNamed({ id, name }: Instance, reference: string): boolean {
  return id === reference.toLowerCase() || name === reference;
}

function instanceMissing(reference: string): CofferError {
  return new CofferError('instance_not_found', `Instance ${reference} cannot be found.`);
}
