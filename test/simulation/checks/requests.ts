import type { Request } from '../../../src/bus/bus.ts';
import type { Policy } from '../../../src/core/policy.ts';
import type { Upgrade } from '../../../src/core/record.ts';
import type { Action } from '../../../src/core/upgrade/inputs.ts';
import type { HttpAnswer, HttpRequest } from '../api.ts';
import { TENANT, type World } from '../world.ts';
import type { Checks } from './checks.ts';

const ENDED = ['succeeded', 'failed', 'cancelled', 'rolled_back'];

/** The user in whose name actions are requested. */
export const FOLLOWER = 'ann';

/** A request that a user has made under a name of its own. */
interface Intent {
  readonly version: string;
  readonly policy: Policy;
}

/** G1, G3, G10: every accepted request exists, once, exactly as it was made, and ends. */
export class RequestChecks {
  readonly #world: World;
  readonly #checks: Checks;
  readonly #intents = new Map<string, Intent>();
  readonly #accepted = new Map<string, string>();
  /** The actions that people have requested for an upgrade, `retry` with its version; whether granted or not. */
  readonly #asked = new Map<string, Set<string>>();
  readonly #cancelled = new Set<string>();
  /** Begun upgrades that the store has lost: their casts begin them again, unless the casts are lost too. */
  readonly #lost = new Set<string>();
  #resets = 0;
  #paused: string | null = null;
  #unanswered = 0;
  #number = 0;

  constructor(world: World, checks: Checks) {
    this.#world = world;
    this.#checks = checks;
  }

  get intents(): number {
    return this.#intents.size;
  }

  intended(user: string, intent: Intent): void {
    this.#intents.set(user, intent);
  }

  beginLost(upgrade_id: string): void {
    this.#lost.add(upgrade_id);
  }

  /** An upgrade was begun: somebody has requested it, in exactly this form. */
  begun(upgrade: Upgrade): void {
    const { user } = upgrade.requested_by;
    const intent = this.#intents.get(user ?? '');
    if (user === FOLLOWER) return this.#followUp(upgrade);
    this.#must(intent !== undefined, `nobody asked for an upgrade as ${user}`);
    if (!intent) return;
    const { to_version, from_version, policy, requested_by } = upgrade;
    this.#must(to_version === intent.version, `${user} wants ${intent.version}, and gets ${to_version}`);
    this.#must(textOf(policy) === textOf(intent.policy), `${user} gets another policy`);
    const isAllowed = intent.policy.overrides.some(({ gate }) => gate === 'version_path');
    this.#must(isAllowed || !isOlder(to_version, from_version), 'a downgrade that nobody insisted on');
    const own = [...this.#world.store.data.upgrades.values()].filter((one) => one.requested_by.user === user);
    // The other service sends a cast that was not confirmed once more, as another message.
    const isOne = own.length <= 1 || requested_by.via === 'rpc';
    this.#checks.must(isOne, 'G3', `${own.length} upgrades for one request of ${user}`);
  }

  /** An upgrade that takes up another one that has ended. */
  #followUp({ follows, cluster_id, created, to_version, from_version, policy, direction }: Upgrade): void {
    const all = [...this.#world.store.data.upgrades.values()];
    if (!follows) {
      const isWanted = all.some(({ id }) => this.wasAsked(id, 'retry', to_version));
      return this.#must(isWanted, `an upgrade to ${to_version} that nobody asked for`);
    }
    const ended = all.find(({ id }) => id === follows.upgrade_id);
    if (!ended) return this.#must(false, 'it takes up an upgrade that is not there');
    this.#must(ENDED.includes(ended.state.name), `it takes up one that is ${ended.state.name}`);
    // A retry may name the very version that the upgrade would go to anyway.
    const goal = direction === 'back' ? from_version : to_version;
    const isAsked = this.wasAsked(ended.id, follows.as) || this.wasAsked(ended.id, follows.as, goal);
    this.#must(isAsked, `nobody asked for a ${follows.as}`);
    const isLatest = all.every((one) => one.cluster_id !== cluster_id || one.created <= created);
    this.#must(isLatest, 'it takes up one that has been overtaken');
    const isSame = to_version === ended.to_version && from_version === ended.from_version;
    this.#must(isSame, 'it takes up another one with other versions');
    const turned = follows.as === 'rollback' ? 'back' : ended.direction;
    this.#must(direction === turned, `a ${follows.as} that goes ${direction}`);
    const agreed = textOf({ ...ended.policy, not_before: null });
    this.#must(textOf(policy) === agreed, 'it takes up another one with another policy');
  }

  #must(holds: boolean, text: string): void {
    this.#checks.must(holds, 'policy', text);
  }

  /** Checks every answer of the API to anybody. */
  answered({ tenant_id, method, path }: HttpRequest, { status, body }: HttpAnswer): void {
    this.#checks.must(status !== 500, 'G1', `${method} ${path} is answered 500: ${body}`);
    const isStranger = tenant_id !== TENANT && status < 400;
    this.#checks.must(!isStranger, 'G10', `a stranger's ${method} ${path} is answered ${status}`);
  }

