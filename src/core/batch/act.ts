/** Carries out what a person asks of a batch. */

import { counted } from '../words.ts';
import type { BatchDraft } from './draft.ts';
import {
  type AskedOfBatch,
  type Batch,
  isOpen,
  type Member,
  type MemberStateName,
  type Wave,
} from './record.ts';
import { cancelMember, namesOf } from './schedule.ts';

/** Which members the request concerns: they must be read together with the record. */
export function membersFor(asked: AskedOfBatch): readonly MemberStateName[] {
  switch (asked.action) {
    case 'pause':
    case 'resume':
    case 'approve':
      return [];
    case 'retry':
    case 'skip':
      return asked.clusters ? [] : ['failed'];
    case 'rollback':
      return ['queued', 'waiting', 'running', 'succeeded', 'failed'];
    case 'cancel':
      return ['queued', 'waiting', 'running'];
    default:
      return asked.action satisfies never;
  }
}

/** Carries out what a person asks for; returns the reason if that is not possible. */
export function act(draft: BatchDraft, asked: AskedOfBatch, by: string): string | undefined {
  const { state, cancelling } = draft.batch;
  if (asked.action === 'cancel') return cancel(draft, by);
  if (cancelling) return 'it is being cancelled';
  switch (asked.action) {
    case 'pause':
      if (state.name === 'rolling_back')
        return 'it takes a wave back, and pauses afterwards: cancel it, or wait';
      draft.pause('requested', `paused by ${by}: resume it, or cancel it`);
      return undefined;
    case 'resume':
      return resume(draft, by);
    case 'approve':
      return approve(draft, by);
    case 'retry':
      return retry(draft, asked.clusters, by);
    case 'skip':
      return skip(draft, asked.clusters, by);
    case 'rollback':
      return rollBack(draft, asked.wave ?? lastStarted(draft.batch), by);
    default:
      return asked.action satisfies never;
  }
}

function resume(draft: BatchDraft, by: string): string | undefined {
  const { state } = draft.batch;
  if (state.name !== 'paused') return undefined;
  if (state.reason === 'approval') return 'it waits for approval: approve it, or cancel it';
  draft.resume(`resumed by ${by}`);
  return undefined;
}

function approve(draft: BatchDraft, by: string): string | undefined {
  const { state, approved_wave } = draft.batch;
  const next = nextApproval(draft.batch);
  if (next < 0) return 'no further wave needs an approval';
  if (approved_wave >= next) return undefined;
  draft.set({ approved_wave: next });
  draft.emit('approved', `wave ${next + 1} approved by ${by}`, { wave: next });
  if (state.name === 'paused' && state.reason === 'approval') draft.resume(`approved by ${by}`);
  return undefined;
}

/**
 * The next wave to start that needs an approval, whether it has been approved or not; -1 if there is none.
 */
export function nextApproval({ waves, wave }: Batch): number {
  const isNext = ({ approval, size, started }: Wave, index: number) =>
    approval && size > 0 && (index > wave || (index === wave && started === null));
  return waves.findIndex(isNext);
}

/** Tries clusters again, beginning with the first wave that contains one of them. */
function retry(draft: BatchDraft, clusters: readonly string[] | undefined, by: string): string | undefined {
  if (draft.batch.state.name === 'rolling_back') return 'it takes a wave back: wait until that is done';
  const found = named(draft, clusters, 'failed');
  if (typeof found === 'string') return found;
  const possible = ['failed', 'cancelled', 'skipped'];
  const other = found.filter(({ state, wave }) => !possible.includes(state.name) || wave === null);
  if (other.length > 0)
    return `${statesOf(other)}: only what failed, was skipped or cancelled can be tried again`;
  if (found.length === 0) return 'no cluster has failed: there is nothing to retry';
  let wave = draft.batch.wave;
  for (const member of found) {
    const after = draft.enter(member, { name: 'queued' }, { undo: null, waiting_since: null });
    draft.tell('cluster_queued', after, `tried again, by ${by}`);
    wave = Math.min(wave, after.wave ?? wave);
    draft.setWave(after.wave ?? wave, { ended: null });
  }
  draft.resume(`retried by ${by}`);
  // B3: the retried clusters get their own soak, however much of the present soak is over.
  draft.run();
  draft.set({ wave });
  return undefined;
}

