/**
 * A cluster, its upgrade and a clock, all in one place, moved by the real `advance`. Effects are
 * applied as the real shell and store do; messages travel to scripted guests (`guest.ts`) and back.
 * After every input the invariants of `invariants.ts` are checked.
 */

import { acceptedUpgrade, scopeOf } from '../../../src/core/admit.ts';
import {
  type AttemptId,
  type AttemptReport,
  type Cluster,
  type DatastoreVersion,
  type GuestReport,
  type Instance,
  type Instant,
  isAnswered,
  type Placement,
  type Role,
} from '../../../src/core/domain.ts';
import { type FollowUp, followUpUpgrade } from '../../../src/core/follow-up.ts';
import { expectedTimes, type MeasuredTimes, NOTHING_MEASURED } from '../../../src/core/history.ts';
import type { Phase } from '../../../src/core/phase.ts';
import type { Policy } from '../../../src/core/policy.ts';
import {
  type Effect,
  goalOf,
  isActive,
  type Step,
  type Upgrade,
  type UpgradeEvent,
} from '../../../src/core/record.ts';
import { advance } from '../../../src/core/upgrade/advance.ts';
import {
  type Action,
  type Input,
  type Next,
  NO_PATIENCE,
  type Patience,
  type Seen,
} from '../../../src/core/upgrade/inputs.ts';
import { wakeAt } from '../../../src/core/upgrade/wake.ts';
import { Account } from './account.ts';
import { type Answer, Guest, type Script, type Surroundings } from './guest.ts';
import { checkTruth, violationsOf } from './invariants.ts';
import { versionOf } from './versions.ts';

type Message = Extract<Effect, { kind: 'call' | 'cast' }>;

/** For how long each copy of a message is under way: none is lost, two are a duplicate. */
export type Network = (what: 'order' | 'answer' | 'heartbeat') => readonly number[];

export interface WorldOptions {
  /** `postgresql`: one primary and its replicas. Anything else: members that are all alike. */
  readonly manager?: string;
  readonly instances?: number;
  readonly policy?: Partial<Policy>;
  /** The one instance that is to be upgraded. */
  readonly only?: string;
  /** By name: `db-1` is the primary. */
  readonly scripts?: Readonly<Record<string, Script>>;
  readonly broken?: readonly string[];
  readonly already_upgraded?: readonly string[];
  readonly lag_bytes?: Readonly<Record<string, number | null>>;
  readonly synchronous?: readonly string[];
  readonly placement?: Readonly<Record<string, Placement>>;
  /** Trove's own agents speak for these instances. */
  readonly trove?: readonly string[];
  /** The servers were there before: see `adopted.ts`. */
  readonly adopted?: boolean;
  /** Other roles than those that the manager's instances usually have. */
  readonly roles?: Readonly<Record<string, Role>>;
  readonly network?: Network;
  /** How old the news of the guests is when the upgrade is taken up. */
  readonly last_heard_s_ago?: number;
  /** What steps took before; nothing was measured when left out. */
  readonly measured?: MeasuredTimes;
}

export const FROM = '17.6';
export const TO = '17.10';
export const T0: Instant = 1_800_000_000_000;
const HEARTBEAT_MS = 3_000;
const LEND_MS = 3_000;
const SWEEP_MS = 250;
/** Far more than any upgrade has to tell. */
const MAX_EVENTS = 2_000;
/** A fast, sound network. */
const SOUND: Network = () => [10];

interface Planned {
  readonly at: Instant;
  readonly run: () => void;
}

