import type { Cluster } from '../../../src/core/domain.ts';
import { expectedOf } from '../../../src/core/history.ts';
import { BUILT_IN_VERSIONS } from '../../../src/core/managers/index.ts';
import type { Override, Policy } from '../../../src/core/policy.ts';
import type { Step, Upgrade, UpgradeEvent } from '../../../src/core/record.ts';
import { advance } from '../../../src/core/upgrade/advance.ts';
import type { World } from '../world.ts';
import type { Checks } from './checks.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ACTIVE = ['scheduled', 'running', 'paused'];
const IN_FLIGHT = [
  ...['preparing', 'upgrading', 'verifying', 'settling', 'soaking', 'fencing'],
  ...['demoting', 'promoting', 'following', 'restoring'],
];
/** A window that is hardly longer than a step is good for a step only within this time of its opening. */
const LATE_MS = 10_000;
/** A healthy taskmanager has checked the upgrade by then. */
const STANDS_STILL_MS = 6_000;
/** The largest difference between the clocks of two taskmanagers. */
const SKEW_MS = 200;
/** A guest counts as alive for this time; and a report that was read may be a moment old. */
const ALIVE_MS = 15_000;
const TROVE_ALIVE_MS = 90_000;
const READ_MS = 3_000;
/** Shorter silences need not be reported. */
const LEAST_SILENCE_MS = 30_000;

/**
 * The policy of an upgrade, and the actions that people request: nothing happens that neither of the two
 * allows.
 */
export class PolicyChecks {
  readonly #world: World;
  readonly #checks: Checks;
  /** The time since when an upgrade waits for a window that is open. */
  #usableSince: number | null = null;

  constructor(world: World, checks: Checks) {
    this.#world = world;
    this.#checks = checks;
  }

  /** `now` is the time of the decision, by the clock of the process that decided. */
  committed(before: Upgrade, after: Upgrade, now: number): void {
    this.#checkGoal(before, after);
    if (before.state.name === 'scheduled' && after.state.name === 'running') this.#checkTime(after, now);
    for (const { phase } of after.steps) {
      const { gate, reason = '' } = (phase.name === 'pending' && phase.blocked) || {};
      // Where no successor exists, nothing is skipped.
      const mayHold = gate === 'instances_healthy' || reason.includes('nobody to take over');
      const isSkipped = gate !== undefined && hasOverride(after.policy, gate) && !mayHold;
      this.#must(!isSkipped, `${gate} holds a step back, and was to be skipped`);
    }
    if (!ACTIVE.includes(after.state.name)) this.#checkEnd(after);
  }

  /** A silence is reported when it was longer than a step takes, and not twice. */
  toldOf(before: Upgrade, events: readonly UpgradeEvent[], known: readonly UpgradeEvent[]): void {
    const said = events.find(({ type }) => type === 'no_progress');
    if (!said) return;
    const { expected } = before;
    const usual_ms = Math.max(LEAST_SILENCE_MS, expected.instance.p95_ms, expected.switchover.p95_ms);
    const last = known.filter(({ seq }) => seq < said.seq).at(-1);
    const silent_ms = said.at - (last?.at ?? 0);
    this.#must(silent_ms >= usual_ms, `a silence of ${silent_ms} ms is told of, ${usual_ms} ms are usual`);
  }

