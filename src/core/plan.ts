import { type Cluster, type Instance, type Instant, isHealthy, isInDoubt, isPrimary } from './domain.ts';
import { type ExpectedTimes, expectedOf } from './history.ts';
import { managerOf } from './managers/index.ts';
import { maxUnavailable, type Policy } from './policy.ts';
import type { Step } from './record.ts';
import type { Move } from './sequence/sequence.ts';

/** The goal of a plan, and the id that its steps begin with. */
interface Goal {
  readonly to_version: string;
  readonly direction: 'forward' | 'back';
  readonly round: number;
  /** The first step's id: ids are never used again. */
  readonly first_id: number;
  /** Only this instance's part of the plan; the switchover of a primary belongs to it. */
  readonly instance_id?: string | undefined;
}

/** The ordered steps that bring `cluster` to a version, given what its guests report now. */
export function planSteps(cluster: Cluster, goal: Goal, now: Instant): readonly Step[] {
  const { to_version, direction, round, first_id, instance_id } = goal;
  const isMeant = (move: Move) => instance_id === undefined || move.instance_id === instance_id;
  const forward = managerOf(cluster.manager).sequence(cluster, to_version, now);
  const moves = doubtfulFirst(direction === 'back' ? reversed(forward) : forward, cluster, now);
  return moves.filter(isMeant).map((move, index) => ({
    id: first_id + index,
    stage: move.stage,
    round,
    to_version,
    reversible: null,
    touched: false,
    in_doubt: false,
    returns: false,
    kind: move.kind,
    instance_id: move.instance_id,
    successor_id: null,
    repair: move.repair,
    attempt: 0,
    attempts_forgiven: 0,
    started: null,
    phase: { name: 'pending', blocked: null },
  }));
}

/**
 * An instance in doubt gets a new order before any other instance goes down, whatever version it reports:
 * afterwards no older order counts there. A primary that serves is only fenced, before everything else:
 * otherwise it would go down for nothing. A broken primary goes before the other instances: they have nobody to
 * stream from.
 */
function doubtfulFirst(moves: readonly Move[], { instances }: Cluster, now: Instant): readonly Move[] {
  const serves = (one: Instance) => isPrimary(one) && isHealthy(one, now);
  const doubtful = instances.filter((one) => isInDoubt(one) && !serves(one));
  const fenced = instances.filter((one) => isInDoubt(one) && serves(one));
  if (doubtful.length + fenced.length === 0) return moves;
  const broken = instances.filter((one) => isPrimary(one) && !isHealthy(one, now));
  const first = [...new Set([...broken, ...doubtful])].map(({ id }) => id);
  const stage = Math.min(0, ...moves.map((move) => move.stage)) - 1;
  const fences = fenced.map(({ id }) => {
    return { kind: 'fence' as const, instance_id: id, repair: false, stage: stage - 1 };
  });
  const ordered = first.map((instance_id) => {
    const repair = moves.find((move) => move.instance_id === instance_id)?.repair ?? false;
    return { kind: 'instance' as const, instance_id, repair, stage };
  });
  return [...fences, ...ordered, ...moves.filter(({ instance_id }) => !first.includes(instance_id))];
}

/**
 * How long the steps take. Steps of a stage run side by side as far as `max_unavailable` allows, each turn with
 * its soak. Null if one of the steps is of a kind that was never measured.
 */
export function workMs(
  steps: readonly Step[],
  { instances }: Cluster,
  policy: Policy,
  expected: ExpectedTimes,
): number | null {
  const side_by_side = maxUnavailable(policy, instances.length);
  const stages = [...new Set(steps.map(({ stage }) => stage))];
  return stages.reduce<number | null>((sum, stage) => {
    const turn = steps.filter((step) => step.stage === stage);
    const soak_ms = turn.some((step) => step.kind === 'instance') ? policy.soak_seconds * 1000 : 0;
    const medians = turn.map(({ kind }) => expectedOf(expected, kind).median_ms);
    if (sum === null || !medians.every((median_ms) => median_ms !== null)) return null;
    const step_ms = Math.max(...medians);
    return sum + Math.ceil(turn.length / side_by_side) * (step_ms + soak_ms);
  }, 0);
}

/**
 * On the way back the instance that was upgraded last goes first; broken instances go first both ways. Where a
 * primary hands over, the stages stay: the primary goes last in either direction (G6).
 */
function reversed(moves: readonly Move[]): readonly Move[] {
  const last = Math.max(0, ...moves.map((move) => move.stage));
  const keepsStages = moves.some((move) => move.kind === 'switchover');
  const others = moves
    .filter((move) => !move.repair)
    .toReversed()
    .map((move) => (keepsStages ? move : { ...move, stage: last - move.stage + 1 }))
    .sort((a, b) => a.stage - b.stage);
  // A broken primary goes before the replicas, which have no other instance to stream from, both ways.
  return [...moves.filter((move) => move.repair), ...others];
}
