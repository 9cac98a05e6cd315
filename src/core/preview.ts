/**
 * What an upgrade would do if it were asked for now, and what would hold it back: the plan that the machine
 * itself would make, shown before anything is begun.
 */

import { admissionFindings } from './admit.ts';
import { digestOf } from './digest.ts';
import {
  type Cluster,
  type DatastoreVersion,
  type Instance,
  type Instant,
  isAlive,
  isHealthy,
  lagOf,
  type Role,
  versionOf,
} from './domain.ts';
import { CofferError } from './errors.ts';
import { type ExpectedTimes, expectedTimes, NOTHING_MEASURED } from './history.ts';
import { lossesAmong, type PlanFinding, planFindings } from './left-behind.ts';
import type { Finding } from './phase.ts';
import { planSteps, workMs } from './plan.ts';
import { DEFAULT_POLICY, isOverridden, type Policy } from './policy.ts';
import { isCascaded, noPrimary, replicaSetsOf } from './primaries.ts';
import type { Step } from './record.ts';
import { CAUGHT_UP_LAG_BYTES } from './upgrade/gates.ts';

/** The upgrade to preview. */
interface Intent {
  readonly target: DatastoreVersion;
  /**
   * The part of the cluster that the upgrade is about, if only one instance is to be upgraded: see `scopeOf`.
   * The cluster itself when left out.
   */
  readonly scope?: Cluster;
  readonly instance_id?: string | undefined;
  /** All versions of the cluster's datastore. */
  readonly versions: readonly DatastoreVersion[];
  readonly policy?: Partial<Policy>;
  /** How long steps of the cluster's manager take, as measured. */
  readonly expected?: ExpectedTimes;
}

interface PlannedStep {
  readonly kind: Step['kind'];
  readonly instance_id: string;
  readonly instance_name: string;
  readonly role: Role | null;
  readonly stage: number;
  readonly repair: boolean;
}

export interface Plan {
  readonly from: { readonly id: string; readonly name: string };
  readonly to: { readonly id: string; readonly name: string };
  readonly steps: readonly PlannedStep[];
  /** The instance that would become the primary, by what is known now; null if none would. */
  readonly successor: { readonly instance_id: string; readonly instance_name: string } | null;
  /** All gates that would hold the upgrade back now. */
  readonly gates: readonly Finding[];
  /**
   * Findings of the guests that the person who asks should know. Those that hold the upgrade back are among the
   * gates, too.
   */
  readonly findings: readonly PlanFinding[];
  /**
   * The time for the work alone, without windows and pauses for people. Null before steps of these kinds were
   * measured.
   */
  readonly estimate_seconds: number | null;
  /** Stays the same as long as the sequence, roles, versions and target stay the same. */
  readonly hash: string;
}

/** The plan of an upgrade that has not been asked for yet. */
export function previewUpgrade(cluster: Cluster, intent: Intent, now: Instant): Plan {
  const {
    target,
    versions,
    scope = cluster,
    instance_id,
    expected = expectedTimes(NOTHING_MEASURED),
  } = intent;
  const policy = { ...DEFAULT_POLICY, ...intent.policy };
  const goal = {
    ...({ to_version: target.name, direction: 'forward', round: 0, first_id: 0 } as const),
    instance_id,
  };
  const steps = planSteps(cluster, goal, now);
  const successor = successorIn(cluster, steps);
  const from = switchoverFrom(cluster, steps);
  const work_ms = workMs(steps, cluster, policy, expected);
  return {
    from: { id: scope.datastore_version_id, name: scope.datastore_version },
    to: { id: target.id, name: target.name },
    steps: steps.map((step) => plannedStep(cluster, step)),
    successor: successor && { instance_id: successor.id, instance_name: successor.name },
    gates: [
      ...admissionFindings(scope, target, { versions, whole: cluster, overrides: policy.overrides }),
      ...stepFindings(cluster, steps, now).filter(({ gate }) => !isOverridden(policy, gate)),
    ],
    findings: planFindings(cluster, from ? { from, to: successor } : null, policy),
    estimate_seconds: work_ms === null ? null : Math.ceil(work_ms / 1000),
    hash: hashOf(cluster, target, steps),
  };
}

/** Throws `conflict` if the plan is not the one that a person has seen and agreed to. */
export function checkPlanHash(plan: Plan, expected: string): void {
  if (plan.hash === expected) return;
  throw new CofferError(
    'conflict',
    `The plan is no longer the one with hash ${expected}: order, roles or versions have changed, and its hash is ${plan.hash} now. ` +
      'Ask for the plan again (dry_run), look at it, and send its hash.',
  );
}

