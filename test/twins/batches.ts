import { type Batch, type BatchEvent, isOpen, type Member } from '../../src/core/batch/record.ts';
import type { Load } from '../../src/core/batch/share.ts';
import type { Instant } from '../../src/core/domain.ts';
import {
  BATCH_CHUNK,
  type BatchCommit,
  type BatchStore,
  hintOf,
  type MembersRequest,
  readyAt,
} from '../../src/store/batches.ts';
import type { Forgotten, Page, PageRequest } from '../../src/store/page.ts';
import { asJson, byText, EventLog, type Held, pageOf } from './parts.ts';

/** The in-memory twin of batches on Redis. */
export class MemoryBatches implements BatchStore {
  readonly #members = new Map<string, readonly Member[]>();
  readonly #hints = new Map<string, ReadonlySet<string>>();
  readonly #loads = new Map<string, Load>();
  readonly #held: Held;
  readonly #log: EventLog<BatchEvent>;

  constructor(held: Held) {
    this.#held = held;
    this.#log = new EventLog(held.sleep);
  }

  /** What it holds, for those who check it: never to be written from outside. */
  get data() {
    return {
      batches: this.#held.batches as ReadonlyMap<string, Batch>,
      members: this.#members as ReadonlyMap<string, readonly Member[]>,
      loads: this.#loads as ReadonlyMap<string, Load>,
      events: this.#log.all,
    };
  }

  async create(...[batch, members, event, wake_at]: Parameters<BatchStore['create']>) {
    if (this.#held.batches.has(batch.id)) return 'duplicate' as const;
    this.#held.batches.set(batch.id, asJson(batch));
    this.#members.set(batch.id, asJson(members));
    this.#log.append(batch.id, [event]);
    this.#held.due.set(`batch:${batch.id}`, wake_at);
    return 'begun' as const;
  }

  async get(id: string): Promise<Batch | null> {
    return this.#held.batches.get(id) ?? null;
  }

  async list(tenant_id: string, { limit, marker }: PageRequest): Promise<Page<Batch>> {
    const own = [...this.#held.batches.values()]
      .filter((one) => one.tenant_id === tenant_id)
      .sort((a, b) => b.created - a.created || byText(b.id, a.id));
    return pageOf(own.slice(own.findIndex(({ id }) => id === marker) + 1), limit);
  }

  async page({ limit, marker }: PageRequest): Promise<Page<Batch>> {
    const all = [...this.#held.batches.values()].sort((a, b) => byText(a.id, b.id));
    return pageOf(
      all.filter(({ id }) => marker === null || id > marker),
      limit,
    );
  }

  async members(id: string, { limit, marker, state }: MembersRequest): Promise<Page<Member>> {
    const after = marker === null ? -1 : Number(marker);
    const found = (this.#members.get(id) ?? []).filter(
      (one) => one.position > after && (state === null || one.state.name === state),
    );
    const items = found.slice(0, limit);
    return { items, next_marker: found.length > limit ? String(items.at(-1)?.position) : null };
  }

  async load(...[id, { now, states, cluster_ids }]: Parameters<BatchStore['load']>) {
    const batch = this.#held.batches.get(id);
    if (!batch) return null;
    const all = this.#members.get(id) ?? [];
    const hints = [...(this.#hints.get(id) ?? [])].slice(0, BATCH_CHUNK);
    const open = all
      .filter((one) => one.wave === batch.wave && isOpen(one))
      .sort((a, b) => readyAt(a) - readyAt(b) || byText(String(a.position), String(b.position)));
    const due = open.filter((one) => readyAt(one) <= now);
    const later = open.find((one) => readyAt(one) > now);
    const ready = due.slice(0, BATCH_CHUNK).map(({ position }) => position);
    const hinted = hints.map((hint) => Number.parseInt(hint, 10));
    const members = all.filter(
      ({ position, state, cluster_id }) =>
        hinted.includes(position) ||
        ready.includes(position) ||
        states.includes(state.name) ||
        cluster_ids.includes(cluster_id),
    );
    const others = [...this.#loads.values()].filter(({ batch_id }) => batch_id !== id);
    const next_ready = later ? readyAt(later) : null;
    return { batch, members, hints, ready, ready_count: due.length, next_ready, others };
  }

  async commit(commit: BatchCommit): Promise<'committed' | 'conflict'> {
    const { batch, members, events, load, max_concurrent_total, wake_at, now } = commit;
    const { id, revision } = batch;
    if (this.#held.batches.get(id)?.revision !== revision - 1) return 'conflict';
    const others = [...this.#loads.values()].filter(({ batch_id }) => batch_id !== id);
    const running = others.reduce((sum, other) => sum + other.running, load?.running ?? 0);
    if (max_concurrent_total !== null && running > max_concurrent_total) return 'conflict';
    this.#log.append(id, events);
    this.#held.batches.set(id, asJson(batch));
    const changed = new Map(members.map(({ after }) => [after.position, asJson(after)]));
    this.#members.set(
      id,
      (this.#members.get(id) ?? []).map((one) => changed.get(one.position) ?? one),
    );
    this.#forget(id, commit.hints);
    if (load === null) this.#loads.delete(id);
    else this.#loads.set(id, load);
    if (wake_at === null) {
      this.#held.due.delete(`batch:${id}`);
      this.#hints.delete(id);
    } else {
      this.#held.due.set(`batch:${id}`, this.#hints.has(id) ? now : wake_at);
    }
    return 'committed';
  }

  async looked(...[batch, hints, wake_at]: Parameters<BatchStore['looked']>): Promise<void> {
    const { id, revision } = batch;
    this.#forget(id, hints);
    if (this.#held.batches.get(id)?.revision !== revision || this.#hints.has(id)) return;
    if (this.#held.due.has(`batch:${id}`)) this.#held.due.set(`batch:${id}`, wake_at);
  }

  async forget(before: Instant, { limit, marker }: PageRequest): Promise<Forgotten> {
    const all = [...this.#held.batches.values()]
      .filter(({ id }) => marker === null || id > marker)
      .sort((a, b) => byText(a.id, b.id));
    const { items, next_marker } = pageOf(all, limit);
    const old = items.filter(({ state }) => 'ended' in state && state.ended < before);
    for (const { id } of old) {
      this.#held.batches.delete(id);
      this.#members.delete(id);
      this.#log.delete(id);
    }
    return { count: old.length, next_marker };
  }

  events(...[id, after_seq, options]: Parameters<BatchStore['events']>): Promise<readonly BatchEvent[]> {
    return this.#log.read(id, after_seq, options);
  }

  /** An upgrade has moved: together with its commit. */
  hint(id: string, position: number, revision: number, look_by: Instant): void {
    const due = this.#held.due.get(`batch:${id}`);
    if (due === undefined) return;
    this.#hints.set(id, new Set([...(this.#hints.get(id) ?? []), hintOf(position, revision)]));
    this.#held.due.set(`batch:${id}`, Math.min(due, look_by));
  }

  #forget(id: string, hints: readonly string[]): void {
    const left = new Set(this.#hints.get(id));
    for (const hint of hints) left.delete(hint);
    if (left.size > 0) this.#hints.set(id, left);
    else this.#hints.delete(id);
  }
}