  /** The request was answered with 202. */
  accepted(user: string, { location }: HttpAnswer): void {
    const id = location?.split('/').at(-1) ?? '';
    this.#world.tell(`accepted: the upgrade that ${user} wants`);
    const earlier = this.#accepted.get(user);
    this.#checks.must((earlier ?? id) === id, 'G3', `one request of ${user}, and two upgrades`);
    this.#accepted.set(user, id);
    const held = this.#world.store.data.upgrades.get(id);
    const isThere = held !== undefined || this.#lost.has(id) || this.#isDeleted();
    this.#checks.must(isThere, 'G1', 'accepted, and not in the store');
    if (held) this.#checks.must(held.requested_by.user === user, 'G3', `${user} is told of another upgrade`);
  }

  /**
   * The request failed. Once a request is accepted, its key gets no other answer, unless the store has lost what
   * was begun: then another upgrade may have taken its place.
   */
  declined(user: string, answer: HttpAnswer | null): void {
    const isFinal = answer !== null && answer.status !== 503 && answer.status !== 409;
    const accepted = this.#accepted.get(user);
    const holds = !isFinal || this.#isDeleted() || accepted === undefined || this.#lost.has(accepted);
    this.#checks.must(holds, 'G3', `${user} was told 202 and then ${answer?.status} under one key`);
  }

  /** The key of an accepted request came with another request. */
  reused(answer: HttpAnswer | null): void {
    const holds = answer === null || answer.status >= 400;
    this.#checks.must(holds, 'G3', `one key for two requests is answered ${answer?.status}`);
  }

  /** A person requests an action; returns the function that must be called with the verdict. */
  asked(upgrade_id: string, action: Action, version?: string): (verdict: 'applied' | 'refused') => void {
    const asked = this.#asked.get(upgrade_id) ?? new Set();
    this.#asked.set(upgrade_id, asked.add(version === undefined ? action : `${action} ${version}`));
    const isAlone = this.#unanswered === 0;
    this.#unanswered += 1;
    this.#paused = null;
    const number = ++this.#number;
    return (verdict) => {
      this.#unanswered -= 1;
      const holds = action === 'pause' && verdict === 'applied' && isAlone && this.#number === number;
      if (holds) this.#paused = upgrade_id;
      if (action === 'cancel' && verdict === 'applied') this.#cancelled.add(upgrade_id);
    };
  }

  wasAsked(upgrade_id: string, action: Action, version?: string): boolean {
    const text = version === undefined ? action : `${action} ${version}`;
    return this.#asked.get(upgrade_id)?.has(text) ?? false;
  }

  /** The reset concerns whatever upgrade holds the cluster when a taskmanager receives it. */
  resetAsked(): void {
    this.#resets += 1;
    this.#paused = null;
  }

  get isResetAsked(): boolean {
    return this.#resets > 0;
  }

  /**
   * A reset was answered that was requested while `upgrade_id` held the cluster. If the store has lost the begin
   * of the upgrade, the reset found a free cluster, and the cast may begin the upgrade again after the reset.
   */
  wasReset(upgrade_id: string): void {
    const { name = 'gone' } = this.#world.store.data.upgrades.get(upgrade_id)?.state ?? {};
    const isOver = name === 'gone' || ENDED.includes(name) || this.#lost.has(upgrade_id);
    this.#checks.must(isOver, 'G1', `the status was reset, and the upgrade is ${name}`);
  }

  /** A pause was answered, no other action was under way, and none was requested since. */
  isPaused(upgrade_id: string): boolean {
    return this.#paused === upgrade_id;
  }

  /** A cancel was answered: nothing reverts that. */
  isCancelled(upgrade_id: string): boolean {
    return this.#cancelled.has(upgrade_id);
  }

  /** A taskmanager has acknowledged the cast of another service. */
  acknowledged({ method, args, context }: Request): void {
    if (method !== 'upgrade_cluster' && method !== 'upgrade') return;
    const isKnown = this.#world.store.data.upgrades.has(String(args['upgrade_id']));
    const isThere = isKnown || this.#isDeleted() || this.#isHeld(context.request_id);
    this.#checks.must(isThere, 'G1', 'a cast was acknowledged, and no upgrade is its');
  }

  #isHeld(request_id: string): boolean {
    const all = [...this.#world.store.data.upgrades.values()];
    return all.some((upgrade) => upgrade.requested_by.request_id === request_id);
  }

  #isDeleted(): boolean {
    return this.#checks.records.isDeleted;
  }

  atTheEnd(): void {
    const { upgrades } = this.#world.store.data;
    for (const id of this.#accepted.values()) {
      const isThere = upgrades.has(id) || this.#lost.has(id) || this.#isDeleted();
      this.#checks.must(isThere, 'G1', 'an accepted upgrade is lost');
    }
    for (const { id, state } of upgrades.values()) {
      this.#checks.must(ENDED.includes(state.name), 'G1', `an upgrade is left ${state.name}`);
      const holds = !this.#cancelled.has(id) || state.name === 'cancelled';
      this.#checks.must(holds, 'G8', `a cancel was answered, and the upgrade has ${state.name}`);
    }
    const unread = this.#world.broker.deadLetters.find(({ reason }) => reason.includes('must be'));
    this.#checks.must(unread === undefined, 'G1', `nobody could read a message: ${unread?.reason}`);
  }
}

/** The same text for the same policy, whatever the sequence of its fields. */
function textOf(policy: Policy): string {
  return JSON.stringify(Object.entries(policy).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isOlder(one: string, other: string): boolean {
  const [[a = 0, b = 0], [c = 0, d = 0]] = [one.split('.').map(Number), other.split('.').map(Number)];
  return a < c || (a === c && b < d);
}
