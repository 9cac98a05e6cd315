/**
 * A batch, its clusters and a clock, moved by the real `advanceBatch`. What is read and written is what
 * the real shell and store read and write; the clusters' upgrades are scripted. After every input the
 * invariants of `invariants.ts` are checked.
 */

import { membersFor } from '../../../src/core/batch/act.ts';
import { type BatchRequest, resolveBatch } from '../../../src/core/batch/admit.ts';
import { advanceBatch } from '../../../src/core/batch/advance.ts';
import type {
  BatchInput,
  BatchNext,
  BatchSeen,
  Refusal,
  UpgradeSeen,
} from '../../../src/core/batch/inputs.ts';
import {
  type AskedOfBatch,
  type Batch,
  type BatchEvent,
  isBatchActive,
  isOpen,
  type Member,
  type MemberStateName,
} from '../../../src/core/batch/record.ts';
import type { WaveRequest } from '../../../src/core/batch/selection.ts';
import type { Load } from '../../../src/core/batch/share.ts';
import { batchWakeAt, loadAfter } from '../../../src/core/batch/wake.ts';
import type { Cluster, DatastoreVersion, Instant } from '../../../src/core/domain.ts';
import type { Policy } from '../../../src/core/policy.ts';
import type { PauseReason } from '../../../src/core/record.ts';
import { violationsOf } from './invariants.ts';

export const T0: Instant = 1_800_000_000_000;
export const TARGET: DatastoreVersion & { datastore: string } = {
  id: 'v-1.1',
  datastore_id: 'd',
  datastore: 'simulated',
  name: '1.1',
  manager: 'simulated',
  active: true,
  packages: [],
  image: '',
  image_tags: [],
  upgrade_from: null,
  not_mixed_with: null,
};
const CHUNK = 7;
/** Far more than any batch needs before time goes on. */
const MAX_LOOKS_AT_ONCE = 100;

/** How an upgrade goes, try by try; the last one is for all further tries. */
export interface Script {
  readonly takes_s?: number;
  readonly end?: 'succeeded' | 'failed' | 'rolled_back' | 'cancelled';
  /** It pauses for this reason in place of ending. */
  readonly pauses?: PauseReason;
  readonly outage_ms?: number;
}

export interface BatchWorldOptions {
  readonly clusters?: number;
  readonly waves?: readonly WaveRequest[];
  readonly policy?: Partial<Policy>;
  readonly policies?: Readonly<Record<string, Partial<Policy>>>;
  /** By name, `c-1` onwards. */
  readonly scripts?: Readonly<Record<string, readonly Script[]>>;
  /** Until when a cluster is busy with something else, in seconds. */
  readonly busy_s?: Readonly<Record<string, number>>;
  readonly versions?: Readonly<Record<string, string>>;
  readonly max_concurrent_total?: number;
  /** A process dies between commit and begin: true for each begin that gets lost. */
  readonly loses?: () => boolean;
}

interface Running {
  seen: UpgradeSeen;
  readonly name: string;
  readonly script: Script;
  readonly ends: Instant;
}

export class BatchWorld {
  now: Instant = T0;
  batch: Batch;
  members: readonly Member[];
  readonly upgrades = new Map<string, Running>();
  readonly events: BatchEvent[] = [];
  readonly violations: string[] = [];
  readonly transcript: string[] = [];
  readonly unwell = new Set<string>();
  others: readonly Load[] = [];
  /** How often each upgrade was begun, by its id: begun twice is a duplicate. */
  readonly begun = new Map<string, number>();
  readonly options: BatchWorldOptions;
  #due: Instant | null = T0;

  constructor(options: BatchWorldOptions = {}) {
    this.options = options;
    const clusters = Array.from({ length: options.clusters ?? 3 }, (_, index) => clusterOf(index, options));
    const request: BatchRequest = {
      tenant_id: 't',
      name: null,
      selection: {
        clusters: clusters.map(({ id, name }) => ({
          id,
          ...(options.policies?.[name] && { policy: options.policies[name] }),
        })),
        all_tenants: false,
      },
      datastore_version: TARGET.name,
      policy: options.policy ?? {},
      ...(options.waves && { waves: options.waves }),
      requested_by: { user: 'ann', request_id: 'req-1', via: 'rest' },
    };
    const resolved = resolveBatch(clusters, TARGET, request, {
      id: 'b',
      now: this.now,
      inRange: () => true,
      versions: [TARGET],
    });
    this.batch = resolved.batch;
    this.members = resolved.members;
    this.events.push(resolved.event);
  }

  // ---- what tests do

