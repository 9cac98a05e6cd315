// @ts-check
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endDatabaseServers } from './database-servers.mjs';
import { GuestKeeper, processName } from './guests.mjs';
import { setUp } from './install.mjs';
import { writeJson } from './json-file.mjs';
import { projectRoot } from './paths.mjs';
import { choosePort, isFree, ownPorts } from './ports.mjs';
import { probeHttp } from './probe.mjs';
import { Problem } from './problem.mjs';
import { createProgress } from './progress.mjs';
import { awaitReady, startServices } from './services.mjs';
import { openSession } from './session.mjs';

/**
 * The whole stack. The processes that decide (taskmanager, api) start after the processes that act (guest
 * agents) and stop before them. All of these start after the servers that carry their messages and records
 * (RabbitMQ, Redis), and stop before them.
 *
 * @typedef {import('./supervisor.mjs').Spec} Spec
 * @typedef {import('./progress.mjs').Progress} Progress
 *
 * @typedef {object} StackOptions
 * @property {boolean} [fresh] begin with empty data
 * @property {boolean} [yes] install what is missing with sudo, without asking
 * @property {(name: string, line: string) => void} [show] receives the log lines of the processes
 * @property {Progress} [progress]
 * @property {AbortSignal} [signal] stops a start that is under way
 * @property {string} [home] instead of `.coffer`
 * @property {{ api?: number }} [ports] 0 means any free port
 * @property {(signal: AbortSignal) => Promise<void>} [prepare] instead of the set-up of node modules and dist
 * @property {(environment: NodeJS.ProcessEnv) => Spec[]} [processes] instead of taskmanager and api
 * @property {string} [guestScript] instead of dist/guestagent/main.js
 * @property {number} [taskmanagers] several of them are called taskmanager-1, taskmanager-2 and so on
 * @property {(name: string, environment: NodeJS.ProcessEnv) => NodeJS.ProcessEnv} [environmentOf] changes the
 *   environment of the process of this name, e.g. to URLs that lead through a proxy
 *
 * @typedef {object} StackFile `.coffer/stack.json`
 * @property {string} api_url
 * @property {string} amqp_url
 * @property {string} redis_url
 * @property {Record<string, string>} metrics the URLs of the metrics of api and taskmanagers, by name
 * @property {number} pid of the supervisor
 * @property {Record<string, number>} pids
 * @property {string} started_at
 *
 * @typedef {object} Stack
 * @property {string} api_url
 * @property {string} amqp_url
 * @property {string} redis_url
 * @property {Record<string, string>} metrics
 * @property {string} log_dir one file per process
 * @property {() => Record<string, number>} pids of the processes that run right now, by name
 * @property {() => Promise<void>} stop idempotent; resolves when no process is left
 * @property {() => Promise<void>} kill the same without waiting for any process
 */

const API_PORT = 8779;
const READY_MS = 60_000;
/** A guest agent stops its database servers before it ends. */
const GUEST_GRACE_MS = 25_000;
const GRACE_MS = 10_000;

/**
 * @param {StackOptions} [options]
 * @returns {Promise<Stack>}
 */
