import { DEFAULT_POLICY, OVERRIDABLE_GATES, type Policy } from '../../src/core/policy.ts';
import { ACTIONS } from '../../src/core/upgrade/inputs.ts';
import type { Window } from '../../src/core/window.ts';
import { Random } from './random.ts';
import { T0 } from './scheduler.ts';

/** How bad the network and the store are. Probabilities are per message or request. */
export interface Weather {
  /** The probability that a message gets lost; its publisher gets an error, or waits for the confirm in vain. */
  readonly loss: number;
  readonly doubled: number;
  readonly usual_ms: number;
  readonly slowest_ms: number;
  /** The probability that a request to the store gets lost before it is carried out, or its answer afterwards. */
  readonly store_loss: number;
}

/** How bad the guests are: what can happen to one execution. */
export interface Guests {
  readonly fails: number;
  readonly fails_for_good: number;
  readonly leaves_down: number;
  readonly hangs: number;
  readonly slow: number;
  /** The probability that the agent loses a message. */
  readonly deaf: number;
  readonly usual_ms: number;
  /** For Trove's guests: refuses an order; answers no caller; accepts an order and does nothing. */
  readonly refuses: number;
  readonly mute: number;
  readonly idle: number;
}

export type Trouble =
  | { readonly kind: 'kill'; readonly who: string; readonly steps: number; readonly down_ms: number }
  | { readonly kind: 'cut'; readonly who: string; readonly down_ms: number }
  | { readonly kind: 'store_away'; readonly ms: number }
  | { readonly kind: 'queue_gone'; readonly instance: number }
  | { readonly kind: 'crash'; readonly instance: number; readonly stays_down: boolean }
  | { readonly kind: 'sick'; readonly instance: number; readonly ms: number }
  | { readonly kind: 'unlinked'; readonly instance: number; readonly ms: number }
  | { readonly kind: 'slow_replay'; readonly instance: number }
  /** This many of the next writes to the guest's journal fail. */
  | { readonly kind: 'unwritable'; readonly instance: number; readonly times: number }
  | { readonly kind: 'liar'; readonly instance: number }
  | { readonly kind: 'flapping'; readonly instance: number; readonly times: number; readonly ms: number }
  | { readonly kind: 'action'; readonly action: Action; readonly to?: Target }
  | { readonly kind: 'request'; readonly via: 'keyed' | 'once' | 'rpc'; readonly to: Target }
  | { readonly kind: 'instance_request'; readonly instance: number; readonly to: Target }
  | { readonly kind: 'reset' | 'delete' | 'race' | 'foreign_request' };

/** A moment so short that troubles at random times rarely hit it. */
export type Moment = 'demoting' | 'promoting' | 'following' | 'window';

/** A trouble that waits for its moment, and happens a little later. */
interface Ambush {
  readonly moment: Moment;
  readonly after_ms: number;
  /** `successor_unlinked`: the chosen successor no longer receives the primary's writes. */
  readonly trouble:
    | Trouble
    | { readonly kind: 'successor_unlinked'; readonly ms: number }
    /** No taskmanager checks anything before the window has opened and closed, and for `late_ms` afterwards. */
    | { readonly kind: 'window_missed'; readonly late_ms: number };
}

/** One of the versions of the world. */
export type Target = 'to' | 'other' | 'older';
type Action = (typeof ACTIONS)[number];

export interface Scenario {
  readonly seed: number;
  readonly manager: 'postgresql' | 'simulated';
  readonly instances: number;
  readonly broken: readonly number[];
  readonly policy: Policy;
  readonly weather: Weather;
  readonly guests: Guests;
  readonly first: 'rest' | 'rpc';
  readonly target: Target;
  readonly troubles: readonly { readonly at_ms: number; readonly trouble: Trouble }[];
  readonly ambush: Ambush | null;
  /** When all faults stop. */
  readonly heal_ms: number;
  /**
   * This long after an upgrade is accepted the store fails over and loses the upgrade's begin; null: it loses
   * nothing.
   */
  readonly begin_lost_ms: number | null;
  /**
   * A person promotes a replica by hand in the middle of an upgrade, and makes it a replica again after this
   * time; null: nobody does so.
   */
  readonly promoted_for_ms: number | null;
  /** A plain Trove taskmanager has sent every guest an order before, and RabbitMQ delivers it again this often. */
  readonly plain_copies: number;
  /** The interval of the guests' heartbeats, if they are Trove's own guests; null: they are ours. */
  readonly trove_heartbeat_ms: number | null;
  /** The servers existed before, and their agents report on them. */
  readonly adopted: boolean;
}

