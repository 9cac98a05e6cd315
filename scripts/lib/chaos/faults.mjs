// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { send } from '../processes.mjs';

/**
 * The faults that can be injected into a running stack. A fault hits the processes and the connections that
 * exist at that moment. Each fault undoes itself, and all faults can be undone at once.
 *
 * @typedef {import('./random.mjs').Dice} Dice
 * @typedef {import('./network.mjs').Service} Service
 *
 * @typedef {object} Injected one fault as it happened
 * @property {string} fault the row of the table
 * @property {string} target
 * @property {number} began
 * @property {number} recovers_from when recovery was possible: at once for a fault that is over at once, at its
 *   end for a fault that lasts
 *
 * @typedef {object} World what faults are injected into
 * @property {() => Record<string, number>} pids
 * @property {import('./network.mjs').Network} network
 * @property {Dice} dice
 * @property {AbortSignal} signal ends faults that last
 *
 * @typedef {object} Fault
 * @property {string} name
 * @property {(world: World) => (() => Promise<Injected>) | undefined} aim chooses the target; undefined
 *   when there is none
 */

const STALL_MS = /** @type {const} */ ([2_000, 8_000]);
const REFUSE_MS = /** @type {const} */ ([0, 4_000]);
const DELAY_MS = /** @type {const} */ ([50, 400]);
const DELAYED_FOR_MS = /** @type {const} */ ([3_000, 8_000]);
const RESTART_MS = 30_000;

/** Processes that can be hit, keyed by the words of the table. */
const VICTIMS = {
  api: (/** @type {string} */ name) => name === 'api',
  taskmanager: (/** @type {string} */ name) => name.startsWith('taskmanager'),
  'guest agent (simulated)': (/** @type {string} */ name) => name === 'guest-simulated',
  'guest agent (PostgreSQL)': (/** @type {string} */ name) =>
    name.startsWith('guest-') && name !== 'guest-simulated',
  RabbitMQ: (/** @type {string} */ name) => name === 'rabbitmq',
  Redis: (/** @type {string} */ name) => name === 'redis',
};

/** Processes that an operator restarts now and then: for a new version, or a new setting. */
const RESTARTED = ['api', 'taskmanager', 'RabbitMQ', 'Redis'];

/** @type {readonly Fault[]} */
export const FAULTS = [
  ...Object.entries(VICTIMS).flatMap(([title, isVictim]) => [
    processFault(`kill -9 ${title}`, isVictim, ended('SIGKILL')),
    ...(RESTARTED.includes(title) ? [processFault(`restart ${title}`, isVictim, ended('SIGTERM'))] : []),
    processFault(`stall ${title}`, isVictim, stalled),
  ]),
  ...['rabbitmq', 'redis'].flatMap((name) => {
    const service = /** @type {Service} */ (name);
    const title = service === 'rabbitmq' ? 'RabbitMQ' : 'Redis';
    return [
      networkFault(`cut connections to ${title}`, service, refused),
      networkFault(`stall connections to ${title}`, service, stuck),
      networkFault(`delay connections to ${title}`, service, delayed),
      networkFault(`half-open connections to ${title}`, service, halved),
    ];
  }),
];

/**
 * @param {string} fault
 * @param {(name: string) => boolean} isVictim
 * @param {(world: World, target: string, pid: number) => Promise<Pick<Injected, 'recovers_from'>>} work
 * @returns {Fault}
 */
function processFault(fault, isVictim, work) {
  return {
    name: fault,
    aim(world) {
      const names = Object.keys(world.pids()).filter(isVictim).sort();
      if (names.length === 0) return undefined;
      const target = world.dice.pick(names);
      return async () => {
        const pid = world.pids()[target];
        const began = Date.now();
        const { recovers_from } = pid ? await work(world, target, pid) : { recovers_from: began };
        return { fault, target, began, recovers_from };
      };
    },
  };
}

/**
 * The process's supervisor starts it again.
 * @param {'SIGKILL' | 'SIGTERM'} how at once, or after the process has finished its work
 * @returns {(world: World, target: string, pid: number) => Promise<Pick<Injected, 'recovers_from'>>}
 */
function ended(how) {
  return async ({ pids, signal }, target, pid) => {
    const recovers_from = Date.now();
    send(pid, how);
    const isBack = () => {
      const now = pids()[target];
      return now !== undefined && now !== pid;
    };
    const deadline = Date.now() + RESTART_MS;
    while (!isBack() && Date.now() < deadline && !signal.aborted) await sleep(50);
    return { recovers_from };
  };
}

/**
 * @param {World} world
 * @param {string} target
 * @param {number} pid
 */
async function stalled({ dice, signal }, target, pid) {
  // Only the guest agent itself is stopped: its group contains database servers, which keep running.
  const whom = target === 'rabbitmq' || target === 'redis' ? -pid : pid;
  const ms = dice.between(...STALL_MS);
  send(whom, 'SIGSTOP');
  await sleepOr(signal, ms);
  send(whom, 'SIGCONT');
  return { recovers_from: Date.now() };
}

/**
 * @param {string} fault
 * @param {Service} service
 * @param {(world: World, links: import('./proxy.mjs').TcpProxy[]) => Promise<Pick<Injected, 'recovers_from'>>} work
 * @returns {Fault}
 */
function networkFault(fault, service, work) {
  return {
    name: fault,
    aim(world) {
      const clients = world.network.clientsOf(service);
      const hit = world.dice.chance(0.25) ? clients : [world.dice.pick(clients)];
      const links = hit.map((client) => world.network.link(client, service));
      return async () => {
        const began = Date.now();
        const { recovers_from } = await work(world, links);
        for (const link of links) link.heal();
        return { fault, target: hit.length > 1 ? 'all' : String(hit[0]), began, recovers_from };
      };
    },
  };
}

/** @type {Parameters<typeof networkFault>[2]} */
async function refused({ dice, signal }, links) {
  const ms = dice.between(...REFUSE_MS);
  for (const link of links) link.refuse();
  await sleepOr(signal, ms);
  return { recovers_from: Date.now() };
}

/** @type {Parameters<typeof networkFault>[2]} */
async function stuck({ dice, signal }, links) {
  const ms = dice.between(...STALL_MS);
  for (const link of links) link.stall();
  await sleepOr(signal, ms);
  return { recovers_from: Date.now() };
}

/** @type {Parameters<typeof networkFault>[2]} */
async function delayed({ dice, signal }, links) {
  const [by, ms] = [dice.between(...DELAY_MS), dice.between(...DELAYED_FOR_MS)];
  for (const link of links) link.delay(by);
  await sleepOr(signal, ms);
  return { recovers_from: Date.now() };
}

/** @type {Parameters<typeof networkFault>[2]} */
async function halved({ dice }, links) {
  const unaware = dice.chance(0.5) ? 'client' : 'server';
  for (const link of links) link.halfOpen(unaware);
  return { recovers_from: Date.now() };
}

/**
 * @param {AbortSignal} signal
 * @param {number} ms
 */
export async function sleepOr(signal, ms) {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