export async function startStack(options = {}) {
  const { fresh = false, home, show, progress = createProgress() } = options;
  if (fresh) refuseForeignRedis();
  const session = await openSession({ home, fresh, ...(show && { show }), progress });
  /** @type {(() => Promise<void>)[]} how to stop everything that runs, in the order of its start */
  const stops = [session.close];
  const stop = once(async () => {
    for (const each of stops.reverse()) await each();
  });
  try {
    const urls = await bringUp(session, stops, { ...options, fresh, progress });
    return {
      ...urls,
      log_dir: session.paths.logs,
      pids: () => session.supervisor.pids(),
      stop,
      async kill() {
        session.supervisor.signalAll('SIGKILL');
        await endDatabaseServers(session.paths.guests);
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Starts everything in sequence, and records for each how to stop it.
 * @param {import('./session.mjs').Session} session
 * @param {(() => Promise<void>)[]} stops
 * @param {StackOptions & { fresh: boolean, progress: Progress }} options
 */
async function bringUp({ paths, supervisor }, stops, { fresh, progress, yes = false, signal, ...options }) {
  const apiPort = await chooseApiPort(options.ports?.api);
  if (fresh) emptyFolder(paths.guests);
  const [services] = await both(
    signal,
    (either) => startServices({ paths, supervisor, progress, fresh, yes, signal: either }),
    options.prepare ?? ((either) => setUp({ progress, signal: either })),
  );
  stops.push(services.stop);

  const { environmentOf = (_, environment) => environment, taskmanagers = 1 } = options;
  const specOf = guestSpecs(options.guestScript ?? built('guestagent'), (name) =>
    environmentOf(name, guestEnvironment(paths, services)),
  );
  const guests = new GuestKeeper({ folder: paths.guests, supervisor, specOf });
  stops.push(() => guests.stop());

  const core = coreEnvironment(paths, services, apiPort);
  const names = coreNames(taskmanagers);
  const ports = await ownPorts(paths.portsFile, names.map(metricsOf));
  const withMetrics = (/** @type {string} */ name) => ({
    ...environmentOf(name, core),
    COFFER_METRICS_PORT: String(ports[metricsOf(name)]),
  });
  const processes = options.processes?.(core) ?? coreProcesses(names, withMetrics);
  stops.push(async () => {
    await Promise.all(processes.map(({ name }) => supervisor.stop(name)));
  });
  for (const spec of processes) supervisor.start(spec);

  const urls = {
    api_url: `http://127.0.0.1:${apiPort}`,
    amqp_url: services.amqp_url,
    redis_url: services.redis_url,
    metrics: Object.fromEntries(
      names.map((name) => [name, `http://127.0.0.1:${ports[metricsOf(name)]}/metrics`]),
    ),
  };
  await progress.step('Starting Coffer', () => awaitProcesses(processes, urls.api_url, supervisor, signal));
  stops.push(publish(paths.stackFile, urls, supervisor));
  return urls;
}

/**
 * The environment of a guest agent. It gets neither Redis nor other instances' keys.
 * @param {import('./paths.mjs').Paths} paths
 * @param {{ amqp_url: string }} services
 */
function guestEnvironment(paths, { amqp_url }) {
  const { COFFER_REDIS_URL: _url, COFFER_MASTER_KEY: _key, ...inherited } = process.env;
  return {
    ...inherited,
    COFFER_AMQP_URL: amqp_url,
    COFFER_CACHE_DIR: paths.cache,
    COFFER_LOG_LEVEL: process.env['COFFER_LOG_LEVEL'] || 'info',
  };
}

/**
 * Created at the first start. Without this key the keys in Redis are useless, and the messages of guests
 * cannot be read.
 * @param {string} home
 */
function ownMasterKey(home) {
  const file = join(home, 'master-key');
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

/**
 * The environment of taskmanager and api.
 * @param {import('./paths.mjs').Paths} paths
 * @param {{ amqp_url: string, redis_url: string }} services
 * @param {number} apiPort
 */
function coreEnvironment(paths, services, apiPort) {
  return {
    ...guestEnvironment(paths, services),
    COFFER_REDIS_URL: services.redis_url,
    COFFER_API_HOST: '127.0.0.1',
    // Only this machine can reach it: there is nothing to encrypt, and no client would trust a certificate.
    COFFER_TLS_CERT: '',
    COFFER_TLS_KEY: '',
    COFFER_API_PORT: String(apiPort),
    COFFER_PROVISIONER: process.env['COFFER_PROVISIONER'] || 'local',
    COFFER_MASTER_KEY: process.env['COFFER_MASTER_KEY'] || ownMasterKey(paths.home),
    COFFER_GUESTS_DIR: paths.guests,
  };
}

/**
 * @param {string} script
 * @param {(name: string) => NodeJS.ProcessEnv} environmentOf
 * @returns {(name: string, folder: string) => Spec}
 */
function guestSpecs(script, environmentOf) {
  return (name, folder) => ({
    ...nodeProcess(processName(name), script, {
      ...environmentOf(processName(name)),
      COFFER_GUEST_DIR: folder,
    }),
    graceMs: GUEST_GRACE_MS,
    remnants: 'keep',
  });
}

/** @param {number} taskmanagers */
function coreNames(taskmanagers) {
  return [...taskmanagerNames(taskmanagers), 'api'];
}

/** @param {string} name of a process; the answer names its port */
function metricsOf(name) {
  return `${name}-metrics`;
}

/**
 * @param {readonly string[]} names
 * @param {(name: string) => NodeJS.ProcessEnv} environmentOf
 * @returns {Spec[]}
 */
function coreProcesses(names, environmentOf) {
  return names.map((name) => ({
    ...nodeProcess(name, built(name.replace(/-\d+$/, '')), environmentOf(name)),
    graceMs: GRACE_MS,
  }));
}

/** @param {number} count */
export function taskmanagerNames(count) {
  if (count === 1) return ['taskmanager'];
  return Array.from({ length: count }, (_, index) => `taskmanager-${index + 1}`);
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
function nodeProcess(name, script, env) {
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
  // The answer of the api stands for the stack; the other processes must only not be dying.
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
 * Writes stack.json and keeps it up to date.
 * @param {string} file
 * @param {{ api_url: string, amqp_url: string, redis_url: string, metrics: Record<string, string> }} urls
 * @param {import('./supervisor.mjs').Supervisor} supervisor
 * @returns {() => Promise<void>} removes it
 */
function publish(file, urls, supervisor) {
  const started_at = new Date().toISOString();
  let isOpen = true;
  const write = () => {
    if (isOpen) writeJson(file, { ...urls, pid: process.pid, pids: supervisor.pids(), started_at });
  };
  supervisor.onChange(write);
  write();
  return async () => {
    isOpen = false;
    rmSync(file, { force: true });
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
 * Runs both at the same time. When one fails, the other is told to stop and is waited for, so that nothing
 * continues to run during the clean-up.
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
