import type { Cluster } from '../domain.ts';
import { possibleFollowUps } from '../follow-up.ts';
import { isActive, type Step, type Upgrade } from '../record.ts';
import { ACTIONS, type Action } from './advance.ts';
import { rollbackRefusal } from './schedule.ts';
import { awaitsConfirmation } from './trove-guest.ts';

/**
 * What a person can do to an upgrade now: what `advance` would take, and what would change something. Of
 * one that waits for a person, the action that makes it go on comes first. One that has ended can be taken
 * up again by a new one, as long as its cluster is there and idle.
 */
export function possibleActions(upgrade: Upgrade, cluster: Cluster | null): readonly Action[] {
  if (!isActive(upgrade)) return cluster ? possibleFollowUps(upgrade, cluster) : [];
  const possible = ACTIONS.filter((action) => isPossible(upgrade, action));
  if (!waitsForRetry(upgrade)) return possible;
  const isFirst = (action: Action) => Number(action === 'retry');
  return possible.toSorted((a, b) => isFirst(b) - isFirst(a));
}

function isPossible(upgrade: Upgrade, action: Action): boolean {
  const { state, steps, policy, approved, cancelling } = upgrade;
  const isPaused = state.name === 'paused';
  switch (action) {
    case 'pause':
      return (state.name === 'running' || (isPaused && state.reason === 'window')) && !cancelling;
    case 'resume':
      return isPaused && state.reason !== 'canary' && state.reason !== 'window' && !steps.some(hasFailed);
    case 'approve':
      return policy.canary > 0 && !approved && !cancelling;
    case 'confirm':
      return isPaused && awaitsConfirmation(upgrade) !== null;
    case 'retry':
      return steps.some(hasFailed) || (isPaused && state.reason === 'failure');
    case 'cancel':
      return !cancelling;
    case 'rollback':
      return upgrade.direction === 'forward' && rollbackRefusal(upgrade, (id) => id) === null;
    default:
      return action satisfies never;
  }
}

/** Out of time it is only resumed: nothing has failed. */
function waitsForRetry({ state, steps }: Upgrade): boolean {
  return state.name === 'paused' && steps.some((step) => hasFailed(step) || isInSwitchover(step));
}

function hasFailed({ phase }: Step): boolean {
  return phase.name === 'failed';
}

/** Where a guest that does not answer is waited for, however long it takes. */
function isInSwitchover({ phase }: Step): boolean {
  return phase.name === 'promoting' || phase.name === 'restoring';
}
