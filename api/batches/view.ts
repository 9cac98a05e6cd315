/** Turns batches into the documents that the contract defines. Pure. */
import type {
  BatchDocument,
  BatchEventDocument,
  BatchMemberDocument,
  WaveDocument,
} from '../../src/contract/batch-documents.ts';
import { possibleBatchActions } from '../../src/core/batch/actions.ts';
import {
  type Batch,
  type BatchEvent,
  failuresAllowed,
  MEMBER_STATES,
  type Member,
  type Wave,
  type WaveCounts,
} from '../../src/core/batch/record.ts';
import type { Instant } from '../../src/core/domain.ts';
import { policyInJson } from '../../src/core/policy.ts';
import { counted, iso } from '../../src/core/words.ts';
import { isoOrNull } from '../times.ts';

export function batchView(batch: Batch, now: Instant): BatchDocument {
  const { state, selection, waves } = batch;
  return {
    id: batch.id,
    name: batch.name,
    state: state.name,
    reason: state.name === 'paused' ? state.reason : null,
    message: 'message' in state ? state.message : waitsFor(batch),
    since: state.name === 'paused' ? iso(state.since) : null,
    cancelling: batch.cancelling,
    actions: [...possibleBatchActions(batch)],
    datastore: batch.datastore,
    to: { id: batch.to_version_id, name: batch.to_version },
    policy: policyInJson(batch.policy),
    selection: {
      clusters: selection.clusters?.length ?? null,
      selector: selection.selector ? { ...selection.selector } : null,
      all_tenants: selection.all_tenants,
    },
    size: batch.size,
    left_out: batch.left_out,
    counts: countsOf(batch),
    wave: batch.wave + 1,
    soaks_until: state.name === 'running' && state.soak ? iso(state.soak.until) : null,
    waves: waves.map(waveView),
    write_outage_ms: waves.reduce((sum, wave) => sum + wave.write_outage_ms, 0),
    seq: batch.seq,
    requested_by: batch.requested_by,
    created: iso(batch.created),
    started: 'started' in state ? isoOrNull(state.started) : null,
    ended: 'ended' in state ? iso(state.ended) : null,
    estimated_end: isoOrNull(estimatedEnd(batch, now)),
  };
}

/** G1: the upgrade itself says what to do; this says that a person must look at it. */
function waitsFor({ waves }: Batch): string | null {
  const troubled = waves.reduce((sum, wave) => sum + wave.troubled, 0);
  if (troubled === 0) return null;
  return `${counted(troubled, 'cluster has', 'clusters have')} an upgrade that waits for a person: see the running clusters for which, and why`;
}

function waveView(wave: Wave, index: number): WaveDocument {
  const { size, counts, max_concurrent, failure_budget, soak_seconds, approval, started, ended } = wave;
  return {
    number: index + 1,
    size,
    counts: { ...counts },
    max_concurrent,
    failure_budget,
    failures_allowed: failuresAllowed(wave),
    write_outage_budget_seconds: wave.write_outage_budget_seconds,
    write_outage_ms: wave.write_outage_ms,
    soak_seconds,
    approval,
    started: isoOrNull(started),
    ended: isoOrNull(ended),
  };
}

function countsOf({ waves, left_out }: Batch): WaveCounts {
  const counts = Object.fromEntries(
    MEMBER_STATES.map((name) => [name, waves.reduce((sum, wave) => sum + wave.counts[name], 0)]),
  ) as Record<keyof WaveCounts, number>;
  return { ...counts, skipped: counts.skipped + left_out };
}

/** Assumes the pace so far. Null while no member has ended, and when nothing is under way. */
function estimatedEnd(batch: Batch, now: Instant): Instant | null {
  const { state, left_out } = batch;
  if (state.name !== 'running') return null;
  const { queued, waiting, running, succeeded, failed } = countsOf(batch);
  const done = succeeded + failed;
  if (done === 0 || left_out === batch.size) return null;
  const left = queued + waiting + running;
  return Math.round(now + ((now - state.started) * left) / done);
}

export function memberView(
  member: Member,
  { to_version }: Pick<Batch, 'to_version'>,
  now: Instant,
): BatchMemberDocument {
  const { state, wave, started } = member;
  // A wait that is over is only a wait for a free place.
  const waits = state.name === 'waiting' && state.until > now ? state : null;
  const ended = 'ended' in state ? state.ended : null;
  return {
    position: member.position,
    cluster_id: member.cluster_id,
    cluster_name: member.cluster_name,
    tenant_id: member.tenant_id,
    wave: wave === null ? null : wave + 1,
    from: member.from_version,
    to: to_version,
    state: state.name === 'waiting' && !waits ? 'queued' : state.name,
    held: state.name === 'running' ? (state.held?.reason ?? null) : null,
    reason: reasonOf(state, waits !== null),
    until: isoOrNull(waits?.until ?? null),
    tries: member.tries,
    upgrade_id: member.upgrade_id,
    started: isoOrNull(started),
    ended: isoOrNull(ended),
    duration_ms: started !== null && ended !== null ? ended - started : null,
    write_outage_ms: member.write_outage_ms,
  };
}

function reasonOf(state: Member['state'], isWaiting: boolean): string | null {
  if (state.name === 'running') return state.held?.message ?? null;
  if (state.name === 'waiting') return isWaiting ? state.reason : null;
  return 'reason' in state ? state.reason : null;
}

export function batchEventView({
  at,
  wave,
  cluster_id,
  upgrade_id,
  ...event
}: BatchEvent): BatchEventDocument {
  return {
    ...event,
    at: iso(at),
    wave: wave === undefined ? null : wave + 1,
    cluster_id: cluster_id ?? null,
    upgrade_id: upgrade_id ?? null,
  };
}

const COLUMNS = [
  'cluster_id',
  'cluster_name',
  'tenant_id',
  'wave',
  'from',
  'to',
  'state',
  'duration_ms',
  'write_outage_ms',
  'tries',
  'upgrade_id',
  'reason',
] as const satisfies readonly (keyof BatchMemberDocument)[];

/** One line per cluster, in the format of RFC 4180. */
export function reportAsCsv(clusters: readonly BatchMemberDocument[]): string {
  const lines = clusters.map((cluster) => COLUMNS.map((column) => cell(cluster[column])).join(','));
  return `${[COLUMNS.join(','), ...lines].join('\r\n')}\r\n`;
}

/**
 * A spreadsheet takes a text that begins with one of these characters for a formula: names and reasons come
 * from others.
 */
const FORMULA = /^[=+\-@\t\r]/;

function cell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
