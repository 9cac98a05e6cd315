import type { Cluster } from '../domain.ts';
import { possibleFollowUps } from '../follow-up.ts';
import { isActive, isFailed, type Step, type Upgrade } from '../record.ts';
import { ACTIONS, type Action } from './inputs.ts';
import { judge } from './judge.ts';

/**
 * What a person can do to an upgrade now: the actions that `advance` would accept and that would change
 * something. For an upgrade that waits for a person, the action that lets it continue comes first. An upgrade
 * that has ended can be taken up again by a new one, as long as its cluster exists and is idle.
 */
export function possibleActions(upgrade: Upgrade, cluster: Cluster | null): readonly Action[] {
  if (!isActive(upgrade)) return cluster ? possibleFollowUps(upgrade, cluster) : [];
  const possible = ACTIONS.filter((action) => judge(upgrade, action, (id) => id).name === 'possible');
  if (!waitsForRetry(upgrade)) return possible;
  const isFirst = (action: Action) => Number(action === 'retry');
  return possible.toSorted((a, b) => isFirst(b) - isFirst(a));
}

/** An upgrade that has run out of time is only resumed: nothing has failed. */
function waitsForRetry({ state, steps }: Upgrade): boolean {
  return state.name === 'paused' && steps.some((step) => isFailed(step) || isInSwitchover(step));
}

/** True in the phases in which a guest that does not answer is waited for, however long it takes. */
function isInSwitchover({ phase }: Step): boolean {
  return phase.name === 'promoting' || phase.name === 'restoring';
}
