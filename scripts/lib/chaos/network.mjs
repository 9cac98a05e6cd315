// @ts-check
import { TcpProxy } from './proxy.mjs';

/**
 * The network between Coffer's processes and RabbitMQ and Redis: one proxy for each pair, so that one process
 * can be cut off while the others are not. Guest agents share one proxy.
 *
 * @typedef {'rabbitmq' | 'redis'} Service
 * @typedef {Awaited<ReturnType<typeof openNetwork>>} Network
 */

const GUESTS = 'guests';

/** @param {readonly string[]} processes api and taskmanagers */
export async function openNetwork(processes) {
  /** @type {Map<string, TcpProxy>} */
  const proxies = new Map();
  for (const process of processes) {
    for (const service of ['rabbitmq', 'redis']) proxies.set(`${process} ${service}`, await TcpProxy.open());
  }
  proxies.set(`${GUESTS} rabbitmq`, await TcpProxy.open());
  const proxyOf = (/** @type {string} */ process, /** @type {Service} */ service) =>
    /** @type {TcpProxy} */ (proxies.get(`${process.startsWith('guest-') ? GUESTS : process} ${service}`));

  return {
    /**
     * For `startStack`.
     * @param {string} process
     * @param {NodeJS.ProcessEnv} environment
     */
    environmentOf(process, environment) {
      const { COFFER_AMQP_URL: amqp, COFFER_REDIS_URL: redis } = environment;
      return {
        ...environment,
        ...(amqp && { COFFER_AMQP_URL: proxyOf(process, 'rabbitmq').through(amqp) }),
        ...(redis && { COFFER_REDIS_URL: proxyOf(process, 'redis').through(redis) }),
      };
    },
    /**
     * The clients of this service; each has a link of its own.
     * @param {Service} service
     */
    clientsOf: (service) => (service === 'rabbitmq' ? [...processes, GUESTS] : [...processes]),
    /**
     * @param {string} process
     * @param {Service} service
     */
    link: proxyOf,
    heal() {
      for (const proxy of proxies.values()) proxy.heal();
    },
    async close() {
      await Promise.all([...proxies.values()].map((proxy) => proxy.close()));
    },
  };
}
