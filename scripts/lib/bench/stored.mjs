// @ts-check
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { BUILT_IN_VERSIONS } from '../../../dist/src/core/managers/index.js';
import { openRedisStore } from '../../../dist/src/store/redis.js';
import { forEach } from './http-load.mjs';

/**
 * Clusters that are only stored, without any agents: reading clusters must not become slower as their number
 * grows.
 */

const AT_ONCE = 64;
/** The clusters on the first page have reports, like any cluster that runs. */
const REPORTED = 20;
const VERSION = BUILT_IN_VERSIONS.find(({ manager, name }) => manager === 'simulated' && name === '1.0');

/**
 * @param {{ redis_url: string, prefix: string, tenant: string, size: number }} options
 */
export async function storeClusters({ redis_url: url, prefix, tenant, size }) {
  const store = await openRedisStore({ url, prefix, log: pino({ level: 'silent' }) });
  // In the order of the pages, which is the order of the ids.
  const ids = Array.from({ length: size }, () => randomUUID()).sort();
  await forEach([...ids.entries()], AT_ONCE, async ([index, id]) => {
    const now = Date.now();
    const cluster = clusterOf(id, tenant, now);
    const order = { databases: [], users: [] };
    const cast = {
      id: `${id}:create_cluster`,
      topic: 'taskmanager',
      method: 'create_cluster',
      args: { cluster_id: id },
      request_id: 'req-bench',
      tenant_id: tenant,
    };
    const outcome = await store.provisioning.create(cluster, order, cast);
    if (outcome !== 'created') throw new Error(`a cluster was not stored: ${outcome}`);
    await store.provisioning.finishBuild(id, now);
    await store.outbox.castConfirmed(cast.id);
    if (index >= REPORTED) return;
    const report = { service_status: 'healthy', sent: now, version: '1.0', role: 'member' };
    for (const instance of cluster.instances) await store.clusters.heartbeat(instance.id, report, now);
  });
  await store.close();
  return ids;
}

/**
 * @param {string} id
 * @param {string} tenant_id
 * @param {number} now
 */
function clusterOf(id, tenant_id, now) {
  return {
    id,
    tenant_id,
    name: `stored-${id}`,
    datastore_id: VERSION?.datastore_id ?? '',
    datastore_name: 'simulated',
    manager: 'simulated',
    datastore_version_id: VERSION?.id ?? '',
    datastore_version: '1.0',
    task: 'BUILDING',
    upgrade_id: null,
    extended_properties: {},
    tags: [],
    created: now,
    updated: now,
    instances: [1, 2, 3].map((number) => ({
      id: randomUUID(),
      cluster_id: id,
      name: `stored-${id}-${number}`,
      flavor_id: '1',
      volume_size: 1,
      task: 'BUILDING',
      fault: null,
      report: null,
      heard: null,
    })),
  };
}
