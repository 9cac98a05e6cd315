/**
 * The metrics of a process, in Prometheus' text form, on a port of their own. That port is for the people who
 * run the processes. It has no authentication, so it listens only on this machine unless configured
 * otherwise.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { z } from 'zod';
import { numberOf } from './config.ts';
import { type Logger, textOf } from './log.ts';
import type { Service } from './service.ts';

export const metricsConfig = {
  /** Not set: no metrics. 0 lets the system choose. */
  COFFER_METRICS_PORT: numberOf(0, 65_535).optional(),
  COFFER_METRICS_HOST: z.string().min(1).max(255).default('127.0.0.1'),
};

/** The metrics of one process: those that Node.js provides, and those that are added. */
export function createRegistry(): Registry {
  const register = new Registry();
  collectDefaultMetrics({ register });
  return register;
}

/**
 * Serves `/metrics` if the configuration asks for it; null otherwise. `refresh` updates the metrics that are
 * read only when somebody asks. Rejects if the port is taken.
 */
export async function serveMetrics(
  registry: Registry,
  config: { readonly COFFER_METRICS_PORT?: number | undefined; readonly COFFER_METRICS_HOST: string },
  log: Logger,
  refresh: () => Promise<void> = async () => undefined,
): Promise<Service | null> {
  const { COFFER_METRICS_PORT: port, COFFER_METRICS_HOST: host } = config;
  if (port === undefined) return null;
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url?.split('?', 1)[0] !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('Metrics are at /metrics.\n');
      return;
    }
    const collected = refresh().then(() => registry.metrics());
    collected.then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (err: unknown) => {
        log.warn({ err: textOf(err) }, 'metrics could not be collected');
        response.writeHead(503, { 'content-type': 'text/plain' }).end('Metrics could not be collected.\n');
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  log.info({ host, port: (server.address() as AddressInfo).port }, 'metrics are served at /metrics');
  return {
    name: 'metrics',
    stop: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}
