/** What several commands do with an upgrade: find it, and say which command to type next. */
import {
  type ClusterDocument,
  CofferApiError,
  type CofferClient,
  type UpgradeDocument,
} from '../client/index.ts';

/** For the help of every command that takes `<upgrade>`. */
export const UPGRADE_ARGUMENT =
  'its id; or a cluster, by name or id, for the upgrade that it is busy with, or its last';

/** Finds an upgrade by its id, or by its cluster. Rejects with `upgrade_not_found`. */
export async function findUpgrade(client: CofferClient, reference: string): Promise<UpgradeDocument> {
  const upgrade = await ifFound(client.upgrades.get(reference));
  if (upgrade !== null) return upgrade;
  const cluster = await ifFound<ClusterDocument>(client.clusters.get(reference));
  if (cluster === null) throw missing(`There is no upgrade and no cluster '${reference}'.`);
  if (cluster.upgrade_id === null) throw missing(`Cluster ${cluster.name} has never been upgraded.`);
  return client.upgrades.get(cluster.upgrade_id);
}

async function ifFound<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof CofferApiError && error.status === 404) return null;
    throw error;
  }
}

function missing(message: string): CofferApiError {
  return new CofferApiError('upgrade_not_found', message, { status: 404, requestId: null });
}

/**
 * The command that lets an upgrade continue when the upgrade waits for a person; null if it does not wait for
 * a person.
 */
export function wayOn({ id, state, reason, actions: [first] }: UpgradeDocument): string | null {
  return state === 'paused' && reason !== 'window' && first !== undefined
    ? `coffer upgrade-${first} ${id}`
    : null;
}
