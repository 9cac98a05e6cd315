import type { Redis } from 'ioredis';
import type { TlsOptions } from '../config.ts';
import type { Batch } from '../core/batch/record.ts';
import type { Instant } from '../core/domain.ts';
import { type Logger, textOf } from '../log.ts';
import { openRedisClient, reconnectIfSilent } from '../redis-client.ts';
import { RedisAdoption } from './adopted.ts';
import { RedisBatches } from './batches.ts';
import { RedisCatalogue } from './catalogue.ts';
import { Changes } from './changes.ts';
import { RedisClusters } from './clusters.ts';
import { type DueItem, RedisDue } from './due.ts';
import { RedisDuties } from './duties.ts';
import { RedisKeys } from './keys.ts';
import { RedisOutbox } from './outbox.ts';
import { RedisProvisioning } from './provisioning.ts';
import { RedisPort } from './redis-port.ts';
import { type Refusal, refusalOf, toStoreError, wordsOf } from './refusals.ts';
import { RedisRequests } from './requests.ts';
import type { Store, StoreCounts, StoreHealth } from './store.ts';
import { RedisUpgrades } from './upgrades.ts';

/** When Redis refuses commands, it refuses all of them. The log reports that no more often than this. */
const REFUSAL_LOG_MS = 10_000;
const REFUSAL_HOLDS_MS = 2_000;
/** The message while a client's connection is not ready: the client waits until Redis has loaded its data. */
const LOADING = 'Redis has taken a connection and does not serve yet: it is loading its data from disk';

/**
 * Opens the store on Redis. Resolves once Redis answers; rejects with a clear message if Redis cannot be
 * used. Afterwards the store reconnects by itself, and every method fails fast while it is disconnected. The
 * client sends no step twice. A caller that learns that the outcome is unknown may ask for the same step
 * again (R1 in `script.ts`).
 */
export async function openRedisStore(options: {
  readonly url: string;
  /** Which certificates to trust, with `rediss://`. */
  readonly tls?: TlsOptions | undefined;
  readonly prefix?: string;
  readonly log: Logger;
  readonly name?: string;
  /** Records for every upgrade how far notifications have been sent. */
  readonly notifies?: boolean;
}): Promise<RedisStore> {
  const store = new RedisStore(options);
  await store.open();
  return store;
}

/** On Redis, `installation` is a string: the id of the installation. */
class RedisStore implements Store {
  readonly catalogue: RedisCatalogue;
  readonly clusters: RedisClusters;
  readonly provisioning: RedisProvisioning;
  readonly adoption: RedisAdoption;
  readonly upgrades: RedisUpgrades;
  readonly batches: RedisBatches;
  readonly due: RedisDue;
  readonly outbox: RedisOutbox;
  readonly requests: RedisRequests;
  readonly keys: RedisKeys;
  readonly duties: RedisDuties;
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  readonly #port: RedisPort;
  readonly #log: Logger;
  /** Why Redis refused a command last; null again once it takes a write. */
  #refused: { readonly refusal: Refusal; readonly at: number } | null = null;
  #told_at = Number.NEGATIVE_INFINITY;

