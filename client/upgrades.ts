import type {
  EventDocument,
  EventsAnswer,
  UpgradeAnswer,
  UpgradeDocument,
  UpgradesAnswer,
} from '../src/contract/upgrade-documents.ts';
import type { Action } from '../src/core/upgrade/inputs.ts';
import { lookUp, type WatchOptions, watchEvents } from './events.ts';
import type { Http } from './http.ts';
import { allPages } from './pages.ts';
import { idOrName, inPath, type Reference } from './references.ts';

export interface UpgradeWatchOptions extends WatchOptions {
  /** `ended` (default): watch to the end. `settled`: stop also at a pause that waits for a person. */
  readonly until?: 'ended' | 'settled';
}

/** The last event of an upgrade is one of these. */
const TERMINAL: readonly string[] = ['succeeded', 'failed', 'cancelled', 'rolled_back'];

export class Upgrades {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** Rejects with `upgrade_not_found`. */
  async get(upgrade: Reference): Promise<UpgradeDocument> {
    return (await this.#http.get<UpgradeAnswer>(`/upgrades/${inPath(upgrade)}`)).upgrade;
  }

  /** All upgrades of a cluster, newest first, fetched page by page. */
  list(cluster: Reference): AsyncGenerator<UpgradeDocument, void> {
    const path = `/clusters/${inPath(cluster)}/upgrades`;
    return allPages(this.#http, path, (answer: UpgradesAnswer) => answer.upgrades);
  }

  /** Up to 500 events that have happened after number `after`, without waiting for more. */
  async events(upgrade: Reference, after = 0): Promise<readonly EventDocument[]> {
    const path = `/upgrades/${inPath(upgrade)}/events?last_event_id=${after}`;
    return (await this.#http.get<EventsAnswer>(path)).events;
  }

  /**
   * Starts nothing further; steps in flight continue to their end. Like every action it resolves with the
   * upgrade as it is afterwards, and may be repeated. It rejects with `action_refused` and the reason if the
   * upgrade's state doesn't allow the action: `actions` of its document lists the actions that the state
   * allows. After `bus_unavailable` nobody knows whether the action was taken: send it again.
   */
  pause(upgrade: Reference): Promise<UpgradeDocument> {
    return this.#act(upgrade, 'pause');
  }

  /** Continues after a pause. */
  resume(upgrade: Reference): Promise<UpgradeDocument> {
    return this.#act(upgrade, 'resume');
  }

  /** Continues past the canary. May be sent before the canary is done. */
  approve(upgrade: Reference): Promise<UpgradeDocument> {
    return this.#act(upgrade, 'approve');
  }

  /**
   * States that the instance for which the upgrade has paused runs the new version, and continues. Only
   * allowed where one of Trove's guest agents has left that open: somebody must have checked the server.
   */
  confirm(upgrade: Reference): Promise<UpgradeDocument> {
    return this.#act(upgrade, 'confirm');
  }

  /**
   * Tries the failed steps again, with all their retries anew; with `datastoreVersion`, to that version
   * instead. If the upgrade has ended, it resolves with the new upgrade that takes it up: watch that one, by
   * its `id`.
   */
  retry(upgrade: Reference, datastoreVersion?: Reference): Promise<UpgradeDocument> {
    const other = datastoreVersion === undefined ? {} : { datastore_version: idOrName(datastoreVersion) };
    return this.#act(upgrade, 'retry', other);
  }

  /**
   * Rolls back to the version that the cluster had before. Refused after an irreversible step. If the upgrade
   * has ended, successfully or not, it resolves with the new upgrade that rolls back.
   */
  rollback(upgrade: Reference): Promise<UpgradeDocument> {
    return this.#act(upgrade, 'rollback');
  }

  /** Starts nothing further, and ends as `cancelled` once everything in flight has ended. */
  cancel(upgrade: Reference): Promise<UpgradeDocument> {
    return this.#act(upgrade, 'cancel');
  }

  async #act(upgrade: Reference, action: Action, details: object = {}): Promise<UpgradeDocument> {
    const path = `/upgrades/${inPath(upgrade)}`;
    return (await this.#http.send<UpgradeAnswer>('POST', path, { body: { [action]: details } })).upgrade;
  }

  /**
   * The events of an upgrade as they happen, from the first to the last, each once and in order: `for await
   * (const event of client.upgrades.watch(id))`. Survives lost connections and restarts of the server.
   * Leaving the loop does not stop the upgrade.
   */
  async *watch(upgrade: Reference, options: UpgradeWatchOptions = {}): AsyncGenerator<EventDocument, void> {
    const path = `/upgrades/${inPath(upgrade)}/events`;
    for await (const event of watchEvents<EventDocument>(this.#http, path, TERMINAL, options)) {
      yield event;
      if (options.until !== 'settled' || event.type !== 'paused') continue;
      // The event may be an old one: somebody may have resumed the upgrade since.
      const { state } = await lookUp(() => this.get(upgrade), options);
      if (state === 'paused') return;
    }
  }

  /** Resolves with the upgrade once it has ended, in whatever state: check `state` and `message`. */
  async waitFor(upgrade: Reference, options: UpgradeWatchOptions = {}): Promise<UpgradeDocument> {
    for await (const _ of this.watch(upgrade, options));
    return lookUp(() => this.get(upgrade), options);
  }
}