  feed(input: BatchInput): BatchNext {
    const seen = this.#read(input);
    const before = { batch: this.batch, members: this.members };
    const next = advanceBatch(this.batch, input, seen, this.now);
    const wake_at = batchWakeAt(next, seen, this.now);
    const load = loadAfter(next, seen, this.now);
    this.batch = next.batch;
    const changed = new Map(next.members.map(({ after }) => [after.position, after]));
    this.members = this.members.map((member) => changed.get(member.position) ?? member);
    this.violations.push(...violationsOf(before, next, this.members, seen, { wake_at, load, now: this.now }));
    if (next.verdict === 'refused') return next;
    this.#due = wake_at;
    if (next.verdict === 'stale') return next;
    this.events.push(...next.events);
    this.#write(input, next);
    const refusals = next.effects.flatMap((effect) => this.#perform(effect));
    if (refusals.length > 0) this.feed({ type: 'refused', refusals });
    return next;
  }

  act(asked: AskedOfBatch): BatchNext {
    return this.feed({ type: 'asked', asked, by: 'ann' });
  }

  /** Time goes by, and everything that becomes due is done. */
  pass(seconds: number): void {
    const until = this.now + seconds * 1000;
    for (let looks = 0; looks < MAX_LOOKS_AT_ONCE; looks++) {
      const ends = [...this.upgrades.values()].filter(isAtWork).map((one) => one.ends);
      const next = Math.min(this.#due ?? Infinity, ...ends);
      if (next > until) {
        this.now = until;
        return;
      }
      if (next > this.now) looks = 0;
      this.now = Math.max(this.now, next);
      this.#moveUpgrades();
      if (this.#due !== null) this.feed({ type: 'wake' });
    }
    throw new Error('it wants to be looked at again and again');
  }

  /** Until it has ended, or waits for a person with nothing in flight. */
  settle(limit_s = 20_000): this {
    const stop = this.now + limit_s * 1000;
    while (this.now < stop && !this.#isSettled()) this.pass(1);
    return this;
  }

  #isSettled(): boolean {
    if (!isBatchActive(this.batch)) return true;
    return this.batch.state.name === 'paused' && this.countOf('running') === 0;
  }

  member(name: string): Member {
    const found = this.members.find((one) => one.cluster_name === name);
    if (!found) throw new Error(`no cluster ${name}`);
    return found;
  }

  stateOf(name: string): string {
    return this.member(name).state.name;
  }

  namesIn(state: MemberStateName): readonly string[] {
    return this.members.filter((one) => one.state.name === state).map((one) => one.cluster_name);
  }

  countOf(state: MemberStateName): number {
    return this.namesIn(state).length;
  }

  /** For how long the batch may be left alone; null once it has ended. */
  get next_look_s(): number | null {
    return this.#due === null ? null : (this.#due - this.now) / 1000;
  }

  eventsOf(type: BatchEvent['type']): readonly BatchEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** A person takes a paused upgrade up again. */
  mend(name: string): void {
    const id = this.member(name).upgrade_id;
    const upgrade = id === null ? undefined : this.upgrades.get(id);
    if (!id || !upgrade) throw new Error(`${name} has no upgrade`);
    this.upgrades.set(id, {
      ...upgrade,
      script: {},
      ends: this.now,
      seen: { ...upgrade.seen, state: 'running', reason: null },
    });
  }

  // ---- what the shell and the store do

  #read(input: BatchInput): BatchSeen {
    const wanted = input.type === 'asked' ? membersFor(input.asked) : [];
    const named = input.type === 'asked' ? (input.asked.clusters ?? []) : [];
    const readyOnes = this.members
      .filter((one) => one.wave === this.batch.wave && isOpen(one) && this.#readyAt(one) <= this.now)
      .toSorted((a, b) => this.#readyAt(a) - this.#readyAt(b) || a.position - b.position);
    const ready = readyOnes.slice(0, CHUNK).map(({ position }) => position);
    const refused = input.type === 'refused' ? input.refusals.map(({ position }) => position) : [];
    const members = this.members.filter(
      (one) =>
        one.state.name === 'running' ||
        wanted.includes(one.state.name) ||
        named.includes(one.cluster_id) ||
        ready.includes(one.position) ||
        refused.includes(one.position),
    );
    const later = this.members
      .filter((one) => one.wave === this.batch.wave && isOpen(one))
      .map((one) => this.#readyAt(one))
      .filter((at) => at > this.now);
    return {
      members,
      upgrades: new Map([...this.upgrades].map(([id, { seen }]) => [id, seen])),
      ready,
      ready_count: readyOnes.length,
      next_ready: later.length > 0 ? Math.min(...later) : null,
      unwell: this.#isSoaking() ? [...this.unwell] : null,
      others: this.others,
      max_concurrent_total: this.options.max_concurrent_total ?? 1_000,
    };
  }

  #isSoaking(): boolean {
    const { state } = this.batch;
    return state.name === 'running' && state.soak !== null;
  }

  #readyAt({ state }: Member): Instant {
    return state.name === 'waiting' ? state.until : 0;
  }

  #perform(effect: BatchNext['effects'][number]): Refusal[] {
    if (effect.kind === 'act') this.#act(effect.upgrade_id, effect.action);
    if (effect.kind !== 'begin' || this.options.loses?.()) return [];
    const { position, cluster_id, upgrade_id, cluster_name: name, undo } = effect.member;
    if (upgrade_id === null) throw new Error('begun without an id');
    this.begun.set(upgrade_id, (this.begun.get(upgrade_id) ?? 0) + 1);
    if (this.upgrades.has(upgrade_id)) return [];
    if (this.now < T0 + (this.options.busy_s?.[name] ?? 0) * 1000) {
      return [
        {
          position,
          cluster_id,
          upgrade_id,
          verdict: 'later',
          reason: 'the current cluster task is BUILDING',
        },
      ];
    }
    const scripts = this.options.scripts?.[name] ?? [{}];
    const script = scripts[Math.min(effect.member.tries, scripts.length) - 1] ?? {};
    const seen: UpgradeSeen = {
      state: 'running',
      reason: null,
      message: 'running',
      direction: undo === null ? 'forward' : 'back',
      cancelling: false,
      write_outage_ms: 0,
    };
    this.upgrades.set(upgrade_id, { seen, name, script, ends: this.now + (script.takes_s ?? 10) * 1000 });
    return [];
  }

  #act(id: string, action: 'cancel' | 'rollback'): void {
    const upgrade = this.upgrades.get(id);
    if (!upgrade || !isAtWork({ ...upgrade, seen: { ...upgrade.seen, state: 'running' } })) return;
    const changed: Partial<UpgradeSeen> =
      action === 'cancel'
        ? { state: 'running', reason: null, cancelling: true }
        : { state: 'running', reason: null, direction: 'back' };
    const end = action === 'cancel' ? ('cancelled' as const) : ('rolled_back' as const);
    const seen = { ...upgrade.seen, ...changed };
    this.upgrades.set(id, { ...upgrade, seen, script: { end }, ends: this.now + 1000 });
  }

  #moveUpgrades(): void {
    for (const [id, one] of this.upgrades) {
      if (!isAtWork(one) || one.ends > this.now) continue;
      const { end = 'succeeded', pauses, outage_ms = 0 } = one.script;
      const seen: UpgradeSeen = pauses
        ? { ...one.seen, state: 'paused', reason: pauses, message: `paused for ${pauses}` }
        : { ...one.seen, state: end, message: `${end} by script`, write_outage_ms: outage_ms };
      this.upgrades.set(id, { ...one, seen });
      this.#due = this.now;
    }
  }

