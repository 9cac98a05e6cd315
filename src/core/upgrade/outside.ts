/**
 * Changes of an adopted cluster that this upgrade has not made: a promotion by hand, a failover, a package that
 * somebody else has upgraded. Somebody else is at work there, so a person has to look before the upgrade goes
 * on. Each change pauses the upgrade once: the person who resumes it has seen the change.
 */
import { type Instance, primaryOf, versionOf } from '../domain.ts';
import { twoPrimaries } from '../primaries.ts';
import { isInFlight, type Step } from '../record.ts';
import type { Draft } from './draft.ts';

export function noticeChanges(draft: Draft): void {
  if (!draft.seen.adopted) return;
  // Nothing starts after a failure, and a person is asked about it, or the way back begins: then this looks again.
  if (draft.steps.some(({ phase }) => phase.name === 'failed')) return;
  noticePrimary(draft);
  for (const instance of draft.seen.instances) noticeVersion(draft, instance);
}

function noticePrimary(draft: Draft): void {
  const switchovers = draft.steps.filter(({ kind }) => kind === 'switchover');
  if (switchovers.some(isInFlight)) return;
  const two = twoPrimaries(draft.seen.instances, draft.seen);
  if (two) return draft.pauseForChange('two primaries', `${two.gate}: ${two.reason}; then resume`);
  const known = knownPrimary(draft, switchovers);
  const primary = primaryOf(draft.seen);
  if (known === null || !primary || primary.id === known) return;
  draft.pauseForChange(
    `primary ${primary.id}`,
    `${primary.name} was made the primary, and not by this upgrade, which knows ${draft.nameOf(known)} as the primary: ` +
      'see who did that, e.g. a tool for failovers, then resume; or cancel it',
  );
}

/**
 * The instance that this upgrade takes for the primary: the one that its last switchover has made the primary,
 * or the one that has yet to hand over. Null if this upgrade has nothing to do with the primary.
 */
function knownPrimary({ upgrade }: Draft, switchovers: readonly Step[]): string | null {
  const last = switchovers.findLast(({ phase }) => phase.name === 'done');
  if (last?.successor_id) return last.successor_id;
  const next = switchovers.find(({ round, phase }) => round === upgrade.round && phase.name === 'pending');
  return next?.instance_id ?? null;
}

/** An instance that this upgrade has brought to its version says another one. */
function noticeVersion(draft: Draft, instance: Instance): void {
  const own = draft.steps.filter(
    ({ kind, instance_id, attempt }) => kind === 'instance' && instance_id === instance.id && attempt > 0,
  );
  const last = own.at(-1);
  const version = versionOf(instance);
  if (last?.phase.name !== 'done' || version === null || version === last.to_version) return;
  draft.pauseForChange(
    `version ${instance.id} ${version}`,
    `${instance.name} runs ${version}, and this upgrade had brought it to ${last.to_version}: somebody else has ` +
      'changed it, e.g. unattended upgrades of packages; look at its host, then resume; or cancel it',
  );
}
