import type { Redis } from 'ioredis';
import type { TlsOptions } from '../config.ts';
import { openRedisClient } from '../redis-client.ts';
import { type Refusal, refusalOf } from './refusals.ts';

/** What a Redis server reports about itself. */
export interface RedisFacts {
  readonly version: string;
  /** Settings that the safety of records depends on; null where CONFIG is not allowed. */
  readonly settings: {
    readonly appendonly: string;
    readonly appendfsync: string;
    readonly maxmemory_policy: string;
  } | null;
  /** Why the server refuses a write; null if it takes one. */
  readonly refusal: Refusal | null;
  readonly used_bytes: number;
  /** Null where there is no limit. */
  readonly max_bytes: number | null;
  /** Milliseconds by which its clock is ahead of ours. */
  readonly clock_ahead_ms: number;
}

const TIMEOUT_MS = 5_000;

/** Inspects a Redis server without changing anything. Rejects if the server cannot be reached. */
export async function inspectRedis(
  url: string,
  tls: TlsOptions | undefined,
  prefix = 'coffer',
): Promise<RedisFacts> {
  const redis = openRedisClient(
    { url, tls },
    {
      connectionName: 'coffer-doctor',
      lazyConnect: true,
      connectTimeout: TIMEOUT_MS,
      commandTimeout: TIMEOUT_MS,
      retryStrategy: () => null,
      // A server that is loading its data must be reported as such, and not be waited for.
      enableReadyCheck: false,
    },
  );
  try {
    await redis.connect();
    const info = await redis.info();
    const clock_ahead_ms = await clockAhead(redis);
    const field = (name: string) => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim() ?? '';
    return {
      version: field('redis_version'),
      settings: await settingsOf(redis),
      refusal: await writeRefusal(redis, prefix),
      used_bytes: Number(field('used_memory')),
      max_bytes: Number(field('maxmemory')) || null,
      clock_ahead_ms,
    };
  } finally {
    redis.disconnect();
  }
}

async function clockAhead(redis: Redis): Promise<number> {
  const asked = Date.now();
  const [seconds, micros] = await redis.time();
  const middle = (asked + Date.now()) / 2;
  return Math.round(Number(seconds) * 1000 + Number(micros) / 1000 - middle);
}

/** Tries a write that changes nothing. */
async function writeRefusal(redis: Redis, prefix: string): Promise<Refusal | null> {
  try {
    await redis.setrange(`${prefix}:writable`, 0, '');
    return null;
  } catch (err) {
    const refusal = refusalOf(err);
    if (refusal === null) throw err;
    return refusal;
  }
}

async function settingsOf(redis: Redis): Promise<RedisFacts['settings']> {
  const value = async (name: string) => String(Object.values(pairs(await redis.config('GET', name)))[0]);
  try {
    return {
      appendonly: await value('appendonly'),
      appendfsync: await value('appendfsync'),
      maxmemory_policy: await value('maxmemory-policy'),
    };
  } catch {
    return null;
  }
}

/** RESP2 answers a list, RESP3 a map. */
function pairs(answer: unknown): Readonly<Record<string, unknown>> {
  if (!Array.isArray(answer)) return answer as Readonly<Record<string, unknown>>;
  return Object.fromEntries([answer.slice(0, 2)]);
}
