import type {
  AdoptInput,
  AdoptingClusterAnswer,
  AdoptingClusterDocument,
  AdoptionAnswer,
  AdoptionDocument,
} from '../src/contract/adoption-documents.ts';
import type {
  ClusterAnswer,
  ClusterDocument,
  ClustersAnswer,
  CreatedClusterAnswer,
  CreatedClusterDocument,
} from '../src/contract/documents.ts';
import type { AddedInstanceInput, CreateClusterInput } from '../src/contract/http.ts';
import type { PolicyRequest } from '../src/contract/policy.ts';
import type { PlanAnswer, PlanDocument } from '../src/contract/upgrade-documents.ts';
import { CofferApiError } from './errors.ts';
import type { Http } from './http.ts';
import { allPages } from './pages.ts';
import { idOrName, inPath, type Reference } from './references.ts';
import { pause } from './time.ts';

export interface WaitOptions {
  /** Stops the waiting; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Time between two reads. Default 500. */
  readonly intervalMs?: number;
}

export interface UpgradeOptions {
  /** The hash of the plan that the user has seen: rejects with `conflict` if the plan would be another one now. */
  readonly planHash?: string;
}

/** A cluster whose upgrade was just accepted. */
export type UpgradingCluster = ClusterDocument & { readonly upgrade_id: string };