  /** A step starts. The return of an old primary does not count: no policy holds that back. */
  starts(after: Upgrade, step: Step, now: number): void {
    const { policy, direction, from_version, to_version, instance_id } = after;
    const isMeant = instance_id === undefined || instance_id === step.instance_id;
    this.#must(isMeant, `step ${step.id} starts, and its instance is not the one that it is about`);
    const goal = direction === 'back' ? from_version : to_version;
    this.#must(
      step.to_version === goal,
      `step ${step.id} goes to ${step.to_version}, the upgrade to ${goal}`,
    );
    // When an upgrade has started by one taskmanager's clock, another taskmanager's clock may still be
    // behind.
    this.#checkTime(after, after.state.name === 'running' ? Math.max(now, after.state.started) : now);
    this.#checkWindow(after, step, now);
    this.#checkCanary(after);
    if (hasOverride(policy, 'guests_alive')) return;
    const aliveMs = this.#world.isTrove ? TROVE_ALIVE_MS : ALIVE_MS;
    const isHeard = this.#checks.records.wasHeard(step.instance_id, now - aliveMs - READ_MS);
    this.#must(isHeard, `step ${step.id} starts, and its guest was not heard`);
  }

  #must(holds: boolean, text: string): void {
    this.#checks.must(holds, 'policy', text);
  }

  #checkTime({ policy }: Upgrade, now: number): void {
    const isLate = policy.not_before === null || now >= policy.not_before;
    const isTrue = now <= this.#world.scheduler.now + SKEW_MS;
    this.#must(isLate && isTrue, 'it starts before its time');
  }

  /** A rollback waits for no window. */
  #checkWindow({ policy, expected, direction }: Upgrade, step: Step, now: number): void {
    if (!policy.window || direction === 'back') return;
    const closes = closesAt(policy.window, now);
    this.#must(closes !== null, `step ${step.id} starts outside of the window`);
    const left = (closes ?? now) - now;
    this.#must(
      left >= neededMs(policy.window, expectedOf(expected, step.kind).p95_ms),
      `step ${step.id} starts ${left} ms before the window closes`,
    );
  }

  #checkCanary({ id, policy, steps, round, direction }: Upgrade): void {
    if (policy.canary === 0 || direction === 'back') return;
    if (this.#checks.requests.wasAsked(id, 'approve')) return;
    const cameToNothing = ({ phase, touched }: Upgrade['steps'][number]) =>
      phase.name === 'skipped' && !touched;
    const begun = steps.filter(
      (one) => one.round === round && one.kind === 'instance' && one.attempt > 0 && !cameToNothing(one),
    );
    const others = begun.filter((one) => !isReturn(steps, one));
    this.#must(others.length <= policy.canary, `${others.length} instances are begun, and nobody approved`);
  }

  /** The target changes only because a person, or the policy, wants that. */
  #checkGoal(before: Upgrade, after: Upgrade): void {
    const { requests } = this.#checks;
    const { id, to_version, direction, policy } = after;
    if (to_version !== before.to_version) {
      this.#must(requests.wasAsked(id, 'retry', to_version), `it goes to ${to_version}, which nobody wants`);
      this.#must(after.round > before.round, 'another goal, and no new plan');
    }
    if (direction !== before.direction) {
      const isWanted = requests.wasAsked(id, 'rollback') || policy.on_failure === 'rollback';
      this.#must(direction === 'back' && isWanted, 'it turns round, and nobody wants that');
    }
    this.#must(after.from_version === before.from_version, 'where it came from has changed');
    const isSame = JSON.stringify(policy) === JSON.stringify(before.policy);
    this.#must(isSame, 'its policy has changed under way');
  }

  #checkEnd({ id, state, direction, policy, steps }: Upgrade): void {
    const { requests } = this.#checks;
    const open = steps.find(({ phase }) => IN_FLIGHT.includes(phase.name));
    this.#must(open === undefined, `ended, and step ${open?.id} is ${open?.phase.name}`);
    const causes: Partial<Record<Upgrade['state']['name'], boolean>> = {
      succeeded: direction === 'forward',
      rolled_back: direction === 'back',
      failed: policy.on_failure === 'fail',
      cancelled: requests.wasAsked(id, 'cancel') || requests.isResetAsked,
    };
    this.#must(causes[state.name] ?? false, `it has ended as ${state.name}, and there is no cause`);
  }

  /**
   * G1: there are no more faults and the window is open for long enough, and the upgrade waits for the window
   * even so.
   */
  goesOn(upgrade: Upgrade | undefined, now: number): void {
    const { state, policy, expected } = upgrade ?? {};
    const { window } = policy ?? {};
    const closes =
      window && state?.name === 'paused' && state.reason === 'window' ? lastClosesAt(window, now) : null;
    const longest_ms = Math.max(expected?.instance.p95_ms ?? 0, expected?.switchover.p95_ms ?? 0);
    const isUsable = closes !== null && window && closes - now >= neededMs(window, longest_ms);
    if (!isUsable) this.#usableSince = null;
    else this.#usableSince ??= now;
    const waited_ms = now - (this.#usableSince ?? now);
    this.#checks.must(
      waited_ms < STANDS_STILL_MS,
      'G1',
      `its window is open for ${waited_ms} ms, and it stands still`,
    );
  }

  /** G1: an upgrade that waits for a person states what it waits for, and the person can do that. */
  waits(upgrade: Upgrade, cluster: Cluster, now: number): void {
    const { state, policy } = upgrade;
    if (state.name !== 'paused') return;
    const must = (holds: boolean, text: string) =>
      this.#checks.must(holds, 'G1', `${text}: ${state.message}`);
    const isHeld = upgrade.direction === 'back' && ['window', 'canary'].includes(state.reason);
    must(!isHeld, 'on its way back it waits');
    must(state.until === null || state.until > now, 'it waits for what has passed');
    if (state.until !== null) {
      const isSoon = state.until <= now + 10 * MINUTE;
      const opens = policy.window ? closesAt(policy.window, state.until + 1_000) : null;
      return must(
        state.reason === 'window' && isSoon && opens !== null,
        'it waits for a window that is none',
      );
    }
    const named = (['resume', 'approve', 'retry', 'cancel', 'rollback'] as const).filter((action) =>
      state.message.includes(action),
    );
    const versions = BUILT_IN_VERSIONS.filter((one) => one.datastore_id === cluster.datastore_id);
    must(named.length > 0, 'it waits, and names nothing that a person can do');
    for (const action of named) {
      const { verdict } = advance(upgrade, { type: 'action', action, by: 'x' }, { cluster, versions }, now);
      must(verdict !== 'refused', `it waits, and would refuse ${action}`);
    }
  }
}

