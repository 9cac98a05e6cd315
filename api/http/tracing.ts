import { AsyncResource } from 'node:async_hooks';
import type { FastifyRequest } from 'fastify';
import { type Tracing, traceParentOf } from '../../src/tracing.ts';
import type { App } from '../deps.ts';

/** Requested every second or so by the supervisor of the process: not a request of a caller. */
const UNTRACED = /^\/health\b/;

/**
 * Traces each request in a span of its own, which is part of the caller's trace if the request has a
 * `traceparent`. The span ends with the answer: for an event stream it lasts as long as the reader stays.
 */
export function traceRequests(app: App, tracing: Tracing | undefined): void {
  app.decorateRequest('span', null);
  if (!tracing?.isOn) return;
  const within = new WeakMap<FastifyRequest, AsyncResource>();
  app.addHook('onRequest', (request, reply, done) => {
    if (UNTRACED.test(request.url)) return done();
    void tracing.span(titleOf(request), aboutOf(request), async (span) => {
      request.span = span;
      within.set(request, new AsyncResource('traced request'));
      const closed = new Promise((resolve) => reply.raw.once('close', resolve));
      done();
      await closed;
      span?.set({ 'http.response.status_code': reply.statusCode });
      if (reply.statusCode >= 500) span?.fail(`answered ${reply.statusCode}`);
    });
  });
  // A body is read in the context of its socket: from here on the request's own context applies again.
  app.addHook('preValidation', (request, _reply, done) => {
    const resource = within.get(request);
    if (resource) resource.runInAsyncScope(done);
    else done();
  });
}

function titleOf({ method, routeOptions }: FastifyRequest): string {
  return `${method} ${routeOptions.url ?? 'nowhere'}`;
}

function aboutOf(request: FastifyRequest) {
  const parent = traceParentOf(request.headers['traceparent']);
  const attributes = {
    ...{ 'http.request.method': request.method, 'url.path': request.originalUrl.split('?', 1)[0] ?? '' },
    ...{ 'http.route': request.routeOptions.url ?? '', 'coffer.request_id': request.id },
  };
  return { kind: 'server', parent, isRoot: true, attributes } as const;
}
