/**
 * The taskmanager: casts and reports in, effects out.
 *
 * `main.ts` wiring · `requests.ts` what casts and heartbeats mean · `engine.ts` the shell around the
 * pure core · `sweep.ts` time: what is due, and recovery at start · `provisioning.ts` building and
 * removing clusters · `provisioner-local.ts` instances on this machine · `provisioner-external.ts`
 * instances that an operator brings · `instance-config.ts` what an instance is to be · `metrics.ts` what
 * is counted · `notifier.ts` tells the cloud's other services of upgrades.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { openAmqpBus } from '../src/bus/amqp.ts';
import { CONDUCTOR_TOPIC, TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import { amqpTls, commonConfig, loadConfig, notifications, redisPrefix, redisTls } from '../src/config.ts';
import { createLogger } from '../src/log.ts';
import { runProcess, Services, sleep } from '../src/service.ts';
import { openRedisStore } from '../src/store/redis.ts';
import { createRegistry, metricsConfig, serveMetrics } from '../src/telemetry.ts';
import { Engine } from './engine.ts';
import { observeShared, observeUpgrades } from './metrics.ts';
import { startNotifier } from './notifier.ts';
import { externalProvisioner } from './provisioner-external.ts';
import { LocalProvisioner } from './provisioner-local.ts';
import { type Provisioner, Provisioning } from './provisioning.ts';
import { handleConductorRequest, handleTaskmanagerRequest } from './requests.ts';
import { recover, startSweep } from './sweep.ts';

/** Messages in work at once, per topic. */
const PREFETCH = 200;

const configShape = {
  ...commonConfig,
  ...metricsConfig,
  COFFER_REDIS_PREFIX: redisPrefix,
  COFFER_NOTIFICATIONS: notifications,
  COFFER_PROVISIONER: z.enum(['local', 'external']).default('local'),
  COFFER_GUESTS_DIR: z.string().min(1).optional(),
};

function newProvisioner(config: {
  COFFER_PROVISIONER: 'local' | 'external';
  COFFER_GUESTS_DIR?: string | undefined;
}): Provisioner {
  const { COFFER_PROVISIONER, COFFER_GUESTS_DIR } = config;
  const isLocal = COFFER_PROVISIONER === 'local' && COFFER_GUESTS_DIR !== undefined;
  return isLocal ? new LocalProvisioner(COFFER_GUESTS_DIR) : externalProvisioner;
}

function requireGuestsDir(given: Readonly<Record<string, string>>): readonly string[] {
  if (given['COFFER_PROVISIONER'] === 'external' || given['COFFER_GUESTS_DIR'] !== undefined) return [];
  return [
    'COFFER_GUESTS_DIR: is not set, and COFFER_PROVISIONER=local needs it: the folder in which guest agents find what they are to be',
  ];
}

await runProcess(async () => {
  const config = loadConfig(configShape, process.env, requireGuestsDir);
  const provisioner = newProvisioner(config);
  const log = createLogger({ name: 'taskmanager', level: config.COFFER_LOG_LEVEL });
  const services = new Services(log);

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
  const bus = await openAmqpBus({
    url: config.COFFER_AMQP_URL,
    tls: amqpTls(config),
    name: 'taskmanager',
    log,
    control_exchange: config.COFFER_CONTROL_EXCHANGE,
    queues: config.COFFER_AMQP_QUEUES,
    notifies,
  });
  services.add({ name: 'bus', stop: () => bus.close() });

  const common = { store, bus, log, now: Date.now };
  const registry = createRegistry();
  const metrics = await serveMetrics(registry, config, log, observeShared(registry, common));
  if (metrics) services.add(metrics);
  const engine = new Engine({ ...common, observe: observeUpgrades(registry) });
  const provisioning = new Provisioning({ ...common, provisioner });
  const deps = { ...common, engine, provisioning, notifies, newId: randomUUID };

  const queue = 'shared' as const;
  const served = [
    await bus.serve({
      topic: TASKMANAGER_TOPIC,
      queue,
      prefetch: PREFETCH,
      handler: (request) => handleTaskmanagerRequest(deps, request),
    }),
    await bus.serve({
      topic: CONDUCTOR_TOPIC,
      queue,
      prefetch: PREFETCH,
      handler: (request) => handleConductorRequest(deps, request),
    }),
  ];
  for (const server of served) services.add({ name: 'requests', stop: () => server.stop() });
  services.add(startSweep({ ...deps, sleep }));
  if (notifies) services.add(startNotifier({ ...deps, sleep }));
  log.info({ recovered: await recover(deps) }, 'taskmanager serves');
  return { log, services };
});
