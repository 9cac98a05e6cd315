import type { IncomingMessage } from 'node:http';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  LogController,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Registry } from 'prom-client';
import type { z } from 'zod';
import { explain } from '../src/contract/explain.ts';
import { CofferError } from '../src/core/errors.ts';
import { useAccessRules } from './access/enforce.ts';
import { identityRoutes } from './access/identity.ts';
import { limitRoutes } from './access/limits.ts';
import { permissionRoutes } from './access/permissions.ts';
import { adoptionRoutes } from './adoptions/routes.ts';
import { batchRoutes } from './batches/routes.ts';
import { clusterRoutes } from './clusters/routes.ts';
import { datastoreRoutes } from './datastores/routes.ts';
import { managedVersionRoutes } from './datastores/versions.ts';
import type { App, Deps } from './deps.ts';
import { deadLetterRoutes } from './health/dead-letters.ts';
import { healthRoutes } from './health/probes.ts';
import { healthReportRoutes } from './health/report.ts';
import type { Certificate } from './http/certificate.ts';
import { type Dashboard, dashboardRoutes } from './http/dashboard.ts';
import { discoveryRoutes } from './http/discovery.ts';
import { answerClientError, answerError, answerNotFound } from './http/errors.ts';
import { useIdempotencyKeys } from './http/idempotency.ts';
import { observeRequests } from './http/metrics.ts';
import { registerOpenApi } from './http/openapi.ts';
import { traceRequests } from './http/tracing.ts';
import { flavorRoutes } from './instances/flavors.ts';
import { instanceRoutes } from './instances/routes.ts';
import { eventRoutes } from './upgrades/events.ts';
import { upgradeRoutes } from './upgrades/routes.ts';

/** A hundred instances fit into a tenth of this. */
const MAX_BODY_BYTES = 256 * 1024;
/**
 * No request needs half of this; far deeper ones would overflow the stack of any code that walks through
 * them.
 */
const MAX_BODY_DEPTH = 32;
/** A request must arrive completely within this time: protects from clients that send a byte per minute. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Connections still open this long after the stop has begun are cut off: a request takes less time. */
const STOP_GRACE_MS = 2_500;

/** The whole HTTP server, not listening yet. `close()` ends it, including event streams. */
export async function buildApp(
  deps: Deps,
  {
    registry,
    certificate = null,
    dashboard = null,
  }: {
    readonly registry?: Registry;
    readonly certificate?: Certificate | null;
    readonly dashboard?: Dashboard | null;
  } = {},
): Promise<App> {
  const loggerInstance: FastifyBaseLogger = deps.log;
  const options = {
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: () => `req-${deps.newId()}`,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    rewriteUrl: (request: IncomingMessage) => canonicalPath(request.url ?? '/'),
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 4096 },
    frameworkErrors: answerError,
    clientErrorHandler: answerClientError,
  };
  // The type distinguishes servers of HTTP and of HTTPS, and none of our code does.
  const fastify = certificate
    ? (Fastify({
        ...options,
        https: { ...certificate, minVersion: 'TLSv1.2' },
      }) as unknown as FastifyInstance)
    : Fastify(options);
  const app: App = fastify.withTypeProvider<ZodTypeProvider>();
  app.decorateRequest('caller');
  app.decorateRequest('admitAgain');
  traceRequests(app, deps.tracing);
  useContract(app);
  useErrors(app);
  logRequests(app);
  if (registry) observeRequests(app, registry);
  app.addHook('preClose', async () => {
    // Otherwise the server would wait a minute for connections on which no request was ever sent.
    setTimeout(() => app.server.closeAllConnections(), STOP_GRACE_MS).unref();
  });
  await registerOpenApi(app);
  discoveryRoutes(app);
  healthRoutes(app, deps);
  identityRoutes(app, deps);
  if (dashboard) dashboardRoutes(app, dashboard);
  await app.register(async (scope) => tenantRoutes(scope, deps), { prefix: '/v1.0/:tenant_id' });
  return app;
}

/** `/v1` means `/v1.0`, and `cluster` means `clusters`. */
function canonicalPath(url: string): string {
  return url
    .replace(/^\/v1(?:\.0)?\//, '/v1.0/')
    .replace(/^(\/v1\.0\/[^/?]+)\/cluster(?=[/?]|$)/, '$1/clusters');
}

function tenantRoutes(scope: App, deps: Deps): void {
  useAccessRules(scope, deps.access);
  useIdempotencyKeys(scope, deps);
  clusterRoutes(scope, deps);
  adoptionRoutes(scope, deps);
  instanceRoutes(scope, deps);
  upgradeRoutes(scope, deps);
  eventRoutes(scope, deps);
  batchRoutes(scope, deps);
  datastoreRoutes(scope, deps);
  managedVersionRoutes(scope, deps);
  flavorRoutes(scope);
  limitRoutes(scope, deps);
  permissionRoutes(scope, deps);
  deadLetterRoutes(scope, deps);
  healthReportRoutes(scope, deps);
}

/** The contract's schemas check requests; the compiler checks answers. */
function useContract(app: App): void {
  app.setValidatorCompiler<z.ZodType>(({ schema, httpPart }) => (input: unknown) => {
    const parsed = schema.safeParse(input);
    if (parsed.success) return { value: parsed.data };
    return { error: new Error(explain(parsed.error, input, httpPart ?? 'request')) };
  });
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    // Some clients send application/json with a DELETE without a body.
    if (body === '') return done(null, undefined);
    return parseJson(request, body, (error, value) => {
      if (error || !isDeeperThan(value, MAX_BODY_DEPTH)) return done(error, value as string);
      done(
        new CofferError('invalid_request', `The request body is nested more than ${MAX_BODY_DEPTH} deep.`),
      );
    });
  });
}

/** Level by level: a recursive walk would itself overflow the stack, which this check must prevent. */
function isDeeperThan(value: unknown, depth: number): boolean {
  let level: readonly unknown[] = [value];
  for (let deep = 0; deep <= depth; deep++) {
    level = level.flatMap((each) => (typeof each === 'object' && each !== null ? Object.values(each) : []));
    if (level.length === 0) return false;
  }
  return true;
}

function useErrors(app: App): void {
  app.setErrorHandler<FastifyError>(answerError);
  app.setNotFoundHandler(answerNotFound);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-openstack-request-id', request.id);
    reply.headers(SECURITY_HEADERS);
    if (request.protocol === 'https') reply.header('strict-transport-security', 'max-age=31536000');
  });
}

/**
 * Answers are data for a program that has sent a token, never a page: whatever a cluster is named, no browser
 * may run, frame or store them, or guess their type. A route that serves a page sets headers of its own.
 */
const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** One line per request. Reads, which are frequent, are logged only at the level debug. */
function logRequests(app: App): void {
  app.addHook('onResponse', async (request, reply) => {
    const level = request.method === 'GET' || request.method === 'HEAD' ? 'debug' : 'info';
    const { method, originalUrl: url } = request;
    const fields = { method, url, status: reply.statusCode, ms: Math.round(reply.elapsedTime) };
    request.log[level](fields, 'answered');
  });
}
