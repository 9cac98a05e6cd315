// @ts-check
import { join } from 'node:path';
import { mustRun, run, which } from './command.mjs';
import { projectRoot, shortHash } from './paths.mjs';

/**
 * RabbitMQ and Redis as containers of docker-compose.yml: for a machine that has a Docker engine but
 * neither the programs nor the right to install them.
 *
 * @typedef {import('./progress.mjs').Progress} Progress
 * @typedef {'rabbitmq' | 'redis'} Service
 */

/** @param {AbortSignal | undefined} signal */
export async function dockerAnswers(signal) {
  const docker = which('docker');
  if (!docker) return false;
  const engine = await run(docker, ['info', '--format', '{{.ServerVersion}}'], { signal });
  return engine.code === 0 && (await run(docker, ['compose', 'version'], { signal })).code === 0;
}

/**
 * @param {object} options
 * @param {readonly Service[]} options.services
 * @param {string} options.home its containers and volumes are named after it
 * @param {Record<string, number>} options.ports
 * @param {boolean} options.fresh
 * @param {Progress} options.progress
 * @param {AbortSignal | undefined} [options.signal]
 */
export async function startContainers({ services, home, ports, fresh, progress, signal }) {
  const docker = which('docker') ?? 'docker';
  const env = {
    ...process.env,
    COFFER_RABBITMQ_PORT: String(ports['rabbitmq']),
    COFFER_REDIS_PORT: String(ports['redis']),
  };
  const project = [
    'compose',
    '-f',
    join(projectRoot, 'docker-compose.yml'),
    '-p',
    `coffer-${shortHash(home)}`,
  ];
  /** @param {readonly string[]} args */
  const compose = (args, failure = 'docker compose failed') =>
    mustRun(docker, [...project, ...args], { env, failure });

  if (fresh) await progress.step('Emptying the containers', () => compose(['down', '--volumes']));
  await progress.step(`Starting ${services.join(' and ')} (Docker)`, (update) =>
    mustRun(docker, [...project, 'up', '--detach', '--wait', ...services], {
      env,
      onLine: update,
      signal,
      failure: 'the containers did not start',
    }),
  );
  return { stop: () => compose(['stop', ...services], 'the containers did not stop').then(() => {}) };
}
