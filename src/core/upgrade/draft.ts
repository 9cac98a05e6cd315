import {
  type AttemptId,
  type Cluster,
  type DatastoreVersion,
  type GuestAction,
  type Instance,
  type InstanceTask,
  type Instant,
  isInDoubt,
  versionOf,
} from '../domain.ts';
import type { Phase, PhaseName } from '../phase.ts';
import {
  type Effect,
  isInFlight,
  isOver,
  type PauseReason,
  type Step,
  type Upgrade,
  type UpgradeEvent,
  type UpgradeEventType,
  type UpgradeState,
} from '../record.ts';
import { type Next, NO_PATIENCE, type Patience, type Seen } from './inputs.ts';
import { waitedForNewGoal, waitedMs, waitedWhenResumed } from './time.ts';

/** A copy of a message that arrives after so many other actions is refused because of its age: calls expire. */
const MAX_ACTED = 8;

/** An upgrade while it is being changed: collects the changes, the effects and the events. */
export class Draft {
  readonly seen: Cluster;
  /** Of the cluster's datastore, as the catalogue has them now. */
  readonly versions: readonly DatastoreVersion[];
  readonly patience: Patience;
  readonly now: Instant;
  #upgrade: Upgrade;
  readonly #before: Upgrade;
  readonly #effects: Effect[] = [];
  readonly #events: UpgradeEvent[] = [];

  constructor(upgrade: Upgrade, { cluster, versions, patience = NO_PATIENCE }: Seen, now: Instant) {
    this.#before = upgrade;
    this.#upgrade = upgrade;
    this.seen = cluster;
    this.versions = versions;
    this.patience = patience;
    this.now = now;
  }

  get upgrade(): Upgrade {
    return this.#upgrade;
  }

  get steps(): readonly Step[] {
    return this.#upgrade.steps;
  }

  step(id: number): Step | undefined {
    return this.steps.find((step) => step.id === id);
  }

  /** M1: the step that a message of this attempt can still concern. */
  stepInFlight(id: number, attempt: number): Step | undefined {
    const step = this.step(id);
    return step && step.attempt === attempt && isInFlight(step) ? step : undefined;
  }

  instance(id: string): Instance | undefined {
    return this.seen.instances.find((instance) => instance.id === id);
  }

  /** An instance's name for people; its id if it's gone. */
  nameOf(id: string): string {
    return this.instance(id)?.name ?? id;
  }

