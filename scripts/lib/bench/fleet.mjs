// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { forEach } from './http-load.mjs';

/**
 * Simulated clusters of three instances, created and upgraded over HTTP as a user would. The benchmark reads
 * from Redis whether upgrades have ended: a benchmark that asked the api would measure itself.
 *
 * @typedef {ReturnType<typeof import('./http-load.mjs')['openHttp']>} Http
 * @typedef {{ http: Http, redis: import("ioredis").Redis, prefix: string, openHttp: typeof import("./http-load.mjs")["openHttp"] }} Tools
 * @typedef {{ path: string, clusters: readonly string[] }} Fleet `path` of the tenant; ids
 */

export const INSTANCES = 3;
/** No version is a downgrade from the one before: a cluster can be upgraded once per further version. */
export const VERSIONS = ['1.0', '1.1', '2.0'];
const BUILD_MS = 600_000;
const UPGRADE_MS = 600_000;
const AT_ONCE = 32;
const POLL_MS = 10;
/**
 * Reading a long list takes time from the measured processes: the benchmark's reads take no more than a
 * twentieth.
 */
const PAUSES_PER_LOOK = 20;

/**
 * @param {Tools} tools
 * @param {string} tenant
 * @param {number} size
 * @returns {Promise<Fleet>}
 */
export async function buildFleet({ http, redis, prefix }, tenant, size) {
  const path = `/v1.0/${tenant}`;
  /** @type {string[]} */
  const clusters = [];
  await forEach([...Array(size).keys()], AT_ONCE, async (index) => {
    const instances = Array.from({ length: INSTANCES }, () => ({}));
    const cluster = {
      name: `bench-${index}`,
      datastore: { type: 'simulated', version: VERSIONS[0] },
      instances,
    };
    const { status, body } = await http.ask({ method: 'POST', path: `${path}/clusters`, body: { cluster } });
    if (status !== 200) throw new Error(`a cluster could not be created: ${JSON.stringify(body)}`);
    clusters.push(body.cluster.id);
  });
  const isBuilding = async () => (await due(redis, prefix)).some((member) => member.startsWith('cluster:'));
  await until(async () => !(await isBuilding()), BUILD_MS, 'the fleet is not built');
  return { path, clusters };
}

/**
 * Upgrades every cluster of the fleet, `inFlight` at a time, and waits until the last upgrade has ended.
 * @param {Tools} tools
 * @param {Fleet} fleet
 * @param {{ to: string | undefined, inFlight: number, onFull?: () => Promise<void> | void }} options
 *   `onFull`: called once, when `inFlight` upgrades have begun
 * @returns {Promise<{ ms: number, upgrades: string[] }>} from the first request to the end of the last upgrade
 */
export async function upgradeFleet(tools, fleet, { to, inFlight, onFull }) {
  const { redis, prefix } = tools;
  /** @type {string[]} */
  const upgrades = [];
  /** @type {Map<string, () => void>} */
  const open = new Map();
  const watching = new AbortController();
  const watcher = watchEnds({ redis, prefix, open, signal: watching.signal });
  const began = performance.now();
  await forEach(fleet.clusters, inFlight, async (cluster) => {
    const id = await beginUpgrade(tools.http, fleet, cluster, to);
    upgrades.push(id);
    const ended = new Promise((done) => open.set(id, () => done(undefined)));
    // Some upgrades may have ended already: what matters is that no more are to begin.
    if (upgrades.length === Math.min(inFlight, fleet.clusters.length)) await onFull?.();
    await ended;
  });
  const ms = performance.now() - began;
  watching.abort();
  await watcher;
  return { ms, upgrades };
}

/**
 * @param {Http} http
 * @param {Fleet} fleet
 * @param {string} cluster
 * @param {string | undefined} to
 * @returns {Promise<string>} the upgrade's id, as soon as it is accepted
 */
export async function beginUpgrade(http, { path }, cluster, to) {
  const body = { upgrade: { datastore_version: to } };
  const answer = await http.ask({ method: 'POST', path: `${path}/clusters/${cluster}`, body });
  if (answer.status !== 202) throw new Error(`an upgrade was not accepted: ${JSON.stringify(answer.body)}`);
  return answer.body.cluster.upgrade_id;
}

/**
 * Everything that waits for time or work, from the store's own list; upgrades that have ended are not in the
 * list.
 * @param {import('ioredis').Redis} redis
 * @param {string} prefix
 */
export function due(redis, prefix) {
  return redis.zrange(`${prefix}:due`, '0', '-1');
}

/** @param {{ redis: import('ioredis').Redis, prefix: string, open: Map<string, () => void>, signal: AbortSignal }} options */
async function watchEnds({ redis, prefix, open, signal }) {
  let moved = performance.now();
  while (!signal.aborted) {
    const began = performance.now();
    // Upgrades that began after the read are not in the list either.
    const known = [...open.keys()];
    const active = new Set(await due(redis, prefix));
    for (const id of known) {
      if (active.has(`upgrade:${id}`)) continue;
      open.get(id)?.();
      open.delete(id);
      moved = performance.now();
    }
    if (open.size > 0 && performance.now() - moved > UPGRADE_MS) throw new Error('no upgrade ends any more');
    await pauseAfter(performance.now() - began);
  }
}

/**
 * @param {() => Promise<boolean>} holds
 * @param {number} patienceMs
 * @param {string} complaint
 */
export async function until(holds, patienceMs, complaint) {
  const end = performance.now() + patienceMs;
  for (;;) {
    const began = performance.now();
    if (await holds()) return;
    if (performance.now() > end) throw new Error(complaint);
    await pauseAfter(performance.now() - began);
  }
}

/** @param {number} lookMs how long the read took */
function pauseAfter(lookMs) {
  return sleep(Math.max(POLL_MS, lookMs * PAUSES_PER_LOOK));
}
