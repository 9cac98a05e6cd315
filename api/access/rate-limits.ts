/**
 * How often a tenant may ask, per verb, as Trove limits it: a bucket that leaks all the time, and holds
 * as many requests as a minute allows. Kept in memory: it costs no round trip, and protects this process;
 * with several api processes a tenant may ask each of them so often.
 */

export const LIMITED_VERBS = ['GET', 'POST', 'PATCH', 'PUT', 'DELETE'] as const;
export type LimitedVerb = (typeof LIMITED_VERBS)[number];
/** Requests a minute. */
export type Rates = Readonly<Record<LimitedVerb, number>>;

/** Trove's, but for reads: whoever waits for an upgrade looks every second, and several may. */
export const DEFAULT_RATES: Rates = { GET: 1200, POST: 200, PATCH: 200, PUT: 200, DELETE: 200 };

export interface RateLimits {
  /** Counts a request. Answers 0 if it may go ahead, else in how many milliseconds one may. */
  take(tenant_id: string, verb: LimitedVerb): number;
  /** What a tenant may ask, and how much of it is left now. */
  of(
    tenant_id: string,
  ): readonly { readonly verb: LimitedVerb; readonly value: number; readonly remaining: number }[];
  readonly rates: Rates;
}

const MINUTE_MS = 60_000;
/** Beyond so many buckets the one that was not used for longest makes room: it has leaked, or soon will have. */
const MAX_BUCKETS = 50_000;

interface Bucket {
  /** What is in it, in milliseconds of its leaking. */
  readonly level: number;
  readonly at: number;
}

/** `now` in milliseconds. */
export function rateLimits(rates: Rates, now: () => number): RateLimits {
  const buckets = new Map<string, Bucket>();
  const levelOf = (key: string, at: number): number => {
    const bucket = buckets.get(key);
    // A clock that was set back must not fill it.
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
