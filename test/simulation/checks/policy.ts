import type { Cluster } from '../../../src/core/domain.ts';
import { expectedOf } from '../../../src/core/history.ts';
import { advance } from '../../../src/core/machine/advance.ts';
import { BUILT_IN_VERSIONS } from '../../../src/core/managers/index.ts';
import type { Override, Policy } from '../../../src/core/policy.ts';
import type { Step, Upgrade, UpgradeEvent } from '../../../src/core/record.ts';
import type { World } from '../world.ts';
import type { Checks } from './checks.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ACTIVE = ['scheduled', 'running', 'paused'];
const IN_FLIGHT = [
  ...['preparing', 'upgrading', 'verifying', 'settling', 'soaking', 'fencing'],
  ...['demoting', 'promoting', 'following', 'restoring'],
];
/** Within so much of its opening a window is good for a step, if it is hardly longer than that. */
const LATE_MS = 10_000;
/** A taskmanager that is well has looked by then. */
const STANDS_STILL_MS = 6_000;
/** How far the clocks of two taskmanagers are apart, at most. */
const SKEW_MS = 200;
/** A guest counts as alive for so long; and what was read of it may be a moment old. */
const ALIVE_MS = 15_000;
const TROVE_ALIVE_MS = 90_000;
const READ_MS = 3_000;
/** Shorter ones are nothing to tell of. */
const LEAST_SILENCE_MS = 30_000;

/** The policy of an upgrade, and what people ask of it: nothing happens that is not in one of the two. */
export class PolicyChecks {
  readonly #world: World;
  readonly #checks: Checks;
  /** Since when somebody waits for a window that is open. */
  #usableSince: number | null = null;

  constructor(world: World, checks: Checks) {
    this.#world = world;
    this.#checks = checks;
  }

  /** `now` is when it was decided, by the clock of the one who did. */
  committed(before: Upgrade, after: Upgrade, now: number): void {
    this.#checkGoal(before, after);
    if (before.state.name === 'scheduled' && after.state.name === 'running') this.#checkTime(after, now);
    for (const { phase } of after.steps) {
      const { gate, reason = '' } = (phase.name === 'pending' && phase.blocked) || {};
      // Where there is nobody to take over, nothing is skipped.
      const mayHold = gate === 'instances_healthy' || reason.includes('nobody to take over');
      const isSkipped = gate !== undefined && hasOverride(after.policy, gate) && !mayHold;
      this.#must(!isSkipped, `${gate} holds a step back, and was to be skipped`);
    }
    if (!ACTIVE.includes(after.state.name)) this.#checkEnd(after);
  }

  /** A silence is told of when it was longer than a step takes, and not twice. */
  toldOf(before: Upgrade, events: readonly UpgradeEvent[], known: readonly UpgradeEvent[]): void {
    const said = events.find(({ type }) => type === 'no_progress');
    if (!said) return;
    const { expected } = before;
    const usual_ms = Math.max(LEAST_SILENCE_MS, expected.instance.p95_ms, expected.switchover.p95_ms);
    const last = known.filter(({ seq }) => seq < said.seq).at(-1);
    const silent_ms = said.at - (last?.at ?? 0);
    this.#must(silent_ms >= usual_ms, `a silence of ${silent_ms} ms is told of, ${usual_ms} ms are usual`);
  }

  /** A step starts; not the return of an old primary, which no policy holds back. */
  starts(after: Upgrade, step: Step, now: number): void {
    const { policy, direction, from_version, to_version, instance_id } = after;
    const isMeant = instance_id === undefined || instance_id === step.instance_id;
    this.#must(isMeant, `step ${step.id} starts, and its instance is not the one that it is about`);
    const goal = direction === 'back' ? from_version : to_version;
    this.#must(
      step.to_version === goal,
      `step ${step.id} goes to ${step.to_version}, the upgrade to ${goal}`,
    );
    // Once it has started by one taskmanager's clock, another's may be behind.
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

  /** A way back waits for no window. */
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

  /** Where it goes changes only because somebody, or the policy, wants it. */
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

  /** G1: there are no more faults, its window is open for long enough, and it waits for that all the same. */
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

  /** G1: whoever waits for a person says for what, and it can be done. */
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

/** When the window closes that has opened last; null if none is open. */
function lastClosesAt(window: NonNullable<Policy['window']>, now: number): number | null {
  const duration = window.duration_seconds * 1000;
  for (let start = Math.floor(now / MINUTE) * MINUTE; start > now - duration; start -= MINUTE) {
    if (isOpening(window, start / MINUTE)) return start + duration;
  }
  return null;
}

/** When a window of the scenario that is open at `now` closes; null if none is. Worked out by minutes alone. */
function closesAt(window: NonNullable<Policy['window']>, now: number): number | null {
  const duration = window.duration_seconds * 1000;
  let closes: number | null = null;
  const first = Math.floor((now - duration) / MINUTE);
  // Where they overlap it never closes: an hour is more than any step takes.
  for (let minute = first; minute * MINUTE <= Math.min(closes ?? now, now + HOUR); minute++) {
    if (isOpening(window, minute) && minute * MINUTE + duration > now) closes = minute * MINUTE + duration;
  }
  return closes;
}

/** Minutes since the epoch: windows of a scenario open every few of them, by the clock of their zone. */
function isOpening({ cron, time_zone }: NonNullable<Policy['window']>, minute: number): boolean {
  const every = Number(/^\*\/(\d+) /.exec(cron)?.[1]);
  const offset = OFFSETS[time_zone] ?? Number.NaN;
  return (((minute + offset) % 60) + 60) % every === 0;
}
