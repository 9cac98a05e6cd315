/**
 * What a switchover leaves behind: replication brings the successor everything that is in the primary's log,
 * and nothing else. Guests report what they find. Some of these findings mean a loss of data: they hold the
 * switchover back until a person has acknowledged the loss by an override of the gate of the same name.
 */

import type { Cluster, FindingName, GuestFinding, Instance } from './domain.ts';
import type { Finding } from './phase.ts';
import { isOverridden, type Policy } from './policy.ts';

/** Each of these is the name of a gate, too. */
const LOSSES = ['unlogged_tables', 'logical_slots'] as const;
type Loss = (typeof LOSSES)[number];

/** Something that a person should know before the upgrade begins. */
export interface PlanFinding {
  readonly name: FindingName;
  readonly instance_id: string;
  readonly instance_name: string;
  readonly reason: string;
  /** True if the finding holds the switchover back unless it is acknowledged. */
  readonly holds: boolean;
  /** True where the policy overrides the gate of this name. */
  readonly acknowledged: boolean;
}

/** The findings on a primary that mean a loss in a switchover away from it, acknowledged or not. */
export function lossesAmong(found: readonly GuestFinding[] | undefined): readonly Finding[] {
  return (found ?? []).flatMap(({ name, message }) =>
    isLoss(name) ? [{ gate: name, reason: message }] : [],
  );
}

/** All findings of the guests, and the settings that differ between the primary and its successor. */
export function planFindings(
  { instances }: Cluster,
  switchover: { readonly from: Instance; readonly to: Instance | null } | null,
  policy: Pick<Policy, 'overrides'>,
): readonly PlanFinding[] {
  const found = instances.flatMap((instance) =>
    (instance.report?.findings ?? [])
      .filter(({ name }) => !isLoss(name) || instance.id === switchover?.from.id)
      .map(({ name, message }) => finding(name, instance, message, policy)),
  );
  const differing = switchover?.to ? differingSettings(switchover.from, switchover.to) : [];
  if (!switchover?.to || differing.length === 0) return found;
  const reason =
    `${differing.join(', ')} set with ALTER SYSTEM on ${switchover.from.name}, and otherwise on ${switchover.to.name}, ` +
    'which takes over: set them alike on both';
  return [...found, finding('settings_differ', switchover.from, reason, policy)];
}

function finding(
  name: FindingName,
  { id, name: instance_name }: Instance,
  reason: string,
  policy: Pick<Policy, 'overrides'>,
): PlanFinding {
  const [holds, acknowledged] = [isLoss(name), isOverridden(policy, name)];
  return { name, instance_id: id, instance_name, reason, holds, acknowledged };
}

function isLoss(name: FindingName): name is Loss {
  return LOSSES.some((loss) => loss === name);
}

/**
 * Settings that only one of the two instances has, or that have different values. Known only if both guests
 * report settings.
 */
function differingSettings(one: Instance, other: Instance): readonly string[] {
  const [own, others] = [one.report?.settings, other.report?.settings];
  if (!own || !others) return [];
  const names = new Set([...Object.keys(own), ...Object.keys(others)]);
  return [...names].filter((name) => own[name] !== others[name]).sort();
}
