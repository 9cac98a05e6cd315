/**
 * The api process: takes HTTP requests and sends casts.
 *
 * - `app.ts` assembles the server from the routes of the folders below · `deps.ts` what handlers work with ·
 *   `config.ts`
 * - `casts.ts` publishes the casts that the store holds as pending · `actions.ts` makes a taskmanager carry out
 *   what a person asks for, and waits for the answer · `times.ts` times as documents show them
 * - `access/`: `caller.ts` who the caller is · `enforce.ts` the only place that enforces who may do what ·
 *   `rules.ts` the rules, `language.ts` the language of the rules, `rule-file.ts` an operator's own rules ·
 *   `keystone.ts` and `token-file.ts` find the owner of a token · `rate-limits.ts` · `open.ts` assembles these ·
 *   `identity.ts`, `permissions.ts` and `limits.ts` tell callers who they are and what they may do
 * - `clusters/`, `instances/`, `upgrades/`, `batches/`, `datastores/`: `routes.ts` the requests, `view.ts` the
 *   records as documents, and what is too long for the routes
 * - `health/`: `probes.ts` live and ready · `report.ts` the state of all parts · `troubles.ts` upgrades and
 *   batches that need a person · `dead-letters.ts` messages that nobody could act on
 * - `http/`: `serve.ts` HTTP or HTTPS, `certificate.ts` · `errors.ts` every error as Trove's JSON · `urls.ts` ·
 *   `event-stream.ts` server-sent events · `one-action.ts` bodies that name an action · `idempotency.ts` ·
 *   `dashboard.ts` the web page, `static-files.ts` its files · `discovery.ts` · `openapi.ts` · `metrics.ts` ·
 *   `tracing.ts`
 */
import { randomUUID } from 'node:crypto';
import { openAmqpBus } from '../src/bus/amqp.ts';
import { amqpTls, redisTls } from '../src/config.ts';
import { createLogger } from '../src/log.ts';
import { masterKeyOf } from '../src/master-key.ts';
import { openWakes, queueOptions, watchRequests } from '../src/queue.ts';
import { runProcess, Services } from '../src/service.ts';
import { seedCatalogue } from '../src/store/change-catalogue.ts';
import { openRedisStore } from '../src/store/redis.ts';
import { createRegistry, serveMetrics } from '../src/telemetry.ts';
import { openTracing } from '../src/tracing.ts';
import { openAccess } from './access/open.ts';
import { startRelay } from './casts.ts';
import { loadApiConfig } from './config.ts';
import type { Deps } from './deps.ts';
import { serveHttp } from './http/serve.ts';

await runProcess(async () => {
  const config = loadApiConfig(process.env);
  const log = createLogger({ name: 'api', level: config.COFFER_LOG_LEVEL });
  const services = new Services(log);
  const tracing = await openTracing(config, { service: 'coffer-api', log, services });

  const store = await openRedisStore({
    url: config.COFFER_REDIS_URL,
    tls: redisTls(config),
    prefix: config.COFFER_REDIS_PREFIX,
    notifies: config.COFFER_NOTIFICATIONS === 'on',
    name: 'coffer-api',
    log,
  });
  services.add({ name: 'store', stop: () => store.close() });
  await seedCatalogue(store.catalogue);
  const installation = await store.installation(randomUUID());
  const bus = await openAmqpBus({
    url: config.COFFER_AMQP_URL,
    tls: amqpTls(config),
    name: 'api',
    log,
    control_exchange: config.COFFER_CONTROL_EXCHANGE,
    queues: config.COFFER_AMQP_QUEUES,
    installation,
    tracing,
  });
  services.add({ name: 'bus', stop: () => bus.close() });

  const access = openAccess(config, { log, now: Date.now, add: (service) => services.add(service) });
  const queues = queueOptions(config, log);
  const wakes = services.add(openWakes(queues));
  const requests = services.add(watchRequests(queues));
  const deps: Deps = {
    store,
    bus,
    log,
    now: Date.now,
    newId: randomUUID,
    wakeBatch: wakes.wake,
    access,
    max_clusters: config.COFFER_MAX_CLUSTERS,
    provisioner: config.COFFER_PROVISIONER,
    masterKey: masterKeyOf(config),
    tracing,
    batchRequests: requests.outcomes,
  };
  services.add(startRelay(deps));
  const registry = createRegistry();
  const metrics = await serveMetrics(registry, config, log);
  if (metrics) services.add(metrics);
  services.add(await serveHttp(deps, config, registry));
  return { log, services };
});
