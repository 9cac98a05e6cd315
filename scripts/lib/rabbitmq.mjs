// @ts-check
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isProgram, which } from './command.mjs';

/**
 * A RabbitMQ of our own, with its own node name, cookie, epmd, ports and data, all on 127.0.0.1. Nothing of a
 * RabbitMQ that the machine already runs is read or touched.
 *
 * @typedef {import('./supervisor.mjs').Spec} Spec
 * @typedef {{ server: string, epmd: string, programs: string }} Binaries
 */

export const rabbitmqPackage = {
  title: 'RabbitMQ',
  apt: 'rabbitmq-server',
  brew: 'rabbitmq',
  unit: 'rabbitmq-server',
};

export const RABBITMQ_PORTS = ['rabbitmq', 'rabbitmq-distribution', 'epmd'];

const BREW_PREFIXES = ['/opt/homebrew', '/usr/local', '/home/linuxbrew/.linuxbrew'];

/** @returns {Binaries | undefined} */
export function findRabbitmq() {
  const server = candidates().find(isServerScript);
  const brewBins = BREW_PREFIXES.flatMap((p) => [`${p}/bin`, `${p}/opt/erlang/bin`]);
  const erl = which('erl', ['/usr/bin', ...brewBins]);
  const epmd = which('epmd', ['/usr/bin', ...brewBins, ...epmdBeside(erl)]);
  return server && erl && epmd ? { server, epmd, programs: dirname(erl) } : undefined;
}

function candidates() {
  const debian = '/usr/lib/rabbitmq';
  const versions = existsSync(`${debian}/lib`) ? readdirSync(`${debian}/lib`) : [];
  return [
    ...(which('rabbitmq-server') ? [String(which('rabbitmq-server'))] : []),
    `${debian}/bin/rabbitmq-server`,
    ...versions.map((version) => `${debian}/lib/${version}/sbin/rabbitmq-server`),
    ...BREW_PREFIXES.map((prefix) => `${prefix}/opt/rabbitmq/sbin/rabbitmq-server`),
  ];
}

/**
 * Linux packages put a wrapper on PATH that changes to a user of their own and to the system's data. The real
 * script has the same name behind all links, and has its companion beside it.
 * @param {string} path
 */
function isServerScript(path) {
  if (!isProgram(path)) return false;
  const script = realpathSync(path);
  return basename(script) === 'rabbitmq-server' && existsSync(join(dirname(script), 'rabbitmq-env'));
}

/**
 * Some packages install epmd only with the Erlang runtime.
 * @param {string | undefined} erl
 */
function epmdBeside(erl) {
  if (!erl) return [];
  const root = join(dirname(realpathSync(erl)), '..');
  return readdirSync(root)
    .filter((name) => name.startsWith('erts-'))
    .map((name) => join(root, name, 'bin'));
}

/**
 * The processes, in the order of their start. RabbitMQ would start an epmd by itself, as a daemon that
 * outlives it; if our epmd runs already, RabbitMQ starts none.
 * @param {Binaries} binaries
 * @param {string} folder
 * @param {Record<string, number>} ports
 * @returns {Spec[]}
 */
export function rabbitmqSpecs(binaries, folder, ports) {
  prepareFolder(folder, Number(ports['rabbitmq']));
  const env = environment(binaries, folder, ports);
  const epmdArgs = ['-address', '127.0.0.1', '-port', String(ports['epmd'])];
  return [
    { name: 'epmd', command: binaries.epmd, args: epmdArgs, env, cwd: folder, graceMs: 2_000 },
    { name: 'rabbitmq', command: binaries.server, args: [], env, cwd: folder, graceMs: 15_000 },
  ];
}

/** @param {Record<string, number>} ports */
export function rabbitmqUrl(ports) {
  return `amqp://guest:guest@127.0.0.1:${ports['rabbitmq']}`;
}

/**
 * As docker-compose.yml sets it up; the user `guest` may not connect from outside of a container.
 * @param {Record<string, number>} ports
 */
export function rabbitmqContainerUrl(ports) {
  const password = process.env['COFFER_RABBITMQ_PASSWORD'] || 'coffer';
  return `amqp://coffer:${encodeURIComponent(password)}@127.0.0.1:${ports['rabbitmq']}`;
}

/**
 * @param {string} folder
 * @param {number} port
 */
function prepareFolder(folder, port) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // RabbitMQ creates only the last part of these paths by itself.
  for (const name of ['data', 'log']) mkdirSync(join(folder, name), { recursive: true });
  const cookie = join(folder, '.erlang.cookie');
  if (!existsSync(cookie)) writeFileSync(cookie, randomBytes(24).toString('hex'));
  chmodSync(cookie, 0o400); // Erlang requires this mode
  writeFileSync(join(folder, 'env.conf'), '# Empty, so that the system-wide one is not read.\n');
  writeFileSync(join(folder, 'enabled_plugins'), '[].\n');
  writeFileSync(
    join(folder, 'rabbitmq.conf'),
    [
      '# Written by Coffer at every start.',
      `listeners.tcp.default = 127.0.0.1:${port}`,
      '# The write-ahead log of quorum queues is kept in memory up to this size; the default is 512 MB.',
      'raft.wal_max_size_bytes = 67108864',
      '',
    ].join('\n'),
  );
}

/**
 * @param {Binaries} binaries
 * @param {string} folder
 * @param {Record<string, number>} ports
 */
function environment(binaries, folder, ports) {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(RABBITMQ_|ERL_|NOTIFY_)/.test(name));
  const distribution = ports['rabbitmq-distribution'];
  return {
    ...Object.fromEntries(inherited),
    PATH: `${binaries.programs}:${process.env['PATH'] ?? ''}`,
    HOME: folder, // Erlang looks for the cookie here
    ERL_EPMD_PORT: String(ports['epmd']),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: 'coffer@localhost',
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_CONF_ENV_FILE: join(folder, 'env.conf'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: erlangFlags(),
    // The start script becomes the server instead of waiting for it: our signals reach the server.
    detached: 'true',
  };
}

/**
 * A short busy wait of the schedulers halves the time of a start (from 4.6 s to 2.3 s, measured with 3.10 on
 * two cores, where sleeping threads are slow to wake). When the server is idle, it costs less than 1% of a
 * core.
 */
function erlangFlags() {
  return '+sbwt short +sbwtdio short -kernel inet_dist_use_interface {127,0,0,1}';
}

/** @param {string} log the end of RabbitMQ's log */
export function rabbitmqRemedy(log) {
  if (/inconsistent_database|cannot_read|bad_log|corrupt|failed_to_start_child,rabbit_vhost/.test(log)) {
    return 'Its data may be damaged: `npm start -- --fresh` begins with empty data.';
  }
  return 'If it does not start the next time either, `npm start -- --fresh` begins with empty data.';
}
