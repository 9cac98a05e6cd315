import type { FastifyReply, FastifyRequest } from 'fastify';
import { parseAs } from '../../src/contract/explain.ts';
import { TenantParams } from '../../src/contract/http.ts';
import { CofferError } from '../../src/core/errors.ts';
import { counted } from '../../src/core/words.ts';
import type { App } from '../deps.ts';
import type { Access, Caller, Identity } from './caller.ts';
import { LIMITED_VERBS, type RateLimits } from './rate-limits.ts';
import type { AccessRules, RuleName } from './rules.ts';

/**
 * What a route requires: a rule, or a function that finds the rules in the body. By then the body has passed
 * the route's schema.
 */
type RouteRule = RuleName | ((body: unknown) => readonly RuleName[]);

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route below `/v1.0/{tenant_id}` has one; otherwise the api does not start. */
    rule?: RouteRule;
  }
}

/**
 * The only place that enforces who may do what. Runs before all routes of `scope`: first finds out who the
 * caller is, then whether the request is allowed. What depends on the body is decided after the body has been
 * read.
 */
export function useAccessRules(scope: App, access: Access): void {
  const { authenticate, rules } = access;
  scope.addHook('onRoute', ({ method, url, config }) => {
    if (config?.rule === undefined)
      throw new Error(`${String(method)} ${url} has no rule that says who may use it`);
  });
  scope.addHook('onRequest', async (request, reply) => {
    const { tenant_id } = parseAs(TenantParams, request.params, 'path');
    const { rule } = request.routeOptions.config;
    const admit = (identity: Identity): Caller => {
      const caller = callerOf(request, tenant_id, identity, rules);
      if (typeof rule === 'string') demand(caller, rules, [rule]);
      return caller;
    };
    request.caller = admit(await authenticated(access, request, reply, tenant_id));
    request.admitAgain = async () => admit(await authenticate(request, tenant_id));
  });
  scope.addHook('preHandler', async (request) => {
    demand(request.caller, rules, wantedBy(request));
  });
}

/**
 * Who the caller is, before a tenant is known. Where callers need not identify themselves, they have no
 * tenant.
 */
export async function identify(
  access: Access,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Pick<Identity, 'user' | 'project_id'>> {
  const { user, project_id } = await authenticated(access, request, reply, '');
  return { user, project_id: project_id === '' ? null : project_id };
}

async function authenticated(
  { authenticate, challenge, limits }: Access,
  request: FastifyRequest,
  reply: FastifyReply,
  tenant_id: string,
): Promise<Identity> {
  const identity = await authenticate(request, tenant_id).catch((error: unknown) => {
    if (error instanceof CofferError && error.status === 401 && challenge)
      reply.header('www-authenticate', challenge);
    throw error;
  });
  if (limits) limit(request.method, identity, limits, reply);
  return identity;
}

/**
 * Counts for the caller's own tenant, not for the tenant in the path: requests of an administrator count as
 * their own.
 */
function limit(
  method: string,
  { project_id, user }: Identity,
  limits: RateLimits,
  reply: FastifyReply,
): void {
  const verb = LIMITED_VERBS.find((each) => each === (method === 'HEAD' ? 'GET' : method));
  const wait_ms = verb === undefined ? 0 : limits.take(project_id ?? user ?? '', verb);
  if (verb === undefined || wait_ms === 0) return;
  reply.header('retry-after', Math.ceil(wait_ms / 1000));
  const rate = `Only ${counted(limits.rates[verb], `${verb} request`)} can be made to * every minute.`;
  throw new CofferError('rate_limited', `This request was rate-limited. ${rate}`);
}

function callerOf(
  request: FastifyRequest,
  tenant_id: string,
  identity: Identity,
  rules: AccessRules,
): Caller {
  const { credentials, project_id, is_confined } = identity;
  const is_admin = rules.allow('admin', credentials, tenant_id);
  if (project_id !== tenant_id && !is_admin) {
    const message = `User with tenant id ${project_id} cannot access this resource.`;
    throw new CofferError('forbidden', message);
  }
  return {
    ...identity,
    tenant_id,
    is_admin,
    request_id: request.id,
    ...(request.span && { trace: request.span.name }),
    sees(other) {
      if (other === tenant_id) return true;
      if (is_confined || !is_admin) return false;
      return wantedBy(request).every((rule) => rules.allow(rule, credentials, other));
    },
  };
}

/** All rules that must allow the request. */
function wantedBy({ routeOptions: { config }, body }: FastifyRequest): readonly RuleName[] {
  const { rule = [] } = config;
  const own = typeof rule === 'string' ? [rule] : typeof rule === 'function' ? rule(body) : rule;
  return overridesGates(body) ? [...own, 'gate:override'] : own;
}

function demand(caller: Caller, rules: AccessRules, wanted: readonly RuleName[]): void {
  const refused = wanted.find((rule) => !rules.allow(rule, caller.credentials, caller.tenant_id));
  if (refused !== undefined) throw notAllowed(refused);
}

function notAllowed(rule: RuleName): CofferError {
  return new CofferError('forbidden', `Policy does not allow ${rule} to be performed.`);
}

/** The rule of an action has the action's name: `upgrade:pause`. For a body that holds exactly one action. */
export function actionRule(byAction: Readonly<Record<string, RuleName>>): RouteRule {
  return (body) =>
    Object.keys(isObject(body) ? body : {}).flatMap((action) => {
      const rule = Object.hasOwn(byAction, action) ? byAction[action] : undefined;
      return rule === undefined ? [] : [rule];
    });
}

/**
 * A body may contain a policy in several places: at its top, inside an action, or beside one cluster of a
 * batch.
 */
function overridesGates(body: unknown): boolean {
  if (!isObject(body)) return false;
  if ('policy' in body && isObject(body.policy) && 'overrides' in body.policy) {
    if (Array.isArray(body.policy.overrides) && body.policy.overrides.length > 0) return true;
  }
  return Object.values(body).some(overridesGates);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
