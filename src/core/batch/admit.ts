/** The first record of a batch. */
import { admissionFindings } from '../admit.ts';
import type { Cluster, DatastoreVersion, Instant } from '../domain.ts';
import { BATCH_POLICY, type Policy } from '../policy.ts';
import type { RequestedBy } from '../record.ts';
import { counted } from '../words.ts';
import {
  type Batch,
  type BatchEvent,
  MEMBER_STATES,
  type Member,
  type Selection,
  type Wave,
} from './record.ts';
import { type InRange, splitIntoWaves, type WaveRequest } from './selection.ts';
import { DEFAULT_WAVE, DEFAULT_WAVES } from './waves.ts';

/** A request for a batch, whichever way it came in. */
export interface BatchRequest {
  readonly tenant_id: string;
  readonly name: string | null;
  readonly selection: Selection;
  /** A datastore version by name or id. */
  readonly datastore_version: string;
  readonly policy: Partial<Policy>;
  /** In order. Without them, the default waves apply. */
  readonly waves?: readonly WaveRequest[];
  readonly requested_by: RequestedBy;
  /** Given by the caller if a repeated request must not begin a second batch. */
  readonly batch_id?: string;
}

/** The batch that a request results in: shown to the caller before, and pinned when it is accepted. */
export interface Resolved {
  readonly batch: Batch;
  readonly members: readonly Member[];
  readonly event: BatchEvent;
}

/** What a batch needs when it is accepted. */
interface BatchAcceptance {
  readonly id: string;
  readonly now: Instant;
  readonly inRange: InRange;
  /** All versions of the target's datastore, because some must not serve beside others. */
  readonly versions: readonly DatastoreVersion[];
}

/**
 * Creates the batch of these clusters. Clusters that run the target already, or that cannot be upgraded to
 * it, are members too: they are skipped from the start, with the reason. So every selected cluster is
 * accounted for (B1).
 */
export function resolveBatch(
  clusters: readonly Cluster[],
  target: DatastoreVersion & { readonly datastore: string },
  request: BatchRequest,
  { id, now, inRange, versions }: BatchAcceptance,
): Resolved {
  const policy = { ...BATCH_POLICY, ...request.policy };
  const reasons = clusters.map((cluster) => reasonToLeaveOut(cluster, target, { ...policy, versions }));
  const fit = clusters.filter((_, index) => reasons[index] === null);
  const requested = request.waves ?? DEFAULT_WAVES;
  const waveOf = new Map(
    splitIntoWaves(fit, requested, inRange).map((wave, index) => [fit[index]?.id, wave]),
  );
  const policies = new Map(request.selection.clusters?.map((chosen) => [chosen.id, chosen.policy ?? null]));
  const members = clusters.map((cluster, position): Member => {
    const wave = waveOf.get(cluster.id) ?? null;
    const reason = reasons[position] ?? (wave === null ? 'no wave takes it' : null);
    return {
      position,
      wave,
      cluster_id: cluster.id,
      cluster_name: cluster.name,
      tenant_id: cluster.tenant_id,
      from_version: cluster.datastore_version,
      policy: policies.get(cluster.id) ?? null,
      tries: 0,
      upgrade_id: null,
      undo: null,
      write_outage_ms: 0,
      started: null,
      waiting_since: null,
      state: reason === null ? { name: 'queued' } : { name: 'skipped', ended: now, reason },
    };
  });
  const waves = requested.map((wave, index) =>
    newWave(wave, members.filter((one) => one.wave === index).length),
  );
  const left_out = members.filter(({ wave }) => wave === null).length;
  const message = `batch of ${counted(clusters.length, 'cluster')} to ${target.name} accepted; ${left_out} left out`;
  const batch: Batch = {
    id,
    tenant_id: request.tenant_id,
    name: request.name,
    revision: 1,
    seq: 1,
    datastore_id: target.datastore_id,
    datastore: target.datastore,
    to_version_id: target.id,
    to_version: target.name,
    policy,
    selection: request.selection,
    requested_by: request.requested_by,
    created: now,
    state: { name: 'scheduled' },
    cancelling: false,
    wave: 0,
    approved_wave: -1,
    waves,
    size: members.length,
    left_out,
  };
  return { batch, members, event: { seq: 1, at: now, type: 'accepted', message } };
}

function reasonToLeaveOut(
  cluster: Cluster,
  target: DatastoreVersion,
  { overrides = [], versions }: Partial<Policy> & Pick<BatchAcceptance, 'versions'>,
): string | null {
  if (cluster.datastore_id !== target.datastore_id) return `its datastore is ${cluster.datastore_name}`;
  const lasting = admissionFindings(cluster, target, { overrides, versions }).find(
    ({ gate }) => gate !== 'cluster_idle',
  );
  return lasting ? `${lasting.gate}: ${lasting.reason}` : null;
}

function newWave({ share: _share, selector: _selector, ...settings }: WaveRequest, size: number): Wave {
  return {
    ...DEFAULT_WAVE,
    ...settings,
    size,
    started: null,
    ended: null,
    counts: {
      ...(Object.fromEntries(MEMBER_STATES.map((name) => [name, 0])) as Wave['counts']),
      queued: size,
    },
    troubled: 0,
    parked: 0,
    write_outage_ms: 0,
    forgiven_failures: 0,
    forgiven_outage_ms: 0,
  };
}
