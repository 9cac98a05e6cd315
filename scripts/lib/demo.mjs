// @ts-check
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { counted } from './counted.mjs';
import { patiently } from './patience.mjs';
import { isFree } from './ports.mjs';
import { Problem } from './problem.mjs';

/**
 * The demo: a cluster of three PostgreSQL instances, a client that writes all the time, an upgrade during
 * these writes, and an honest report.
 *
 * @typedef {{ host: string, port: number }} Endpoint
 * @typedef {import('../../dist/client/index.js').CofferClient} CofferClient
 * @typedef {object} Result
 * @property {string} cluster_id
 * @property {string} from
 * @property {string} to
 * @property {number} instances
 * @property {number} acknowledged_writes
 * @property {number} lost_writes acknowledged, but missing afterwards
 * @property {number} write_outage_ms the longest time without any acknowledged write
 * @property {number} switchovers
 * @property {number} upgrade_seconds
 */

const FROM = '17.6';
const TO = '17.10';
const INSTANCES = 3;
const TENANT = 'demo';
const BUILD_TIMEOUT_MS = 180_000;
const UPGRADE_TIMEOUT_MS = 120_000;
/** The writer works for this time before and after the upgrade. */
const CALM_MS = 1_000;

/** The demo must not disturb this machine: if the usual port is taken, any other port will do. */
export async function demoPorts() {
  if (process.env['COFFER_API_PORT'] || (await isFree(8779))) return {};
  return { api: 0 };
}

/**
 * @param {object} options
 * @param {{ api_url: string }} options.stack
 * @param {boolean} [options.keep] do not remove the cluster
 * @param {boolean} [options.quiet] do not show the progress of the upgrade
 * @param {import('./progress.mjs').Progress} options.progress
 * @param {AbortSignal} options.signal
 * @returns {Promise<{ lines: string[], result: Result, isGood: boolean }>}
 */
export async function runDemo({ stack, keep = false, quiet = false, progress, signal }) {
  // Imported only now: the set-up has just installed and built the modules.
  const [{ createClient }, { renderProgress }, { startWriter, findLost, askVersions }] = await Promise.all([
    import('../../dist/client/index.js'),
    import('../../dist/cli/progress.js'),
    import('./writer.mjs'),
  ]);
  const endpoint = `${stack.api_url}/v1.0/${TENANT}`;
  const client = createClient({ endpoint });
  const account = { user: 'app', password: randomBytes(18).toString('base64url'), database: 'app' };
  const cluster = await createCluster(client, account, progress, signal);
  /** @type {Awaited<ReturnType<typeof startWriter>> | undefined} */
  let writer;
  try {
    const endpoints = cluster.instances.map(({ endpoint: own }) => /** @type {Endpoint} */ (own));
    writer = await startWriter(endpoints, account);
    await sleep(CALM_MS, undefined, { signal });
    if (!quiet) progress.line(`A client is writing to ${cluster.name}. Upgrading it from ${FROM} to ${TO}:`);

    const upgrade_id = await requestUpgrade(client, endpoint, cluster.id);
    const { stderr: stream } = process;
    await patiently(signal, UPGRADE_TIMEOUT_MS, (timeout) =>
      quiet
        ? client.upgrades.waitFor(upgrade_id, { signal: timeout })
        : renderProgress(client, upgrade_id, { stream, isTTY: stream.isTTY, signal: timeout }),
    );
    await sleep(CALM_MS, undefined, { signal });
    const written = await writer.stop();

    const upgrade = await client.upgrades.get(upgrade_id);
    const events = await client.upgrades.events(upgrade_id);
    const lost = await findLost(endpoints, account, written.acknowledged);
    const versions = await askVersions(endpoints, account);
    const result = {
      cluster_id: cluster.id,
      from: FROM,
      to: TO,
      instances: cluster.instances.length,
      acknowledged_writes: written.acknowledged.length,
      lost_writes: lost.length,
      write_outage_ms: written.outage_ms,
      switchovers: events.filter((event) => event.type === 'switched_over').length,
      upgrade_seconds: secondsBetween(upgrade.created, upgrade.ended),
    };
    const isGood =
      upgrade.state === 'succeeded' && lost.length === 0 && versions.every((version) => version === TO);
    return {
      lines: accountOf(result, upgrade, versions, keep ? howToGoOn(stack.api_url, cluster.name) : []),
      result,
      isGood,
    };
  } finally {
    await writer?.stop();
    if (!keep) await removeCluster(client, cluster.id, progress);
  }
}

