import { membersFor } from '../src/core/batch/act.ts';
import { advanceBatch, seenOf } from '../src/core/batch/advance.ts';
import type { BatchInput, BatchNext, BatchSeen, Refusal } from '../src/core/batch/inputs.ts';
import type { AskedOfBatch, Batch, BatchEffect, Member } from '../src/core/batch/record.ts';
import { policyOf } from '../src/core/batch/schedule.ts';
import { batchWakeAt, loadAfter } from '../src/core/batch/wake.ts';
import { type Instant, isHealthy, versionOf } from '../src/core/domain.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Logger } from '../src/log.ts';
import type { BatchCommit, LoadedBatch } from '../src/store/batches.ts';
import { beginFollowUp, beginUpgrade } from '../src/store/begin-upgrade.ts';
import type { Store } from '../src/store/store.ts';
import { NO_TRACING, type Span, type Tracing } from '../src/tracing.ts';
import type { Engine } from './engine.ts';
import { Turns } from './turns.ts';

export interface BatchDeps {
  readonly store: Pick<Store, 'batches' | 'catalogue' | 'clusters' | 'upgrades'>;
  readonly engine: Engine;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly newId: () => string;
  readonly tracing?: Tracing;
  /** How many clusters all batches together may have in flight. */
  readonly max_concurrent_total: number;
  /**
   * Makes a taskmanager check a batch soon. Never rejects: if the wake-up gets lost, the batch becomes due in
   * the store.
   */
  readonly wake: (batch_id: string) => void;
}

/**
 * `hinted`: check the members whose upgrades have moved, and those that can begin. `thorough`: check all
 * running members too.
 */
type Depth = 'hinted' | 'thorough';

/** For a case that should never happen, as in the engine. */
const MAX_CONFLICTS = 50;
/** How many upgrades are begun side by side. */
const BEGIN_AT_ONCE = 50;
/** How many clusters are read at once to check their health. */
const HEALTH_CHUNK = 500;

/**
 * The shell around the batch machine: read the head and some members, call `advanceBatch`, commit in one
 * atomic step, then begin upgrades. Holds no batch in memory between two checks.
 */
export class Batches {
  readonly #deps: BatchDeps;
  readonly #turns = new Turns();

  constructor(deps: BatchDeps) {
    this.#deps = deps;
  }

