/**
 * The api process: takes HTTP requests and sends casts.
 *
 * - `serve.ts` HTTP or HTTPS · `certificate.ts` · `app.ts` assembles the server · `config.ts` · `deps.ts`
 *   what handlers work with
 * - `auth.ts` who the caller is · `access/` who may do what: `enforce.ts` the only place that enforces it,
 *   `rules.ts` the rules, `language.ts` the language of the rules, `rule-file.ts` an operator's own rules;
 *   `keystone.ts` and `token-file.ts` find the owner of a token; `rate-limits.ts`; `open.ts` assembles these
 * - `errors.ts` every error as Trove's JSON · `views.ts` records as documents
 * - `clusters.ts` clusters and the upgrade request · `create-cluster.ts` · `resize-cluster.ts` ·
 *   `instances.ts`
 * - `join-token.ts` what external agents join with · `one-action.ts` bodies that name an action
 * - `upgrades.ts` upgrades and their actions · `batches.ts` and `batch-views.ts` many upgrades at once ·
 *   `orders.ts` passes on what people want done
 * - `events.ts` and `event-stream.ts` server-sent events · `datastores.ts`, `datastore-versions.ts` the
 *   catalogue · `flavors.ts` · `limits.ts` · `health.ts` · `discovery.ts`
 * - `dead-letters.ts` messages that nobody could act on · `health-report.ts` the state of all parts ·
 *   `troubles.ts` upgrades and batches that need a person · `permissions.ts` what the caller may do
 * - `dashboard.ts` the web page, built from the folder of that name
 * - `casts.ts` publishes the casts that the store holds as pending · `scram.ts` · `openapi.ts`
 * - `static-files.ts` the files of pages · `metrics.ts` · `tracing.ts`
 */
import { randomUUID } from 'node:crypto';
import { openAmqpBus } from '../src/bus/amqp.ts';
import { amqpTls, redisTls } from '../src/config.ts';
import { createLogger } from '../src/log.ts';
import { masterKeyOf } from '../src/master-key.ts';
import { openLooks, queueOptions, watchRequests } from '../src/queue.ts';
import { runProcess, Services } from '../src/service.ts';
import { seedCatalogue } from '../src/store/change-catalogue.ts';
import { openRedisStore } from '../src/store/redis.ts';
import { createRegistry, serveMetrics } from '../src/telemetry.ts';
import { openTracing } from '../src/tracing.ts';
import { openAccess } from './access/open.ts';
import { startRelay } from './casts.ts';
import { loadApiConfig } from './config.ts';
import type { Deps } from './deps.ts';
import { serveHttp } from './serve.ts';

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
  await seedCatalogue(store);
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
  const looks = services.add(openLooks(queues));
  const requests = services.add(watchRequests(queues));
  const deps: Deps = {
    store,
    bus,
    log,
    now: Date.now,
    newId: randomUUID,
    wakeBatch: looks.wake,
    access,
    max_clusters: config.COFFER_MAX_CLUSTERS,
    provisioner: config.COFFER_PROVISIONER,
    masterKey: masterKeyOf(config),
    tracing,
    batchRequests: requests.look,
  };
  services.add(startRelay(deps));
  const registry = createRegistry();
  const metrics = await serveMetrics(registry, config, log);
  if (metrics) services.add(metrics);
  services.add(await serveHttp(deps, config, registry));
  return { log, services };
});
