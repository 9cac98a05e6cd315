import type { Provisioner } from './provisioning.ts';

/**
 * Instances that an operator brings: their agents are started by hand (or by whatever starts things
 * there) and join with the token that the creation of the cluster answered. Nothing to do here but to
 * wait; what an operator started, an operator takes away.
 */
export const externalProvisioner: Provisioner = {
  provision: async () => undefined,
  remove: async () => true,
  unsettled: async () => [],
  settled: async () => undefined,
};
