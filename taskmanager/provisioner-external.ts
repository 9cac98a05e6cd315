import type { Provisioner } from './provisioning.ts';

/**
 * Instances that an operator brings. Their agents are started by hand, or by whatever starts processes on
 * those hosts, and join with the token from the answer to the creation of the cluster. There is nothing to do
 * here but wait: an operator also removes what an operator has started.
 */
export const externalProvisioner: Provisioner = {
  provision: async () => undefined,
  remove: async () => true,
  unsettled: async () => [],
  settled: async () => undefined,
};