export const CALM: Weather = { loss: 0, doubled: 0, usual_ms: 3, slowest_ms: 20, store_loss: 0 };
export const SOUND: Guests = {
  fails: 0,
  fails_for_good: 0,
  leaves_down: 0,
  hangs: 0,
  slow: 0,
  deaf: 0,
  usual_ms: 1_500,
  refuses: 0,
  mute: 0,
  idle: 0,
};

/** How much a seed demands of the system: no fault, one kind of fault, or all kinds at once. */
export function scenarioOf(seed: number): Scenario {
  const random = new Random(seed);
  const badness = random.pick(['none', 'some', 'some', 'much', 'much'] as const);
  const instances = random.pick([1, 2, 3, 3, 3, 4, 5] as const);
  const troubled_ms = badness === 'none' ? 10_000 : random.int(15, 60) * 1000;
  const policy = policyOf(random);
  const rare = new Random(seed + 3_000_003);
  const mayGoBack = policy.overrides.some(({ gate }) => gate === 'version_path');
  const scenario: Omit<Scenario, 'heal_ms'> = {
    seed,
    manager: random.chance(0.7) ? 'postgresql' : 'simulated',
    instances,
    broken: badness !== 'none' && random.chance(0.25) ? [random.int(0, instances - 1)] : [],
    policy,
    weather: badness === 'none' ? CALM : weatherOf(random),
    guests: badness === 'none' ? SOUND : guestsOf(random),
    first: random.chance(0.75) ? 'rest' : 'rpc',
    target: mayGoBack && random.chance(0.5) ? 'older' : 'to',
    troubles:
      badness === 'none' ? [] : troublesOf(random, instances, troubled_ms, badness === 'much' ? 14 : 5),
    ambush: badness !== 'none' && random.chance(0.4) ? ambushOf(random, policy.window !== null) : null,
    begin_lost_ms: badness !== 'none' && rare.chance(0.15) ? rare.int(0, 300) : null,
    promoted_for_ms: badness !== 'none' && rare.chance(0.2) ? rare.int(10_000, 60_000) : null,
    plain_copies: rare.pick([0, 0, 0, 2, 6]),
    trove_heartbeat_ms: null,
    adopted: false,
  };
  const trove = troveGuests(scenario, rare);
  const adopted = scenario.manager === 'postgresql' && rare.chance(0.3);
  const missesWindow = scenario.ambush?.trouble.kind === 'window_missed';
  return { ...scenario, ...trove, adopted, heal_ms: missesWindow ? MISSED_WINDOW_MS : troubled_ms };
}

/** The longest wait for a window, plus the time that it is open. */
const MISSED_WINDOW_MS = (5 * 60 + 150 + 30) * 1000;

/**
 * Every third cluster without roles has Trove's guests: they report rarely, refuse orders, and leave calls
 * unanswered.
 */
function troveGuests({ manager, guests }: Pick<Scenario, 'manager' | 'guests'>, random: Random) {
  if (manager !== 'simulated' || !random.chance(0.35)) return {};
  const { refuses, mute, idle } =
    guests === SOUND
      ? SOUND
      : { refuses: random.pick([0, 0.3]), mute: random.pick([0, 0.3, 1]), idle: random.pick([0, 0, 0.2]) };
  return {
    trove_heartbeat_ms: random.pick([1_000, 4_000, 10_000]),
    plain_copies: 0,
    guests: guests === SOUND ? SOUND : { ...guests, refuses, mute, idle },
  };
}

function policyOf(random: Random): Policy {
  return {
    ...DEFAULT_POLICY,
    max_unavailable: random.pick([1, 1, 1, 2, 3, '20%', '34%', '50%', '67%']),
    canary: random.pick([0, 0, 0, 1, 2]),
    soak_seconds: random.pick([0, 0, 0, 2, 8]),
    step_timeout_seconds: random.pick([4, 15, 40, 600]),
    timeout_seconds: random.pick([20, 36_000, 36_000]),
    retries: random.pick([0, 1, 2, 2]),
    on_failure: random.pick(['pause', 'pause', 'rollback', 'fail']),
    not_before: random.chance(0.1) ? T0 + random.int(0, 40_000) : null,
    window: random.chance(0.1) ? windowOf(random) : null,
    overrides: random.chance(0.2) ? overridesOf(random) : [],
  };
}

/** Opens every few minutes, by clocks whose zones differ by quarters of an hour. */
function windowOf(random: Random): Window {
  return {
    cron: `*/${random.pick([2, 3, 4, 5])} * * * *`,
    duration_seconds: random.pick([75, 90, 150]),
    time_zone: random.pick(['UTC', 'Asia/Kathmandu', 'Europe/Berlin', 'America/St_Johns']),
  };
}

