// @ts-check
import { createClient } from '../../../dist/client/index.js';
import { sleepOr } from './faults.mjs';

/**
 * A small fleet that batches upgrade from version to version, one batch after the other, while faults are
 * injected: every accepted batch must end, with each cluster accounted for.
 *
 * @typedef {import('../../../dist/client/index.js').BatchDocument} BatchDocument
 * @typedef {import('../../../dist/client/index.js').CofferClient} CofferClient
 *
 * @typedef {object} BatchOutcome
 * @property {number} accepted
 * @property {Record<string, number>} ended batches by state
 * @property {Record<string, number>} clusters members of all batches by state
 * @property {string[]} lost G1: batches that have not ended in time, or whose clusters are not all accounted for
 * @property {string[]} untrue G5: statements in the record of a batch that a cluster contradicts
 * @property {string[]} gaps G9
 */

const TENANT = 'chaos-batches';
const CLUSTERS = 6;
const VERSIONS = ['1.1', '2.0'];
const REQUEST_MS = 10_000;
const POLL_MS = 500;
const ENDED = ['succeeded', 'incomplete', 'cancelled'];

/**
 * @param {object} options
 * @param {string} options.api_url
 * @param {AbortSignal} options.closing from now on nothing new is begun
 * @param {AbortSignal} options.over the time to settle is over: all waiting ends
 * @returns {Promise<BatchOutcome>}
 */
export async function runBatches({ api_url, closing, over }) {
  const client = createClient({ endpoint: `${api_url}/v1.0/${TENANT}`, timeoutMs: REQUEST_MS });
  /** @type {BatchOutcome} */
  const outcome = { accepted: 0, ended: {}, clusters: {}, lost: [], untrue: [], gaps: [] };
  for (let round = 1; !closing.aborted; round++) {
    const tag = `round-${round}`;
    if (!(await buildFleet(client, tag, { closing, over }))) continue;
    for (const version of VERSIONS) {
      if (closing.aborted) break;
      const id = await begin(client, { tag, version, name: `${tag} to ${version}` }, over);
      if (id === undefined) break;
      outcome.accepted += 1;
      await follow(client, id, version, { over, outcome });
    }
    await removeFleet(client, tag, over);
  }
  return outcome;
}

/**
 * Sends the request until an answer comes. Each request carries its own name, so that a batch that an earlier
 * try has created is found.
 * @template T
 * @param {AbortSignal} until
 * @param {() => Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
async function insist(until, work) {
  while (!until.aborted) {
    try {
      return await work();
    } catch (error) {
      if (!(/** @type {any} */ (error)?.isTemporary)) throw error;
      await sleepOr(until, POLL_MS);
    }
  }
  return undefined;
}

/**
 * @param {CofferClient} client
 * @param {string} tag
 * @param {{ closing: AbortSignal, over: AbortSignal }} signals
 */
async function buildFleet(client, tag, { closing, over }) {
  for (let index = 0; index < CLUSTERS; index++) {
    const name = `${tag}-${index}`;
    await insist(closing, async () => {
      if (await isThere(client, name)) return;
      const extended_properties = { simulated: { upgrade_ms: 200 }, tags: [tag] };
      const datastore = { type: 'simulated', version: '1.0' };
      await client.clusters.create({ name, datastore, instances: [{}], extended_properties });
    });
  }
  while (!over.aborted) {
    const fleet = (await insist(over, () => fleetOf(client, tag))) ?? [];
    if (fleet.length === CLUSTERS && fleet.every(({ task }) => task.name === 'NONE')) return true;
    if (closing.aborted) return false;
    await sleepOr(over, POLL_MS);
  }
  return false;
}

/** @param {CofferClient} client @param {string} name */
async function isThere(client, name) {
  for await (const cluster of client.clusters.list()) if (cluster.name === name) return true;
  return false;
}

