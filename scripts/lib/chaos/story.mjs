// @ts-check

/**
 * What is recorded about one cluster: every request, and every answer.
 *
 * @typedef {import('../../../dist/client/index.js').UpgradeDocument} UpgradeDocument
 * @typedef {import('../../../dist/client/index.js').EventDocument} EventDocument
 * @typedef {import('../../../dist/client/index.js').ClusterDocument} ClusterDocument
 *
 * @typedef {object} Asked a request for an upgrade, and its answer
 * @property {number} at
 * @property {string} to
 * @property {'accepted' | 'refused' | 'unknown'} answer `unknown`: the api did not answer, or the store did not
 *   answer the api in time
 * @property {string | null} upgrade_id of an accepted one
 * @property {string | null} code of a refusal
 *
 * @typedef {object} Followed an upgrade as the watcher saw it, and as the record holds it in the end
 * @property {string} id
 * @property {number[]} seen numbers of the events that a watcher received, across all disconnections
 * @property {UpgradeDocument | null | undefined} document null: the api knows of no such upgrade;
 *   undefined: the api could not be asked, which is reported under `stuck`
 * @property {readonly EventDocument[] | undefined} events all that the record has
 *
 * @typedef {object} Story
 * @property {string} id
 * @property {string} name
 * @property {'simulated' | 'postgresql'} manager
 * @property {ClusterDocument['instances']} instances as they were when the cluster was built
 * @property {Asked[]} asked
 * @property {Map<string, Followed>} upgrades
 * @property {{ id: string, max_unavailable: number } | undefined} now the upgrade that is followed
 * @property {import('./availability.mjs').Breach[]} breaches
 * @property {string[]} untrue where the record contradicts the instances
 * @property {string[]} stuck everything that did not end
 * @property {{ acknowledged: number, lost: number, outage_ms: number } | undefined} writes
 */

/**
 * @param {ClusterDocument} cluster
 * @param {'simulated' | 'postgresql'} manager
 * @returns {Story}
 */
export function beginStory({ id, name, instances }, manager) {
  return {
    id,
    name,
    manager,
    instances,
    asked: [],
    upgrades: new Map(),
    now: undefined,
    breaches: [],
    untrue: [],
    stuck: [],
    writes: undefined,
  };
}

/**
 * @param {Story} story
 * @param {string} id
 * @returns {Followed}
 */
export function followedOf({ upgrades }, id) {
  const followed = upgrades.get(id) ?? { id, seen: [], document: undefined, events: undefined };
  upgrades.set(id, followed);
  return followed;
}
