/**
 * Limits the requests of a tenant per verb, as Trove does: a bucket that leaks continuously and holds as many
 * requests as are allowed in a minute. The buckets are in memory: this costs no round trip, and protects this
 * process. With several api processes a tenant may send that many requests to each of them.
 */

export const LIMITED_VERBS = ['GET', 'POST', 'PATCH', 'PUT', 'DELETE'] as const;
type LimitedVerb = (typeof LIMITED_VERBS)[number];
/** Requests per minute. */
export type Rates = Readonly<Record<LimitedVerb, number>>;

/**
 * Trove's rates, except for reads: a client that waits for an upgrade reads every second, and there may be
 * several.
 */
export const DEFAULT_RATES: Rates = { GET: 1200, POST: 200, PATCH: 200, PUT: 200, DELETE: 200 };

export interface RateLimits {
  /** Counts a request. Returns 0 if the request is allowed, otherwise the milliseconds until one is. */
  take(tenant_id: string, verb: LimitedVerb): number;
  /** A tenant's limits, and how many requests are left now. */
  of(
    tenant_id: string,
  ): readonly { readonly verb: LimitedVerb; readonly value: number; readonly remaining: number }[];
  readonly rates: Rates;
}

const MINUTE_MS = 60_000;
/**
 * With more buckets than this, the one unused for the longest time is removed: it has leaked, or soon will
 * have.
 */
const MAX_BUCKETS = 50_000;

interface Bucket {
  /** The content, in milliseconds that it takes to leak. */
  readonly level: number;
  readonly at: number;
}

/** `now` in milliseconds. */
export function rateLimits(rates: Rates, now: () => number): RateLimits {
  const buckets = new Map<string, Bucket>();
  const levelOf = (key: string, at: number): number => {
    const bucket = buckets.get(key);
    // A clock that was set back must not fill the bucket.
    return bucket ? Math.max(0, bucket.level - Math.max(0, at - bucket.at)) : 0;
  };
  return {
    rates,
    take(tenant_id, verb) {
      const key = `${verb} ${tenant_id}`;
      const at = now();
      const level = levelOf(key, at) + MINUTE_MS / rates[verb];
      if (level > MINUTE_MS) return level - MINUTE_MS;
      buckets.delete(key);
      buckets.set(key, { level, at });
      if (buckets.size > MAX_BUCKETS) buckets.delete(buckets.keys().next().value ?? '');
      return 0;
    },
    of(tenant_id) {
      return LIMITED_VERBS.map((verb) => {
        const level = levelOf(`${verb} ${tenant_id}`, now());
        const value = rates[verb];
        return { verb, value, remaining: Math.floor(((MINUTE_MS - level) / MINUTE_MS) * value) };
      });
    },
  };
}
