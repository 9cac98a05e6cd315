// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { watchCpu } from './cpu.mjs';
import { figure, percentile } from './figures.mjs';
import { beginUpgrade, buildFleet, due, INSTANCES, until, upgradeFleet, VERSIONS } from './fleet.mjs';
import { openHttpFloor, openMessageFloor } from './floor.mjs';
import { forEach } from './http-load.mjs';
import { rssKib, usedMemory, watchRss } from './memory.mjs';
import { storeClusters } from './stored.mjs';
import { confirmedPublishMs, openTap } from './wire.mjs';

/**
 * The measurements, one function each; each returns its figures.
 *
 * @typedef {import('./figures.mjs').Figure} Figure
 * @typedef {import('./fleet.mjs').Tools} Tools
 *
 * @typedef {object} Bench
 * @property {Tools} tools
 * @property {import('../stack.mjs').Stack} stack with one taskmanager
 * @property {Sizes} sizes
 * @property {(text: string) => void} tell
 *
 * @typedef {object} Sizes
 * @property {number} few clusters in flight, usually
 * @property {number} many clusters in flight
 * @property {number} rounds how often the usual number is upgraded
 * @property {number} alone upgrades of one cluster with nothing else running
 * @property {number} stored clusters that are only stored
 * @property {number} seconds of requests over HTTP
 * @property {number} held upgrades in flight when a taskmanager is killed
 * @property {number} batch clusters of a batch
 */

/** @type {Sizes} */
export const FULL = {
  few: 100,
  many: 5_000,
  rounds: 6,
  alone: 30,
  stored: 100_000,
  seconds: 5,
  held: 1_000,
  batch: 2_000,
};
/** Only checks that the benchmark runs; its figures mean little. */
export const QUICK = {
  few: 20,
  many: 100,
  rounds: 2,
  alone: 5,
  stored: 2_000,
  seconds: 1,
  held: 50,
  batch: 60,
};

const [, NEXT, LAST] = VERSIONS;
const EXCHANGE = 'trove';
const AT_ONCE = 64;

/**
 * Upgrades many clusters at once, and one alone.
 * @param {Bench} bench
 * @returns {Promise<Figure[]>}
 */
export async function flow({ tools, stack, sizes, tell }) {
  tell('the floor of the message flow');
  const floor = await openMessageFloor(stack);
  const clusters = sizes.few * sizes.rounds;
  await floor.run(sizes.few, sizes.few);
  const floorRate = rateOf(clusters, await floor.run(clusters, sizes.few));
  const floorAlone = [];
  for (let each = 0; each < sizes.alone; each++) floorAlone.push(await floor.run(1, 1));
  await floor.close();

  tell(`building ${clusters} clusters`);
  const fleet = await buildFleet(tools, 'bench-few', clusters);
  await upgradeFleet(
    tools,
    { ...fleet, clusters: fleet.clusters.slice(0, sizes.few) },
    { to: NEXT, inFlight: sizes.few },
  );
  tell(`upgrading them, ${sizes.few} in flight`);
  const cpu = watchCpu(stack.pids());
  const { ms } = await upgradeFleet(tools, fleet, { to: LAST, inFlight: sizes.few });
  const rate = rateOf(clusters, ms);
  const costs = cpu('instance upgrade', clusters * INSTANCES);

  tell('one cluster alone');
  const aloneMs = await oneByOne(tools, stack, sizes.alone);
  return [
    figure(`instance upgrades per second, ${sizes.few} clusters in flight`, '/s', rate, {
      floor: floorRate,
      atLeast: 0.6,
    }),
    ...costs,
    figure('one cluster of 3 alone, 202 to succeeded, p50', 'ms', percentile(aloneMs.whole, 0.5), {
      floor: percentile(floorAlone, 0.5),
      atMost: 2.5,
    }),
    figure("from one instance's report to the next one's cast, p50", 'ms', percentile(aloneMs.dead, 0.5), {
      floor: await confirmedPublishMs(stack.amqp_url),
      atMost: 3,
    }),
    ...(await manyInFlight({ tools, stack, sizes, tell }, rate)),
  ];
}

/**
 * @param {Tools} tools
 * @param {import('../stack.mjs').Stack} stack
 * @param {number} times
 */
