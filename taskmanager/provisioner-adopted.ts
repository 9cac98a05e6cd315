import { type Bus, guestTopic } from '../src/bus/bus.ts';
import { ReleaseAnswer } from '../src/contract/rpc.ts';
import type { Cluster, Instance } from '../src/core/domain.ts';
import type { Logger } from '../src/log.ts';
import type { Keyring } from './keyring.ts';
import type { Provisioner } from './provisioning.ts';

/** Well above the time that an agent needs to edit a setting of its server. */
const RELEASE_TIMEOUT_MS = 8_000;

interface AdoptedDeps {
  readonly bus: Pick<Bus, 'call'>;
  readonly keyring: Keyring;
  readonly log: Logger;
}

/**
 * Adopted clusters beside those that `built` provides. Their servers exist, so nothing is built. To remove an
 * instance means to let it go: its agent takes back what Coffer has set, and its server goes on serving.
 */
export function withAdopted(built: Provisioner, deps: AdoptedDeps): Provisioner {
  return {
    provision: async (cluster, order) => {
      if (!cluster.adopted) await built.provision(cluster, order);
    },
    remove: (cluster, instances) =>
      cluster.adopted ? letGo(deps, cluster, instances) : built.remove(cluster, instances),
    unsettled: () => built.unsettled(),
    settled: async (cluster) => {
      if (!cluster.adopted) await built.settled(cluster);
    },
  };
}

/** True once every agent has answered. An agent that was never heard has set nothing. */
async function letGo(deps: AdoptedDeps, cluster: Cluster, instances: readonly Instance[]): Promise<boolean> {
  const heard = instances.filter((instance) => instance.heard !== null);
  const answers = await Promise.all(heard.map((instance) => hasReleased(deps, cluster, instance)));
  return answers.every(Boolean);
}

/** The order may be given again at any time: an agent that has released answers again. */
async function hasReleased({ bus, keyring, log }: AdoptedDeps, cluster: Cluster, { id, name }: Instance) {
  try {
    const protection = await keyring.protectionOf(id);
    const answer = await bus.call(
      guestTopic(id),
      'release',
      {},
      { timeout_ms: RELEASE_TIMEOUT_MS, protection },
    );
    return ReleaseAnswer.safeParse(answer).success;
  } catch (err) {
    log.warn({ err, cluster_id: cluster.id, instance_id: id }, `${name} is not released yet; asking again`);
    return false;
  }
}
