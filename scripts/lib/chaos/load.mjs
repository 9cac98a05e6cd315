// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../../dist/client/index.js';
import { patiently } from '../patience.mjs';
import { askVersions, findLost, startWriter } from '../writer.mjs';
import { watchPostgresql, watchRecord, watchSimulated } from './availability.mjs';
import { sleepOr } from './faults.mjs';
import { simulatedVersion } from './guests.mjs';
import { ACCOUNT } from './kinds.mjs';
import { beginStory, followedOf } from './story.mjs';

/**
 * Clusters that live side by side: each is built, upgraded from version to version, checked, and removed to
 * make room for the next. Every request and every answer is recorded.
 *
 * @typedef {import('./story.mjs').Story} Story
 * @typedef {import('./story.mjs').Asked} Asked
 * @typedef {import('./kinds.mjs').Kind} Kind
 * @typedef {import('./random.mjs').Dice} Dice
 *
 * @typedef {object} Companions the watches of a cluster, and the writer into it
 * @property {Awaited<ReturnType<typeof startWriter>> | undefined} [writer]
 * @property {(() => Promise<void>)[]} watches
 *
 * @typedef {object} LoadOptions
 * @property {string} api_url
 * @property {string} guests the folder of the guests
 * @property {Dice} dice
 * @property {AbortSignal} closing from now on nothing new is begun
 * @property {AbortSignal} over the time to settle is over: all waiting ends
 */

const TENANT = 'chaos';
const REQUEST_MS = 10_000;
/** A request that a stalled api has already received may still take effect within this time. */
const MAY_ARRIVE_MS = 12_000;
const BUILD_MS = 120_000;
const REMOVE_MS = 90_000;
/** An api that does not answer for longer than this will not come back. */
const PATIENCE_MS = 60_000;
const SECOND_REQUEST = 0.2;
const TWO_AT_ONCE = 0.15;
const RETRIES = 3;

export class Load {
  /** @type {Story[]} */
  stories = [];
  /** What went wrong before a cluster had a story. @type {string[]} */
  stuck = [];
  #client;
  #endpoint;
  #options;
  #count = 0;
  /** The time when the last check is over. */
  #end = Number.POSITIVE_INFINITY;
  /** @type {Map<Story, Companions>} of clusters that exist */
  #companions = new Map();

  /** @param {LoadOptions} options */
  constructor(options) {
    this.#options = options;
    this.#endpoint = `${options.api_url}/v1.0/${TENANT}`;
    this.#client = createClient({ endpoint: this.#endpoint, timeoutMs: REQUEST_MS });
  }

  /** The number of upgrades that have been accepted so far. */
  get accepted() {
    return this.stories.reduce((sum, story) => sum + story.upgrades.size, 0);
  }

  /**
   * Runs one cluster after the other, until the run is closing.
   * @param {Kind} kind
   * @param {Dice} dice
   */
  async run(kind, dice) {
    const { closing, over } = this.#options;
    while (!closing.aborted) {
      const story = await this.#build(kind, dice);
      if (!story) continue;
      await this.#live(story, kind, dice);
      const isDone = [...story.upgrades.values()].every(({ document }) => document?.state === 'succeeded');
      // The other clusters stay until the end: a person who looks for the reason of a failure finds them
      // unchanged.
      if (isDone && !closing.aborted && !over.aborted) await this.#retire(story);
    }
  }

  /** Checks the clusters that are left once more, after everything had its time to settle. */
  async finish() {
    this.#end = Date.now() + PATIENCE_MS;
    for (const story of this.#companions.keys()) {
      await this.#leave(story);
      await this.#readHistory(story);
      await this.#compare(story);
    }
  }

