import type {
  BatchAnswer,
  BatchDocument,
  BatchEventDocument,
  BatchEventsAnswer,
  BatchesAnswer,
  BatchMemberDocument,
  BatchMembersAnswer,
  ResolvedBatchAnswer,
} from '../src/contract/batch-documents.ts';
import type { CreateBatchInput } from '../src/contract/batch-requests.ts';
import { BATCH_ENDS, type BatchAction, type MemberStateName } from '../src/core/batch/record.ts';
import { lookUp, type WatchOptions, watchEvents } from './events.ts';
import type { Http } from './http.ts';
import { allPages, pagesBy } from './pages.ts';
import { inPath, type Reference } from './references.ts';

export interface BatchWatchOptions extends WatchOptions {
  /** `ended` (default): watch to the end. `settled`: stop also at a pause that waits for a person. */
  readonly until?: 'ended' | 'settled';
}

export class Batches {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /**
   * Upgrades many clusters, wave by wave; resolves with the clusters that the selection has found. Rejects
   * with `cluster_not_found`, `batch_empty`, `datastore_version_not_found` …
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

  /** The clusters of a batch in order, fetched page by page; with `state`, only the clusters in that state. */
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
   * Begins no further cluster; upgrades in flight continue to their end. Like every action it resolves with
   * the batch as it is afterwards, and may be repeated. It rejects with `action_refused` and the reason if
   * the batch's state doesn't allow the action: `actions` of the document lists the actions that the state
   * allows.
   */
  pause(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'pause');
  }

  /** Continues after a pause, with full budgets again. */
  resume(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'resume');
  }

  /** Lets the next wave that needs it start. */
  approve(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'approve');
  }

  /** Tries all failed clusters again, or only the given clusters (ids), and continues. */
  retry(batch: Reference, clusters?: readonly string[]): Promise<BatchDocument> {
    return this.#act(batch, 'retry', clusters ? { clusters } : {});
  }

  /** Leaves all failed clusters behind, or takes the given clusters (ids) out, and continues. */
  skip(batch: Reference, clusters?: readonly string[]): Promise<BatchDocument> {
    return this.#act(batch, 'skip', clusters ? { clusters } : {});
  }

  /**
   * Rolls a wave back, given by its number from 1; without a number, the last wave that has started.
   * Afterwards the batch is paused.
   */
  rollback(batch: Reference, wave?: number): Promise<BatchDocument> {
    return this.#act(batch, 'rollback', wave === undefined ? {} : { wave });
  }

  /** Begins no further cluster, and ends as `cancelled` once everything in flight has ended. */
  cancel(batch: Reference): Promise<BatchDocument> {
    return this.#act(batch, 'cancel');
  }

  async #act(batch: Reference, action: BatchAction, details: object = {}): Promise<BatchDocument> {
    const path = `/upgrade-batches/${inPath(batch)}`;
    return (await this.#http.send<BatchAnswer>('POST', path, { body: { [action]: details } })).batch;
  }

  /**
   * The events of a batch as they happen, from the first to the last, each once and in order. Survives lost
   * connections and restarts of the server. Leaving the loop does not stop the batch.
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

  /** Resolves with the batch once it has ended, in whatever state: check `state` and `message`. */
  async waitFor(batch: Reference, options: BatchWatchOptions = {}): Promise<BatchDocument> {
    for await (const _ of this.watch(batch, options));
    return lookUp(() => this.get(batch), options);
  }
}
