/**
 * `COFFER_AUTH=keystone`: validates tokens with Keystone v3. Under load Keystone is asked once about each
 * token, and all requests with that token wait for that answer. An answer is kept for a short time: a revoked
 * token is refused at the latest when that time is over. While Keystone is away, requests with known tokens
 * are served, and others get 503. Requests with invented tokens wait behind the others: see `fairLine`.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CofferError } from '../../src/core/errors.ts';
import { type Logger, textOf } from '../../src/log.ts';
import type { Authenticate, Identity } from './caller.ts';
import { fairLine, type Waiting } from './fair-line.ts';
import { tokenOf } from './token.ts';

interface KeystoneOptions {
  /** With or without `/v3`. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly project: string;
  readonly user_domain: string;
  readonly project_domain: string;
  /** How long a valid token is accepted without asking again; 0 asks for every request. */
  readonly cache_ms: number;
  /** For one question, including the wait in the queue. */
  readonly timeout_ms: number;
  readonly log: Logger;
  readonly now: () => number;
}

/**
 * The target of a redirection was not configured by anybody: our password and callers' tokens would go there.
 */
const STAY = { redirect: 'error' } as const;
/** How many questions may run at a time: a flood of invented tokens must not become a flood for Keystone. */
const MAX_ASKED = 32;
/** How long a token that Keystone does not know is refused without asking again. */
const REFUSED_MS = 10_000;
/** How long a tenant has turns of its own in the queue, after one of its callers was admitted. */
const TENANT_MS = 86_400_000;
/** For how many tokens each kind of answer is remembered. */
const MAX_REMEMBERED = 10_000;
/** Our own token is renewed this long before it ends, or when a tenth of its life is left. */
const RENEW_MS = 60_000;

const Named = z.object({ id: z.string(), name: z.string() });
const InDomain = Named.extend({ domain: z.object({ id: z.string().nullable() }) });
/** The parts of Keystone's answer that we use. */
const TokenAnswer = z.object({
  token: z.object({
    expires_at: z.iso.datetime({ offset: true }),
    user: InDomain,
    project: InDomain.exactOptional(),
    domain: Named.exactOptional(),
    system: z.looseObject({ all: z.boolean().exactOptional() }).exactOptional(),
    roles: z.array(z.object({ name: z.string() })).default([]),
    is_admin_project: z.boolean().default(true),
  }),
});
type Token = z.output<typeof TokenAnswer>['token'];

interface Remembered<T> {
  readonly value: T;
  readonly until: number;
}

/** Validates with Keystone; sends nothing before the first request. */
export function believeKeystone(options: KeystoneOptions): Authenticate {
  const { cache_ms, now } = options;
  const ask = questions(options);
  const believed = new Map<string, Remembered<Identity>>();
  const refused = new Map<string, Remembered<null>>();
  const asked = new Map<string, Promise<Identity | null>>();
  /** The tenants of callers who were admitted: an invented tenant must gain no turn in the queue. */
  const tenants = new Map<string, Remembered<null>>();

  async function askAndRemember(
    key: string,
    token: string,
    { ip, tenant_id }: Waiting,
  ): Promise<Identity | null> {
    const who = { ip, tenant_id: recall(tenants, tenant_id, now()) ? tenant_id : '' };
    const found = await ask(token, who);
    if (found === null) remember(refused, key, { value: null, until: now() + REFUSED_MS });
    if (found === null) return null;
    const identity = identityOf(found);
    const until = Math.min(now() + cache_ms, Date.parse(found.expires_at));
    remember(believed, key, { value: identity, until });
    if (identity.project_id !== null)
      remember(tenants, identity.project_id, { value: null, until: now() + TENANT_MS });
    return identity;
  }

  return async (request, tenant_id) => {
    const token = tokenOf(request);
    // The memory of this process must not reveal a token.
    const key = createHash('sha256').update(token).digest('base64');
    const known = recall(believed, key, now()) ?? recall(refused, key, now());
    const who = { ip: request.ip, tenant_id };
    const identity = known ? known.value : await once(asked, key, () => askAndRemember(key, token, who));
    if (identity) return identity;
    throw new CofferError(
      'unauthorized',
      'The token in X-Auth-Token is not valid: it has expired, or was revoked.',
    );
  };
}

function recall<T>(memory: ReadonlyMap<string, Remembered<T>>, key: string, now: number) {
  const found = memory.get(key);
  return found && found.until > now ? found : undefined;
}

