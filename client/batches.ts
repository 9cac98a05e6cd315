import type {
  BatchAnswer,
  BatchDocument,
  BatchEventDocument,
  BatchEventsAnswer,
  BatchesAnswer,
  BatchMemberDocument,
  BatchMembersAnswer,
  CreateBatchInput,
  ResolvedBatchAnswer,
} from '../src/contract/batches.ts';
import type { BatchAction } from '../src/core/batch/orders.ts';
import { BATCH_ENDS, type MemberStateName } from '../src/core/batch/record.ts';
import { lookUp, type WatchOptions, watchEvents } from './events.ts';
import type { Http } from './http.ts';
import { allPages, pagesBy } from './pages.ts';
import { inPath, type Reference } from './references.ts';

export interface BatchWatchOptions extends WatchOptions {
  /** `ended` (default): to the end. `settled`: also up to a pause that waits for a person. */
  readonly until?: 'ended' | 'settled';
}

export class Batches {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /**
   * Upgrades many clusters, wave by wave; resolves with what the selection has come to. Rejects with
   * `cluster_not_found`, `batch_empty`, `datastore_version_not_found` …
   */
  create(batch: CreateBatchInput): Promise<ResolvedBatchAnswer> {
    return this.#http.send<ResolvedBatchAnswer>('POST', '/upgrade-batches', { body: { batch } });
  }

  /** What `create` would begin. Changes nothing. */
  plan(batch: CreateBatchInput): Promise<ResolvedBatchAnswer> {
    return this.create({ ...batch, dry_run: true });
  }

  /** Rejects with `batch_not_found`. */
  async get(batch: Reference): Promise<BatchDocument> {
    return (await this.#http.get<BatchAnswer>(`/upgrade-batches/${inPath(batch)}`)).batch;
  }

  /** All batches, newest first, fetched page by page. */
  list(): AsyncGenerator<BatchDocument, void> {
    return allPages(this.#http, '/upgrade-batches', (answer: BatchesAnswer) => answer.batches);
  }

  /** The clusters of a batch in order, fetched page by page; those in one state alone, if given. */
  clusters(batch: Reference, state?: MemberStateName): AsyncGenerator<BatchMemberDocument, void> {
    const path = `/upgrade-batches/${inPath(batch)}/clusters${state === undefined ? '' : `?state=${state}`}`;
    const clustersOf = (answer: BatchMembersAnswer) => answer.clusters;
    return pagesBy(this.#http, path, clustersOf, ({ position }) => String(position));
  }

  /** What has become of every cluster. */
  report(batch: Reference): Promise<ResolvedBatchAnswer> {
    return this.#http.get<ResolvedBatchAnswer>(`/upgrade-batches/${inPath(batch)}/report`);
  }

  /** The same as comma-separated values, one line per cluster. */
  reportAsCsv(batch: Reference): Promise<string> {
    return this.#http.text(`/upgrade-batches/${inPath(batch)}/report?format=csv`);
  }

  /** Up to 500 events that have happened after number `after`, without waiting for more. */
  async events(batch: Reference, after = 0): Promise<readonly BatchEventDocument[]> {
    const path = `/upgrade-batches/${inPath(batch)}/events?last_event_id=${after}`;
    return (await this.#http.get<BatchEventsAnswer>(path)).events;
  }

  /**
   * Begins no further cluster; what is in flight ends. Like every action it resolves with the batch as it is
   * afterwards, may be repeated, and rejects with `action_refused` and the reason if the state doesn't
   * allow it: `actions` of the document says which ones it allows.
   */
  pause(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'pause');
  }

  /** Goes on after a pause, with its budgets whole again. */
  resume(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'resume');
  }

  /** Lets the next wave that needs it start. */
  approve(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'approve');
  }

  /** Tries again what failed, or these clusters (ids), and goes on. */
  retry(batch: Reference, clusters?: readonly string[]): Promise<BatchDocument> {
    return this.#act(batch, 'retry', clusters ? { clusters } : {});
  }

  /** Leaves what failed behind and goes on, or takes these clusters (ids) out. */
  skip(batch: Reference, clusters?: readonly string[]): Promise<BatchDocument> {
    return this.#act(batch, 'skip', clusters ? { clusters } : {});
  }

  /** Takes a wave back, by its number from 1; the last that has started if none is given. Then it is paused. */
  rollback(batch: Reference, wave?: number): Promise<BatchDocument> {
    return this.#act(batch, 'rollback', wave === undefined ? {} : { wave });
  }

  /** Begins no further cluster, and ends as `cancelled` once what is in flight has ended. */
  cancel(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'cancel');
  }

  async #act(batch: Reference, action: BatchAction, details: object = {}): Promise<BatchDocument> {
    const path = `/upgrade-batches/${inPath(batch)}`;
    return (await this.#http.send<BatchAnswer>('POST', path, { body: { [action]: details } })).batch;
  }

  /**
   * The events of a batch as they happen, from the first to the last, each once and in order. Survives lost
   * connections and restarts of the server. Leaving the loop leaves the batch running.
   */
  async *watch(batch: Reference, options: BatchWatchOptions = {}): AsyncGenerator<BatchEventDocument, void> {
    const path = `/upgrade-batches/${inPath(batch)}/events`;
    for await (const event of watchEvents<BatchEventDocument>(this.#http, path, BATCH_ENDS, options)) {
      yield event;
      if (options.until !== 'settled' || event.type !== 'paused') continue;
      // The event may be an old one: somebody may have resumed the batch since.
      const { state } = await lookUp(() => this.get(batch), options);
      if (state === 'paused') return;
    }
  }

  /** Resolves with the batch once it has ended, in whatever state: look at `state` and `message`. */
  async waitFor(batch: Reference, options: BatchWatchOptions = {}): Promise<BatchDocument> {
    for await (const _ of this.watch(batch, options));
    return lookUp(() => this.get(batch), options);
  }
}
