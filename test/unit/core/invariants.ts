/** What must hold after every input, whatever it was: of the record, and of the truth behind it. */
import type { Instant } from '../../../src/core/domain.ts';
import { maxUnavailable } from '../../../src/core/policy.ts';
import { isActive, type Upgrade } from '../../../src/core/record.ts';
import type { Input, Next } from '../../../src/core/upgrade/inputs.ts';
import type { World } from './world.ts';

/** What is wrong with a move of the record, in words; empty when nothing is. */
export function violationsOf(
  before: Upgrade,
  input: Input,
  next: Next,
  { wake_at, now }: { readonly wake_at: Instant | null; readonly now: Instant },
): string[] {
  const { upgrade, events, effects, verdict } = next;
  const found: string[] = [];
  const must = (holds: boolean, text: string) => {
    if (!holds) found.push(text);
  };
  if (verdict !== 'applied') {
    must(upgrade === before, `${verdict}: the very same record`);
    must(events.length === 0 && effects.length === 0, `${verdict}: no event and no effect`);
    must(isActive(upgrade) === (wake_at !== null), `${verdict}: wakes while active, and only then`);
    // Whoever has looked and found nothing to do must not look again at once, and for ever.
    const isLooked = verdict === 'stale' && (input.type === 'wake' || input.type === 'recover');
    must(!isLooked || wake_at === null || wake_at > now, 'nothing to do, and it wakes at once');
    must(!isLooked || waitsAhead(upgrade, now), 'waits for what is past');
    return found;
  }
  must(isActive(before), 'an upgrade that has ended never moves');
  must(upgrade.revision === before.revision + 1, 'revision + 1 per applied input');
  must(upgrade.seq === before.seq + events.length, 'G9: seq counts the events');
  must(
    events.every((event, index) => event.seq === before.seq + 1 + index && event.at === now),
    'G9: gapless',
  );
  must(
    upgrade.steps.every((step, index) => upgrade.steps.findIndex(({ id }) => id === step.id) === index),
    'ids differ',
  );
  for (const step of before.steps) {
    const after = upgrade.steps.find(({ id }) => id === step.id);
    must(after !== undefined || step.attempt === 0, `step ${step.id} was begun and is gone`);
    must(!after || after.attempt >= step.attempt, `attempts of step ${step.id} go down`);
    must(step.phase.name !== 'done' || after?.phase.name === 'done', `step ${step.id} was done`);
  }
  must(isDeepEqual(upgrade, JSON.parse(JSON.stringify(upgrade))), 'the record is JSON');
  must(isActive(upgrade) === (wake_at !== null), 'G1: wakes while active, and only then');
  // A heartbeat says nothing again: that is for the wake which is due.
  must(wake_at === null || wake_at > now || input.type === 'reported', 'wakes later, not at once again');
  must(waitsAhead(upgrade, now), 'waits for what is past');
  must(wake_at === null || wake_at <= firstDue(upgrade, now), 'G1: wakes no later than what is due');
  must(
    effects.every((effect) => effect.kind !== 'release') === isActive(upgrade),
    'released at the end, only then',
  );
  return found;
}

/** What says until when it waits means a time to come. */
function waitsAhead({ state }: Upgrade, now: Instant): boolean {
  return state.name !== 'paused' || state.until === null || state.until > now;
}

/** When time alone must move the record on, worked out another way than `wakeAt` does. */
function firstDue({ steps, state, cancelling, waited_ms, policy }: Upgrade, now: Instant): Instant {
  const times = steps.flatMap(({ phase }) => {
    const { recast, deadline, until } = phase as Partial<Record<'recast' | 'deadline' | 'until', Instant>>;
    return [recast, deadline, until].filter((at) => at !== undefined && at > now);
  });
  if (state.name === 'paused' && state.until !== null) times.push(state.until);
  if (state.name === 'running' && !cancelling) {
    times.push(state.started + waited_ms + policy.timeout_seconds * 1000);
  }
  return Math.min(Number.POSITIVE_INFINITY, ...times.filter((at) => at !== undefined));
}

/** What is wrong with the cluster itself. */
export function checkTruth(world: World, before: Upgrade): string[] {
  const { upgrade, guests, cluster } = world;
  const found: string[] = [];
  const down = guests.filter((guest) => guest.isDownByUpgrade);
  if (down.length > maxUnavailable(upgrade.policy, guests.length)) {
    found.push(`G2: ${down.map(({ name }) => name).join(', ')} are down`);
  }
  // A rollback past the switchover needs the way back: one in each round.
  if (world.eventsOf('switched_over').length > upgrade.round + 1) found.push('G6: more than one switchover');
  const isAtGoal = ['succeeded', 'rolled_back'].includes(upgrade.state.name);
  if (!isAtGoal && cluster.datastore_version !== world.versionAtStart) found.push('G5: version too early');
  const meant = guests.filter(({ id }) => upgrade.instance_id === undefined || id === upgrade.instance_id);
  const areAllThere = guests.every(({ version }) => version === world.goal);
  const version = areAllThere ? world.goal : world.versionAtStart;
  if (isAtGoal && cluster.datastore_version !== version) found.push('G5: at the goal, on another version');
  if (isAtGoal && meant.some((guest) => guest.version !== world.goal))
    found.push('M5: at the goal, and not all run its version');
  if ((cluster.task === 'NONE') === isActive(upgrade))
    found.push('G3: the task is held while active, and only then');
  if (mayNotStart(before) && hasStarted(before, upgrade)) found.push('M6: an instance was started');
  if (!isActive(upgrade) && cluster.instances.some(({ task }) => task === 'UPGRADING')) {
    found.push('an instance is UPGRADING for ever');
  }
  if (
    !isActive(upgrade) &&
    guests.some((guest) => guest.demotedLsn !== null && !hasFailedReturn(world, guest.id))
  ) {
    found.push('G8: an old primary is left stopped');
  }
  return found;
}

function mayNotStart({ state, cancelling }: Upgrade): boolean {
  return cancelling || state.name === 'paused';
}

/** The old primary's return belongs to the switchover; anything else is a start. */
function hasStarted(before: Upgrade, after: Upgrade): boolean {
  if (mayNotStart(after) === false) return false;
  return after.steps.some((step) => {
    const earlier = before.steps.find(({ id }) => id === step.id);
    const isReturn = after.steps.some(
      (other) =>
        other.kind === 'switchover' && other.instance_id === step.instance_id && other.phase.name === 'done',
    );
    const wasWaiting = earlier?.phase.name === 'pending' || earlier?.phase.name === 'backoff';
    return !isReturn && wasWaiting && step.phase.name === 'preparing';
  });
}

/** It was tried and could not be done; a rollback that a person asked for afterwards calls it skipped. */
function hasFailedReturn({ upgrade, events }: World, instance_id: string): boolean {
  const failed = events.filter((event) => event.type === 'step_failed').map((event) => event.step);
  return upgrade.steps.some(
    (step) => step.kind === 'instance' && step.instance_id === instance_id && failed.includes(step.id),
  );
}

/** Keys whose value is undefined count: they don't survive the store. */
function isDeepEqual(one: unknown, other: unknown): boolean {
  if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) {
    return Object.is(one, other);
  }
  const [keys, others] = [Object.keys(one), Object.keys(other)];
  return (
    keys.length === others.length &&
    keys.every((key) =>
      isDeepEqual((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]),
    )
  );
}
