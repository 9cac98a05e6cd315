import type { Cluster, Instant } from '../src/core/domain.ts';
import type { Logger } from '../src/log.ts';
import { sleep } from '../src/service.ts';
import type { BuildOrder, Store } from '../src/store/store.ts';

/** Where instances come from. Both methods may be called again at any time, with the same result. */
export interface Provisioner {
  /** Sees to it that every instance of the cluster has a guest agent, or will get one. */
  provision(cluster: Cluster, order: BuildOrder): Promise<void>;
  /** Takes the instances away. True once nothing of them is left. */
  remove(cluster: Cluster): Promise<boolean>;
}

const REMOVAL_POLL_MS = 100;
/** Afterwards the sweep goes on with it: no message is held for long. */
const REMOVAL_WAIT_MS = 10_000;
const NEXT_LOOK_MS = 2_000;

/** Builds and removes clusters: brings record and provisioner together. */
export class Provisioning {
  readonly #deps: { store: Store; provisioner: Provisioner; log: Logger; now: () => Instant };

  constructor(deps: { store: Store; provisioner: Provisioner; log: Logger; now: () => Instant }) {
    this.#deps = deps;
  }

  /** Does what the cluster's task asks for; nothing if it is neither BUILDING nor DELETING. */
  async resume(cluster_id: string): Promise<void> {
    const cluster = await this.#deps.store.getCluster(cluster_id);
    if (cluster?.task === 'BUILDING') await this.create(cluster_id);
    if (cluster?.task === 'DELETING') await this.remove(cluster_id);
    await this.#deps.store.defer({ kind: 'cluster', id: cluster_id }, this.#deps.now() + NEXT_LOOK_MS);
  }

  /** The cluster is built when every guest reports a healthy server: their heartbeats end the task. */
  async create(cluster_id: string): Promise<void> {
    const { store, provisioner } = this.#deps;
    const cluster = await store.getCluster(cluster_id);
    const order = await store.getBuildOrder(cluster_id);
    if (cluster?.task === 'BUILDING' && order) {
      await provisioner.provision(cluster, order);
      // Deleted meanwhile, perhaps before there was anything to remove. Built meanwhile is another matter.
      const after = await store.getCluster(cluster_id);
      if (after === null || after.task === 'DELETING') await provisioner.remove(cluster);
    }
    await store.castConfirmed(`${cluster_id}:create_cluster`);
  }

  async remove(cluster_id: string): Promise<void> {
    const { store, provisioner, log, now } = this.#deps;
    const cluster = await store.getCluster(cluster_id);
    if (cluster?.task === 'DELETING') {
      const until = now() + REMOVAL_WAIT_MS;
      while (!(await provisioner.remove(cluster))) {
        if (now() > until) return log.info({ cluster_id }, 'instances are still being removed');
        await sleep(REMOVAL_POLL_MS);
      }
      await store.removeCluster(cluster_id);
      log.info({ cluster_id }, 'cluster deleted');
    }
    await store.castConfirmed(`${cluster_id}:delete_cluster`);
  }
}
