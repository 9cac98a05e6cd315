// @ts-check
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { endDatabaseServers } from './database-servers.mjs';
import { processName, superviseGuests } from './guests.mjs';
import { setUp } from './install.mjs';
import { writeJson } from './json-file.mjs';
import { projectRoot } from './paths.mjs';
import { choosePort, isFree } from './ports.mjs';
import { probeHttp } from './probe.mjs';
import { Problem } from './problem.mjs';
import { createProgress } from './progress.mjs';
import { awaitReady, startServices } from './services.mjs';
import { openSession } from './session.mjs';

/**
 * The whole stack. Who decides (taskmanager, api) starts after and stops before who acts (guest agents),
 * and all of them before what they talk through (RabbitMQ, Redis).
 *
 * @typedef {import('./supervisor.mjs').Spec} Spec
 * @typedef {import('./progress.mjs').Progress} Progress
 *
 * @typedef {object} StackOptions
 * @property {boolean} [fresh] begin with empty data
 * @property {boolean} [yes] install what is missing with sudo, without asking
 * @property {boolean} [verbose] show what the processes log
 * @property {Progress} [progress]
 * @property {AbortSignal} [signal] stops a start that is under way
 * @property {string} [home] instead of `.coffer`
 * @property {{ api?: number }} [ports] 0 means any free one
 * @property {(signal: AbortSignal) => Promise<void>} [prepare] instead of the set-up of node modules and dist
 * @property {(environment: NodeJS.ProcessEnv) => Spec[]} [processes] instead of taskmanager and api
 * @property {string} [guestScript] instead of dist/guestagent/main.js
 *
 * @typedef {object} StackFile `.coffer/stack.json`
 * @property {string} api_url
 * @property {string} amqp_url
 * @property {string} redis_url
 * @property {number} pid of the supervisor
 * @property {Record<string, number>} pids
 * @property {string} started_at
 *
 * @typedef {object} Stack
 * @property {string} api_url
 * @property {string} amqp_url
 * @property {string} redis_url
 * @property {string} log_dir one file per process
 * @property {() => Record<string, number>} pids of what runs right now, by name
 * @property {() => Promise<void>} stop idempotent; resolves when no process is left
 * @property {() => Promise<void>} kill the same without waiting for anybody
 */

const API_PORT = 8779;
const READY_MS = 60_000;
/** A guest agent stops its database servers first. */
const GUEST_GRACE_MS = 25_000;
const GRACE_MS = 10_000;

/**
 * @param {StackOptions} [options]
 * @returns {Promise<Stack>}
 */
