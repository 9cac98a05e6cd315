import type { Cluster } from '../domain.ts';
import { possibleFollowUps } from '../follow-up.ts';
import { isActive, isFailed, type Step, type Upgrade } from '../record.ts';
import { ACTIONS, type Action } from './advance.ts';
import { judge } from './judge.ts';

/**
 * What a person can do to an upgrade now: what `advance` would take, and what would change something. Of
 * one that waits for a person, the action that makes it go on comes first. One that has ended can be taken
 * up again by a new one, as long as its cluster is there and idle.
 */
export function possibleActions(upgrade: Upgrade, cluster: Cluster | null): readonly Action[] {
  if (!isActive(upgrade)) return cluster ? possibleFollowUps(upgrade, cluster) : [];
  const possible = ACTIONS.filter((action) => judge(upgrade, action, (id) => id).name === 'possible');
  if (!waitsForRetry(upgrade)) return possible;
  const isFirst = (action: Action) => Number(action === 'retry');
  return possible.toSorted((a, b) => isFirst(b) - isFirst(a));
}

/** Out of time it is only resumed: nothing has failed. */
function waitsForRetry({ state, steps }: Upgrade): boolean {
  return state.name === 'paused' && steps.some((step) => isFailed(step) || isInSwitchover(step));
}

/** Where a guest that does not answer is waited for, however long it takes. */
function isInSwitchover({ phase }: Step): boolean {
  return phase.name === 'promoting' || phase.name === 'restoring';
}