/** Removes the oldest entry if there are too many. */
function remember<T>(memory: Map<string, Remembered<T>>, key: string, value: Remembered<T>): void {
  memory.delete(key);
  memory.set(key, value);
  for (const oldest of memory.keys()) {
    if (memory.size <= MAX_REMEMBERED) return;
    memory.delete(oldest);
  }
}

/** Callers that want the same while it is under way share one answer. */
function once<T>(running: Map<string, Promise<T>>, key: string, work: () => Promise<T>): Promise<T> {
  const there = running.get(key);
  if (there) return there;
  const begun = work().finally(() => running.delete(key));
  running.set(key, begun);
  return begun;
}

/**
 * Resolves with what Keystone knows about a token, null if it knows nothing. Rejects with
 * `identity_unavailable`.
 */
function questions(options: KeystoneOptions): (token: string, who: Waiting) => Promise<Token | null> {
  const { timeout_ms, log, now } = options;
  const base = `${options.url.replace(/\/+$/, '').replace(/\/v3$/, '')}/v3/auth/tokens`;
  const own = new Map<string, Promise<OwnToken>>();
  let current: OwnToken | undefined;
  const line = fairLine(MAX_ASKED);

  async function ownToken(signal: AbortSignal): Promise<string> {
    if (current && now() < current.renew_at) return current.token;
    current = await once(own, 'own', () => signIn(base, options, signal));
    return current.token;
  }

  async function validate(token: string, signal: AbortSignal): Promise<Response> {
    const mine = await ownToken(signal);
    const headers = { 'x-auth-token': mine, 'x-subject-token': token };
    const answer = await fetch(`${base}?nocatalog`, { headers, signal, ...STAY });
    // Our token was revoked, or Keystone's keys were rotated away. Another question may have renewed our
    // token since.
    if (answer.status === 401 && current?.token === mine) current = undefined;
    if (answer.status !== 200) await answer.body?.cancel();
    return answer;
  }

  return async (token, who) => {
    const signal = AbortSignal.timeout(timeout_ms);
    try {
      return await line(who, signal, async () => {
        let answer = await validate(token, signal);
        if (answer.status === 401) answer = await validate(token, signal);
        if (answer.status === 404) return null;
        if (answer.status !== 200)
          throw new Error(`Keystone answered ${answer.status} to the question whose a token is`);
        return TokenAnswer.parse(await answer.json()).token;
      });
    } catch (cause) {
      log.error({ err: reasonOf(cause), keystone: base }, 'Keystone: tokens can not be checked');
      throw new CofferError(
        'identity_unavailable',
        'Keystone can not be asked right now who you are. Try again in a moment.',
        { cause },
      );
    }
  };
}

interface OwnToken {
  readonly token: string;
  readonly renew_at: number;
}

/** A token of our own, with which others' tokens can be validated. */
async function signIn(base: string, options: KeystoneOptions, signal: AbortSignal): Promise<OwnToken> {
  const { user, password, project, user_domain, project_domain, now } = options;
  const identity = {
    methods: ['password'],
    password: { user: { name: user, password, domain: { name: user_domain } } },
  };
  const scope = { project: { name: project, domain: { name: project_domain } } };
  const answer = await fetch(`${base}?nocatalog`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity, scope } }),
    signal,
    ...STAY,
  });
  const token = answer.headers.get('x-subject-token');
  if (answer.status !== 201 || token === null) {
    throw new Error(
      `Keystone answered ${answer.status} when ${user} of project ${project} signed in: check COFFER_KEYSTONE_*`,
    );
  }
  const life = Date.parse(TokenAnswer.parse(await answer.json()).token.expires_at) - now();
  return { token, renew_at: now() + life - Math.min(RENEW_MS, life / 10) };
}

/** The credentials have oslo.context's names. */
function identityOf({ user, project, domain, system, roles, is_admin_project }: Token): Identity {
  const project_id = project?.id ?? null;
  const credentials = {
    user_id: user.id,
    user: user.id,
    user_domain_id: user.domain.id,
    project_id,
    tenant: project_id,
    project_domain_id: project?.domain.id ?? null,
    domain_id: domain?.id ?? null,
    system_scope: system?.all ? 'all' : null,
    is_admin_project,
    roles: roles.map(({ name }) => name),
  };
  return { user: user.name, project_id, credentials, is_confined: false };
}

/** The text `fetch failed` says nothing: the reason is one level deeper. */
function reasonOf(err: unknown): string {
  return err instanceof Error && err.cause !== undefined ? textOf(err.cause) : textOf(err);
}