export class World implements Surroundings {
  now: Instant = T0;
  cluster: Cluster;
  /** What the catalogue has of the cluster's datastore. */
  versions: readonly DatastoreVersion[];
  upgrade: Upgrade;
  /** Of the cluster, when its present upgrade began. */
  versionAtStart = FROM;
  readonly guests: readonly Guest[];
  /** Of its present upgrade. */
  readonly events: UpgradeEvent[] = [];
  /** Every message that the machine said, in order, with its time. */
  readonly messages: (Message & { readonly at: Instant })[] = [];
  readonly violations: string[] = [];
  /** What changed something, as text: the golden transcripts. */
  readonly transcript: string[] = [];
  network: Network;
  /** How long guests take to answer, as a taskmanager would have measured. */
  patience: Patience = NO_PATIENCE;
  readonly #account = new Account();
  #due: Instant | null;
  #agenda: Planned[] = [];
  #isDark = false;

  constructor(options: WorldOptions = {}) {
    this.network = options.network ?? SOUND;
    this.guests = guestsOf(this, options);
    this.cluster = clusterOf(options, this.guests);
    const requested_by = { user: 'ann', request_id: 'req-1', via: 'rest' as const };
    const request = { cluster_id: 'c', tenant_id: 't', datastore_version: TO, requested_by };
    const policy = options.policy ?? {};
    const instance_id = options.only && this.guest(options.only).id;
    const manager = this.cluster.manager;
    const target = versionOf(TO, { id: 'v-to', manager });
    this.versions = [versionOf(FROM, { id: 'v-from', manager }), target];
    const accepted = acceptedUpgrade(
      scopeOf(this.versions, this.cluster, instance_id),
      target,
      { ...request, policy, ...(instance_id && { instance_id }) },
      { id: 'u', now: this.now, expected: expectedTimes(options.measured ?? NOTHING_MEASURED) },
    );
    this.upgrade = accepted.upgrade;
    this.events.push(accepted.event);
    this.cluster = { ...this.cluster, task: 'UPGRADING_CLUSTER', upgrade_id: 'u' };
    this.#due = this.now + 10;
    for (const [index, guest] of this.guests.entries()) {
      this.#setInstance(guest.id, {
        report: guest.report(),
        heard: this.now - (options.last_heard_s_ago ?? 0) * 1000,
      });
      this.later(HEARTBEAT_MS + index * 100, () => this.#beat(guest));
    }
  }

  // ---- what tests do

  get seen(): Seen {
    return { cluster: this.cluster, versions: this.versions, patience: this.patience };
  }

  feed(input: Input): Next {
    const before = this.upgrade;
    const next = advance(before, input, this.seen, this.now);
    const wake_at = wakeAt(next.upgrade, this.now);
    this.violations.push(...violationsOf(before, input, next, { wake_at, now: this.now }));
    this.violations.push(...this.#account.follow(before, next, this.now));
    if (next.verdict === 'stale' && input.type === 'wake') this.#due = wake_at;
    if (next.verdict !== 'applied') return next;
    this.#commit(next);
    this.#due = wake_at;
    this.#write(input, next);
    this.violations.push(...checkTruth(this, before));
    for (const effect of next.effects)
      if (effect.kind === 'call' || effect.kind === 'cast') this.#post(effect);
    return next;
  }

  /** Takes up the upgrade that has ended, by a new one, as the shell does. */
  takeUp(as: FollowUp, id: string): void {
    const { requested_by } = this.upgrade;
    const { upgrade, event } = followUpUpgrade(this.upgrade, this.cluster, {
      ...{ id, now: this.now, as, requested_by },
    });
    this.upgrade = upgrade;
    this.events.splice(0, this.events.length, event);
    this.cluster = { ...this.cluster, task: 'UPGRADING_CLUSTER', upgrade_id: id };
    this.versionAtStart = this.cluster.datastore_version;
    this.#due = this.now + 10;
  }

  act(action: Action): Next {
    return this.feed({ type: 'action', action, by: 'ann' });
  }

  /** What comes next in time happens. */
  tick(): void {
    const [first] = this.#agenda;
    const due = this.#due ?? Number.POSITIVE_INFINITY;
    if (first && first.at <= due) {
      this.#agenda.shift();
      this.now = Math.max(this.now, first.at);
      first.run();
    } else {
      this.now = due > this.now ? due : this.now + SWEEP_MS;
      this.#due = this.now + LEND_MS;
      this.feed({ type: 'wake' });
    }
  }

  /** Lets time pass until `holds` does; false if it doesn't within `within_s`. */
  until(holds: () => boolean, within_s = 3_600): boolean {
    const end = this.now + within_s * 1000;
    while (!holds()) {
      if (this.now > end) return false;
      this.tick();
    }
    return true;
  }

  pass(seconds: number): void {
    const end = this.now + seconds * 1000;
    this.later(end - this.now, () => undefined);
    while (this.now < end) this.tick();
  }

  /** Until it ended or waits for a person. */
  settle(within_s = 7_200): void {
    const isSettled = () => !isActive(this.upgrade) || this.upgrade.state.name === 'paused';
    if (!this.until(isSettled, within_s)) throw new Error(`not settled within ${within_s} s`);
  }

  /** Until a step of the instance is in the phase. */
  reach(name: string, phase: Phase['name'], kind: Step['kind'] = 'instance'): Step {
    const find = () =>
      this.upgrade.steps.find((step) => this.#isOf(step, name, kind) && step.phase.name === phase);
    if (!this.until(() => find() !== undefined)) throw new Error(`${name} never gets to ${phase}`);
    return this.step(name, kind);
  }

  step(name: string, kind: Step['kind'] = 'instance'): Step {
    const step = this.upgrade.steps.find((each) => this.#isOf(each, name, kind));
    if (!step) throw new Error(`no step of kind ${kind} for ${name}`);
    return step;
  }

  guest(name: string): Guest {
    const guest = this.guests.find((each) => each.name === name);
    if (!guest) throw new Error(`no guest ${name}`);
    return guest;
  }

  instance(name: string): Instance {
    const instance = this.cluster.instances.find((each) => each.name === name);
    if (!instance) throw new Error(`no instance ${name}`);
    return instance;
  }

  /** Another report of the guest's attempt than its own, as it may come late from the network. */
  say(name: string, report: Omit<AttemptReport, 'upgrade_id'> & { upgrade_id?: string }): Next {
    return this.feed({
      type: 'reported',
      instance_id: this.guest(name).id,
      report: { upgrade_id: this.upgrade.id, ...report },
    });
  }

  /** What was heard of an instance last says otherwise, in part; its guest knows nothing of it. */
  heard(name: string, fields: Partial<GuestReport>): void {
    const { id, report } = this.instance(name);
    if (report) this.#setInstance(id, { report: { ...report, ...fields } });
  }

  /** Names of the instances in the order in which `action` was first said to them. */
  told(action: AttemptId['action']): string[] {
    const ids = this.messages.filter((message) => message.attempt.action === action);
    return [...new Set(ids.map(({ instance_id }) => this.nameOf(instance_id)))];
  }

  messagesTo(name: string, action: AttemptId['action']) {
    const { id } = this.guest(name);
    return this.messages.filter((each) => each.instance_id === id && each.attempt.action === action);
  }

  eventsOf(type: UpgradeEvent['type']): UpgradeEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** The message of a paused, failed or cancelled upgrade. */
  get message(): string {
    return 'message' in this.upgrade.state ? this.upgrade.state.message : '';
  }

  /** When the record wants to be looked at next. */
  get due(): Instant | null {
    return this.#due;
  }

  nameOf(instance_id: string): string {
    return this.guests.find(({ id }) => id === instance_id)?.name ?? instance_id;
  }

  #isOf(step: Step, name: string, kind: Step['kind']): boolean {
    return step.kind === kind && this.nameOf(step.instance_id) === name;
  }

  /** Nobody looks at the record for so long, whatever is due and whoever speaks. */
  blackout(seconds: number): void {
    const end = this.now + seconds * 1000;
    while (this.#agenda[0] && this.#agenda[0].at < end) {
      const [first] = this.#agenda.splice(0, 1);
      this.now = Math.max(this.now, first?.at ?? 0);
      this.#isDark = true;
      first?.run();
      this.#isDark = false;
    }
    this.now = end;
  }

  // ---- what guests ask of it

  get goal(): string {
    return goalOf(this.upgrade);
  }

  peers(): readonly Guest[] {
    return this.guests;
  }

  violation(text: string): void {
    this.violations.push(text);
  }

  later(ms: number, run: () => void): void {
    const planned = { at: this.now + ms, run };
    const index = this.#agenda.findLastIndex((each) => each.at <= planned.at);
    this.#agenda.splice(index + 1, 0, planned);
  }

  speak(guest: Guest): void {
    if (guest.isAway) return;
    const report = guest.report();
    for (const delay of this.network('heartbeat')) {
      this.later(delay, () => {
        if (!this.#hear(guest, report) || this.cluster.task !== 'UPGRADING_CLUSTER' || this.#isDark) return;
        const { attempt = null, service_status: status, sent } = report;
        this.feed({ type: 'reported', instance_id: guest.id, report: attempt, server: { status, sent } });
      });
    }
  }

  answer(_guest: Guest, { step, attempt, action }: AttemptId, answer: Answer): void {
    if (!isAnswered(action)) return;
    const about = { step, attempt, action };
    for (const delay of this.network('answer')) {
      this.later(delay, () => {
        if (answer.kind === 'answered') this.feed({ type: 'answered', ...about, info: answer.info });
        else this.feed({ ...answer, type: 'call_failed', ...about });
      });
    }
  }

  // ---- shell and store

  #beat(guest: Guest): void {
    this.speak(guest);
    this.later(HEARTBEAT_MS, () => this.#beat(guest));
  }

  /** As the store: a report older than the one held is no news. */
  #hear(guest: Guest, report: ReturnType<Guest['report']>): boolean {
    const held = this.cluster.instances.find(({ id }) => id === guest.id)?.report;
    if (held && held.sent > report.sent) return false;
    this.#setInstance(guest.id, { report, heard: this.now });
    return true;
  }

  #setInstance(id: string, fields: Partial<Instance>): void {
    const instances = this.cluster.instances.map((each) => (each.id === id ? { ...each, ...fields } : each));
    this.cluster = { ...this.cluster, instances };
  }

  #commit({ upgrade, events, effects }: Next): void {
    this.upgrade = upgrade;
    this.events.push(...events);
    if (this.events.length > MAX_EVENTS) throw new Error('it tells more and more');
    for (const effect of effects) {
      if (effect.kind === 'instance_task') {
        const { kind: _, instance_id, ...fields } = effect;
        this.#setInstance(instance_id, fields);
      } else if (effect.kind === 'release') {
        const { datastore_version_id, datastore_version } = effect;
        this.cluster = { ...this.cluster, datastore_version_id, datastore_version, task: 'NONE' };
      }
    }
  }

  /** As the bus: a message that nobody took in time is worth nothing and falls away. */
  #post(message: Message): void {
    this.messages.push({ ...message, at: this.now });
    const expires = this.now + message.timeout_ms;
    const guest = this.guests.find(({ id }) => id === message.instance_id);
    const { attempt, args } = message;
    const fence = this.upgrade.created;
    const deliver = () => {
      if (!guest || this.now >= expires) return;
      if (guest.isAway) this.later(guest.awayUntil - this.now, deliver);
      else guest.receive({ attempt, args, fence });
    };
    for (const delay of this.network('order')) this.later(delay, deliver);
  }

  #write(input: Input, { events, effects }: Next): void {
    const lines = [
      ...events.map(({ seq, type, message }) => `    ${seq} ${type}: ${message}`),
      ...effects.map((effect) => `    ${this.#describe(effect)}`),
    ];
    const at = `${((this.now - T0) / 1000).toFixed(3)}s`;
    if (lines.length > 0) this.transcript.push(`${at} ${this.#describeInput(input)}`, ...lines);
  }

  #describe(effect: Effect): string {
    switch (effect.kind) {
      case 'call':
      case 'cast': {
        const { action, step, attempt } = effect.attempt;
        return `-> ${effect.kind} ${action} to ${this.nameOf(effect.instance_id)}, step ${step} attempt ${attempt}`;
      }
      case 'instance_task':
        return `-> ${this.nameOf(effect.instance_id)} is ${effect.task}${effect.fault ? ` (${effect.fault})` : ''}`;
      case 'measured':
        return `-> the ${effect.step} took ${effect.ms} ms`;
      case 'release':
        return `-> the cluster is free, on ${effect.datastore_version}`;
      default:
        return effect satisfies never;
    }
  }

  #describeInput(input: Input): string {
    switch (input.type) {
      case 'answered':
        return `answered ${input.action}, step ${input.step} attempt ${input.attempt}`;
      case 'call_failed':
        return `failed ${input.action}, step ${input.step} attempt ${input.attempt}: ${input.error}`;
      case 'reported': {
        const { report } = input;
        const said = report
          ? `${report.action} ${report.status}, step ${report.step} attempt ${report.attempt}`
          : 'nothing';
        return `reported by ${this.nameOf(input.instance_id)}: ${said}`;
      }
      case 'action':
        return `${input.by} says ${input.action}${input.target ? ` with ${input.target.name}` : ''}`;
      case 'wake':
      case 'recover':
        return input.type;
      case 'reset':
        return `reset by ${input.by}`;
      default:
        return input satisfies never;
    }
  }
}