async function oneByOne({ http, redis, prefix }, stack, times) {
  const fleet = await buildFleet({ http, redis, prefix }, 'bench-alone', times);
  const tap = await openTap(stack.amqp_url, EXCHANGE);
  const whole = [];
  const dead = [];
  for (const cluster of fleet.clusters) {
    tap.forget();
    const id = await beginUpgrade(http, fleet, cluster, NEXT);
    const accepted = Date.now();
    await until(async () => !(await due(redis, prefix)).includes(`upgrade:${id}`), 60_000, 'it does not end');
    const { body } = await http.ask({ path: `${fleet.path}/upgrades/${id}` });
    whole.push(Date.parse(body.upgrade.ended) - accepted);
    dead.push(...tap.deadTimes());
  }
  await tap.close();
  return { whole, dead };
}

/**
 * @param {Bench} bench
 * @param {number} fewRate
 * @returns {Promise<Figure[]>}
 */
async function manyInFlight({ tools, stack, sizes, tell }, fewRate) {
  tell(`building ${sizes.many} clusters`);
  const pid = Number(stack.pids()['taskmanager']);
  const fleet = await buildFleet(tools, 'bench-many', sizes.many);
  tell('upgrading them, all in flight');
  const idle = rssKib(pid);
  const before = await usedMemory(tools.redis);
  const peakOf = watchRss(pid);
  const { ms } = await upgradeFleet(tools, fleet, { to: NEXT, inFlight: sizes.many });
  const peak = await peakOf();
  await settled(tools);
  const after = await usedMemory(tools.redis);
  return [
    figure(`instance upgrades per second, ${sizes.many} clusters in flight`, '/s', rateOf(sizes.many, ms), {
      floor: fewRate,
      atLeast: 0.85,
    }),
    figure('taskmanager memory per upgrade in flight', 'KiB', (peak - idle) / sizes.many, { atMost: 20 }),
    figure('Redis memory per finished upgrade of 3 instances', 'KiB', (after - before) / sizes.many / 1024, {
      atMost: 8,
    }),
  ];
}

/**
 * Measures the api alone: the processes that would take up the work are halted meanwhile, because the floor
 * has no such processes either.
 * @param {Bench} bench
 * @returns {Promise<Figure[]>}
 */
export async function http({ tools, stack, sizes, tell }) {
  tell('requests over HTTP');
  const fleet = await buildFleet(tools, 'bench-http', sizes.many);
  const floor = await openHttpFloor(stack);
  const bare = tools.openHttp(floor.url);
  const load = { seconds: sizes.seconds, atOnce: AT_ONCE };
  const floors = {
    post: await bare.rate(() => ({ method: 'POST', path: '/', body: { a: 1 } }), load),
    one: await bare.rate(() => ({ path: '/one' }), load),
    page: await bare.rate(() => ({ path: '/page' }), load),
  };
  bare.close();
  await floor.close();

  const halted = Object.entries(stack.pids()).filter(
    ([name]) => name === 'taskmanager' || name.startsWith('guest-'),
  );
  for (const [, pid] of halted) process.kill(pid, 'SIGSTOP');
  const cpu = watchCpu(apiOf(stack));
  const began = performance.now();
  try {
    await forEach(fleet.clusters, AT_ONCE, (cluster) => beginUpgrade(tools.http, fleet, cluster, NEXT));
  } finally {
    for (const [, pid] of halted) process.kill(pid, 'SIGCONT');
  }
  const accepted = (fleet.clusters.length * 1000) / (performance.now() - began);
  const costs = cpu('upgrade request', fleet.clusters.length);
  await settled(tools);
  return [
    figure('upgrade requests accepted per second', '/s', accepted, { floor: floors.post, atLeast: 0.6 }),
    ...costs,
    ...(await reads({ tools, stack, sizes, tell }, floors)),
  ];
}

/**
 * @param {Bench} bench
 * @param {{ one: number, page: number }} floors
 * @returns {Promise<Figure[]>}
 */
async function reads({ tools, stack, sizes, tell }, floors) {
  tell(`storing 1,000 and ${sizes.stored.toLocaleString('en')} clusters`);
  const { redis_url } = stack;
  const { prefix, http: client } = tools;
  const [small = ''] = await storeClusters({ redis_url, prefix, tenant: 'bench-small', size: 1_000 });
  await storeClusters({ redis_url, prefix, tenant: 'bench-large', size: sizes.stored });
  const load = { seconds: sizes.seconds, atOnce: AT_ONCE };
  const page = (/** @type {string} */ tenant) =>
    client.rate(() => ({ path: `/v1.0/${tenant}/clusters?limit=20` }), load);
  const cpu = watchCpu(apiOf(stack));
  const one = await client.rate(() => ({ path: `/v1.0/bench-small/clusters/${small}` }), load);
  const costs = cpu('GET of one cluster', one * load.seconds);
  const [few, many] = [await page('bench-small'), await page('bench-large')];
  return [
    figure('GET one cluster', '/s', one, { floor: floors.one, atLeast: 0.6 }),
    ...costs,
    figure(`GET a page of 20, ${sizes.stored.toLocaleString('en')} clusters stored`, '/s', many, {
      floor: floors.page,
      atLeast: 0.6,
    }),
    figure('the same page with 1,000 stored takes', '× as long', few / many, { atMost: 1.3 }),
  ];
}