export class Clusters {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** All clusters of the tenant, fetched page by page: `for await (const cluster of client.clusters.list())`. */
  list(): AsyncGenerator<ClusterDocument, void> {
    return allPages(this.#http, '/clusters', (answer: ClustersAnswer) => answer.clusters);
  }

  /** Rejects with `cluster_not_found`; with `conflict` if several clusters have that name. */
  async get(cluster: Reference): Promise<ClusterDocument> {
    return (await this.#http.get<ClusterAnswer>(`/clusters/${inPath(cluster)}`)).cluster;
  }

  /**
   * Resolves when the request is stored safely; the cluster's task is then BUILDING. `waitFor` waits until
   * the cluster is built. Where agents are external the answer holds the `join_token` that they need: keep
   * it, because no later answer holds it.
   */
  async create(cluster: CreateClusterInput): Promise<CreatedClusterDocument> {
    const body = { cluster };
    return (await this.#http.send<CreatedClusterAnswer>('POST', '/clusters', { body })).cluster;
  }

  /**
   * Resolves when the request is stored safely; the cluster's task is then DELETING. Rejects with
   * `cluster_busy` while the cluster is being upgraded: cancel the upgrade first. Rejects with `action_refused`
   * for an adopted cluster: see `release`.
   */
  async delete(cluster: Reference): Promise<void> {
    await this.#http.send('DELETE', `/clusters/${inPath(cluster)}`);
  }

  /**
   * Upgrades a cluster to a datastore version. Resolves when the upgrade is stored safely and will be carried
   * out: `client.upgrades.watch(cluster.upgrade_id)` shows its progress. Rejects with `cluster_busy`,
   * `gate_blocked`, `cluster_not_found` or `datastore_version_not_found`; in these cases nothing has changed.
   */
  async upgrade(
    cluster: Reference,
    datastoreVersion: Reference,
    policy?: PolicyRequest,
    options: UpgradeOptions = {},
  ): Promise<UpgradingCluster> {
    const upgrade = {
      datastore_version: idOrName(datastoreVersion),
      ...(policy !== undefined && { policy }),
      ...(options.planHash !== undefined && { plan_hash: options.planHash }),
    };
    const path = `/clusters/${inPath(cluster)}`;
    const answer = await this.#http.send<{ readonly cluster: UpgradingCluster }>('POST', path, {
      body: { upgrade },
    });
    return answer.cluster;
  }

  /** What `upgrade` with the same arguments would do, and every gate that would hold it back now. Changes nothing. */
  async plan(cluster: Reference, datastoreVersion: Reference, policy?: PolicyRequest): Promise<PlanDocument> {
    const upgrade = {
      datastore_version: idOrName(datastoreVersion),
      dry_run: true,
      ...(policy !== undefined && { policy }),
    };
    const path = `/clusters/${inPath(cluster)}`;
    return (await this.#http.send<PlanAnswer>('POST', path, { body: { upgrade } })).plan;
  }

  /**
   * Adds instances. Resolves when the request is stored safely; the cluster's task is then GROWING_CLUSTER
   * until all instances are healthy: `waitFor` waits for that. Rejects with `cluster_busy` or `gate_blocked`,
   * and with `action_refused` where Coffer does not make the servers: with hooks, or registered clusters.
   */
  async grow(cluster: Reference, instances: readonly AddedInstanceInput[]): Promise<ClusterDocument> {
    return this.#act(cluster, { grow: instances });
  }

  /**
   * Removes instances with their data, each given as a document, an id or a name. Resolves when the request
   * is stored safely; the cluster's task is then SHRINKING_CLUSTER until nothing is left of these instances.
   * Rejects with `action_refused` for the primary, and where Coffer does not take away the servers: with
   * hooks, or registered clusters.
   */
  async shrink(cluster: Reference, instances: readonly Reference[]): Promise<ClusterDocument> {
    return this.#act(cluster, { shrink: instances.map((instance) => ({ id: idOrName(instance) })) });
  }

  /**
   * Adopts servers that exist and serve. Resolves when the request is stored safely; the cluster's task is
   * then BUILDING, until the agent on each host has joined with its token and reported, and none refuses.
   * Nothing on the hosts changes. The answer holds `join_tokens`, one for each host: no later answer holds them.
   * Rejects with `conflict` if a server is in another adopted cluster.
   */
  async adopt(adoption: AdoptInput): Promise<AdoptingClusterDocument> {
    const body = { adoption };
    return (await this.#http.send<AdoptingClusterAnswer>('POST', '/adoptions', { body })).cluster;
  }

  /**
   * What was found on the servers of an adopted cluster, what Coffer would do there, and what its agents refuse.
   */
  async adoption(cluster: Reference): Promise<AdoptionDocument> {
    return (await this.#http.get<AdoptionAnswer>(`/clusters/${inPath(cluster)}/adoption`)).adoption;
  }

  /**
   * Lets an adopted cluster go: its agents take back what Coffer has set, its record is removed, and its
   * servers go on serving. Resolves when the request is stored safely: `waitUntilGone` waits for the end.
   * Rejects with `action_refused` if an agent is away; `force` does not wait for such an agent.
   */
  async release(cluster: Reference, options: { readonly force?: boolean } = {}): Promise<ClusterDocument> {
    return this.#act(cluster, { release: options });
  }

  /**
   * For administrators: frees a cluster of its task. An upgrade ends at once as `cancelled`, whatever is in
   * flight; a cluster that is being built counts as built. Rejects with `cluster_busy` while the cluster is
   * being deleted.
   */
  async resetStatus(cluster: Reference): Promise<ClusterDocument> {
    return this.#act(cluster, { 'reset-status': {} });
  }

  async #act(cluster: Reference, body: object): Promise<ClusterDocument> {
    return (await this.#http.send<ClusterAnswer>('POST', `/clusters/${inPath(cluster)}`, { body })).cluster;
  }

  /** Resolves with the cluster once its task is NONE. */
  async waitFor(cluster: Reference, options: WaitOptions = {}): Promise<ClusterDocument> {
    return poll(options, async () => {
      const document = await this.get(cluster);
      return document.task.name === 'NONE' ? document : undefined;
    });
  }

  /** Resolves once the cluster no longer exists. */
  async waitUntilGone(cluster: Reference, options: WaitOptions = {}): Promise<void> {
    await poll(options, async () => {
      try {
        await this.get(cluster);
        return undefined;
      } catch (error) {
        if (error instanceof CofferApiError && error.code === 'cluster_not_found') return true;
        throw error;
      }
    });
  }
}

/** Reads again and again until there is an answer; waits for a server that is unreachable for a moment. */
async function poll<T>(
  { signal, intervalMs = 500 }: WaitOptions,
  look: () => Promise<T | undefined>,
): Promise<T> {
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      if (!(error instanceof CofferApiError) || !error.isTemporary) throw error;
    }
    await pause(intervalMs, signal);
  }
}
