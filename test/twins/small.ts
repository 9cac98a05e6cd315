/** The in-memory twins of the small parts of the store. */
import type { Catalogue } from '../../src/core/catalogue.ts';
import type { Instant } from '../../src/core/domain.ts';
import { isActive } from '../../src/core/record.ts';
import type { CatalogueStore, PutVerdict } from '../../src/store/catalogue.ts';
import { type DueItem, type DueStore, dueItem } from '../../src/store/due.ts';
import type { DutyStore } from '../../src/store/duties.ts';
import type { KeyStore } from '../../src/store/keys.ts';
import type { OutboxStore, PendingCast } from '../../src/store/outbox.ts';
import {
  IN_FLIGHT_MS,
  type KeyedRequest,
  REPLAY_MS,
  type RequestStore,
  type RequestVerdict,
  type StoredAnswer,
} from '../../src/store/requests.ts';
import { asJson, byText, type Held } from './parts.ts';

export class MemoryCatalogue implements CatalogueStore {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  async get(): Promise<Catalogue> {
    return this.#held.catalogue;
  }

  async put(...[catalogue, unused]: Parameters<CatalogueStore['put']>): Promise<PutVerdict> {
    if (catalogue.revision !== this.#held.catalogue.revision + 1) return { verdict: 'conflict' };
    for (const version_id of unused) {
      const users = this.#usersOf(version_id);
      if (users.length > 0) return { verdict: 'in_use', version_id, users };
    }
    this.#held.catalogue = asJson(catalogue);
    return { verdict: 'put' };
  }

  #usersOf(version_id: string): readonly string[] {
    const clusters = [...this.#held.clusters.values()].filter(
      (one) => one.datastore_version_id === version_id,
    );
    const upgrades = [...this.#held.upgrades.values()].filter(
      (one) => isActive(one) && [one.from_version_id, one.to_version_id].includes(version_id),
    );
    return [
      ...clusters.map(({ id }) => `cluster:${id}`),
      ...upgrades.map(({ id }) => `upgrade:${id}`),
    ].sort();
  }
}

export class MemoryDue implements DueStore {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  async take(now: Instant, limit: number, lend_ms: number): Promise<readonly DueItem[]> {
    const ids = [...this.#held.due]
      .filter(([, at]) => at <= now)
      .sort(([a, at], [b, bt]) => at - bt || byText(a, b))
      .slice(0, limit)
      .map(([id]) => id);
    for (const id of ids) this.#held.due.set(id, now + lend_ms);
    return ids.map(dueItem);
  }

  async defer({ kind, id }: DueItem, at: Instant): Promise<void> {
    if (this.#held.due.has(`${kind}:${id}`)) this.#held.due.set(`${kind}:${id}`, at);
  }

  async list(): Promise<readonly DueItem[]> {
    return [...this.#held.due.keys()].map(dueItem);
  }
}

export class MemoryOutbox implements OutboxStore {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  async pendingCasts(before: Instant, limit: number): Promise<readonly PendingCast[]> {
    return [...this.#held.casts.values()]
      .filter(({ at }) => at <= before)
      .sort((a, b) => a.at - b.at || byText(a.cast.id, b.cast.id))
      .slice(0, limit)
      .map(({ cast }) => cast);
  }

  async castConfirmed(id: string): Promise<void> {
    this.#held.casts.delete(id);
  }

  async untold() {
    return [...this.#held.untold].map(([upgrade_id, seq]) => ({ upgrade_id, seq }));
  }

  async told(upgrade_id: string, seq: number | null): Promise<void> {
    if (seq === null) this.#held.untold.delete(upgrade_id);
    else this.#held.untold.set(upgrade_id, seq);
  }
}

export class MemoryKeys implements KeyStore {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  async get(id: string): Promise<string | null> {
    return this.#held.keys.get(id) ?? null;
  }

  async replace(id: string, sealed: string): Promise<boolean> {
    if (!this.#held.keys.has(id)) return false;
    this.#held.keys.set(id, sealed);
    return true;
  }

  async ids(): Promise<readonly string[]> {
    return [...this.#held.keys.keys()];
  }
}

interface HeldRequest {
  readonly fingerprint: string;
  readonly operation_id: string;
  /** Empty when nobody carries it out. */
  readonly claim: string;
  readonly until: Instant;
  readonly expires: Instant;
  readonly answer: StoredAnswer | null;
}

export class MemoryRequests implements RequestStore {
  readonly #requests = new Map<string, HeldRequest>();

  async begin(request: KeyedRequest, now: Instant): Promise<RequestVerdict> {
    const { fingerprint, claim } = request;
    const found = this.#requests.get(requestKey(request));
    const held = found && found.expires > now ? found : undefined;
    if (held && held.fingerprint !== fingerprint) return { verdict: 'reused' };
    if (held?.answer) return { verdict: 'answered', answer: held.answer };
    const isTaken = held !== undefined && held.claim !== '' && held.claim !== claim;
    if (isTaken && held.until > now) return { verdict: 'in_flight' };
    const operation_id = held?.operation_id ?? claim;
    const times = { until: now + IN_FLIGHT_MS, expires: now + REPLAY_MS };
    this.#requests.set(requestKey(request), { fingerprint, operation_id, claim, ...times, answer: null });
    return { verdict: 'begun', operation_id };
  }

  async end(request: KeyedRequest, answer: StoredAnswer | null): Promise<void> {
    const held = this.#requests.get(requestKey(request));
    if (held?.claim !== request.claim) return;
    this.#requests.set(requestKey(request), { ...held, claim: '', answer: answer && asJson(answer) });
  }
}

function requestKey({ tenant_id, key }: KeyedRequest): string {
  return `${tenant_id}:${key}`;
}

export class MemoryDuties implements DutyStore {
  readonly #held: Held;
  readonly #duties = new Map<string, string>();

  constructor(held: Held) {
    this.#held = held;
  }

  async hold(duty: string, holder: string, lease_ms: number): Promise<boolean> {
    const held = this.#duties.get(duty);
    if (held !== undefined && held !== holder) return false;
    this.#duties.set(duty, holder);
    void this.#held.sleep(lease_ms).then(() => this.#duties.delete(duty));
    return true;
  }
}
