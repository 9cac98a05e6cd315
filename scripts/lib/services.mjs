// @ts-check
import { mkdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { dockerAnswers, startContainers } from './containers.mjs';
import { tailOf } from './logs.mjs';
import { installCommands, installPackages } from './packages.mjs';
import { ownPorts } from './ports.mjs';
import { probeAmqp, probeRedis } from './probe.mjs';
import { messageOf, Problem, Stopped } from './problem.mjs';
import {
  findRabbitmq,
  RABBITMQ_PORTS,
  rabbitmqContainerUrl,
  rabbitmqPackage,
  rabbitmqRemedy,
  rabbitmqSpecs,
  rabbitmqUrl,
} from './rabbitmq.mjs';
import { findRedis, REDIS_PORTS, redisPackage, redisSpecs, redisUrl } from './redis.mjs';

/**
 * RabbitMQ and Redis, each from the first of these sources that exists:
 *
 * 1. the server that COFFER_AMQP_URL or COFFER_REDIS_URL names (for tests COFFER_TEST_AMQP_URL and so on): it
 *    is used unchanged, never started or emptied;
 * 2. a process of our own, from a program on this machine, or from one that could be installed;
 * 3. a container, when a Docker engine answers.
 *
 * @typedef {import('./paths.mjs').Paths} Paths
 * @typedef {import('./progress.mjs').Progress} Progress
 * @typedef {import('./supervisor.mjs').Supervisor} Supervisor
 * @typedef {import('./supervisor.mjs').Spec} Spec
 *
 * @typedef {object} Kind the facts about one of the two
 * @property {'rabbitmq' | 'redis'} name
 * @property {string} variable the end of the name of the environment variable with the URL of another server
 * @property {readonly string[]} protocols
 * @property {import('./packages.mjs').SystemPackage} package
 * @property {readonly string[]} ports
 * @property {() => Program | undefined} find
 * @property {(ports: Record<string, number>) => string} url
 * @property {(ports: Record<string, number>) => string} containerUrl
 * @property {(url: string) => Promise<void>} probe
 * @property {(log: string) => string} remedy what to do if it does not start
 * @typedef {(folder: string, ports: Record<string, number>) => Spec[]} Program
 *
 * @typedef {object} Options
 * @property {Paths} paths
 * @property {Supervisor} supervisor
 * @property {Progress} progress
 * @property {boolean} fresh begin with empty data
 * @property {boolean} yes install with sudo without asking
 * @property {'COFFER' | 'COFFER_TEST'} [prefix] of the environment variables
 * @property {AbortSignal | undefined} [signal]
 */

/** @type {Kind} */
const rabbitmq = {
  name: 'rabbitmq',
  variable: 'AMQP_URL',
  protocols: ['amqp:', 'amqps:'],
  package: rabbitmqPackage,
  ports: RABBITMQ_PORTS,
  find() {
    const binaries = findRabbitmq();
    return binaries && ((folder, ports) => rabbitmqSpecs(binaries, folder, ports));
  },
  url: rabbitmqUrl,
  containerUrl: rabbitmqContainerUrl,
  probe: probeAmqp,
  remedy: rabbitmqRemedy,
};

/** @type {Kind} */
const redis = {
  name: 'redis',
  variable: 'REDIS_URL',
  protocols: ['redis:', 'rediss:'],
  package: redisPackage,
  ports: REDIS_PORTS,
  find() {
    const server = findRedis();
    return server ? (folder, ports) => redisSpecs(server, folder, ports) : undefined;
  },
  url: redisUrl,
  containerUrl: redisUrl,
  probe: probeRedis,
  remedy: () => '`npm start -- --fresh` begins with empty data, if it is the data that is damaged.',
};

const KINDS = [rabbitmq, redis];
const READY_MS = 60_000;
const CONTAINER_READY_MS = 30_000;

/**
 * @param {Options} options
 * @returns {Promise<{ amqp_url: string, redis_url: string, stop: () => Promise<void> }>}
 */
export async function startServices(options) {
  const { paths, supervisor, fresh, prefix = 'COFFER' } = options;
  const given = new Map(KINDS.flatMap((kind) => givenUrl(kind, prefix)));
  const own = KINDS.filter((kind) => !given.has(kind));
  const ports = await ownPorts(
    paths.portsFile,
    own.flatMap((kind) => kind.ports),
  );

  const programs = await findOrInstall(own, options);
  const asProcess = own.filter((kind) => programs.has(kind));
  const asContainer = own.filter((kind) => !programs.has(kind));
  if (asContainer.length > 0) await demandDocker(asContainer, options);

  if (fresh) for (const kind of asProcess) rmSync(paths[kind.name], { recursive: true, force: true });
  /** @type {string[]} */
  const started = [];
  for (const [kind, program] of programs) {
    mkdirSync(paths[kind.name], { recursive: true, mode: 0o700 });
    for (const spec of program(paths[kind.name], ports)) {
      supervisor.start(spec);
      started.push(spec.name);
    }
  }
  const containers =
    asContainer.length > 0
      ? await startContainers({
          ...options,
          services: asContainer.map((k) => k.name),
          home: paths.home,
          ports,
        })
      : { stop: async () => {} };

  const origin = (/** @type {Kind} */ kind) =>
    given.has(kind) ? 'given' : programs.has(kind) ? 'process' : 'container';
  const url = (/** @type {Kind} */ kind) =>
    given.get(kind) ?? (programs.has(kind) ? kind.url(ports) : kind.containerUrl(ports));
  try {
    await Promise.all(KINDS.map((kind) => awaitService(kind, url(kind), origin(kind), options)));
  } catch (error) {
    await containers.stop();
    throw error;
  }
  return {
    amqp_url: url(rabbitmq),
    redis_url: url(redis),
    async stop() {
      await containers.stop();
      // All at the same time, except epmd, with which RabbitMQ still talks while it stops.
      await Promise.all(started.filter((name) => name !== 'epmd').map((name) => supervisor.stop(name)));
      await supervisor.stop('epmd');
    },
  };
}

/**
 * @param {Kind} kind
 * @param {string} prefix
 * @returns {[Kind, string][]} none or one
 */
function givenUrl(kind, prefix) {
  const variable = `${prefix}_${kind.variable}`;
  const text = process.env[variable];
  if (!text) return [];
  if (URL.canParse(text) && kind.protocols.includes(new URL(text).protocol)) return [[kind, text]];
  throw new Problem(
    `${variable} is not a URL of the form ${kind.protocols[0]}//user:password@host:port`,
    `Correct it, or unset it for a private ${kind.package.title}.`,
  );
}

/**
 * @param {readonly Kind[]} kinds
 * @param {Options} options
 * @returns {Promise<Map<Kind, Program>>} the services that have a program
 */
async function findOrInstall(kinds, { yes, progress, signal }) {
  const missing = kinds.filter((kind) => !kind.find());
  if (missing.length > 0) {
    try {
      const packages = missing.map((kind) => kind.package);
      await installPackages(packages, { yes, progress, signal });
    } catch (error) {
      // Docker may be available; if it is not, this error is the reason to report.
      if (error instanceof Stopped || !(await dockerAnswers(signal))) throw error;
    }
  }
  return new Map(
    kinds.flatMap((kind) => {
      const program = kind.find();
      return program ? [/** @type {[Kind, Program]} */ ([kind, program])] : [];
    }),
  );
}

/**
 * @param {readonly Kind[]} kinds
 * @param {Options} options
 */
async function demandDocker(kinds, { signal, prefix = 'COFFER' }) {
  if (await dockerAnswers(signal)) return;
  const titles = kinds.map((kind) => kind.package.title).join(' and ');
  const variables = kinds.map((kind) => `${prefix}_${kind.variable}`).join(' and ');
  throw new Problem(
    `${titles} not found, and no Docker engine answers`,
    [
      'Do one of these, then run the same command again:',
      installCommands(kinds.map((kind) => kind.package)),
      '  or add `-- --yes` to let Coffer install with sudo',
      '  or start Docker',
      `  or name servers that run already in ${variables}`,
    ].join('\n'),
  );
}

/**
 * @param {Kind} kind
 * @param {string} url
 * @param {'given' | 'container' | 'process'} origin
 * @param {Options} options
 */
async function awaitService(kind, url, origin, { progress, supervisor, signal, prefix = 'COFFER' }) {
  const title = kind.package.title;
  const probe = () => kind.probe(url);
  if (origin === 'process') {
    const remedy = () => kind.remedy(tailOf(supervisor.logOf(kind.name)));
    const patience = { supervisor, signal, remedy, readyMs: READY_MS };
    await progress.step(`Starting ${title}`, () => awaitReady(kind.name, probe, patience));
    return;
  }
  const isGiven = origin === 'given';
  const reason = await probeUntil(probe, isGiven ? 0 : CONTAINER_READY_MS, signal);
  if (reason === undefined) return;
  throw new Problem(
    `${title} at ${withoutPassword(url)} can't be used: ${reason}`,
    isGiven
      ? `Check ${prefix}_${kind.variable}, or unset it for a private ${title}.`
      : `\`docker compose logs ${kind.name}\` may tell why.`,
  );
}

/**
 * Probes until it succeeds or time is up.
 * @param {() => Promise<void>} probe
 * @param {number} patienceMs
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<string | undefined>} why the service is not ready; undefined when it is ready
 */
async function probeUntil(probe, patienceMs, signal) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    if (signal?.aborted) throw new Stopped();
    try {
      await probe();
      return undefined;
    } catch (error) {
      if (Date.now() >= deadline) return messageOf(error);
    }
    await sleep(200);
  }
}

/**
 * Asks a supervised process until it answers; gives up when it dies again and again or time runs out.
 * @param {string} name
 * @param {() => Promise<void>} probe
 * @param {{ supervisor: Supervisor, signal?: AbortSignal | undefined, remedy: () => string, readyMs: number }} options
 */
export async function awaitReady(name, probe, { supervisor, signal, remedy, readyMs }) {
  const deadline = Date.now() + readyMs;
  const giveUp = (/** @type {string} */ what) => {
    const log = supervisor.logOf(name);
    return new Problem(`${what}; its log (${log}) ends with:\n\n${tailOf(log)}\n`, remedy());
  };
  for (;;) {
    if (signal?.aborted) throw new Stopped();
    /** @type {unknown} */
    let reason;
    try {
      await probe();
      return;
    } catch (error) {
      reason = error;
    }
    if (supervisor.deaths(name) >= 3) throw giveUp(`${name} ends as soon as it is started`);
    if (Date.now() > deadline)
      throw giveUp(`${name} is not ready after ${readyMs / 1000} s (${messageOf(reason)})`);
    await sleep(30);
  }
}

/** @param {string} url */
function withoutPassword(url) {
  const shown = new URL(url);
  if (shown.password) shown.password = '***';
  return shown.href;
}
