/**
 * What a person may ask for after an upgrade has ended: a new upgrade that takes it up again. A *retry*
 * continues in the same direction. A *rollback* returns the cluster to the version that the ended upgrade
 * started from, through the same gates and in the reverse order, as if it had been asked for while that upgrade
 * ran.
 */
import { type Acceptance, acceptedUpgrade, type UpgradeRequest } from './admit.ts';
import { type Cluster, type DatastoreVersion, versionOf } from './domain.ts';
import type { Policy } from './policy.ts';
import {
  type BatchPlace,
  type Follows,
  goalIdOf,
  isActive,
  meantBy,
  type RequestedBy,
  type Upgrade,
  type UpgradeEvent,
} from './record.ts';
import { rollbackRefusal } from './upgrade/judge.ts';

export type FollowUp = Follows['as'];
export const FOLLOW_UPS: readonly FollowUp[] = ['retry', 'rollback'];

/**
 * What can be asked for now. Nothing for an upgrade that is still active: people act on that upgrade itself.
 */
export function possibleFollowUps(upgrade: Upgrade, cluster: Cluster): readonly FollowUp[] {
  if (isActive(upgrade) || cluster.task !== 'NONE') return [];
  return FOLLOW_UPS.filter((as) => followUpRefusal(upgrade, cluster, as) === null);
}

/**
 * Why the ended upgrade cannot be taken up again in this way; null if it can. `to`: the version, for a retry
 * with that version.
 */
export function followUpRefusal(
  upgrade: Upgrade,
  cluster: Cluster,
  as: FollowUp,
  to: Pick<DatastoreVersion, 'id'> = { id: goalIdOf(upgrade) },
): string | null {
  const { id, state, from_version } = upgrade;
  if (cluster.upgrade_id !== id) return `a later upgrade of the cluster is ${cluster.upgrade_id}`;
  if (state.name === 'rolled_back' && to.id === goalIdOf(upgrade))
    return `it is back at ${from_version} already`;
  if (as === 'retry')
    return state.name === 'succeeded' ? 'it has succeeded: there is nothing to retry' : null;
  const isThere =
    (upgrade.instance_id !== undefined || cluster.datastore_version === from_version) &&
    meantBy(upgrade, cluster).every((instance) => versionOf(instance) === from_version);
  if (isThere) return `every instance runs ${from_version} already`;
  return rollbackRefusal({ ...upgrade, cancelling: false }, (instance_id) => nameIn(cluster, instance_id));
}

/**
 * The request behind a retry with another version: a separate upgrade to that version, of the cluster or
 * instance that the ended upgrade was about, under its policy.
 */
export function retargetedRequest(
  { cluster_id, tenant_id, instance_id, policy }: Upgrade,
  to: Pick<DatastoreVersion, 'id'>,
  requested_by: RequestedBy,
): UpgradeRequest {
  return {
    ...{ cluster_id, tenant_id, datastore_version: to.id, requested_by },
    ...(instance_id !== undefined && { instance_id }),
    policy: inTime(policy),
  };
}

/** Drops the policy's time to start: it has passed, or is no longer meant. */
function inTime(policy: Policy): Policy {
  return { ...policy, not_before: null };
}

/** The record of the upgrade that takes up `ended`, and its first event. */
export function followUpUpgrade(
  ended: Upgrade,
  cluster: Cluster,
  {
    as,
    requested_by,
    batch,
    ...acceptance
  }: Acceptance & { as: FollowUp; requested_by: RequestedBy; batch?: BatchPlace },
): { readonly upgrade: Upgrade; readonly event: UpgradeEvent } {
  const { from_version_id, from_version, to_version_id, to_version, policy, direction, instance_id } = ended;
  const request = {
    ...{ cluster_id: cluster.id, tenant_id: null, datastore_version: to_version_id },
    ...(instance_id !== undefined && { instance_id }),
  };
  const target = { id: to_version_id, name: to_version };
  const { upgrade, event } = acceptedUpgrade(
    cluster,
    target,
    { ...request, policy: inTime(policy), requested_by, ...(batch && { batch }) },
    acceptance,
  );
  const message = `${as} of upgrade ${ended.id} of ${cluster.name} accepted`;
  return {
    upgrade: {
      ...upgrade,
      from_version_id,
      from_version,
      direction: as === 'rollback' ? 'back' : direction,
      follows: { upgrade_id: ended.id, as },
    },
    event: { ...event, message },
  };
}

function nameIn({ instances }: Cluster, id: string): string {
  return instances.find((instance) => instance.id === id)?.name ?? id;
}
