import { type BatchRequest, type Resolved, resolveBatch } from '../core/batch/admit.ts';
import type { Batch, Member, Selector } from '../core/batch/record.ts';
import { isSelected } from '../core/batch/selection.ts';
import { BATCH_TAKE_UP_MS } from '../core/batch/wake.ts';
import { type Catalogue, findDatastore, versionsOf } from '../core/catalogue.ts';
import type { Cluster, DatastoreVersion, Instant } from '../core/domain.ts';
import { CofferError } from '../core/errors.ts';
import { inRange } from '../core/versions.ts';
import { counted } from '../core/words.ts';
import type { BatchStore } from './batches.ts';
import type { ClusterStore } from './clusters.ts';
import { readAll } from './page.ts';
import type { Store } from './store.ts';

/** A selector that finds more clusters is refused. Several batches do the same work. */
const MAX_CLUSTERS = 20_000;
/** How many clusters are read at once to apply a selector. */
const PAGE = 500;
const NAMES_SHOWN = 5;

interface BegunBatch {
  readonly batch: Batch;
  readonly members: readonly Member[];
  /** True if this batch id was begun before: nothing has changed. */
  readonly duplicate: boolean;
}

interface BatchDeps {
  readonly store: Pick<Store, 'batches' | 'catalogue' | 'clusters'>;
  readonly now: () => Instant;
  readonly newId: () => string;
}

/**
 * Begins a batch. REST, the command line and the queue all use this function. After it resolves, the batch is
 * safe, and a taskmanager takes it up. When it throws, nothing has changed.
 *
 * Throws `CofferError`: `cluster_not_found`, `datastore_not_found`, `datastore_version_not_found`,
 * `invalid_request`, `batch_empty` (none of the selected clusters can be upgraded), `store_unavailable`.
 */
export async function beginBatch(deps: BatchDeps, request: BatchRequest): Promise<BegunBatch> {
  const { store } = deps;
  const earlier = request.batch_id === undefined ? null : await store.batches.get(request.batch_id);
  if (earlier) return { batch: earlier, members: await allMembers(store.batches, earlier), duplicate: true };
  const { batch, members, event } = await planBatch(deps, request);
  if (batch.left_out === batch.size) throw nothingToDo(members);
  const verdict = await store.batches.create(batch, members, event, batch.created + BATCH_TAKE_UP_MS);
  return { batch, members, duplicate: verdict === 'duplicate' };
}

/** Returns what the request would begin. Changes nothing. Throws as `beginBatch` does. */
export async function planBatch({ store, now, newId }: BatchDeps, request: BatchRequest): Promise<Resolved> {
  const { selection } = request;
  const clusters = selection.clusters
    ? await namedClusters(store.clusters, request)
    : await selectedClusters(store.clusters, request, selection.selector ?? {});
  const catalogue = await store.catalogue.get();
  const target = targetOf(clusters, request, catalogue);
  const id = request.batch_id ?? newId();
  const versions = versionsOf(catalogue, target.datastore_id);
  return resolveBatch(clusters, target, request, { id, now: now(), inRange, versions });
}

/** Every member of a batch, in order. */
export async function allMembers(batches: BatchStore, { id }: Pick<Batch, 'id'>): Promise<readonly Member[]> {
  const found: Member[] = [];
  const pages = readAll((marker) => batches.members(id, { limit: PAGE, marker, state: null }));
  for await (const member of pages) found.push(member);
  return found;
}

async function namedClusters(
  clusters: ClusterStore,
  { selection, tenant_id }: BatchRequest,
): Promise<readonly Cluster[]> {
  const ids = (selection.clusters ?? []).map(({ id }) => id);
  const found = new Map((await clusters.getMany(ids)).map((cluster) => [cluster.id, cluster]));
  const isTheirs = (cluster: Cluster | undefined) =>
    cluster !== undefined && (selection.all_tenants || cluster.tenant_id === tenant_id);
  const missing = ids.filter((id) => !isTheirs(found.get(id)));
  if (missing.length > 0) {
    throw new CofferError(
      'cluster_not_found',
      `${counted(missing.length, 'cluster')} cannot be found: ${someOf(missing)}.`,
    );
  }
  return ids.flatMap((id) => found.get(id) ?? []);
}

async function selectedClusters(
  clusters: ClusterStore,
  { selection, tenant_id }: BatchRequest,
  selector: Selector,
): Promise<readonly Cluster[]> {
  const found: Cluster[] = [];
  const tenant = selection.all_tenants ? null : tenant_id;
  const all = readAll((marker) => clusters.list(tenant, { limit: PAGE, marker }));
  for await (const cluster of all) if (isSelected(cluster, selector, inRange)) found.push(cluster);
  if (found.length === 0) {
    throw new CofferError('batch_empty', 'The selector finds no cluster.');
  }
  if (found.length > MAX_CLUSTERS) {
    const message = `The selector finds ${found.length} clusters, and a batch has ${MAX_CLUSTERS} at most: narrow it.`;
    throw new CofferError('invalid_request', message);
  }
  return found.sort((a, b) => byText(a.name, b.name) || byText(a.id, b.id));
}

/**
 * The version that is pinned. It belongs to the datastore that the selector names, or else to the datastore
 * of the clusters.
 */
function targetOf(
  clusters: readonly Cluster[],
  { selection, datastore_version }: BatchRequest,
  catalogue: Catalogue,
): DatastoreVersion & { readonly datastore: string } {
  const byId = catalogue.versions.find(({ id }) => id === datastore_version);
  const wanted = selection.selector?.datastore;
  const ids = wanted === undefined ? [...new Set(clusters.map((one) => one.datastore_id))] : [wanted];
  const [first] = byId ? [byId.datastore_id] : ids;
  if (!byId && ids.length > 1) {
    const names = [...new Set(clusters.map((one) => one.datastore_name))].join(', ');
    const message = `The clusters have ${ids.length} datastores (${names}): select those of one, or give the version's id.`;
    throw new CofferError('invalid_request', message);
  }
  const datastore = findDatastore(catalogue, first ?? '');
  const own = versionsOf(catalogue, datastore.id);
  const found = byId ?? own.find(({ name }) => name === datastore_version);
  if (!found) {
    throw new CofferError(
      'datastore_version_not_found',
      `Datastore version '${datastore_version}' cannot be found for datastore '${datastore.name}'. ` +
        `Known versions: ${own.map(({ name }) => name).join(', ')}.`,
    );
  }
  return { ...found, datastore: datastore.name };
}

function nothingToDo(members: readonly Member[]): CofferError {
  const reasons = new Set(members.map(({ state }) => (state.name === 'skipped' ? state.reason : '')));
  const message = `None of the ${counted(members.length, 'cluster')} can be upgraded: ${someOf([...reasons])}.`;
  return new CofferError('batch_empty', message);
}

function someOf(texts: readonly string[]): string {
  const shown = texts.slice(0, NAMES_SHOWN).join('; ');
  return texts.length > NAMES_SHOWN ? `${shown}; and ${texts.length - NAMES_SHOWN} more` : shown;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