export function isReturn(steps: readonly Step[], step: Step): boolean {
  return (
    step.kind === 'instance' &&
    steps.some(
      (other) =>
        other.kind === 'switchover' && other.instance_id === step.instance_id && other.phase.name === 'done',
    )
  );
}

export function hasOverride({ overrides }: Policy, gate: string): boolean {
  return overrides.some((override: Override) => override.gate === gate);
}

const OFFSETS: Readonly<Record<string, number>> = {
  UTC: 0,
  'Asia/Kathmandu': 345,
  'Europe/Berlin': 60,
  'America/St_Johns': -210,
};

function neededMs({ duration_seconds }: NonNullable<Policy['window']>, usual_ms: number): number {
  return Math.min(usual_ms, duration_seconds * 1000 - LATE_MS);
}

/** When the window closes that has opened last; null if no window is open. */
function lastClosesAt(window: NonNullable<Policy['window']>, now: number): number | null {
  const duration = window.duration_seconds * 1000;
  for (let start = Math.floor(now / MINUTE) * MINUTE; start > now - duration; start -= MINUTE) {
    if (isOpening(window, start / MINUTE)) return start + duration;
  }
  return null;
}

/**
 * When a window of the scenario that is open at `now` closes; null if none is. Calculated minute by minute
 * only.
 */
function closesAt(window: NonNullable<Policy['window']>, now: number): number | null {
  const duration = window.duration_seconds * 1000;
  let closes: number | null = null;
  const first = Math.floor((now - duration) / MINUTE);
  // Windows that overlap never close: an hour is more than any step takes.
  for (let minute = first; minute * MINUTE <= Math.min(closes ?? now, now + HOUR); minute++) {
    if (isOpening(window, minute) && minute * MINUTE + duration > now) closes = minute * MINUTE + duration;
  }
  return closes;
}

/** Minutes since the epoch: windows of a scenario open every few minutes, by the clock of their zone. */
function isOpening({ cron, time_zone }: NonNullable<Policy['window']>, minute: number): boolean {
  const every = Number(/^\*\/(\d+) /.exec(cron)?.[1]);
  const offset = OFFSETS[time_zone] ?? Number.NaN;
  return (((minute + offset) % 60) + 60) % every === 0;
}
