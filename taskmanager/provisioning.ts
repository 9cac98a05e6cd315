import {
  type Cluster,
  type Instance,
  type Instant,
  isHealthy,
  isPrimary,
  primaryOf,
} from '../src/core/domain.ts';
import { managerOf } from '../src/core/managers/index.ts';
import type { Logger } from '../src/log.ts';
import { sleep } from '../src/service.ts';
import type { BuildOrder } from '../src/store/provisioning.ts';
import type { Store } from '../src/store/store.ts';

/**
 * Where instances come from. `provision` and `remove` may be called again at any time, with the same result.
 */
export interface Provisioner {
  /** Ensures that every instance of the cluster has a guest agent, or will get one. */
  provision(cluster: Cluster, order: BuildOrder): Promise<void>;
  /** Removes these instances of the cluster. True once nothing of them is left. */
  remove(cluster: Cluster, instances: readonly Instance[]): Promise<boolean>;
  /**
   * Clusters that were provisioned and not `settled` since: the taskmanager that provisioned them died in
   * between.
   */
  unsettled(): Promise<readonly Cluster[]>;
  /** Notes that the provisioned instances have been checked: they are still wanted, or they are gone. */
  settled(cluster: Cluster): Promise<void>;
}

const REMOVAL_POLL_MS = 100;
/** After this long the sweep continues the removal, so that no message is held for long. */
const REMOVAL_WAIT_MS = 10_000;
const NEXT_LOOK_MS = 2_000;

interface ProvisioningDeps {
  readonly store: Pick<Store, 'clusters' | 'provisioning' | 'due' | 'outbox'>;
  readonly provisioner: Provisioner;
  readonly log: Logger;
  readonly now: () => Instant;
}

/** Builds, grows, shrinks and removes clusters: makes the provisioner follow the record. */
export class Provisioning {
  readonly #deps: ProvisioningDeps;

  constructor(deps: ProvisioningDeps) {
    this.#deps = deps;
  }

  /** Carries out the cluster's task, if the task is to add or remove instances. */
  async resume(cluster_id: string): Promise<void> {
    const cluster = await this.#deps.store.clusters.get(cluster_id);
    if (cluster?.task === 'BUILDING') await this.create(cluster_id);
    if (cluster?.task === 'GROWING_CLUSTER') await this.grow(cluster_id);
    if (cluster?.task === 'SHRINKING_CLUSTER') await this.shrink(cluster_id);
    if (cluster?.task === 'DELETING') await this.remove(cluster_id);
    await this.#deps.store.due.defer({ kind: 'cluster', id: cluster_id }, this.#deps.now() + NEXT_LOOK_MS);
  }

  /** The cluster is built once every guest reports a healthy server: these heartbeats end the task. */
  async create(cluster_id: string): Promise<void> {
    const { store } = this.#deps;
    const cluster = await store.clusters.get(cluster_id);
    if (cluster?.task === 'BUILDING') await this.#provision(cluster);
    await store.outbox.castConfirmed(`${cluster_id}:create_cluster`);
  }

  /** Likewise, the cluster has grown once every new guest reports a healthy server. */
  async grow(cluster_id: string): Promise<void> {
    const { store, log } = this.#deps;
    const cluster = await store.clusters.get(cluster_id);
    if (cluster?.task === 'GROWING_CLUSTER') {
      const hasSource = !managerOf(cluster.manager).copiesPrimary || primaryOf(cluster)?.report?.endpoint;
      if (hasSource) await this.#provision(cluster);
      else log.warn({ cluster_id }, 'no primary to copy: its guest has to report first');
    }
    await store.outbox.castConfirmed(`${cluster_id}:grow_cluster`);
  }