function isReplicated({ manager = 'postgresql' }: WorldOptions): boolean {
  return ['postgresql', 'mysql', 'redis'].includes(manager);
}

function guestsOf(world: World, options: WorldOptions): readonly Guest[] {
  const { instances = 3, broken = [], already_upgraded = [], synchronous = [] } = options;
  const guests = Array.from({ length: instances }, (_, index) => {
    const name = `db-${index + 1}`;
    const usual: Role = !isReplicated(options) ? 'member' : index === 0 ? 'primary' : 'replica';
    const role = options.roles?.[name] ?? usual;
    const version = already_upgraded.includes(name) ? TO : FROM;
    const lag_bytes = options.lag_bytes?.[name] === undefined ? 0 : options.lag_bytes[name];
    const placement = options.placement?.[name];
    return new Guest(world, {
      ...{ id: `i-${index + 1}`, name, role, version, lag_bytes },
      is_broken: broken.includes(name),
      synchronous: synchronous.includes(name),
      is_trove: options.trove?.includes(name) ?? false,
      ...(placement && { placement }),
      script: options.scripts?.[name] ?? {},
    });
  });
  const primary = guests.find(({ role }) => role === 'primary') ?? null;
  for (const guest of guests) if (guest.role === 'replica') guest.upstream = primary;
  return guests;
}

function clusterOf(
  { manager = 'postgresql', trove = [], adopted = false }: WorldOptions,
  guests: readonly Guest[],
): Cluster {
  return {
    ...(adopted && { adopted, system_identifier: '7' }),
    ...{ id: 'c', tenant_id: 't', name: 'shop', manager },
    ...{
      datastore_id: 'd',
      datastore_name: manager,
      datastore_version_id: 'v-from',
      datastore_version: FROM,
    },
    ...{ task: 'NONE' as const, upgrade_id: null, extended_properties: {}, created: T0, updated: T0 },
    instances: guests.map(({ id, name }) => ({
      ...{ id, cluster_id: 'c', name, flavor_id: '1', volume_size: 1 },
      ...{ task: 'NONE' as const, fault: null, in_doubt: false, report: null, heard: null },
      ...(trove.includes(name) && { told_version: FROM }),
    })),
  };
}