  /**
   * Checks a batch, and repeats that until nothing more can be done at once. Rejects with
   * `store_unavailable`.
   */
  check(batch_id: string, depth: Depth): Promise<void> {
    return this.#turns.run(batch_id, async () => {
      let next = await this.#step(batch_id, { type: 'wake' }, depth);
      while (hasMore(next)) next = await this.#step(batch_id, { type: 'wake' }, 'hinted');
    });
  }

  /**
   * Carries out what a person asks for. Resolves to null if there is no such batch. Rejects with
   * `action_refused` and the reason if the state of the batch does not allow it.
   */
  async act(batch_id: string, asked: AskedOfBatch, by: string): Promise<BatchNext['verdict'] | null> {
    const input = { type: 'asked', asked, by } as const;
    const next = await this.#turns.run(batch_id, () => this.#step(batch_id, input, 'hinted'));
    if (hasMore(next)) this.#deps.wake(batch_id);
    return next?.verdict ?? null;
  }

  async #step(batch_id: string, input: BatchInput, depth: Depth): Promise<BatchNext | null> {
    const { store, now, max_concurrent_total } = this.#deps;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      const at = now();
      const loaded = await store.batches.load(batch_id, { now: at, ...wanted(input, depth) });
      if (!loaded) return null;
      const seen = await this.#see(loaded);
      const next = advanceBatch(loaded.batch, input, seen, at);
      if (next.verdict === 'refused') throw new CofferError('action_refused', next.reason ?? 'refused');
      const wake_at = batchWakeAt(next, seen, at);
      if (next.verdict === 'stale') {
        if (wake_at !== null) await store.batches.looked(loaded.batch, loaded.hints, wake_at);
        return next;
      }
      const commit = commitOf(next, loaded, { seen, wake_at, now: at, max_concurrent_total });
      if ((await store.batches.commit(commit)) === 'conflict') continue;
      this.#tell(next);
      this.#wakeOthers(loaded, next, seen, at);
      const refusals = await this.#perform(next);
      if (refusals.length === 0) return next;
      return (await this.#step(batch_id, { type: 'refused', refusals }, 'hinted')) ?? next;
    }
    throw new CofferError('store_unavailable', `the record of batch ${batch_id} keeps changing`);
  }

  /**
   * Reads the present state of the members' upgrades and, during a soak, the health of the upgraded clusters.
   */
  async #see(loaded: LoadedBatch): Promise<BatchSeen> {
    const { store, max_concurrent_total } = this.#deps;
    const { batch, members, ready, ready_count, next_ready, others } = loaded;
    const ids = members.flatMap(({ state, upgrade_id }) =>
      state.name === 'running' && upgrade_id !== null ? [upgrade_id] : [],
    );
    const upgrades = await store.upgrades.getMany(ids);
    const isSoaking = batch.state.name === 'running' && batch.state.soak !== null;
    return {
      members,
      upgrades: new Map(upgrades.map((upgrade) => [upgrade.id, seenOf(upgrade)])),
      ready,
      ready_count,
      next_ready,
      unwell: isSoaking ? await this.#unwell(batch) : null,
      others,
      max_concurrent_total,
    };
  }

  /**
   * The names of clusters that were upgraded and are not healthy. Clusters that were deleted do not count.
   */
  async #unwell({ id }: Batch): Promise<readonly string[]> {
    const { store, now } = this.#deps;
    const found: string[] = [];
    let marker: string | null = null;
    do {
      const page = await store.batches.members(id, { limit: HEALTH_CHUNK, marker, state: 'succeeded' });
      const clusters = await store.clusters.getMany(page.items.map(({ cluster_id }) => cluster_id));
      for (const { name, instances } of clusters) {
        if (!instances.every((instance) => isHealthy(instance, now()))) found.push(name);
      }
      marker = page.next_marker;
    } while (marker !== null);
    return found;
  }

  #tell({ batch, events }: BatchNext): void {
    const { id: batch_id, requested_by } = batch;
    for (const { type, message, seq, cluster_id } of events) {
      const about = { batch_id, cluster_id, request_id: requested_by.request_id, seq, event: type };
      this.#deps.log.info(about, message);
    }
  }

  /** A batch that has left places free wakes the batches that could use them. */
  #wakeOthers({ batch }: LoadedBatch, next: BatchNext, seen: BatchSeen, now: Instant): void {
    const before = batch.waves.reduce((sum, { counts }) => sum + counts.running, 0);
    const { running } = loadAfter(next, seen, now);
    if (running >= before) return;
    for (const other of seen.others) if (other.wants > other.running) this.#deps.wake(other.batch_id);
  }

  /**
   * Performs the effects, and returns the upgrades that could not begin. An effect that gets lost here is
   * performed again by a later check.
   */
  async #perform({ batch, effects }: BatchNext): Promise<readonly Refusal[]> {
    const refusals: Refusal[] = [];
    for (let at = 0; at < effects.length; at += BEGIN_AT_ONCE) {
      const chunk = effects.slice(at, at + BEGIN_AT_ONCE);
      const answers = await Promise.all(chunk.map((effect) => this.#performOne(batch, effect)));
      refusals.push(...answers.filter((answer) => answer !== null));
    }
    return refusals;
  }

  async #performOne(batch: Batch, effect: BatchEffect): Promise<Refusal | null> {
    const { engine, log } = this.#deps;
    try {
      if (effect.kind === 'begin') return await this.#begin(batch, effect.member);
      if (effect.kind === 'act') {
        const by = `batch ${batch.id}`;
        await engine.handle(effect.upgrade_id, { type: 'action', action: effect.action, by });
      }
      return null;
    } catch (err) {
      const refusal = effect.kind === 'begin' ? refusalOf(effect.member, err) : null;
      if (refusal) return refusal;
      log.warn({ err, batch_id: batch.id }, 'an effect of a batch failed; a later check does it again');
      return null;
    }
  }

  /**
   * Begins the upgrade in a trace of its own: one trace for a batch of thousands of clusters would be
   * useless.
   */
  #begin(batch: Batch, member: Member): Promise<Refusal | null> {
    const { tracing = NO_TRACING } = this.#deps;
    const { trace: link } = batch.requested_by;
    const attributes = { 'coffer.batch_id': batch.id, 'coffer.cluster_id': member.cluster_id };
    const options = { parent: null, isRoot: true, link, attributes };
    return tracing.span('begin for a batch', options, (span) => this.#beginTraced(batch, member, span));
  }

  async #beginTraced(batch: Batch, member: Member, span: Span | null): Promise<Refusal | null> {
    const { engine, store } = this.#deps;
    const { upgrade_id, undo, cluster_id, tenant_id, position } = member;
    if (upgrade_id === null) return null;
    const goal = undo === null ? batch.to_version : member.from_version;
    if (await this.#runsAlready(cluster_id, upgrade_id, goal)) {
      const reason = `every instance of the cluster runs ${goal} already`;
      return { position, cluster_id, upgrade_id, verdict: 'needless', reason };
    }
    const { user, request_id } = batch.requested_by;
    const requested_by = { user, request_id, ...(span && { trace: span.name }), via: 'queue' } as const;
    const place = { id: batch.id, position };
    if (undo === null) {
      await beginUpgrade(this.#deps, {
        cluster_id,
        tenant_id,
        datastore_version: batch.to_version_id,
        policy: policyOf(batch, member),
        requested_by,
        batch: place,
        upgrade_id,
      });
    } else {
      const loaded = await store.upgrades.load(undo);
      if (!loaded) throw new CofferError('upgrade_not_found', `upgrade ${undo} is not there any more`);
      await beginFollowUp(this.#deps, loaded, { as: 'rollback', requested_by, batch: place, upgrade_id });
    }
    await engine.handle(upgrade_id, { type: 'wake' });
    return null;
  }

  /** True if something other than this upgrade has brought the cluster to the version already. */
  async #runsAlready(cluster_id: string, upgrade_id: string, version: string): Promise<boolean> {
    const cluster = await this.#deps.store.clusters.get(cluster_id);
    if (cluster?.task !== 'NONE' || cluster.upgrade_id === upgrade_id) return false;
    return (
      cluster.datastore_version === version &&
      cluster.instances.every((instance) => versionOf(instance) === version)
    );
  }
}