function skip(draft: BatchDraft, clusters: readonly string[] | undefined, by: string): string | undefined {
  const found = named(draft, clusters, 'failed');
  if (typeof found === 'string') return found;
  const other = found.filter((member) => !isOpen(member) && !isOneOf(member, 'failed', 'skipped'));
  if (other.length > 0) return `${statesOf(other)}: only what failed or has not begun can be skipped`;
  if (found.length === 0) return 'no cluster has failed: name those to skip';
  for (const member of found) {
    if (member.state.name === 'skipped') continue;
    const reason = `skipped by ${by}`;
    const after = draft.enter(member, { name: 'skipped', ended: draft.now, reason }, { undo: null });
    draft.tell('cluster_skipped', after, reason);
  }
  const { state } = draft.batch;
  if (state.name === 'paused' && state.reason === 'failures') draft.resume(`failures skipped by ${by}`);
  return undefined;
}

/** The last wave with clusters that has started; the first wave if none has started. */
export function lastStarted({ waves }: Batch): number {
  const last = waves.findLastIndex(({ started, size }) => started !== null && size > 0);
  return Math.max(0, last);
}

/**
 * Rolls back the clusters of the wave that have begun, under the same limits. The others are left as they
 * are.
 */
function rollBack(draft: BatchDraft, wave: number, by: string): string | undefined {
  const { state, waves } = draft.batch;
  if (state.name === 'rolling_back')
    return state.wave === wave ? undefined : `it takes wave ${state.wave + 1} back: wait until that is done`;
  if (!waves[wave]?.started) return `there is no wave ${wave + 1} that has started`;
  const own = draft.members.filter((member) => member.wave === wave);
  const begun = own.filter((member) => isOneOf(member, 'running', 'succeeded') || hasFailedAtIt(member));
  if (begun.length === 0) return `wave ${wave + 1} has no cluster that could go back`;
  for (const member of own.filter(isOpen)) {
    const reason = `its wave was taken back by ${by}`;
    const after = draft.enter(member, { name: 'cancelled', ended: draft.now, reason });
    draft.tell('cluster_cancelled', after, reason);
  }
  for (const member of begun) {
    const next = member.state.name === 'running' ? member.state : { name: 'queued' as const };
    draft.enter(member, next, { undo: member.undo ?? member.upgrade_id, waiting_since: null });
  }
  draft.set({ wave, state: { name: 'rolling_back', started: draft.started, wave } });
  draft.emit('rolling_back', `wave ${wave + 1} is taken back by ${by}: ${counted(begun.length, 'cluster')}`, {
    wave,
  });
  return undefined;
}

/** A cluster whose upgrade never began has nothing to undo. */
function hasFailedAtIt({ state, upgrade_id }: Member): boolean {
  return state.name === 'failed' && upgrade_id !== null;
}

function cancel(draft: BatchDraft, by: string): string | undefined {
  if (draft.batch.cancelling) return undefined;
  for (const member of draft.members.filter(isOpen)) cancelMember(draft, member, `cancelled by ${by}`);
  draft.set({ cancelling: true });
  if (draft.hasStarted) draft.run();
  draft.emit('cancelling', `cancelled by ${by}: what is in flight ends first`);
  return undefined;
}

/**
 * The members of the named clusters, or all members in `state` if none are named. A string says what is wrong
 * with the names.
 */
function named(
  draft: BatchDraft,
  clusters: readonly string[] | undefined,
  state: MemberStateName,
): readonly Member[] | string {
  if (!clusters) return draft.members.filter((member) => member.state.name === state);
  const wanted = new Set(clusters);
  const found = draft.members.filter(({ cluster_id }) => wanted.has(cluster_id));
  const known = new Set(found.map(({ cluster_id }) => cluster_id));
  const unknown = clusters.filter((id) => !known.has(id));
  return unknown.length > 0 ? `${namesOf(unknown)} is not in this batch` : found;
}

function isOneOf({ state }: Member, ...names: readonly MemberStateName[]): boolean {
  return names.includes(state.name);
}

function statesOf(members: readonly Member[]): string {
  return namesOf(members.map(({ cluster_name, state }) => `${cluster_name} is ${state.name}`));
}