function plannedStep(cluster: Cluster, { kind, instance_id, stage, repair }: Step): PlannedStep {
  const instance = instanceIn(cluster, instance_id);
  const role = instance?.report?.role ?? null;
  return { kind, instance_id, instance_name: instance?.name ?? instance_id, role, stage, repair };
}

/**
 * The successor that the machine would choose if every replica were upgraded as it is now: the one that is
 * least behind.
 */
function successorIn(cluster: Cluster, steps: readonly Step[]): Instance | null {
  const switchover = steps.find((step) => step.kind === 'switchover');
  if (!switchover) return null;
  const replicas = cluster.instances.filter(
    (one) => one.id !== switchover.instance_id && one.report?.role === 'replica' && !isCascaded(one, cluster),
  );
  return replicas.toSorted((a, b) => lagOf(a) - lagOf(b))[0] ?? null;
}

/** The gates between steps, as far as they can be known before the first step. */
function stepFindings(cluster: Cluster, steps: readonly Step[], now: Instant): readonly Finding[] {
  return [
    guestsAlive(cluster, steps, now),
    othersHealthy(cluster, steps, now),
    ...somePrimary(cluster, steps),
    caughtUp(cluster, steps),
    ...lossesAmong(switchoverFrom(cluster, steps)?.report?.findings),
  ].filter((finding) => finding !== null);
}

function guestsAlive(cluster: Cluster, steps: readonly Step[], now: Instant): Finding | null {
  const away = cluster.instances.filter((instance) => hasStep(steps, instance) && !isAlive(instance, now));
  if (away.length === 0) return null;
  return {
    gate: 'guests_alive',
    reason: `the guest agent of ${namesOf(away)} has not been heard lately: start it`,
  };
}

/**
 * A broken instance with a step is mended by that step, at no cost; any other has to be mended by somebody
 * else.
 */
function othersHealthy(cluster: Cluster, steps: readonly Step[], now: Instant): Finding | null {
  const broken = cluster.instances.filter(
    (instance) => !hasStep(steps, instance) && !isHealthy(instance, now),
  );
  if (broken.length === 0) return null;
  return {
    gate: 'instances_healthy',
    reason: `${namesOf(broken)} not healthy, and no step of this upgrade would mend that`,
  };
}

/** Sets with two primaries are not checked here: admission reports them. */
function somePrimary(cluster: Cluster, steps: readonly Step[]): readonly Finding[] {
  const sets = replicaSetsOf(cluster).filter((set) => set.some((instance) => hasStep(steps, instance)));
  return sets.map(noPrimary).filter((finding) => finding !== null);
}

function caughtUp(cluster: Cluster, steps: readonly Step[]): Finding | null {
  const switchover = steps.find((step) => step.kind === 'switchover');
  const successor = successorIn(cluster, steps);
  if (!switchover || (successor && lagOf(successor) <= CAUGHT_UP_LAG_BYTES)) return null;
  const primary = instanceIn(cluster, switchover.instance_id)?.name ?? switchover.instance_id;
  return { gate: 'replication_caught_up', reason: `no replica has caught up with ${primary}` };
}

/** The primary that would step down; null where none would. */
function switchoverFrom(cluster: Cluster, steps: readonly Step[]): Instance | null {
  const switchover = steps.find((step) => step.kind === 'switchover');
  return (switchover && instanceIn(cluster, switchover.instance_id)) ?? null;
}

function hasStep(steps: readonly Step[], { id }: Instance): boolean {
  return steps.some((step) => step.instance_id === id);
}

function instanceIn(cluster: Cluster, id: string): Instance | undefined {
  return cluster.instances.find((instance) => instance.id === id);
}

function namesOf(instances: readonly Instance[]): string {
  return instances.map(({ name }) => name).join(', ');
}

/** The lists have a fixed order, so that the same plan always gives the same text. */
function hashOf(cluster: Cluster, target: DatastoreVersion, steps: readonly Step[]): string {
  const instances = cluster.instances.map((one) => [one.id, one.report?.role ?? null, versionOf(one)]);
  const order = steps.map(({ kind, instance_id, stage, repair }) => [kind, instance_id, stage, repair]);
  return digestOf(JSON.stringify([cluster.id, cluster.datastore_version_id, target.id, instances, order]));
}
