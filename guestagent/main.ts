/**
 * The guest agent: takes orders from the bus and works on a database server.
 *
 * `main.ts` wiring · `host.ts` the instances of a folder · `agent.ts` one instance: takes orders, one at a
 * time · `order.ts` what an order says, and which method of the driver carries it out · `heartbeats.ts` what
 * is reported · `journal.ts` what the agent must not forget, and `journal-writer.ts` how it is written on a
 * disk that refuses · `join.ts` takes a place in a cluster · `driver.ts` what a datastore's driver must be able
 * to do · `drivers/` one for each datastore, and `command/` for any other · `metrics.ts` what is counted.
 */
import { basename } from 'node:path';
import { z } from 'zod';
import { openAmqpBus } from '../src/bus/amqp.ts';
import { amqpConfig, amqpTls, loadConfig, logConfig, numberOf } from '../src/config.ts';
import type { Endpoint } from '../src/core/domain.ts';
import { createLogger } from '../src/log.ts';
import { runProcess, type Service, Services } from '../src/service.ts';
import { createRegistry, metricsConfig, serveMetrics } from '../src/telemetry.ts';
import { openTracing, tracingConfig } from '../src/tracing.ts';
import { driversConfig, driversOf } from './drivers/index.ts';
import { Host } from './host.ts';
import { JOIN_TOKEN, joinCluster } from './join.ts';
import { observeOrders } from './metrics.ts';

const configShape = {
  ...amqpConfig,
  ...logConfig,
  COFFER_GUEST_DIR: z.string().min(1, 'must name the folder with the instances of this agent'),
  COFFER_CACHE_DIR: z.string().min(1, 'must name the folder for downloaded database packages'),
  /** Returned when a cluster with external agents is created; needs COFFER_ADVERTISE as well. */
  COFFER_JOIN_TOKEN: z
    .string()
    .regex(JOIN_TOKEN, 'must be the whole join_token that the creation of the cluster answered')
    .optional(),
  COFFER_ADVERTISE: z
    .string()
    .regex(
      /^[^\s:]+:\d{1,5}$/,
      'must be the host and port at which the database is to serve, e.g. 10.0.0.5:5432',
    )
    .refine((advertise) => isPort(endpointOf(advertise).port), 'must have a port from 1 to 65535')
    .optional(),
  ...driversConfig,
  COFFER_GUEST_USER: z.string().min(1).optional(),
  COFFER_HEARTBEAT_MS: numberOf(100, 10_000).default(2_000),
  ...metricsConfig,
  ...tracingConfig,
};

/** The cluster refuses this agent; the supervisor that started the agent shows it as failed. */
const EXIT_REFUSED = 1;

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}

function endpointOf(advertise: string): Endpoint {
  const [host = '', port = ''] = advertise.split(':');
  return { host, port: Number(port) };
}

/** Joining may take any time; it ends with the process at the latest. */
function startToJoin(
  options: Omit<Parameters<typeof joinCluster>[0], 'signal'>,
  giveUp: () => void,
): Service {
  const abort = new AbortController();
  const joining = joinCluster({ ...options, signal: abort.signal }).catch((err: unknown) => {
    options.log.fatal({ err }, 'this agent can not join the cluster; exiting');
    giveUp();
  });
  return {
    name: 'join',
    stop: async () => {
      abort.abort();
      await joining;
    },
  };
}

function requireAdvertise(given: Readonly<Record<string, string>>): readonly string[] {
  if (given['COFFER_JOIN_TOKEN'] === undefined || given['COFFER_ADVERTISE'] !== undefined) return [];
  return [
    'COFFER_ADVERTISE: is not set, and COFFER_JOIN_TOKEN needs it: host:port at which the database is to serve',
  ];
}

await runProcess(async () => {
  const config = loadConfig(configShape, process.env, requireAdvertise);
  const name = `guest-${basename(config.COFFER_GUEST_DIR)}`;
  const log = createLogger({ name, level: config.COFFER_LOG_LEVEL });
  const services = new Services(log);
  const tracing = await openTracing(config, { service: 'coffer-guestagent', log, services });

  const bus = await openAmqpBus({
    url: config.COFFER_AMQP_URL,
    tls: amqpTls(config),
    name,
    log,
    control_exchange: config.COFFER_CONTROL_EXCHANGE,
    queues: config.COFFER_AMQP_QUEUES,
    tracing,
  });
  services.add({ name: 'bus', stop: () => bus.close() });
  const registry = createRegistry();
  const metrics = await serveMetrics(registry, config, log);
  if (metrics) services.add(metrics);
  const host = services.add(
    new Host({
      dir: config.COFFER_GUEST_DIR,
      cacheDir: config.COFFER_CACHE_DIR,
      serverUser: config.COFFER_GUEST_USER,
      bus,
      log,
      heartbeat_ms: config.COFFER_HEARTBEAT_MS,
      drivers: driversOf(config),
      observe: observeOrders(registry),
      tracing,
    }),
  );
  await host.start();
  const { COFFER_JOIN_TOKEN: token, COFFER_ADVERTISE: advertise } = config;
  if (token && advertise) {
    const options = { dir: config.COFFER_GUEST_DIR, token, endpoint: endpointOf(advertise), bus, log };
    // Without an instance the agent can do nothing, and it can report the refusal only in its log.
    services.add(startToJoin(options, () => void services.stop().then(() => process.exit(EXIT_REFUSED))));
  }
  return { log, services };
});
