/**
 * Requests under an idempotency key: a repeated request is answered as the first one was. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `idempotency:<tenant>:<key>` | hash | `fingerprint`, `operation`, `claim`, `until`, `answer` of a request, for a day |
 */
import type { Instant } from '../core/domain.ts';
import { RedisPart } from './redis-port.ts';
import { script } from './script.ts';

/** How long an answer is sent again to repeated requests: a day. */
export const REPLAY_MS = 86_400_000;
/**
 * A process that carries out a request counts as dead after this long, and the next try may proceed. This is
 * longer than any request takes. If the first process finishes late after all, nothing begins twice, because
 * both tries use the same id.
 */
export const IN_FLIGHT_MS = 15_000;

export interface KeyedRequest {
  readonly tenant_id: string;
  readonly key: string;
  /** Made from the sender, the method, the path and the body of the request. */
  readonly fingerprint: string;
  /** Names this try: a new id each time. */
  readonly claim: string;
}

/** The answer to a request, kept so that it can be sent again. */
export interface StoredAnswer {
  readonly status: number;
  readonly location: string | null;
  readonly body: string;
}

export type RequestVerdict =
  /**
   * Carry the request out. `operation_id` is the same in every try. What the request begins must have this
   * id, so that it begins once.
   */
  | { readonly verdict: 'begun'; readonly operation_id: string }
  | { readonly verdict: 'answered'; readonly answer: StoredAnswer }
  | { readonly verdict: 'in_flight' }
  /** The key was used for another request. */
  | { readonly verdict: 'reused' };

export interface RequestStore {
  /** Claims a request for a process that will carry it out, or reports what has become of the request. */
  begin(request: KeyedRequest, now: Instant): Promise<RequestVerdict>;
  /**
   * Keeps the answer. Null: there is no answer worth repeating, and the next try may proceed. Does nothing if
   * another try holds the claim.
   */
  end(request: KeyedRequest, answer: StoredAnswer | null): Promise<void>;
}

const KEYS = { request: ['hash', 'idempotency:<tenant_id>:<key>'] } as const;

const BEGIN = script('requests.begin', {
  keys: KEYS,
  args: ['fingerprint', 'claim', 'now', 'in_flight_until', 'replay_ms'],
  lua: `
local held = redis.call('HMGET', REQUEST, 'fingerprint', 'operation', 'claim', 'until', 'answer')
if held[1] and held[1] ~= fingerprint then return { 'reused' } end
if held[5] then return { 'answered', held[5] } end
local taken = held[3] and held[3] ~= '' and held[3] ~= claim
if taken and tonumber(held[4]) > tonumber(now) then return { 'in_flight' } end
local operation = held[2] or claim
redis.call('HSET', REQUEST, 'fingerprint', fingerprint, 'operation', operation, 'claim', claim, 'until', in_flight_until)
redis.call('PEXPIRE', REQUEST, replay_ms)
return { 'begun', operation }`,
});

const END = script('requests.end', {
  keys: KEYS,
  args: ['claim', 'answer'],
  lua: `
if redis.call('HGET', REQUEST, 'claim') ~= claim then return 0 end
redis.call('HDEL', REQUEST, 'until')
redis.call('HSET', REQUEST, 'claim', '')
if answer ~= '' then redis.call('HSET', REQUEST, 'answer', answer) end
return 1`,
});

export class RedisRequests extends RedisPart implements RequestStore {
  async begin({ tenant_id, key, fingerprint, claim }: KeyedRequest, now: Instant): Promise<RequestVerdict> {
    const times = { now, in_flight_until: now + IN_FLIGHT_MS, replay_ms: REPLAY_MS };
    const answer = await this.port.run(BEGIN, { tenant_id, key, fingerprint, claim, ...times });
    const [verdict, text = ''] = answer as [RequestVerdict['verdict'], string?];
    switch (verdict) {
      case 'begun':
        return { verdict, operation_id: text };
      case 'answered':
        return { verdict, answer: JSON.parse(text) as StoredAnswer };
      default:
        return { verdict };
    }
  }

  async end({ tenant_id, key, claim }: KeyedRequest, answer: StoredAnswer | null) {
    await this.port.run(END, { tenant_id, key, claim, answer: answer && JSON.stringify(answer) });
  }
}