  #write(input: BatchInput, { events, effects }: BatchNext): void {
    const what = input.type === 'asked' ? `ann: ${input.asked.action}` : input.type;
    this.transcript.push(`${((this.now - T0) / 1000).toFixed(3)}s ${what}`);
    for (const { seq, type, message } of events) this.transcript.push(`    ${seq} ${type}: ${message}`);
    for (const effect of effects) this.transcript.push(`    -> ${wordsOf(effect)}`);
  }
}

function wordsOf(effect: BatchNext['effects'][number]): string {
  if (effect.kind === 'begin') return `begin ${effect.member.cluster_name}, try ${effect.member.tries}`;
  return effect.kind === 'act' ? `${effect.action} the upgrade` : 'look again';
}

function isAtWork({ seen }: { readonly seen: UpgradeSeen }): boolean {
  return seen.state === 'running';
}

export function clusterOf(index: number, options: BatchWorldOptions = {}): Cluster {
  const name = `c-${index + 1}`;
  const version = options.versions?.[name] ?? '1.0';
  return {
    id: `id-${name}`,
    tenant_id: 't',
    name,
    datastore_id: 'd',
    datastore_name: 'simulated',
    manager: 'simulated',
    datastore_version_id: `v-${version}`,
    datastore_version: version,
    task: 'NONE',
    upgrade_id: null,
    extended_properties: {},
    created: T0,
    updated: T0,
    instances: [],
  };
}