  /**
   * True if the step's instance is in doubt because of an earlier order, and has had no new order in this step.
   */
  isInDoubtBefore({ instance_id, touched }: Step): boolean {
    const told = this.#effects.findLast(
      (effect) => effect.kind === 'instance_task' && effect.instance_id === instance_id,
    );
    const latest = told?.kind === 'instance_task' ? told : this.instance(instance_id);
    return !touched && latest !== undefined && isInDoubt(latest);
  }

  change(step: Step): Step {
    this.#set({ steps: this.steps.map((other) => (other.id === step.id ? step : other)) });
    return step;
  }

  /** The old primary of a switchover is down: the plan's next step for that instance is its return. */
  oweReturn({ instance_id, round }: Step): void {
    for (const step of this.steps) {
      const isIts = step.kind === 'instance' && step.instance_id === instance_id && step.round === round;
      if (isIts && !isOver(step)) this.change({ ...step, returns: true });
    }
  }

  /** Moves a step to another phase and emits an event about that. */
  enter(step: Step, phase: Phase): Step {
    this.emit('step_phase', `${this.nameOf(step.instance_id)}: ${phase.name}`, step, phase.name);
    return this.change({ ...step, phase });
  }

  say(effect: Effect): void {
    this.#effects.push(effect);
  }

  /** `told_version`: for a Trove guest, if it changes. */
  instanceTask(
    instance_id: string,
    task: InstanceTask,
    fault: string | null,
    told_version?: string | null,
  ): void {
    const told = told_version === undefined ? {} : { told_version };
    this.say({ kind: 'instance_task', instance_id, task, fault, in_doubt: false, ...told });
  }

  /** The guest may still be at work on its order, whatever comes next. */
  doubtInstance(instance_id: string, fault: string): void {
    this.say({ kind: 'instance_task', instance_id, task: 'UPGRADING_ERROR', fault, in_doubt: true });
  }

  attemptOf(step: Step, action: GuestAction): AttemptId {
    return { upgrade_id: this.#upgrade.id, step: step.id, attempt: step.attempt, action };
  }

  emit(type: UpgradeEventType, message: string, step?: Step, phase?: PhaseName): void {
    const seq = this.#upgrade.seq + 1;
    if (type === 'no_progress') this.#set({ seq, silent: true });
    else this.#set({ seq, progressed: this.now, silent: false });
    const about = step ? { instance_id: step.instance_id, step: step.id, attempt: step.attempt } : {};
    this.#events.push({ seq, at: this.now, type, ...about, ...(phase && { phase }), message });
  }

  /** The cluster took no writes since `down_since`; now it takes writes again. */
  writesAgain(down_since: Instant): void {
    this.#set({ write_outage_ms: this.#upgrade.write_outage_ms + this.now - down_since });
  }

  start(): void {
    this.#set({ state: { name: 'running', started: this.now } });
  }

  /** Records the plan of the present round. */
  plan(steps: readonly Step[]): void {
    this.#set({ steps, planned_round: this.#upgrade.round });
  }

  /**
   * Begins another goal: steps that have not begun are skipped, steps in flight end, then a new plan is made.
   */
  newRound(
    goal: Partial<Pick<Upgrade, 'direction' | 'back_because' | 'to_version' | 'to_version_id'>>,
  ): void {
    // The approval of one version is no approval of another.
    const approved = this.#upgrade.approved && goal.to_version_id === undefined;
    const waited_ms = waitedForNewGoal(this.#upgrade, this.now);
    this.#set({ ...goal, approved, round: this.#upgrade.round + 1, waited_ms });
  }

  /**
   * A paused upgrade stays paused. But a failure is more urgent than the present reason and replaces it (G1),
   * and an upgrade that waits for its window does not continue by itself once a person has paused it (G8).
   */
  pause(reason: PauseReason, message: string, until: Instant | null = null): void {
    const { state } = this.#upgrade;
    if (state.name !== 'running' && state.name !== 'paused') return;
    const isNews =
      state.name === 'running' ||
      (reason === 'failure' && state.message !== message) ||
      (state.reason === 'window' &&
        (reason === 'requested' || (reason === 'window' && state.until !== until)));
    if (!isNews) return;
    const since = state.name === 'paused' ? state.since : this.now;
    this.#set({ state: { name: 'paused', started: state.started, since, reason, message, until } });
    this.emit('paused', message);
  }

  /** Pauses for a change from outside, once for each change. */
  pauseForChange(change: string, message: string): void {
    const { noticed = [], state } = this.#upgrade;
    if (state.name !== 'running' || noticed.includes(change)) return;
    this.#set({ noticed: [...noticed, change] });
    this.pause('gate', message);
  }

  resume(message: string): void {
    const { state } = this.#upgrade;
    if (state.name !== 'paused') return;
    const waited_ms = waitedWhenResumed(this.#upgrade, this.now);
    this.#set({ state: { name: 'running', started: state.started }, waited_ms });
    this.emit('resumed', message);
    // Nobody has mended anything while the window was closed, so the gates keep their times: a gate that stays
    // shut in every window leads to a question to a person (G1).
    if (state.reason === 'window') return;
    // Each gate gets its whole time anew too: the repair of an instance may not have been reported yet.
    for (const step of this.steps) {
      if (step.phase.name === 'pending') this.change({ ...step, phase: { name: 'pending', blocked: null } });
    }
  }

  /** A sign of life that is not worth an event: a guest that seemed silent is at work. */
  hear(): void {
    this.#set({ progressed: this.now, silent: false });
  }

  /** Records that the action that the message with this id asked for is done. */
  acted(id: string): void {
    this.#set({ acted: [...this.#upgrade.acted, id].slice(-MAX_ACTED) });
  }

  approve(by: string): void {
    this.#set({ approved: true });
    const { state } = this.#upgrade;
    if (state.name === 'paused' && state.reason === 'canary') this.resume(`approved by ${by}`);
  }

  cancel(by: string): void {
    if (this.#upgrade.cancelling) return;
    this.#set({ cancelling: true });
    this.resume(`cancelled by ${by}: what is in flight ends first`);
  }

  /**
   * A person wants another try of the steps that wait for their guests: their attempts are counted afresh, and
   * their messages are sent now.
   */
  forgiveInFlight(): void {
    for (const step of this.steps.filter(isInFlight)) {
      const phase = 'recast' in step.phase ? { ...step.phase, recast: this.now } : step.phase;
      this.change({ ...step, attempts_forgiven: step.attempt - 1, phase });
    }
  }

  /**
   * The upgrade is over. The cluster's task is NONE again; the cluster's version changes only when all
   * instances have reached the goal (M5).
   */
  end(state: EndState, message: string): void {
    const { state: before } = this.#upgrade;
    const started = before.name === 'scheduled' ? this.now : before.started;
    const times = { started, ended: this.now };
    this.#set({
      waited_ms: waitedMs(this.#upgrade, this.now),
      state: state === 'succeeded' ? { name: state, ...times } : { name: state, ...times, message },
    });
    this.emit(state, message);
    for (const step of this.steps) {
      if (this.isInDoubtBefore(step)) continue;
      const [doubt, fault] = [doubtAbout(step), faultAtEnd(step)];
      if (doubt !== null) this.doubtInstance(step.instance_id, doubt);
      else if (fault !== null) this.instanceTask(step.instance_id, 'UPGRADING_ERROR', fault);
    }
    this.say({ kind: 'release', ...this.#versionAt(state) });
  }

  /**
   * M5. An upgrade of one instance changes the cluster's version only if all instances run that version now.
   */
  #versionAt(state: EndState): { datastore_version_id: string; datastore_version: string } {
    const { from_version_id, from_version, to_version_id, to_version } = this.#upgrade;
    const { datastore_version_id, datastore_version, instances } = this.seen;
    const isWhole = (version: string) => instances.every((instance) => versionOf(instance) === version);
    if (state === 'succeeded' && isWhole(to_version))
      return { datastore_version_id: to_version_id, datastore_version: to_version };
    if (state === 'rolled_back' && isWhole(from_version))
      return { datastore_version_id: from_version_id, datastore_version: from_version };
    return { datastore_version_id, datastore_version };
  }

  finish(): Next {
    const verdict = this.#upgrade === this.#before && this.#effects.length === 0 ? 'stale' : 'applied';
    const upgrade =
      verdict === 'stale' ? this.#before : { ...this.#upgrade, revision: this.#before.revision + 1 };
    return { upgrade, effects: this.#effects, events: this.#events, verdict };
  }

  #set(fields: Partial<Upgrade>): void {
    this.#upgrade = { ...this.#upgrade, ...fields };
  }
}

type EndState = Extract<UpgradeState['name'], 'succeeded' | 'failed' | 'rolled_back' | 'cancelled'>;

/**
 * The fault to record for an instance whose step nobody tries again; null if there is none, or if it is
 * recorded already.
 */
function faultAtEnd({ phase, attempt }: Step): string | null {
  if (attempt === 0) return null;
  if (phase.name === 'pending') return 'its last attempt failed';
  return phase.name === 'backoff' ? phase.error : null;
}

/**
 * Describes, for people, the order of this step that the instance may still be at work on; null if there is
 * none.
 */
export function doubtAbout({ phase, in_doubt }: Step): string | null {
  if (!in_doubt || phase.name === 'done') return null;
  const why = 'error' in phase ? phase.error : 'the guest agent did not answer its last order';
  return `${why}; it may still be at work on its order`;
}
