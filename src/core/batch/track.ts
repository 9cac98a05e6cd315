/** How a member tracks the state of its upgrade. */

import { type BatchDraft, isParked, isTroubled, upgradeIdOf } from './draft.ts';
import type { Refusal, UpgradeSeen } from './inputs.ts';
import type { Member, MemberState } from './record.ts';

/** How long to wait before the begin of an upgrade is asked for again: it may be under way. */
const SAY_AGAIN_MS = 2_000;
/**
 * How long to wait before a busy cluster is tried again. The wait grows with the time that the cluster has
 * been busy.
 */
const BUSY_MIN_MS = 5_000;
const BUSY_MAX_MS = 60_000;

type Running = Extract<MemberState, { name: 'running' }>;

export function track(draft: BatchDraft, member: Member): void {
  const { state } = member;
  if (state.name !== 'running' || member.upgrade_id === null) return;
  const upgrade = draft.seen.upgrades.get(member.upgrade_id);
  if (!upgrade) {
    // B5: nobody has begun the upgrade. The taskmanager that was to do so has died, or is doing it right now.
    if (draft.now - state.since >= SAY_AGAIN_MS) draft.say({ kind: 'begin', member });
    return;
  }
  const begun = hasBegun(draft, member);
  switch (upgrade.state) {
    case 'scheduled':
    case 'running':
    case 'paused':
      return goesOn(draft, begun, state, upgrade);
    case 'succeeded':
    case 'failed':
    case 'cancelled':
    case 'rolled_back':
      return ended(draft, begun, state, upgrade);
    default:
      return upgrade.state satisfies never;
  }
}

/**
 * Emits the start of a member that had to wait only when its upgrade exists: until then, it may have to wait
 * again.
 */
function hasBegun(draft: BatchDraft, member: Member): Member {
  if (member.waiting_since === null) return member;
  const begun = draft.enter(member, member.state, { waiting_since: null });
  tellOfBegin(draft, begun);
  return begun;
}

export function tellOfBegin(draft: BatchDraft, member: Member): void {
  const { from_version, tries, undo } = member;
  const goal =
    undo === null ? `from ${from_version} to ${draft.batch.to_version}` : `back to ${from_version}`;
  draft.tell('cluster_started', member, `${goal}${tries > 1 ? `, try ${tries}` : ''}`);
}

function goesOn(draft: BatchDraft, member: Member, state: Running, upgrade: UpgradeSeen): void {
  const held = upgrade.reason === null ? null : { reason: upgrade.reason, message: upgrade.message };
  if (held?.reason !== state.held?.reason || held?.message !== state.held?.message) {
    const after = draft.enter(member, { ...state, held });
    const message = held ? held.message : 'goes on';
    if (isTroubled(member) || isTroubled(after) || isParked(after))
      draft.tell('cluster_held', after, message);
  }
  const { upgrade_id } = member;
  if (upgrade_id === null) return;
  // A person who cancels a batch does not want to be asked about each of its upgrades.
  if (draft.batch.cancelling && held && held.reason !== 'window' && !upgrade.cancelling) {
    draft.say({ kind: 'act', upgrade_id, action: 'cancel' });
  }
  if (member.undo !== null && state.way === 'forward' && upgrade.direction === 'forward') {
    draft.say({ kind: 'act', upgrade_id, action: 'rollback' });
  }
}

function ended(draft: BatchDraft, member: Member, state: Running, upgrade: UpgradeSeen): void {
  const measured = { write_outage_ms: member.write_outage_ms + upgrade.write_outage_ms };
  const outcome = outcomeOf(member, state, upgrade);
  if (outcome.name === 'again') {
    // The upgrade was to be rolled back, and ended before it could be: another upgrade will roll it back.
    draft.enter(member, { name: 'queued' }, measured);
    return;
  }
  const { name, reason } = outcome;
  const next: MemberState =
    name === 'succeeded' ? { name, ended: draft.now } : { name, ended: draft.now, reason };
  const after = draft.enter(member, next, { ...measured, undo: null });
  draft.tell(`cluster_${name}`, after, reason);
}

/** B1. */
function outcomeOf(
  { undo, from_version }: Member,
  { way }: Running,
  { state, message }: UpgradeSeen,
): { readonly name: 'succeeded' | 'failed' | 'cancelled' | 'again'; readonly reason: string } {
  const isBack = state === 'rolled_back' || (way === 'back' && state === 'succeeded');
  if (undo !== null && isBack) return { name: 'cancelled', reason: `rolled back to ${from_version}` };
  if (undo !== null && way === 'forward') return { name: 'again', reason: message };
  if (undo !== null) return { name: 'failed', reason: wayBack(message) };
  if (state === 'succeeded') return { name: 'succeeded', reason: 'succeeded' };
  if (state === 'cancelled') return { name: 'cancelled', reason: message };
  return { name: 'failed', reason: message };
}

/** The rollback has failed, so the result of the last upgrade forward remains. */
function wayBack(message: string): string {
  return `its way back: ${message}`;
}

/** Handles an upgrade that could not begin. */
export function refused(draft: BatchDraft, { position, upgrade_id, verdict, reason }: Refusal): void {
  const member = draft.member(position);
  if (member?.state.name !== 'running' || member.upgrade_id !== upgrade_id) return;
  switch (verdict) {
    case 'later':
      return later(draft, member, reason);
    case 'needless':
      if (member.undo === null) return leave(draft, member, 'skipped', reason);
      return leave(draft, member, 'cancelled', `rolled back: ${reason}`);
    case 'gone':
      return leave(draft, member, 'skipped', reason);
    case 'failed':
      return leave(draft, member, 'failed', member.undo === null ? reason : wayBack(reason));
    default:
      return verdict satisfies never;
  }
}

/** This try does not count, and there is no upgrade with its id: the try before it counts (B5). */
function untried({ batch }: BatchDraft, member: Member): Pick<Member, 'tries' | 'upgrade_id'> {
  const tries = member.tries - 1;
  return { tries, upgrade_id: tries === 0 ? null : upgradeIdOf(batch.id, member.cluster_id, tries) };
}

/** B8. */
function later(draft: BatchDraft, member: Member, reason: string): void {
  const { now } = draft;
  const since = member.waiting_since ?? now;
  const wait_ms = Math.min(Math.max((now - since) / 2, BUSY_MIN_MS), BUSY_MAX_MS);
  const until = now + Math.round(wait_ms);
  const fields = { ...untried(draft, member), waiting_since: since };
  const after = draft.enter(member, { name: 'waiting', until, reason }, fields);
  if (member.waiting_since === null) draft.tell('cluster_waiting', after, reason);
}

function leave(draft: BatchDraft, member: Member, name: 'skipped' | 'failed' | 'cancelled', reason: string) {
  const after = draft.enter(
    member,
    { name, ended: draft.now, reason },
    { ...untried(draft, member), undo: null },
  );
  draft.tell(`cluster_${name}`, after, reason);
}