/**
 * @param {CofferClient} client
 * @param {{ user: string, password: string, database: string }} account
 * @param {import('./progress.mjs').Progress} progress
 * @param {AbortSignal} signal
 */
async function createCluster(client, account, progress, signal) {
  const name = `demo-${randomBytes(3).toString('hex')}`;
  const created = await client.clusters.create({
    name,
    datastore: { type: 'postgresql', version: FROM },
    instances: Array.from({ length: INSTANCES }, () => ({})),
    databases: [{ name: account.database }],
    users: [{ name: account.user, password: account.password, databases: [{ name: account.database }] }],
  });
  const title = `Building ${name}: ${INSTANCES} PostgreSQL ${FROM} instances (the first time, their binaries are fetched)`;
  let isLate = false;
  try {
    return await progress.step(title, () =>
      patiently(signal, BUILD_TIMEOUT_MS, async (timeout) => {
        timeout.addEventListener('abort', () => {
          isLate = !signal.aborted;
        });
        await client.clusters.waitFor(created.id, { signal: timeout, intervalMs: 100 });
        return client.clusters.get(created.id);
      }),
    );
  } catch (error) {
    if (!isLate) throw error;
    const now = await client.clusters.get(created.id);
    const states = now.instances.map(
      (one) => `${one.name}: ${one.status}${one.fault ? ` (${one.fault.message})` : ''}`,
    );
    throw new Problem(
      `the cluster was not built within ${BUILD_TIMEOUT_MS / 1000} s: ${states.join('; ')}`,
      'The logs are in .coffer/logs.',
    );
  }
}

/**
 * The request of the specification, as any HTTP client would send it.
 * @param {CofferClient} client
 * @param {string} endpoint
 * @param {string} cluster_id
 */
async function requestUpgrade(client, endpoint, cluster_id) {
  const target = await client.datastores.version('postgresql', TO);
  const url = `${endpoint.replace('/v1.0/', '/v1/')}/cluster/${cluster_id}`;
  const answer = await fetch(url, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ cluster: { datastore_version: target.id } }),
  });
  if (answer.status !== 202)
    throw new Problem(`PATCH ${url} was answered ${answer.status}: ${await answer.text()}`);
  const { upgrade_id } = await client.clusters.get(cluster_id);
  if (!upgrade_id) throw new Problem('the cluster names no upgrade, though the request was accepted');
  return upgrade_id;
}

/**
 * @param {CofferClient} client
 * @param {string} cluster_id
 * @param {import('./progress.mjs').Progress} progress
 */
async function removeCluster(client, cluster_id, progress) {
  try {
    await client.clusters.delete(cluster_id);
    await progress.step('Removing the cluster', () =>
      client.clusters.waitUntilGone(cluster_id, { intervalMs: 100, signal: AbortSignal.timeout(30_000) }),
    );
  } catch (error) {
    // The cluster is busy, or the stack is stopping: only the report of the upgrade matters here.
    progress.line(`the cluster stays: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * @param {Result} result
 * @param {{ state: string, message?: string | null }} upgrade
 * @param {string[]} versions
 * @param {string[]} next
 */
function accountOf(result, upgrade, versions, next) {
  return [
    `The upgrade ${upgrade.state}${upgrade.message ? ` (${upgrade.message})` : ''} in ${result.upgrade_seconds} s.`,
    `The servers answer: ${versions.join(', ')}.`,
    `${result.acknowledged_writes} writes were acknowledged, ${result.lost_writes} of them lost.`,
    `Writes paused for ${result.write_outage_ms} ms at most, at ${counted(result.switchovers, 'switchover')}.`,
    ...next,
  ];
}

/**
 * @param {string} api_url
 * @param {string} name
 */
function howToGoOn(api_url, name) {
  const option = api_url.endsWith(':8779') ? '' : ` --endpoint ${api_url}/v1.0`;
  return [
    'To try next, in another terminal:',
    `  npx coffer cluster-list${option}`,
    `  npx coffer cluster-show ${name}${option}`,
    `  npx coffer cluster-create shop postgresql 17.5 --instances 3 --wait${option}`,
    `  npx coffer cluster-upgrade shop 17.10 --watch${option}`,
  ];
}

/**
 * @param {string} from
 * @param {string | null | undefined} to
 */
function secondsBetween(from, to) {
  return to ? Math.round(Date.parse(to) - Date.parse(from)) / 1000 : 0;
}