function overridesOf(random: Random): Policy['overrides'] {
  const gates = OVERRIDABLE_GATES.filter(() => random.chance(0.35));
  return gates.map((gate) => ({ gate, reason: 'known' }));
}

function weatherOf(random: Random): Weather {
  return {
    loss: random.pick([0, 0.02, 0.1, 0.3]),
    doubled: random.pick([0, 0.05, 0.2]),
    usual_ms: random.pick([3, 30, 200]),
    slowest_ms: random.pick([20, 1_000, 6_000]),
    store_loss: random.pick([0, 0, 0.02, 0.1]),
  };
}

function guestsOf(random: Random): Guests {
  return {
    fails: random.pick([0, 0, 0.1, 0.4]),
    fails_for_good: random.pick([0, 0, 0, 0.1]),
    leaves_down: random.pick([0, 0, 0.1]),
    hangs: random.pick([0, 0, 0.1]),
    slow: random.pick([0, 0.1, 0.4]),
    deaf: random.pick([0, 0, 0.2]),
    usual_ms: random.pick([200, 1_500, 5_000]),
    ...{ refuses: 0, mute: 0, idle: 0 },
  };
}

function troublesOf(random: Random, instances: number, heal_ms: number, count: number) {
  return Array.from({ length: random.int(1, count) }, () => ({
    at_ms: random.int(0, heal_ms),
    trouble: troubleOf(random, instances),
  })).sort((a, b) => a.at_ms - b.at_ms);
}

function ambushOf(random: Random, hasWindow: boolean): Ambush {
  const after_ms = random.pick([0, 50, 500, 3_000]);
  if (hasWindow) {
    const late_ms = random.pick([0, 1_000, 20_000]);
    const trouble = random.chance(0.5)
      ? ({ kind: 'window_missed', late_ms } as const)
      : personal(random, random.pick(['pause', 'rollback']));
    return { moment: 'window', after_ms, trouble };
  }
  const moment = random.pick(['demoting', 'promoting', 'following'] as const);
  if (moment === 'demoting' && random.chance(0.5)) {
    return { moment, after_ms: 0, trouble: { kind: 'successor_unlinked', ms: random.pick([5_000, 15_000]) } };
  }
  return { moment, after_ms, trouble: personal(random, 'cancel') };
}

/** Mostly the given action, sometimes another. */
function personal(random: Random, action: Action): Trouble {
  return { kind: 'action', action: random.chance(0.7) ? action : random.pick(ACTIONS) };
}

function troubleOf(random: Random, instances: number): Trouble {
  const instance = random.int(0, instances - 1);
  const who = random.pick(['taskmanager-1', 'taskmanager-2', 'api', 'guest', 'guest'] as const);
  const process = who === 'guest' ? `guest-${instance}` : who;
  const down_ms = random.pick([50, 1_000, 5_000, 25_000]);
  const target = random.pick(['to', 'to', 'other', 'older'] as const);
  switch (random.int(0, 21)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return { kind: 'kill', who: process, steps: random.int(1, 40), down_ms };
    case 4:
      return { kind: 'cut', who: process, down_ms: random.pick([50, 1_000, 8_000]) };
    case 5:
      return { kind: 'store_away', ms: random.pick([200, 2_000, 8_000]) };
    case 6:
      return { kind: 'queue_gone', instance };
    case 7:
      return { kind: 'crash', instance, stays_down: random.chance(0.5) };
    case 8:
      return { kind: 'sick', instance, ms: random.pick([1_000, 5_000, 20_000]) };
    case 9:
      return { kind: 'unlinked', instance, ms: random.pick([2_000, 15_000]) };
    case 10:
      return { kind: 'slow_replay', instance };
    case 11:
      return { kind: 'liar', instance };
    case 12:
      return { kind: 'request', via: random.pick(['keyed', 'once', 'rpc']), to: target };
    case 13:
      return random.chance(0.5) ? { kind: 'foreign_request' } : { kind: 'action', action: 'cancel' };
    case 14:
      return { kind: 'reset' };
    case 15:
      return { kind: random.pick(['race', 'race', 'delete']) };
    case 16:
      return { kind: 'flapping', instance, times: random.int(2, 6), ms: random.pick([700, 2_500, 6_000]) };
    case 17:
      return { kind: 'action', action: 'retry', to: target };
    case 18:
      return { kind: 'instance_request', instance, to: target };
    case 19:
      return { kind: 'unwritable', instance, times: random.pick([1, 1, 4, 12]) };
    default:
      return {
        kind: 'action',
        action: random.pick(ACTIONS),
      };
  }
}