  /**
   * @param {Kind} kind
   * @param {Dice} dice
   * @returns {Promise<Story | undefined>}
   */
  async #build(kind, dice) {
    const { closing, over, guests } = this.#options;
    const name = `${kind.manager}-${++this.#count}`;
    try {
      const id = await this.#create(kind.order(name, dice), name);
      if (id === undefined) return undefined;
      const cluster = await patiently(over, BUILD_MS, (signal) =>
        this.#client.clusters.waitFor(id, { intervalMs: 100, signal }),
      );
      const story = beginStory(cluster, kind.manager);
      this.stories.push(story);
      await this.#accompany(story, guests);
      return story;
    } catch (error) {
      this.stuck.push(`${name} was not built: ${textOf(error)}`);
      await sleepOr(closing, 1_000);
      return undefined;
    }
  }

  /**
   * @param {import('./kinds.mjs').CreateClusterInput} input
   * @param {string} name
   */
  async #create(input, name) {
    const { closing } = this.#options;
    while (!closing.aborted) {
      try {
        return (await this.#client.clusters.create(input)).id;
      } catch (error) {
        if (!isTemporary(error)) throw error;
      }
      // The request may have arrived even so.
      const deadline = Date.now() + MAY_ARRIVE_MS;
      while (Date.now() < deadline && !closing.aborted) {
        const found = await this.#client.clusters.get(name).catch(() => undefined);
        if (found) return found.id;
        await sleepOr(closing, 500);
      }
    }
    return undefined;
  }

  /**
   * @param {Story} story
   * @param {string} guests
   */
  async #accompany(story, guests) {
    /** @type {Companions} */
    const companions = { watches: [] };
    this.#companions.set(story, companions);
    const watched = {
      cluster: story,
      upgradeNow: () => story.now,
      onBreach: (/** @type {import('./availability.mjs').Breach} */ breach) =>
        void story.breaches.push(breach),
    };
    companions.watches.push(watchRecord({ ...watched, client: this.#client }));
    if (story.manager === 'simulated') {
      companions.watches.push(watchSimulated({ ...watched, guests }));
    } else {
      companions.watches.push(watchPostgresql({ ...watched, account: ACCOUNT }));
      companions.writer = await startWriter(endpointsOf(story), ACCOUNT);
    }
  }

  /**
   * @param {Story} story
   * @param {Kind} kind
   * @param {Dice} dice
   */
  async #live(story, kind, dice) {
    const { closing, over } = this.#options;
    for (const to of kind.versions.slice(1)) {
      if (closing.aborted || over.aborted) return;
      const max_unavailable = kind.manager === 'simulated' && dice.chance(TWO_AT_ONCE) ? 2 : 1;
      const id = await this.#ask(story, to, max_unavailable);
      if (id === undefined) return;
      story.now = { id, max_unavailable };
      if (dice.chance(SECOND_REQUEST)) void this.#request(story, to, max_unavailable);
      const state = await this.#follow(story, id);
      story.now = undefined;
      if (state !== 'succeeded') return;
      await this.#compare(story);
      await sleepOr(closing, dice.between(0, 500));
    }
  }

  /**
   * Sends the request until there is an upgrade.
   * @param {Story} story
   * @param {string} to
   * @param {number} max_unavailable
   * @returns {Promise<string | undefined>}
   */
  async #ask(story, to, max_unavailable) {
    const { closing } = this.#options;
    while (!closing.aborted) {
      const { upgrade_id } = await this.#request(story, to, max_unavailable);
      if (upgrade_id !== null) return upgrade_id;
      const found = await this.#findUnasked(story, to);
      if (found !== undefined) return found;
      await sleepOr(closing, 300);
    }
    return undefined;
  }

  /**
   * @param {Story} story
   * @param {string} to
   * @param {number} max_unavailable
   * @returns {Promise<Asked>}
   */
  async #request(story, to, max_unavailable) {
    /** @type {Asked} */
    const asked = { at: Date.now(), to, answer: 'unknown', upgrade_id: null, code: null };
    story.asked.push(asked);
    try {
      const { upgrade_id } = await this.#client.clusters.upgrade(story.id, to, { max_unavailable });
      followedOf(story, upgrade_id);
      return Object.assign(asked, { answer: 'accepted', upgrade_id });
    } catch (error) {
      const { code = textOf(error) } = /** @type {any} */ (error);
      // A Redis that answered too late may have carried out the change even so: 503 asks to try again, and
      // promises nothing.
      return Object.assign(asked, { answer: isTemporary(error) ? 'unknown' : 'refused', code });
    }
  }

  /**
   * Finds an upgrade to `to` that no answer has reported.
   * @param {Story} story
   * @param {string} to
   */
  async #findUnasked(story, to) {
    try {
      const { upgrade_id } = await this.#client.clusters.get(story.id);
      if (upgrade_id === null || story.upgrades.has(upgrade_id)) return undefined;
      const upgrade = await this.#client.upgrades.get(upgrade_id);
      return upgrade.to.name === to ? followedOf(story, upgrade_id).id : undefined;
    } catch {
      return undefined; // the api does not answer: the next round asks again
    }
  }

  /**
   * Watches an upgrade to its end. If the upgrade waits for a person, sends `retry`.
   * @param {Story} story
   * @param {string} id
   * @returns {Promise<string>} its state
   */
  async #follow(story, id) {
    const { over } = this.#options;
    const followed = followedOf(story, id);
    try {
      for (let retries = 0; ; retries++) {
        const after = followed.seen.at(-1) ?? 0;
        for await (const { seq } of this.#client.upgrades.watch(id, {
          signal: over,
          until: 'settled',
          after,
        })) {
          followed.seen.push(seq);
        }
        followed.document = await this.#insist(() => this.#client.upgrades.get(id));
        const { state } = followed.document;
        if (state !== 'paused' || retries === RETRIES || !(await this.#retry(id))) return state;
      }
    } catch (error) {
      if (!over.aborted) story.stuck.push(`upgrade ${id} can't be followed: ${textOf(error)}`);
      return 'unknown';
    }
  }

  /** @param {string} id */
  async #retry(id) {
    const answer = await fetch(`${this.#endpoint}/upgrades/${id}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ retry: {} }),
      signal: AbortSignal.timeout(REQUEST_MS),
    }).catch(() => undefined);
    await answer?.text().catch(() => '');
    // No answer, or a temporary refusal: the watch that follows finds the upgrade still paused, and comes
    // back here.
    return !answer || answer.ok || answer.status === 503;
  }

  /**
   * Compares the record with what the instances themselves report: right after a success, or when everything
   * is at rest.
   * @param {Story} story
   */
  async #compare(story) {
    try {
      const cluster = await this.#insist(() => this.#client.clusters.get(story.id));
      const own = await this.#ownVersions(story);
      const last = cluster.upgrade_id === null ? undefined : story.upgrades.get(cluster.upgrade_id)?.document;
      const note = (/** @type {string} */ text) => void story.untrue.push(`${story.name}: ${text}`);
      for (const [index, { name, version }] of cluster.instances.entries()) {
        if (version !== own[index]) note(`the record has ${name} at ${version}, it runs ${own[index]}`);
      }
      const { version } = cluster.datastore;
      if (last?.state === 'succeeded' && version !== last.to.name) {
        note(`upgrade ${last.id} to ${last.to.name} succeeded, the record has the cluster at ${version}`);
      }
      if (last?.state === 'succeeded' && own.some((one) => one !== last.to.name)) {
        note(`upgrade ${last.id} to ${last.to.name} succeeded, its instances run ${own.join(', ')}`);
      }
      if (last?.ended && cluster.task.name !== 'NONE') {
        note(`upgrade ${last.id} has ended, the cluster's task is ${cluster.task.name}`);
      }
    } catch (error) {
      story.stuck.push(`${story.name} can't be compared: ${textOf(error)}`);
    }
  }

  /**
   * @param {Story} story
   * @returns {Promise<(string | undefined)[]>}
   */
  async #ownVersions(story) {
    if (story.manager === 'postgresql') return this.#insist(() => askVersions(endpointsOf(story), ACCOUNT));
    return story.instances.map(({ id }) => simulatedVersion(this.#options.guests, id));
  }

  /** @param {Story} story */
  async #retire(story) {
    await this.#leave(story);
    await this.#readHistory(story);
    this.#companions.delete(story);
    try {
      await this.#insist(() => this.#client.clusters.delete(story.id).catch(goneIsGone));
      await patiently(this.#options.over, REMOVE_MS, (signal) =>
        this.#client.clusters.waitUntilGone(story.id, { intervalMs: 200, signal }),
      );
    } catch (error) {
      story.stuck.push(`${story.name} was not removed: ${textOf(error)}`);
    }
  }

  /**
   * Ends the watches and the writer, and checks that every acknowledged write can be read.
   * @param {Story} story
   */
  async #leave(story) {
    const { writer, watches } = this.#companions.get(story) ?? { watches: [] };
    await Promise.all(watches.map((end) => end()));
    if (!writer) return;
    try {
      const { acknowledged, outage_ms } = await writer.stop();
      const lost = await findLost(endpointsOf(story), ACCOUNT, acknowledged);
      story.writes = { acknowledged: acknowledged.length, lost: lost.length, outage_ms };
    } catch (error) {
      story.stuck.push(`${story.name}: what was written can't be read back: ${textOf(error)}`);
    }
  }

  /**
   * Reads everything that the record has on the upgrades of a cluster, including upgrades that no answer has
   * reported.
   * @param {Story} story
   */
  async #readHistory(story) {
    try {
      await this.#insist(async () => {
        for await (const { id } of this.#client.upgrades.list(story.id)) followedOf(story, id);
      });
      for (const followed of story.upgrades.values()) {
        followed.document = await this.#insist(() =>
          this.#client.upgrades.get(followed.id).catch(nullIfMissing),
        );
        followed.events = await this.#insist(() => this.#allEvents(followed.id).catch(noneIfMissing));
      }
    } catch (error) {
      story.stuck.push(`the history of ${story.name} can't be read: ${textOf(error)}`);
    }
  }

  /** @param {string} id */
  async #allEvents(id) {
    /** @type {import('./story.mjs').EventDocument[]} */
    const all = [];
    for (;;) {
      const page = await this.#client.upgrades.events(id, all.at(-1)?.seq ?? 0);
      if (page.length === 0) return all;
      all.push(...page);
    }
  }

  /**
   * Repeats the work while the other side does not answer; in the last check not for ever.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #insist(work) {
    const deadline = Math.min(Date.now() + PATIENCE_MS, this.#end);
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (Date.now() > deadline || !isTemporary(error)) throw error;
      }
      await sleep(200);
    }
  }
}

/** @param {Story} story */
function endpointsOf({ instances }) {
  return instances.map(({ endpoint }) => /** @type {import('../writer.mjs').Endpoint} */ (endpoint));
}

/**
 * A server that is stalled, or on a busy machine, does not answer in time: pg reports that only in the
 * message's text.
 */
const LATE = /timeout/i;

/** @param {any} error */
function isTemporary(error) {
  const isAway = ['ECONNREFUSED', 'ECONNRESET', '57P03', '57P01'].includes(error?.code);
  return isAway || error?.isTemporary === true || LATE.test(textOf(error));
}

/** @param {any} error */
function goneIsGone(error) {
  if (error?.code !== 'cluster_not_found') throw error;
}

/** @param {any} error */
function nullIfMissing(error) {
  if (error?.code !== 'upgrade_not_found') throw error;
  return null;
}

/** @param {any} error */
function noneIfMissing(error) {
  nullIfMissing(error);
  return [];
}

/** @param {unknown} error */
function textOf(error) {
  return error instanceof Error ? error.message : String(error);
}
