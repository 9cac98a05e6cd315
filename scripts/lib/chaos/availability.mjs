// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo, journalOf } from './guests.mjs';

/**
 * Checks that an upgrade never takes more instances out of service than it may (G2). The check observes the
 * instances themselves: an instance whose agent was killed still serves, or is not counted.
 *
 * @typedef {{ cluster: string, upgrade_id: string | null, instances: string[], allowed: number, seen: string }} Breach
 * @typedef {import('./guests.mjs').Endpoint} Endpoint
 */

const SIMULATED_MS = 25;
const POSTGRESQL_MS = 60;
const RECORD_MS = 500;

/**
 * Checks what the record itself says, in one answer.
 * @param {object} options
 * @param {import('../../../dist/client/index.js').CofferClient} options.client
 * @param {{ id: string, name: string }} options.cluster
 * @param {() => { id: string, max_unavailable: number } | undefined} options.upgradeNow
 * @param {(breach: Breach) => void} options.onBreach
 * @returns {() => Promise<void>} ends the watch
 */
export function watchRecord({ client, cluster, upgradeNow, onBreach }) {
  return repeat(RECORD_MS, async () => {
    const upgrade = upgradeNow();
    const seen = upgrade && (await client.clusters.get(cluster.id).catch(() => undefined));
    if (!upgrade || seen?.upgrade_id !== upgrade.id) return;
    const instances = seen.instances.filter(({ status }) => status === 'UPGRADE').map(({ id }) => id);
    const { id: upgrade_id, max_unavailable: allowed } = upgrade;
    if (instances.length > allowed)
      onBreach({ cluster: cluster.name, upgrade_id, instances, allowed, seen: 'record' });
  });
}

/**
 * A simulated instance is out of service while its journal says that it upgrades.
 * @param {object} options
 * @param {string} options.guests
 * @param {{ id: string, name: string, instances: readonly { id: string }[] }} options.cluster
 * @param {() => { id: string, max_unavailable: number } | undefined} options.upgradeNow
 * @param {(breach: Breach) => void} options.onBreach
 * @returns {() => Promise<void>} ends the watch
 */
export function watchSimulated({ guests, cluster, upgradeNow, onBreach }) {
  const look = () =>
    cluster.instances.flatMap(({ id }) => {
      const attempt = journalOf(guests, 'simulated', id);
      const isOut = attempt?.status === 'running' && attempt.action === 'upgrade';
      return isOut ? [`${id} ${attempt.upgrade_id}/${attempt.step}/${attempt.attempt}`] : [];
    });
  return repeat(SIMULATED_MS, async () => {
    const upgrade = upgradeNow();
    if (!upgrade) return;
    const first = look();
    if (first.length <= upgrade.max_unavailable) return;
    // Files are read one after the other: an instance that is out of service in two rounds was out of service
    // during all the time between them.
    const both = look().filter((one) => first.includes(one));
    if (both.length <= upgrade.max_unavailable) return;
    const { id: upgrade_id, max_unavailable: allowed } = upgrade;
    onBreach({ cluster: cluster.name, upgrade_id, instances: both, allowed, seen: 'journals' });
  });
}

/**
 * A PostgreSQL instance is out of service while it refuses connections.
 * @param {object} options
 * @param {{ id: string, name: string, instances: readonly { id: string, endpoint: Endpoint | null }[] }} options.cluster
 * @param {import('./guests.mjs').Account} options.account
 * @param {() => { id: string, max_unavailable: number } | undefined} options.upgradeNow
 * @param {(breach: Breach) => void} options.onBreach
 * @returns {() => Promise<void>}
 */
export function watchPostgresql({ cluster, account, upgradeNow, onBreach }) {
  const posts = cluster.instances.map(
    ({ id, endpoint }) => new Post(id, /** @type {Endpoint} */ (endpoint), account),
  );
  const stop = repeat(POSTGRESQL_MS, async () => {
    await Promise.all(posts.map((post) => post.look()));
    const upgrade = upgradeNow();
    const allowed = upgrade?.max_unavailable ?? 0;
    const suspects = posts.filter((post) => post.isDown);
    if (!upgrade || suspects.length <= allowed) return;
    // A server that was down both before and after the other servers were asked was down together with them.
    const first = await stillDown(suspects);
    const both = await stillDown(first);
    if (both.length <= allowed) return;
    const instances = both.map(({ id }) => id);
    onBreach({ cluster: cluster.name, upgrade_id: upgrade.id, instances, allowed, seen: 'connections' });
  });
  return async () => {
    await stop();
    for (const post of posts) post.leave();
  };
}

/** Observes one server over one connection, which is held as long as it lasts. */
class Post {
  isDown = false;
  /** @type {import('pg').Client | undefined} */
  #held;
  #endpoint;
  #account;

  /**
   * @param {string} id
   * @param {Endpoint} endpoint
   * @param {import('./guests.mjs').Account} account
   */
  constructor(id, endpoint, account) {
    this.id = id;
    this.#endpoint = endpoint;
    this.#account = account;
  }

  async look() {
    if (this.#held) return;
    const answer = await connectTo(this.#endpoint, this.#account);
    this.isDown = answer === 'down';
    if (typeof answer === 'string') return;
    this.#held = answer;
    answer.once('end', () => {
      this.#held = undefined;
    });
  }

  leave() {
    this.#held?.end().catch(() => {});
  }
}

/** @param {readonly Post[]} posts */
async function stillDown(posts) {
  await Promise.all(posts.map((post) => post.look()));
  return posts.filter((post) => post.isDown);
}

/**
 * @param {number} pauseMs
 * @param {() => Promise<void>} work
 */
function repeat(pauseMs, work) {
  let isOpen = true;
  const running = (async () => {
    while (isOpen) {
      await work();
      await sleep(pauseMs);
    }
  })();
  return async () => {
    isOpen = false;
    await running;
  };
}