export async function startStack(options = {}) {
  const { fresh = false, yes = false, verbose = false, signal, progress = createProgress() } = options;
  if (fresh) refuseForeignRedis();
  const session = await openSession({ home: options.home, fresh, verbose, progress });
  const { paths, supervisor } = session;
  /** @type {(() => Promise<void>)[]} what to stop, in the order of the start */
  const stops = [session.close];
  const stop = once(async () => {
    for (const each of stops.reverse()) await each();
  });
  try {
    const apiPort = await chooseApiPort(options.ports?.api);
    if (fresh) emptyFolder(paths.guests);
    const [services] = await both(
      signal,
      (either) => startServices({ paths, supervisor, progress, fresh, yes, signal: either }),
      options.prepare ?? ((either) => setUp({ progress, signal: either })),
    );
    stops.push(services.stop);

    const api_url = `http://127.0.0.1:${apiPort}`;
    const common = commonEnvironment(paths, services.amqp_url);
    const guestScript = options.guestScript ?? built('guestagent');
    const specOf = (/** @type {string} */ name, /** @type {string} */ folder) => ({
      ...nodeProcess(processName(name), guestScript, { ...common, COFFER_GUEST_DIR: folder }),
      graceMs: GUEST_GRACE_MS,
      remnants: /** @type {const} */ ('keep'),
    });
    const guests = superviseGuests({ folder: paths.guests, supervisor, specOf });
    stops.push(guests.stop);

    const environment = {
      ...common,
      COFFER_REDIS_URL: services.redis_url,
      COFFER_API_HOST: '127.0.0.1',
      COFFER_API_PORT: String(apiPort),
      COFFER_PROVISIONER: process.env['COFFER_PROVISIONER'] || 'local',
      COFFER_GUESTS_DIR: paths.guests,
    };
    const processes = (options.processes ?? coreProcesses)(environment);
    for (const spec of processes) supervisor.start(spec);
    stops.push(async () => {
      await Promise.all(processes.map(({ name }) => supervisor.stop(name)));
    });
    await progress.step('Starting Coffer', () => awaitProcesses(processes, api_url, supervisor, signal));

    const urls = { api_url, amqp_url: services.amqp_url, redis_url: services.redis_url };
    const publish = publisher(paths.stackFile, urls, supervisor);
    stops.push(async () => publish.end());
    return {
      ...urls,
      log_dir: paths.logs,
      pids: supervisor.pids,
      stop,
      async kill() {
        supervisor.signalAll('SIGKILL');
        await endDatabaseServers(paths.guests);
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * What every process gets. Guest agents get no more than this: they have no business with Redis.
 * @param {import('./paths.mjs').Paths} paths
 * @param {string} amqpUrl
 */
function commonEnvironment(paths, amqpUrl) {
  const { COFFER_REDIS_URL: _, ...inherited } = process.env;
  return {
    ...inherited,
    COFFER_AMQP_URL: amqpUrl,
    COFFER_CACHE_DIR: paths.cache,
    COFFER_LOG_LEVEL: process.env['COFFER_LOG_LEVEL'] || 'info',
  };
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Spec[]}
 */
function coreProcesses(environment) {
  return ['taskmanager', 'api'].map((name) => ({
    ...nodeProcess(name, built(name), environment),
    graceMs: GRACE_MS,
  }));
}

/** @param {string} name */
function built(name) {
  return join(projectRoot, 'dist', name, 'main.js');
}

/**
 * A supervised Node.js process.
 * @param {string} name
 * @param {string} script
 * @param {NodeJS.ProcessEnv} env
 * @returns {Spec}
 */
export function nodeProcess(name, script, env) {
  return { name, command: process.execPath, args: ['--enable-source-maps', script], env, cwd: projectRoot };
}

/**
 * @param {readonly Spec[]} processes
 * @param {string} apiUrl
 * @param {import('./supervisor.mjs').Supervisor} supervisor
 * @param {AbortSignal | undefined} signal
 */
async function awaitProcesses(processes, apiUrl, supervisor, signal) {
  const remedy = () => 'If the log does not tell what to correct, please report it.';
  // The api answers for the stack; the others must only not be dying.
  const last = String(processes.at(-1)?.name);
  await awaitReady(last, () => probeHttp(`${apiUrl}/health/ready`), {
    supervisor,
    signal,
    remedy,
    readyMs: READY_MS,
  });
  for (const { name } of processes) {
    const isUp = async () => {
      if (!(name in supervisor.pids())) throw new Error('it is not running');
    };
    await awaitReady(name, isUp, { supervisor, signal, remedy, readyMs: READY_MS });
  }
}

/**
 * Keeps stack.json true.
 * @param {string} file
 * @param {{ api_url: string, amqp_url: string, redis_url: string }} urls
 * @param {import('./supervisor.mjs').Supervisor} supervisor
 */
function publisher(file, urls, supervisor) {
  const started_at = new Date().toISOString();
  let isOpen = true;
  const write = () => {
    if (isOpen) writeJson(file, { ...urls, pid: process.pid, pids: supervisor.pids(), started_at });
  };
  supervisor.onChange(write);
  write();
  return {
    end() {
      isOpen = false;
      rmSync(file, { force: true });
    },
  };
}

/**
 * @param {number | undefined} asked
 * @returns {Promise<number>}
 */
async function chooseApiPort(asked) {
  const text = process.env['COFFER_API_PORT'] || String(API_PORT);
  const port = asked ?? Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Problem(
      `COFFER_API_PORT is not a port number: ${text}`,
      'Give a number from 1 to 65535, or 0 for any free port.',
    );
  }
  if (port === 0) return choosePort();
  if (await isFree(port)) return port;
  throw new Problem(
    `port ${port} of 127.0.0.1 is taken by another program`,
    'Stop that program, or choose another port: COFFER_API_PORT=8780 npm start (0 means any free one)',
  );
}

function refuseForeignRedis() {
  if (!process.env['COFFER_REDIS_URL']) return;
  throw new Problem(
    'a fresh start does not empty a Redis that is not ours, and COFFER_REDIS_URL is set',
    'Empty that Redis yourself and leave out --fresh, or unset COFFER_REDIS_URL for a private one.',
  );
}

/** @param {string} folder */
function emptyFolder(folder) {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true, force: true });
}

/**
 * Both at the same time. When one fails the other is told to stop, and waited for, so that nothing goes on
 * behind the back of the clean-up.
 * @template A, B
 * @param {AbortSignal | undefined} signal
 * @param {(signal: AbortSignal) => Promise<A>} first
 * @param {(signal: AbortSignal) => Promise<B>} second
 * @returns {Promise<[A, B]>}
 */
async function both(signal, first, second) {
  const own = new AbortController();
  const either = signal ? AbortSignal.any([signal, own.signal]) : own.signal;
  /** @type {unknown[]} */
  const failures = [];
  const fail = (/** @type {unknown} */ error) => {
    failures.push(error);
    own.abort();
    throw error;
  };
  const tasks = /** @type {const} */ ([first(either).catch(fail), second(either).catch(fail)]);
  await Promise.allSettled(tasks);
  if (failures.length > 0) throw failures[0];
  return Promise.all(tasks);
}

/**
 * @param {() => Promise<void>} work
 * @returns {() => Promise<void>}
 */
function once(work) {
  /** @type {Promise<void> | undefined} */
  let done;
  return () => {
    done ??= work();
    return done;
  };
}
