import { awaitWindow } from './closed-window.ts';
import type { Draft } from './draft.ts';
import { endIfOver, expire } from './ending.ts';
import { noticeChanges } from './outside.ts';
import { dropUntouched, planAnew, planRound } from './rounds.ts';
import { tellSilence } from './silence.ts';
import { mayStart, startWhatCan } from './starting.ts';
import { check } from './step.ts';

/**
 * Checks everything that waits: what is due, what can start, what has ended. `mayRepeat`: also send again the
 * messages that nobody has answered.
 */
export function proceed(draft: Draft, mayRepeat: boolean): void {
  if (draft.upgrade.state.name === 'scheduled' && !begin(draft)) return;
  if (draft.upgrade.cancelling) dropUntouched(draft);
  for (const { id } of draft.steps) {
    const step = draft.step(id);
    if (step) check(draft, step, mayRepeat);
  }
  expire(draft);
  awaitWindow(draft);
  if (planRound(draft)) {
    if (endIfOver(draft)) return;
    noticeChanges(draft);
    if (mayStart(draft)) planAnew(draft);
  }
  startWhatCan(draft);
  tellSilence(draft);
}

/** A taskmanager starts the upgrade, if its time has come. */
function begin(draft: Draft): boolean {
  const { cancelling, policy, direction, from_version, to_version } = draft.upgrade;
  if (cancelling) {
    draft.end('cancelled', 'cancelled before it started');
    return false;
  }
  if (draft.now < (policy.not_before ?? 0)) return false;
  draft.start();
  draft.emit(
    'started',
    direction === 'back' ? `back to ${from_version}` : `upgrade from ${from_version} to ${to_version}`,
  );
  return true;
}