  async #provision(cluster: Cluster): Promise<void> {
    const { store, provisioner } = this.#deps;
    const order = await store.provisioning.getOrder(cluster.id);
    if (!order) return;
    await provisioner.provision(cluster, order);
    await this.#dropUnwanted(cluster, await store.clusters.get(cluster.id));
  }

  /**
   * Instances may have been deleted while they were being provisioned, before there was anything to remove:
   * removes them now. Instances whose build was finished in the meantime stay.
   */
  async #dropUnwanted(provisioned: Cluster, now: Cluster | null): Promise<void> {
    const { provisioner } = this.#deps;
    const isGone = ({ id }: Instance) => !now?.instances.some((one) => one.id === id);
    const gone = now?.task === 'DELETING' ? provisioned.instances : provisioned.instances.filter(isGone);
    if (gone.length > 0) await provisioner.remove(provisioned, gone);
    await provisioner.settled(provisioned);
  }

  /**
   * Does the same for a taskmanager that died before it could: no other code would ever look for those
   * instances. Only clusters that the provisioner's own notes name are touched, in case Redis has lost all
   * its data.
   */
  async clearLeftovers(): Promise<void> {
    const { store, provisioner, log } = this.#deps;
    for (const provisioned of await provisioner.unsettled()) {
      const now = await store.clusters.get(provisioned.id);
      if (now?.task === 'BUILDING' || now?.task === 'GROWING_CLUSTER') continue;
      log.info({ cluster_id: provisioned.id }, 'looking for what a dead taskmanager has left of a cluster');
      await this.#dropUnwanted(provisioned, now);
    }
  }

  /**
   * Removes the instances that are to go. An instance that has become the primary since the request stays,
   * because without it nobody would serve writes (G6), unless another primary does.
   */
  async shrink(cluster_id: string): Promise<void> {
    const { store } = this.#deps;
    const cluster = await store.clusters.get(cluster_id);
    if (cluster?.task === 'SHRINKING_CLUSTER') {
      await this.#shrink(cluster, (doomed) => this.#removed(cluster, doomed));
    }
    await store.outbox.castConfirmed(`${cluster_id}:shrink_cluster`);
  }

  /**
   * Ends a shrink at once: asks for the removal of the instances that are to go, and forgets them, whether
   * they are gone or not.
   */
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
    const primary = doomed.find(isPrimary);
    // If there are two primaries, the one that a person has named may go as long as the other one serves.
    const staysOne = cluster.instances.some(
      (one) => !doomed.includes(one) && isPrimary(one) && isHealthy(one, now()),
    );
    if (primary && !staysOne) {
      const fault = `${primary.name} has become the primary: nothing was removed`;
      await store.provisioning.finishShrink(cluster, [], fault, now());
      log.warn({ cluster_id, instance_id: primary.id }, fault);
    } else if (await remove(doomed)) {
      const ids = doomed.map(({ id }) => id);
      await store.provisioning.finishShrink(cluster, ids, null, now());
      log.info({ cluster_id, removed: ids }, 'cluster shrunk');
    }
  }

  /** False if the instances are still being removed after a while: the sweep continues the removal. */
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

  /**
   * Deletes a cluster, or lets an adopted one go. With `force`, agents that do not answer keep an adopted
   * cluster no longer: what was set on their servers stays there.
   */
  async remove(cluster_id: string, { force = false } = {}): Promise<void> {
    const { store, provisioner, log } = this.#deps;
    const cluster = await store.clusters.get(cluster_id);
    if (cluster?.task === 'DELETING') {
      const { adopted, instances } = cluster;
      // An agent that is away may be away for long: the sweep asks it again.
      const isGone = await (adopted
        ? provisioner.remove(cluster, instances)
        : this.#removed(cluster, instances));
      if (!isGone && !(adopted && force)) return;
      if (!isGone) log.warn({ cluster_id }, 'released by force: some agents have not answered');
      await store.provisioning.remove(cluster_id);
      log.info({ cluster_id }, adopted ? 'cluster released' : 'cluster deleted');
    }
    const casts = [`${cluster_id}:delete_cluster`, `${cluster_id}:release_cluster`];
    await Promise.all(casts.map((id) => store.outbox.castConfirmed(id)));
  }
}