function hasMore(next: BatchNext | null): boolean {
  return next?.effects.some(({ kind }) => kind === 'again') ?? false;
}

/** Which members to read in addition to those with a hint and those that are ready. */
function wanted(input: BatchInput, depth: Depth) {
  const running = depth === 'thorough' ? (['running'] as const) : [];
  if (input.type === 'asked') {
    return { states: [...running, ...membersFor(input.asked)], cluster_ids: input.asked.clusters ?? [] };
  }
  const refused = input.type === 'refused' ? input.refusals.map(({ cluster_id }) => cluster_id) : [];
  return { states: running, cluster_ids: refused };
}

function commitOf(
  next: BatchNext,
  { hints }: LoadedBatch,
  {
    seen,
    ...about
  }: { seen: BatchSeen; wake_at: Instant | null; now: Instant; max_concurrent_total: number },
): BatchCommit {
  const begins = next.effects.some(({ kind }) => kind === 'begin');
  return {
    batch: next.batch,
    members: next.members,
    events: next.events,
    hints,
    load: about.wake_at === null ? null : loadAfter(next, seen, about.now),
    max_concurrent_total: begins ? about.max_concurrent_total : null,
    wake_at: about.wake_at,
    now: about.now,
  };
}

/** Why an upgrade could not begin; null if it may begin at the next check. */
function refusalOf({ position, cluster_id, upgrade_id }: Member, err: unknown): Refusal | null {
  if (!(err instanceof CofferError) || upgrade_id === null) return null;
  const about = { position, cluster_id, upgrade_id, reason: err.message };
  switch (err.code) {
    case 'cluster_busy':
      return { ...about, verdict: 'later' };
    case 'cluster_not_found':
      return { ...about, verdict: 'gone' };
    case 'store_unavailable':
    case 'bus_unavailable':
    case 'internal':
      return null;
    default:
      return { ...about, verdict: 'failed' };
  }
}
