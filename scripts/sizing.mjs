// @ts-check
// npm run sizing [-- --clusters N]: measures memory, for docs/operate.md, on a stack of its own: the memory of
// each process when nothing happens, and its largest while N simulated clusters of three instances are upgraded; the
// memory of a guest agent with a PostgreSQL server; the memory in Redis for a cluster and for a finished upgrade.
import '../bin/node-version.mjs';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { defaultHome } from './lib/paths.mjs';
import { messageOf, Problem, report } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { handleSignals } from './lib/signals.mjs';
import { startStack } from './lib/stack.mjs';

const IN_FLIGHT = 50;
/** Time in which connections settle, and garbage of the start is collected. */
const IDLE_MS = 10_000;
const USAGE = `usage: npm run sizing [-- options]

  --clusters N  how many simulated clusters are built and upgraded, ${IN_FLIGHT} at a time; default 500`;

/** @typedef {import('./lib/bench/fleet.mjs').Tools} Tools */

function readOptions() {
  try {
    const { values } = parseArgs({ options: { clusters: { type: 'string' }, help: { type: 'boolean' } } });
    if (values.help) return undefined;
    const { clusters = '500' } = values;
    if (!/^[1-9]\d{0,5}$/.test(clusters)) throw new Problem(`not a number of clusters: ${clusters}`, USAGE);
    return { clusters: Number(clusters) };
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(messageOf(error), USAGE);
  }
}

async function main() {
  const options = readOptions();
  if (!options) return void process.stdout.write(`${USAGE}\n`);
  if (!existsSync('/proc/self/status'))
    throw new Problem('there is no /proc here', 'It is measured on Linux.');
  delete process.env['COFFER_AMQP_URL'];
  delete process.env['COFFER_REDIS_URL'];
  const aborter = new AbortController();
  const { signal } = aborter;
  /** @type {import('./lib/stack.mjs').Stack | undefined} */
  let stack;
  handleSignals({
    onStop: () => {
      aborter.abort();
      void stack?.stop().then(() => process.exit(130));
    },
    onForce: () => void Promise.resolve(stack?.kill()).finally(() => process.exit(1)),
  });
  const progress = createProgress();
  stack = await startStack({
    home: join(defaultHome(), 'sizing'),
    fresh: true,
    ports: { api: 0 },
    progress,
    signal,
  });
  try {
    process.stdout.write(`${await measure(stack, options.clusters, progress)}\n`);
  } finally {
    await stack.stop();
  }
}

/**
 * @param {import('./lib/stack.mjs').Stack} stack
 * @param {number} size
 * @param {import('./lib/progress.mjs').Progress} progress
 */
async function measure(stack, size, progress) {
  // Imported only now: the set-up has just installed and built the modules.
  const { Redis } = await import('ioredis');
  const { openHttp } = await import('./lib/bench/http-load.mjs');
  const { buildFleet, due, until, upgradeFleet, VERSIONS } = await import('./lib/bench/fleet.mjs');
  const { rssKib, usedMemory, watchRss } = await import('./lib/bench/memory.mjs');
  // A figure that was measured over a broken connection is worthless.
  const redis = new Redis(stack.redis_url, { retryStrategy: () => null });
  const tools = { http: openHttp(stack.api_url), redis, prefix: 'coffer', openHttp };
  const settled = async () => {
    await until(async () => (await due(redis, 'coffer')).length === 0, 600_000, 'upgrades are left');
    await sleep(IDLE_MS);
    return usedMemory(redis);
  };
  await progress.step('Building a PostgreSQL cluster', () => buildPostgresql(tools, settled));
  const empty = await settled();
  const pids = stack.pids();
  const guest = Object.keys(pids).find((name) => name.startsWith('guest-') && name !== 'guest-simulated');
  const watched = ['api', 'taskmanager', guest ?? '', 'rabbitmq', 'redis'];
  const idle = watched.map((name) => rssKib(Number(pids[name])));

  const fleet = await progress.step(`Building ${size} clusters`, () => buildFleet(tools, 'sizing', size));
  const built = await settled();
  const peaks = watched.map((name) => watchRss(Number(pids[name])));
  await progress.step(`Upgrading them, ${IN_FLIGHT} at a time`, () =>
    upgradeFleet(tools, fleet, { to: VERSIONS[1], inFlight: IN_FLIGHT }),
  );
  await progress.step('Upgrading PostgreSQL', () => upgradePostgresql(tools, settled));
  const busy = await Promise.all(peaks.map((peak) => peak()));
  const finished = await settled();
  tools.http.close();
  redis.disconnect();
  const names = ['api', 'taskmanager', 'guest agent, less its PostgreSQL', 'RabbitMQ', 'Redis'];
  const mib = (/** @type {number | undefined} */ kib) => `${Math.round((kib ?? 0) / 1024)} MiB`;
  const kib = (/** @type {number} */ bytes) => `${(bytes / size / 1024).toFixed(1)} KiB`;
  return [
    `| | idle | at most while ${size} clusters are upgraded, ${IN_FLIGHT} at a time |`,
    '|---|--:|--:|',
    ...names.map((name, at) => `| ${name} | ${mib(idle[at])} | ${mib(busy[at])} |`),
    '',
    `Redis: ${kib(built - empty)} for each cluster of 3 instances, ${kib(finished - built)} for each finished upgrade of one.`,
  ].join('\n');
}

const POSTGRESQL = '/v1.0/postgresql/clusters';

/**
 * @param {Tools} tools
 * @param {() => Promise<number>} settled
 */
async function buildPostgresql({ http }, settled) {
  const datastore = { type: 'postgresql', version: '17.6' };
  const cluster = { name: 'sizing', datastore, instances: [{}, {}] };
  const { status, body } = await http.ask({ method: 'POST', path: POSTGRESQL, body: { cluster } });
  if (status !== 200) throw new Error(`a cluster could not be created: ${JSON.stringify(body)}`);
  await settled();
}

/**
 * @param {Tools} tools
 * @param {() => Promise<number>} settled
 */
async function upgradePostgresql({ http }, settled) {
  const body = { upgrade: { datastore_version: '17.10' } };
  const answer = await http.ask({ method: 'POST', path: `${POSTGRESQL}/sizing`, body });
  if (answer.status !== 202) throw new Error(`an upgrade was not accepted: ${JSON.stringify(answer.body)}`);
  await settled();
}

main().then(
  () => process.exit(),
  (error) => {
    report(error);
    process.exit(1);
  },
);
