import { type Cluster, type Instance, type Instant, isHealthy, primaryOf } from '../src/core/domain.ts';
import { managerOf } from '../src/core/managers/index.ts';
import type { Logger } from '../src/log.ts';
import { sleep } from '../src/service.ts';
import type { BuildOrder, Store } from '../src/store/store.ts';

/** Where instances come from. Both methods may be called again at any time, with the same result. */
export interface Provisioner {
  /** Sees to it that every instance of the cluster has a guest agent, or will get one. */
  provision(cluster: Cluster, order: BuildOrder): Promise<void>;
  /** Takes these instances of the cluster away. True once nothing of them is left. */
  remove(cluster: Cluster, instances: readonly Instance[]): Promise<boolean>;
  /** Clusters that were provisioned and not `settled` since: their taskmanager died in between. */
  unsettled(): Promise<readonly Cluster[]>;
  /** What was provisioned is known to be wanted still, or is gone. */
  settled(cluster: Cluster): Promise<void>;
}

const REMOVAL_POLL_MS = 100;
/** Afterwards the sweep goes on with it: no message is held for long. */
const REMOVAL_WAIT_MS = 10_000;
const NEXT_LOOK_MS = 2_000;

/** Builds, grows, shrinks and removes clusters: brings record and provisioner together. */
export class Provisioning {
  readonly #deps: { store: Store; provisioner: Provisioner; log: Logger; now: () => Instant };

  constructor(deps: { store: Store; provisioner: Provisioner; log: Logger; now: () => Instant }) {
    this.#deps = deps;
  }

  /** Does what the cluster's task asks for, if it asks for instances to come or go. */
  async resume(cluster_id: string): Promise<void> {
    const cluster = await this.#deps.store.getCluster(cluster_id);
    if (cluster?.task === 'BUILDING') await this.create(cluster_id);
    if (cluster?.task === 'GROWING_CLUSTER') await this.grow(cluster_id);
    if (cluster?.task === 'SHRINKING_CLUSTER') await this.shrink(cluster_id);
    if (cluster?.task === 'DELETING') await this.remove(cluster_id);
    await this.#deps.store.defer({ kind: 'cluster', id: cluster_id }, this.#deps.now() + NEXT_LOOK_MS);
  }

  /** The cluster is built when every guest reports a healthy server: their heartbeats end the task. */
  async create(cluster_id: string): Promise<void> {
    const { store } = this.#deps;
    const cluster = await store.getCluster(cluster_id);
    if (cluster?.task === 'BUILDING') await this.#provision(cluster);
    await store.castConfirmed(`${cluster_id}:create_cluster`);
  }

  /** Likewise: done when every new guest reports a healthy server. */
  async grow(cluster_id: string): Promise<void> {
    const { store, log } = this.#deps;
    const cluster = await store.getCluster(cluster_id);
    if (cluster?.task === 'GROWING_CLUSTER') {
      const hasSource = !managerOf(cluster.manager).hasServers || primaryOf(cluster)?.report?.endpoint;
      if (hasSource) await this.#provision(cluster);
      else log.warn({ cluster_id }, 'no primary to copy: its guest has to report first');
    }
    await store.castConfirmed(`${cluster_id}:grow_cluster`);
  }

  async #provision(cluster: Cluster): Promise<void> {
    const { store, provisioner } = this.#deps;
    const order = await store.getBuildOrder(cluster.id);
    if (!order) return;
    await provisioner.provision(cluster, order);
    await this.#dropUnwanted(cluster, await store.getCluster(cluster.id));
  }

  /**
   * What was provisioned may have been deleted meanwhile, before there was anything to remove. Built meanwhile
   * is another matter.
   */
  async #dropUnwanted(provisioned: Cluster, now: Cluster | null): Promise<void> {
    const { provisioner } = this.#deps;
    const isGone = ({ id }: Instance) => !now?.instances.some((one) => one.id === id);
    const gone = now?.task === 'DELETING' ? provisioned.instances : provisioned.instances.filter(isGone);
    if (gone.length > 0) await provisioner.remove(provisioned, gone);
    await provisioner.settled(provisioned);
  }

  /**
   * The same for a taskmanager that died before it came to that: nobody else would ever look for those
   * instances. What no note of its own tells of is not touched, should Redis have forgotten everything.
   */
  async clearLeftovers(): Promise<void> {
    const { store, provisioner, log } = this.#deps;
    for (const provisioned of await provisioner.unsettled()) {
      const now = await store.getCluster(provisioned.id);
      if (now?.task === 'BUILDING' || now?.task === 'GROWING_CLUSTER') continue;
      log.info({ cluster_id: provisioned.id }, 'looking for what a dead taskmanager has left of a cluster');
      await this.#dropUnwanted(provisioned, now);
    }
  }

  /**
   * Takes away the instances that are to go. One that has become the primary since it was asked for stays:
   * nobody would serve writes (G6), unless another primary does.
   */
  async shrink(cluster_id: string): Promise<void> {
    const { store } = this.#deps;
    const cluster = await store.getCluster(cluster_id);
    if (cluster?.task === 'SHRINKING_CLUSTER') {
      await this.#shrink(cluster, (doomed) => this.#removed(cluster, doomed));
    }
    await store.castConfirmed(`${cluster_id}:shrink_cluster`);
  }

  /** Ends a shrink at once: what is to go is told so, and forgotten, gone or not. */
  async abandonShrink(cluster: Cluster): Promise<void> {
    await this.#shrink(cluster, async (doomed) => {
      await this.#deps.provisioner.remove(cluster, doomed);
      return true;
    });
  }

  async #shrink(cluster: Cluster, remove: (doomed: readonly Instance[]) => Promise<boolean>): Promise<void> {
    const { store, log, now } = this.#deps;
    const { id: cluster_id } = cluster;
    const doomed = cluster.instances.filter(({ task }) => task === 'DELETING');
    const isPrimary = ({ report }: Instance) => report?.role === 'primary';
    const primary = doomed.find(isPrimary);
    // Of two primaries the one may go that a person has named, as long as the other one serves.
    const staysOne = cluster.instances.some(
      (one) => !doomed.includes(one) && isPrimary(one) && isHealthy(one, now()),
    );
    if (primary && !staysOne) {
      const fault = `${primary.name} has become the primary: nothing was removed`;
      await store.finishShrink(cluster, [], fault, now());
      log.warn({ cluster_id, instance_id: primary.id }, fault);
    } else if (await remove(doomed)) {
      const ids = doomed.map(({ id }) => id);
      await store.finishShrink(cluster, ids, null, now());
      log.info({ cluster_id, removed: ids }, 'cluster shrunk');
    }
  }

  /** False if they are still being removed after a while: the sweep goes on with it. */
  async #removed(cluster: Cluster, instances: readonly Instance[]): Promise<boolean> {
    const { provisioner, log, now } = this.#deps;
    const until = now() + REMOVAL_WAIT_MS;
    while (!(await provisioner.remove(cluster, instances))) {
      if (now() > until) {
        log.info({ cluster_id: cluster.id }, 'instances are still being removed');
        return false;
      }
      await sleep(REMOVAL_POLL_MS);
    }
    return true;
  }

  async remove(cluster_id: string): Promise<void> {
    const { store, log } = this.#deps;
    const cluster = await store.getCluster(cluster_id);
    if (cluster?.task === 'DELETING') {
      if (!(await this.#removed(cluster, cluster.instances))) return;
      await store.removeCluster(cluster_id);
      log.info({ cluster_id }, 'cluster deleted');
    }
    await store.castConfirmed(`${cluster_id}:delete_cluster`);
  }
}