  constructor(options: Parameters<typeof openRedisStore>[0]) {
    const { url, tls, prefix = 'coffer', log, name = 'coffer', notifies = false } = options;
    this.#log = log;
    const open = () => openRedisClient({ url, tls }, { connectionName: name, lazyConnect: true });
    this.#redis = open();
    this.#subscriber = open();
    for (const client of [this.#redis, this.#subscriber]) {
      client.on('error', (err: Error) => log.debug({ err: err.message }, 'Redis connection'));
    }
    const port = new RedisPort({
      redis: this.#redis,
      prefix,
      changes: new Changes(this.#subscriber, prefix),
      guard: (command) => this.#guard(command),
    });
    this.#port = port;
    this.catalogue = new RedisCatalogue(port);
    this.clusters = new RedisClusters(port, this.catalogue);
    this.provisioning = new RedisProvisioning(port, this.clusters);
    this.adoption = new RedisAdoption(port);
    this.upgrades = new RedisUpgrades(port, { notifies });
    this.batches = new RedisBatches(port);
    this.due = new RedisDue(port);
    this.outbox = new RedisOutbox(port);
    this.requests = new RedisRequests(port);
    this.keys = new RedisKeys(port);
    this.duties = new RedisDuties(port);
  }

  async open(): Promise<void> {
    // A client that is refused emits an event with the reason. Its promise says only that the connection is
    // closed.
    let refusal: unknown;
    const note = (err: unknown) => {
      refusal ??= err;
    };
    for (const client of [this.#redis, this.#subscriber]) client.on('error', note);
    const waiting = setTimeout(() => this.#log.warn(LOADING), REFUSAL_LOG_MS);
    try {
      await Promise.all([this.#redis.connect(), this.#subscriber.connect()]);
    } catch (err) {
      const cause = refusal ?? err;
      this.#redis.disconnect();
      this.#subscriber.disconnect();
      throw toStoreError(cause);
    } finally {
      clearTimeout(waiting);
      for (const client of [this.#redis, this.#subscriber]) client.off('error', note);
    }
    await this.#checkSettings();
  }

  /**
   * A Redis that evicts records, or forgets them in a restart, loses upgrades: warn of that at once and
   * clearly.
   */
  async #checkSettings(): Promise<void> {
    // If Redis takes no writes, the command that it refuses here is logged.
    await this.health();
    try {
      const policy = await this.#redis.config('GET', 'maxmemory-policy');
      const aof = await this.#redis.config('GET', 'appendonly');
      if (!String(policy).includes('noeviction')) {
        this.#log.error({ policy }, 'Redis may evict records: set maxmemory-policy noeviction');
      }
      if (!String(aof).includes('yes'))
        this.#log.warn('Redis may forget records when it restarts: set appendonly yes');
    } catch (err) {
      this.#log.debug(
        { err: textOf(err) },
        'CONFIG is not allowed here: check maxmemory-policy and appendonly yourself',
      );
    }
  }

  async counts(now: Instant): Promise<StoreCounts> {
    const [due, casts] = [this.#port.key('due'), this.#port.key('casts', 'at')];
    const [overdue, firstDue, pending, firstCast] = await this.#port.ask((redis) =>
      Promise.all([
        redis.zcount(due, '-inf', now),
        redis.zrange(due, '0', '0', 'WITHSCORES'),
        redis.zcard(casts),
        redis.zrange(casts, '0', '0', 'WITHSCORES'),
      ]),
    );
    const items = await this.due.list();
    const idsOf = (kind: DueItem['kind']) => items.flatMap((item) => (item.kind === kind ? [item.id] : []));
    const upgrades: Record<string, number> = {};
    for (const name of await this.#port.fieldOf('upgrade', idsOf('upgrade'), 'state'))
      upgrades[name] = (upgrades[name] ?? 0) + 1;
    return {
      upgrades,
      batches: await this.#port.docs<Batch>('batch', idsOf('batch')),
      overdue,
      overdue_ms: now - Math.min(now, scoreOf(firstDue) ?? now),
      pending_casts: pending,
      pending_casts_ms: now - Math.min(now, scoreOf(firstCast) ?? now),
    };
  }

  /** May be repeated: the first id stays. */
  async installation(fresh: string): Promise<string> {
    const key = this.#port.key('installation');
    await this.#port.ask((redis) => redis.setnx(key, fresh));
    return (await this.#port.ask((redis) => redis.get(key))) ?? fresh;
  }

  /** Tries a write that changes nothing: Redis refuses it whenever it would refuse other writes. */
  async health(): Promise<StoreHealth> {
    if (this.#redis.status === 'connect') return { status: 'unreachable', reason: LOADING };
    try {
      await this.#port.ask((redis) => redis.setrange(this.#port.key('writable'), 0, ''));
      this.#refused = null;
      return { status: 'ok' };
    } catch (err) {
      // After a refusal the client may be connecting again. In that time the refusal of a moment ago still
      // holds.
      const { refusal, at } = this.#refused ?? { refusal: null, at: 0 };
      return refusal !== null && performance.now() - at < REFUSAL_HOLDS_MS
        ? { status: 'refuses_writes', reason: wordsOf(refusal) }
        : { status: 'unreachable', reason: textOf(err) };
    }
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    this.#subscriber.disconnect();
  }

  async #guard<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (err) {
      for (const client of [this.#redis, this.#subscriber]) reconnectIfSilent(client, err);
      this.#noteRefusal(err);
      throw toStoreError(err);
    }
  }

  /** Logs a refusal only once in a while, because every caller gets it too. */
  #noteRefusal(err: unknown): void {
    const refusal = refusalOf(err);
    if (refusal === null) return;
    const now = performance.now();
    this.#refused = { refusal, at: now };
    if (now - this.#told_at < REFUSAL_LOG_MS) return;
    this.#told_at = now;
    this.#log.error(wordsOf(refusal));
  }
}

export type { RedisStore };

/** The score of the one member in an answer `WITHSCORES`. */
function scoreOf([, score]: readonly string[]): number | undefined {
  return score === undefined ? undefined : Number(score);
}
