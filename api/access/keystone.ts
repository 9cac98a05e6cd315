/**
 * `COFFER_AUTH=keystone`: tokens as Keystone v3 tells them. Under load each token is asked about once,
 * whoever waits for it; what was answered holds for a short while, so that a revoked token is refused
 * within it. While Keystone is away, callers that are known go on, and others hear 503. Whoever makes up
 * tokens waits behind them: see `fairLine`.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CofferError } from '../../src/core/errors.ts';
import { type Logger, textOf } from '../../src/log.ts';
import type { Authenticate, Identity } from '../auth.ts';
import { fairLine, type Waiting } from './fair-line.ts';
import { tokenOf } from './token.ts';

export interface KeystoneOptions {
  /** With or without `/v3`. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly project: string;
  readonly user_domain: string;
  readonly project_domain: string;
  /** How long a valid token is believed without asking again; 0 asks for every request. */
  readonly cache_ms: number;
  /** For one question, the wait in line included. */
  readonly timeout_ms: number;
  readonly log: Logger;
  readonly now: () => number;
}

/** Where a redirection leads, nobody has configured: our password and callers' tokens would go there. */
const STAY = { redirect: 'error' } as const;
/** Questions at once: a flood of made-up tokens must not become a flood for Keystone. */
const MAX_ASKED = 32;
/** A token that Keystone doesn't know is refused for so long without asking again. */
const REFUSED_MS = 10_000;
/** A tenant for whom somebody was let in has turns of its own in the line for so long. */
const TENANT_MS = 86_400_000;
/** Each kind of answer is remembered for so many tokens. */
const MAX_REMEMBERED = 10_000;
/** Our own token is renewed so long before it ends, or when a tenth of its life is left. */
const RENEW_MS = 60_000;

const Named = z.object({ id: z.string(), name: z.string() });
const InDomain = Named.extend({ domain: z.object({ id: z.string().nullable() }) });
/** What we go by in Keystone's answer. */
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

/** Validates with Keystone; asks nothing before the first request. */
export function believeKeystone(options: KeystoneOptions): Authenticate {
  const { cache_ms, now } = options;
  const ask = questions(options);
  const believed = new Map<string, Remembered<Identity>>();
  const refused = new Map<string, Remembered<null>>();
  const asked = new Map<string, Promise<Identity | null>>();
  /** Those for whom somebody was let in: to make up a tenant must gain no turn in the line. */
  const tenants = new Map<string, Remembered<null>>();

  async function look(key: string, token: string, { ip, tenant_id }: Waiting): Promise<Identity | null> {
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
    // Whoever reads this process's memory finds no token in it.
    const key = createHash('sha256').update(token).digest('base64');
    const known = recall(believed, key, now()) ?? recall(refused, key, now());
    const who = { ip: request.ip, tenant_id };
    const identity = known ? known.value : await once(asked, key, () => look(key, token, who));
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

/** The oldest makes room. */
function remember<T>(memory: Map<string, Remembered<T>>, key: string, value: Remembered<T>): void {
  memory.delete(key);
  memory.set(key, value);
  for (const oldest of memory.keys()) {
    if (memory.size <= MAX_REMEMBERED) return;
    memory.delete(oldest);
  }
}

/** Whoever wants the same while it is under way gets the same answer. */
function once<T>(running: Map<string, Promise<T>>, key: string, work: () => Promise<T>): Promise<T> {
  const there = running.get(key);
  if (there) return there;
  const begun = work().finally(() => running.delete(key));
  running.set(key, begun);
  return begun;
}

/** Answers what Keystone knows of a token, null if nothing. Rejects with `identity_unavailable`. */
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
    // Ours was revoked, or Keystone's keys were rotated away. Another question may have renewed it since.
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

/** A token for ourselves, with which others' may be validated. */
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

/** `fetch failed` says nothing: the reason is one level deeper. */
function reasonOf(err: unknown): string {
  return err instanceof Error && err.cause !== undefined ? textOf(err.cause) : textOf(err);
}
