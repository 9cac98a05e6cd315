/**
 * The taskmanager takes casts and reports in, and performs the effects that follow.
 *
 * - `main.ts`: the wiring.
 * - `requests.ts`: what casts and heartbeats mean.
 * - `engine.ts`: the shell around the pure core. `batch-engine.ts`: the same for batches; `batch-jobs.ts`:
 *   requests for batches.
 * - `turns.ts`: work on one record, one piece after the other. `patience.ts`: how long guests take to answer.
 * - `sweep.ts`: time, that is what is due, and the recovery at the start.
 * - `retention.ts`: removes what ended long ago.
 * - `provisioning.ts`: builds and removes clusters. `provisioner-local.ts`: instances on this machine.
 *   `provisioner-external.ts`: instances that an operator brings; `join.ts` gives them their place.
 *   `provisioner-adopted.ts`: servers that existed before; `adoption.ts` writes down what they say.
 *   `instance-config.ts`: the configuration of an instance.
 * - `metrics.ts`: counters. `tracing.ts`: spans.
 * - `keyring.ts`: the instances' keys. `rekey.ts`: the command that rotates them.
 * - `notifier.ts`: notifies other services of the cloud about upgrades.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type AmqpBusOptions, openAmqpBus } from '../src/bus/amqp.ts';
import { type Bus, CONDUCTOR_TOPIC, type Served, TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import type { Guard } from '../src/bus/protection.ts';
import { TROVE_TASKMANAGER_KEY } from '../src/bus/trove-secure.ts';
import {
  amqpTls,
  commonConfig,
  loadConfig,
  notifications,
  numberOf,
  redisPrefix,
  redisTls,
} from '../src/config.ts';
import { createLogger } from '../src/log.ts';
import { masterKeyConfig, masterKeyOf, requireMasterKey } from '../src/master-key.ts';
import { openWakes, queueOptions, serveRequests, serveWakes } from '../src/queue.ts';
import { runProcess, Services, sleep } from '../src/service.ts';
import { seedCatalogue } from '../src/store/change-catalogue.ts';
import { openRedisStore } from '../src/store/redis.ts';
import { createRegistry, metricsConfig, serveMetrics } from '../src/telemetry.ts';
import { openTracing, tracingConfig } from '../src/tracing.ts';
import { Batches } from './batch-engine.ts';
import { beginRequestedBatch } from './batch-jobs.ts';
import { Engine } from './engine.ts';
import { Keyring, taskmanagerGuard } from './keyring.ts';
import { type Observe, observeShared, observeUpgrades } from './metrics.ts';
import { startNotifier } from './notifier.ts';
import { withAdopted } from './provisioner-adopted.ts';
import { externalProvisioner } from './provisioner-external.ts';
import { LocalProvisioner } from './provisioner-local.ts';
import { type Provisioner, Provisioning } from './provisioning.ts';
import { handleConductorRequest, handleTaskmanagerRequest, type RequestDeps } from './requests.ts';
import { startRetention } from './retention.ts';
import { recover, startSweep } from './sweep.ts';
import { observeSpans } from './tracing.ts';

/** How many messages of a topic are worked on at once. */
const PREFETCH = 200;

const configShape = {
  ...commonConfig,
  ...metricsConfig,
  ...tracingConfig,
  COFFER_REDIS_PREFIX: redisPrefix,
  COFFER_NOTIFICATIONS: notifications,
  ...masterKeyConfig,
  COFFER_TASKMANAGER_RPC_KEY: z.string().min(1).default(TROVE_TASKMANAGER_KEY),
  COFFER_PROVISIONER: z.enum(['local', 'external']).default('local'),
  COFFER_GUESTS_DIR: z.string().min(1).optional(),
  /** How many clusters all batches together may have in flight. The same for all taskmanagers. */
  COFFER_BATCH_MAX_CONCURRENT: numberOf(1, 100_000).default(200),
  /**
   * How many days upgrades and batches are kept after they have ended; 0: for ever. The same for all
   * taskmanagers.
   */
  COFFER_RETENTION_DAYS: numberOf(0, 36_500).default(30),
};

function newProvisioner(
  config: { COFFER_PROVISIONER: 'local' | 'external'; COFFER_GUESTS_DIR?: string | undefined },
  keyring: Keyring,
  installation: string,
): Provisioner {
  const { COFFER_PROVISIONER, COFFER_GUESTS_DIR } = config;
  const isLocal = COFFER_PROVISIONER === 'local' && COFFER_GUESTS_DIR !== undefined;
  return isLocal ? new LocalProvisioner(COFFER_GUESTS_DIR, keyring, installation) : externalProvisioner;
}