/** @param {import('../stack.mjs').Stack} stack */
function apiOf(stack) {
  return { api: Number(stack.pids()['api']) };
}

/**
 * Two taskmanagers, one of which is killed: how long until the other continues the upgrades that the dead one
 * had?
 * @param {Bench} bench whose stack has two taskmanagers
 * @returns {Promise<Figure[]>}
 */
export async function takeover({ tools, stack, sizes, tell }) {
  tell(`${sizes.held} upgrades in flight, one of two taskmanagers killed`);
  const { redis, prefix } = tools;
  const fleet = await buildFleet(tools, 'bench-held', sizes.held);
  let killed = 0;
  /** @type {string[]} */
  let active = [];
  const { upgrades } = await upgradeFleet(tools, fleet, {
    to: NEXT,
    inFlight: sizes.held,
    async onFull() {
      active = (await due(redis, prefix)).filter((member) => member.startsWith('upgrade:'));
      process.kill(Number(stack.pids()['taskmanager-1']), 'SIGKILL');
      killed = Date.now();
    },
  });
  const held = new Set(active.map((member) => member.slice('upgrade:'.length)));
  const gaps = [];
  for (const id of upgrades.filter((each) => held.has(each))) {
    const events = await redis.xrange(`${prefix}:upgrade:${id}:events`, '-', '+');
    const times = events.map(([, fields]) => Number(JSON.parse(fields[1] ?? '{}').at));
    const next = times.find((at) => at >= killed);
    if (next !== undefined) gaps.push(next - killed);
  }
  tell(`${gaps.length} upgrades were in flight at the kill`);
  return [
    figure(
      'after a kill: first progress of an upgrade in flight, p50',
      's',
      percentile(gaps, 0.5) / 1000,
      {},
    ),
    figure('after a kill: first progress of an upgrade in flight, p99', 's', percentile(gaps, 0.99) / 1000, {
      atMost: 2,
    }),
  ];
}

/**
 * One batch against the same clusters upgraded by single requests, with equally many in flight both times.
 * @param {Bench} bench
 * @returns {Promise<Figure[]>}
 */
export async function batch({ tools, sizes, tell }) {
  const { http, redis, prefix } = tools;
  tell(`${sizes.batch} clusters by requests of their own, ${sizes.few} in flight`);
  const fleet = await buildFleet(tools, 'bench-batch', sizes.batch);
  const { ms: singleMs } = await upgradeFleet(tools, fleet, { to: NEXT, inFlight: sizes.few });
  await settled(tools);

  tell('the same clusters in one batch');
  const request = {
    datastore_version: LAST,
    clusters: fleet.clusters,
    waves: [{ max_concurrent: sizes.few }],
  };
  const began = performance.now();
  const path = `${fleet.path}/upgrade-batches`;
  const answer = await http.ask({ method: 'POST', path, body: { batch: request } });
  if (answer.status !== 202) throw new Error(`the batch was not accepted: ${JSON.stringify(answer.body)}`);
  const member = `batch:${answer.body.batch.id}`;
  await until(async () => !(await due(redis, prefix)).includes(member), 600_000, 'the batch does not end');
  const ms = performance.now() - began;
  const { body } = await http.ask({ path: `${path}/${answer.body.batch.id}` });
  if (body.batch.state !== 'succeeded') throw new Error(`the batch ended ${JSON.stringify(body.batch)}`);
  return [
    figure(`batch of ${sizes.batch} clusters of 3: clusters per second`, '/s', (sizes.batch * 1000) / ms, {
      floor: (sizes.batch * 1000) / singleMs,
      atLeast: 0.8,
    }),
  ];
}

/** @param {Tools} tools */
async function settled({ redis, prefix }) {
  await until(async () => (await due(redis, prefix)).length === 0, 600_000, 'upgrades are left');
  // Time for heartbeats that the load had held up.
  await sleep(2_000);
}

/**
 * @param {number} clusters
 * @param {number} ms
 */
function rateOf(clusters, ms) {
  return (clusters * INSTANCES * 1000) / ms;
}
