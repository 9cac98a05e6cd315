/**
 * The guest agent: orders from the bus in, work on a database server out.
 *
 * `main.ts` wiring · `host.ts` the instances of a folder · `agent.ts` one instance: orders and
 * heartbeats · `journal.ts` what it must not forget · `driver.ts` what a datastore's driver must be
 * able to do · `drivers/` one per datastore.
 */
import { basename } from 'node:path';
import { z } from 'zod';
import { openAmqpBus } from '../src/bus/amqp.ts';
import { commonConfig, loadConfig, numberOf } from '../src/config.ts';
import { createLogger } from '../src/log.ts';
import { runProcess, Services } from '../src/service.ts';
import { postgresqlDriver } from './drivers/postgresql/index.ts';
import { simulatedDriver } from './drivers/simulated.ts';
import { Host } from './host.ts';

const configShape = {
  COFFER_AMQP_URL: commonConfig.COFFER_AMQP_URL,
  COFFER_LOG_LEVEL: commonConfig.COFFER_LOG_LEVEL,
  COFFER_CONTROL_EXCHANGE: commonConfig.COFFER_CONTROL_EXCHANGE,
  COFFER_GUEST_DIR: z.string().min(1, 'must name the folder with the instances of this agent'),
  COFFER_CACHE_DIR: z.string().min(1, 'must name the folder for downloaded database packages'),
  COFFER_GUEST_USER: z.string().min(1).optional(),
  COFFER_HEARTBEAT_MS: numberOf(100, 10_000).default(2_000),
};

await runProcess(async () => {
  const config = loadConfig(configShape, process.env);
  const name = `guest-${basename(config.COFFER_GUEST_DIR)}`;
  const log = createLogger({ name, level: config.COFFER_LOG_LEVEL });
  const services = new Services(log);

  const bus = await openAmqpBus({
    url: config.COFFER_AMQP_URL,
    name,
    log,
    control_exchange: config.COFFER_CONTROL_EXCHANGE,
  });
  services.add({ name: 'bus', stop: () => bus.close() });
  const host = services.add(
    new Host({
      dir: config.COFFER_GUEST_DIR,
      cacheDir: config.COFFER_CACHE_DIR,
      serverUser: config.COFFER_GUEST_USER,
      bus,
      log,
      heartbeat_ms: config.COFFER_HEARTBEAT_MS,
      drivers: { postgresql: postgresqlDriver, simulated: simulatedDriver },
    }),
  );
  await host.start();
  return { log, services };
});
