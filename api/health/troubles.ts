/**
 * What waits for a person, for all tenants: upgrades and batches that do not continue, or have not reached
 * their goal.
 */
import type { HealthReportDocument } from '../../src/contract/health.ts';
import type { Batch } from '../../src/core/batch/record.ts';
import { type Cluster, type Instant, versionOf } from '../../src/core/domain.ts';
import { isActive, type Upgrade } from '../../src/core/record.ts';
import { readAll } from '../../src/store/page.ts';
import { batchView } from '../batches/view.ts';
import type { Deps } from '../deps.ts';
import { upgradeView } from '../upgrades/view.ts';

/** How long an incomplete batch is reported: a person who returns from a weekend must learn of it. */
const INCOMPLETE_TOLD_MS = 7 * 86_400_000;
const MAX_TOLD = 100;
const PAGE = 100;

type Report = Pick<HealthReportDocument, 'upgrades' | 'batches'>;

/** `suspects`: ids of ended upgrades that have left their clusters on more than one version. */
export async function troublesOf({ store, now }: Deps, suspects: readonly string[]): Promise<Report> {
  const active = (await store.due.list()).flatMap(({ kind, id }) => (kind === 'upgrade' ? [id] : []));
  const upgrades = await store.upgrades.getMany([...active, ...suspects]);
  const told = upgrades.filter(isTroubled).slice(0, MAX_TOLD);
  const clusters = await store.clusters.getMany([...new Set(told.map(({ cluster_id }) => cluster_id))]);
  const byId = new Map(clusters.map((cluster) => [cluster.id, cluster]));
  return {
    upgrades: told.map((upgrade) => troubledUpgrade(upgrade, byId.get(upgrade.cluster_id) ?? null, now())),
    batches: await troubledBatches(store, now()),
  };
}

/** The last upgrade of an idle cluster whose instances run different versions: it may have ended half-way. */
export function suspectOf({ task, upgrade_id, instances, datastore_version }: Cluster): string | null {
  const isMixed = instances.some((instance) => {
    const version = versionOf(instance);
    return version !== null && version !== datastore_version;
  });
  return task === 'NONE' && isMixed ? upgrade_id : null;
}

/** An upgrade that waits for its window continues by itself. */
function isTroubled(upgrade: Upgrade): boolean {
  const { state, silent } = upgrade;
  if (!isActive(upgrade)) return state.name !== 'succeeded';
  return state.name === 'paused' ? state.until === null : silent;
}

function troubledUpgrade(upgrade: Upgrade, cluster: Cluster | null, now: Instant) {
  const {
    id,
    cluster_id,
    cluster_name,
    state,
    reason,
    message,
    since,
    silent,
    ended,
    last_progress,
    actions,
  } = upgradeView(upgrade, cluster, now);
  const { tenant_id } = upgrade;
  return {
    ...{ id, cluster_id, cluster_name, tenant_id, state, reason, message, since, silent, ended },
    ...{ last_progress, actions },
  };
}

async function troubledBatches({ batches }: Deps['store'], now: Instant) {
  const told: NonNullable<Report['batches']> = [];
  for await (const batch of readAll((marker) => batches.page({ limit: PAGE, marker }))) {
    if (isTroubledBatch(batch, now) && told.length < MAX_TOLD) told.push(troubledBatch(batch, now));
  }
  return told;
}

function isTroubledBatch({ state, waves }: Batch, now: Instant): boolean {
  if (state.name === 'incomplete') return now - state.ended < INCOMPLETE_TOLD_MS;
  if ('ended' in state) return false;
  return state.name === 'paused' || waves.some(({ troubled }) => troubled > 0);
}

function troubledBatch(batch: Batch, now: Instant) {
  const { id, name, state, reason, message, since, ended, actions } = batchView(batch, now);
  return { id, name, tenant_id: batch.tenant_id, state, reason, message, since, ended, actions };
}