function requireOfProvisioner(given: Readonly<Record<string, string>>): readonly string[] {
  if (given['COFFER_PROVISIONER'] === 'external') return requireMasterKey(given);
  if (given['COFFER_GUESTS_DIR'] !== undefined) return [];
  return [
    'COFFER_GUESTS_DIR: is not set, and COFFER_PROVISIONER=local needs it: the folder in which guest agents find what they are to be',
  ];
}

function both(first: Observe, second: Observe): Observe {
  return (...move) => {
    first(...move);
    second(...move);
  };
}

function openBus(
  config: z.infer<z.ZodObject<typeof configShape>>,
  common: Pick<AmqpBusOptions, 'log'> & Partial<AmqpBusOptions>,
): Promise<Bus> {
  return openAmqpBus({
    ...common,
    name: 'taskmanager',
    url: config.COFFER_AMQP_URL,
    tls: amqpTls(config),
    control_exchange: config.COFFER_CONTROL_EXCHANGE,
    queues: config.COFFER_AMQP_QUEUES,
  });
}

function serveTopics(
  deps: RequestDeps,
  guards: { readonly taskmanager: Guard; readonly conductor: Guard },
): Promise<readonly Served[]> {
  const common = { queue: 'shared' as const, prefetch: PREFETCH };
  return Promise.all([
    deps.bus.serve({
      ...{ ...common, topic: TASKMANAGER_TOPIC, guard: guards.taskmanager, begins_traces: true },
      handler: (request) => handleTaskmanagerRequest(deps, request),
    }),
    deps.bus.serve({
      ...{ ...common, topic: CONDUCTOR_TOPIC, guard: guards.conductor, foreign: 'dropped' as const },
      handler: (request) => handleConductorRequest(deps, request),
    }),
  ]);
}

await runProcess(async () => {
  const config = loadConfig(configShape, process.env, requireOfProvisioner);
  const log = createLogger({ name: 'taskmanager', level: config.COFFER_LOG_LEVEL });
  const services = new Services(log);
  const tracing = await openTracing(config, { service: 'coffer-taskmanager', log, services });

  const notifies = config.COFFER_NOTIFICATIONS === 'on';
  const store = await openRedisStore({
    url: config.COFFER_REDIS_URL,
    tls: redisTls(config),
    prefix: config.COFFER_REDIS_PREFIX,
    notifies,
    log,
    name: 'taskmanager',
  });
  services.add({ name: 'store', stop: () => store.close() });
  await seedCatalogue(store.catalogue);
  const installation = await store.installation(randomUUID());
  const bus = await openBus(config, { log, installation, tracing, notifies });
  services.add({ name: 'bus', stop: () => bus.close() });

  const queues = queueOptions(config, log);
  const wakes = services.add(openWakes(queues));

  const common = { store, bus, log, tracing, now: Date.now, newId: randomUUID, wake: wakes.wake };
  const registry = createRegistry();
  const metrics = await serveMetrics(registry, config, log, observeShared(registry, common));
  if (metrics) services.add(metrics);
  const master = masterKeyOf(config);
  if (!master)
    log.warn('COFFER_MASTER_KEY is not set: whoever reaches RabbitMQ can speak for any guest agent');
  const keyring = new Keyring({ ...common, master });
  const engine = new Engine({
    ...common,
    keyring,
    observe: both(observeUpgrades(registry), observeSpans(tracing)),
    wakeBatch: wakes.wake,
  });
  const provisioning = new Provisioning({
    ...common,
    provisioner: withAdopted(newProvisioner(config, keyring, installation), { ...common, keyring }),
  });
  const max_concurrent_total = config.COFFER_BATCH_MAX_CONCURRENT;
  const batches = new Batches({ ...common, engine, max_concurrent_total });
  const deps = { ...common, installation, keyring, engine, provisioning, notifies, batches };

  const guards = {
    taskmanager: taskmanagerGuard(config.COFFER_TASKMANAGER_RPC_KEY),
    conductor: keyring.conductorGuard,
  };
  for (const served of await serveTopics(deps, guards)) {
    services.add({ name: 'requests', stop: () => served.stop() });
  }
  services.add(serveWakes(queues, (id) => batches.check(id, 'hinted')));
  services.add(serveRequests(queues, (job) => beginRequestedBatch(deps, job)));
  services.add(startSweep({ ...deps, sleep }));
  const days = config.COFFER_RETENTION_DAYS;
  if (days > 0) services.add(startRetention({ ...deps, sleep }, days));
  if (notifies) services.add(startNotifier({ ...deps, sleep }));
  log.info({ recovered: await recover(deps) }, 'taskmanager serves');
  return { log, services };
});
