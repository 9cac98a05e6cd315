/**
 * `Idempotency-Key`: a client that does not know whether its request arrived sends it again under the same
 * key, and the request is carried out once. The first answer is kept for a day, and sent again for
 * repetitions.
 */
import { createHash, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CofferError } from '../../src/core/errors.ts';
import type { StoredAnswer } from '../../src/store/requests.ts';
import type { App, Claim, Deps } from '../deps.ts';

const HEADER = 'idempotency-key';
/** Visible ASCII: the header becomes part of a key in the store. */
const FORM = /^[\x21-\x7e]{1,255}$/;
const IN_FLIGHT_RETRY_SECONDS = 1;
/** Refusals of callers who asked too soon or without permission: the same request may be granted later. */
const PASSING: readonly number[] = [401, 403, 413];
const slowly = promisify(scrypt);

/** For every POST and PATCH below `scope`. Runs after the caller is known. */
export function useIdempotencyKeys(scope: App, deps: Deps): void {
  scope.decorateRequest('claim', null);
  scope.addHook('preValidation', async (request, reply) => {
    const key = request.headers[HEADER];
    if (key === undefined || (request.method !== 'POST' && request.method !== 'PATCH')) return undefined;
    return claim(deps, request, reply, keyOf(key));
  });
  scope.addHook('onSend', async (request, reply, payload) => {
    if (request.claim) await keep(deps, request, request.claim, answerOf(reply, payload));
    return payload;
  });
}

function keyOf(header: string | string[]): string {
  if (typeof header === 'string' && FORM.test(header)) return header;
  throw new CofferError('invalid_request', 'Idempotency-Key must be 1 to 255 visible ASCII characters.');
}

/** Lets the handler continue, sends an earlier answer again, or refuses the request. */
async function claim(deps: Deps, request: FastifyRequest, reply: FastifyReply, key: string) {
  const { tenant_id } = request.caller;
  const keyed = { tenant_id, key, fingerprint: await fingerprintOf(request, key), claim: deps.newId() };
  const outcome = await deps.store.requests.begin(keyed, deps.now());
  switch (outcome.verdict) {
    case 'begun':
      request.claim = { request: keyed, operation_id: outcome.operation_id };
      return undefined;
    case 'answered':
      return replay(reply, outcome.answer);
    case 'in_flight':
      reply.header('retry-after', IN_FLIGHT_RETRY_SECONDS);
      throw new CofferError(
        'request_in_flight',
        'A request with this Idempotency-Key is still being worked on: ask again in a moment.',
      );
    case 'reused':
      throw new CofferError(
        'idempotency_key_reused',
        'This Idempotency-Key was used for another request. Use a new key for a new request.',
      );
    default:
      return outcome satisfies never;
  }
}

/**
 * If the request contains passwords, the hash is a slow one: nobody must be able to find them from what is
 * stored.
 */
async function fingerprintOf({ method, url, body, caller }: FastifyRequest, key: string): Promise<string> {
  const text = JSON.stringify([caller.credentials['user_id'], method, url, body ?? null]);
  if (!text.includes('"password"')) return createHash('sha256').update(text).digest('hex');
  return ((await slowly(text, key, 32)) as Buffer).toString('hex');
}

function replay(reply: FastifyReply, { status, location, body }: StoredAnswer): FastifyReply {
  if (location !== null) reply.header('location', location);
  return reply.header('idempotency-replayed', 'true').code(status).type('application/json').send(body);
}

/** Null for an answer that is not about the request itself: the next try may succeed. */
function answerOf(reply: FastifyReply, payload: unknown): StoredAnswer | null {
  if (reply.statusCode >= 500 || PASSING.includes(reply.statusCode)) return null;
  if (typeof payload !== 'string') return null;
  const location = reply.getHeader('location');
  return {
    status: reply.statusCode,
    location: typeof location === 'string' ? location : null,
    body: withoutSecrets(payload),
  };
}

/** A join token is never stored: only the first answer contains it, no repetition does. */
function withoutSecrets(payload: string): string {
  if (!payload.includes('"join_token"')) return payload;
  return JSON.stringify(JSON.parse(payload, (key, value) => (key === 'join_token' ? undefined : value)));
}

/** The request itself is done, whether or not its answer can be stored here. */
async function keep(deps: Deps, { log }: FastifyRequest, { request }: Claim, answer: StoredAnswer | null) {
  try {
    await deps.store.requests.end(request, answer);
  } catch (err) {
    log.warn({ err }, 'the answer is not kept under its idempotency key; the next try finds what was begun');
  }
}
