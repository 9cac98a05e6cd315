import { Counter, Histogram, type Registry } from 'prom-client';
import type { App } from '../deps.ts';

const SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** An event stream lasts as long as its reader wants. */
const STREAM = /^text\/event-stream/;

/** Counts requests by route: counting by path would create a metric for every cluster. */
export function observeRequests(app: App, registry: Registry): void {
  const registers = [registry];
  const durations = new Histogram({
    name: 'coffer_http_request_duration_seconds',
    help: 'Requests that were answered, event streams left out.',
    labelNames: ['method', 'route', 'status'],
    buckets: SECONDS,
    registers,
  });
  const streams = new Counter({
    name: 'coffer_http_event_streams_total',
    help: 'Event streams that have ended.',
    registers,
  });
  app.addHook('onResponse', async ({ method, routeOptions }, reply) => {
    if (STREAM.test(String(reply.getHeader('content-type')))) return streams.inc();
    const labels = { method, route: routeOptions.url ?? 'none', status: String(reply.statusCode) };
    durations.observe(labels, reply.elapsedTime / 1000);
  });
}