/** @param {CofferClient} client @param {string} tag */
async function fleetOf(client, tag) {
  const fleet = [];
  for await (const cluster of client.clusters.list())
    if (cluster.name.startsWith(`${tag}-`)) fleet.push(cluster);
  return fleet;
}

/**
 * @param {CofferClient} client
 * @param {{ tag: string, version: string, name: string }} wanted
 * @param {AbortSignal} over
 */
function begin(client, { tag, version, name }, over) {
  return insist(over, async () => {
    for await (const batch of client.batches.list()) if (batch.name === name) return batch.id;
    const { batch } = await client.batches.create({
      ...{ name, datastore_version: version, selector: { tag } },
      waves: [
        { share: 1, failure_budget: 0 },
        { max_concurrent: 3, failure_budget: 1 },
      ],
      policy: { retries: 5 },
    });
    return batch.id;
  });
}

/**
 * Follows a batch to its end; a person lets it continue when it pauses.
 * @param {CofferClient} client
 * @param {string} id
 * @param {string} version
 * @param {{ over: AbortSignal, outcome: BatchOutcome }} context
 */
async function follow(client, id, version, { over, outcome }) {
  /** @type {BatchDocument | undefined} */
  let batch;
  while (!over.aborted) {
    batch = await insist(over, () => client.batches.get(id));
    if (!batch || ENDED.includes(batch.state)) break;
    const [action] = batch.state === 'paused' ? batch.actions : [];
    if (action === 'retry' || action === 'resume')
      await insist(over, () => client.batches[action](id)).catch(ifNotRefused);
    await sleepOr(over, POLL_MS);
  }
  if (!batch || !ENDED.includes(batch.state)) {
    outcome.lost.push(`batch ${id} is ${batch?.state}: ${batch?.message}`);
    return;
  }
  count(outcome.ended, batch.state);
  await insist(over, () => judgeBatch(client, batch, version, outcome));
}

/**
 * @param {CofferClient} client
 * @param {BatchDocument} batch
 * @param {string} version
 * @param {BatchOutcome} outcome
 */
async function judgeBatch(client, { id, size }, version, outcome) {
  const { clusters } = await client.batches.report(id);
  const events = await client.batches.events(id);
  const fleet = new Map();
  for await (const cluster of client.clusters.list()) fleet.set(cluster.id, cluster);
  if (clusters.length !== size) outcome.lost.push(`batch ${id} accounts for ${clusters.length} of ${size}`);
  for (const { cluster_id, cluster_name, state } of clusters) {
    count(outcome.clusters, state);
    if (!['succeeded', 'failed', 'skipped', 'cancelled'].includes(state))
      outcome.lost.push(`batch ${id} has ended, and ${cluster_name} is ${state}`);
    const runs = fleet.get(cluster_id)?.datastore.version;
    if (state === 'succeeded' && runs !== version)
      outcome.untrue.push(`batch ${id}: ${cluster_name} succeeded, and runs ${runs}`);
  }
  events.forEach(({ seq }, index) => {
    if (seq !== index + 1) outcome.gaps.push(`batch ${id}: event ${seq} in place of ${index + 1}`);
  });
}

/** @param {CofferClient} client @param {string} tag @param {AbortSignal} over */
async function removeFleet(client, tag, over) {
  const fleet = (await insist(over, () => fleetOf(client, tag))) ?? [];
  for (const { id } of fleet) {
    await insist(over, () => client.clusters.delete(id)).catch((/** @type {any} */ error) => {
      // A cluster that is still busy stays; a missing one was deleted by a request that got no answer.
      if (error?.code !== 'cluster_busy' && error?.code !== 'cluster_not_found') throw error;
    });
  }
}

/** @param {any} error */
function ifNotRefused(error) {
  if (error?.code !== 'action_refused') throw error;
}

/** @param {Record<string, number>} counts @param {string} name */
function count(counts, name) {
  counts[name] = (counts[name] ?? 0) + 1;
}
