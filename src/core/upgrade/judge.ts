import { isFailed, type Upgrade } from '../record.ts';
import type { Action } from './inputs.ts';
import { awaitsConfirmation } from './trove-guest.ts';

/**
 * The outcome of an action: it would change something, it would change nothing, or it is refused for a reason.
 */
type Judgement = { readonly name: 'possible' | 'needless' } | { readonly name: 'refused'; reason: string };

const POSSIBLE: Judgement = { name: 'possible' };
/** Asking for the same thing twice does no harm. */
const NEEDLESS: Judgement = { name: 'needless' };

/**
 * The one place that decides which actions an active upgrade accepts: the actions that are offered and the
 * actions that are carried out both follow from it.
 */
export function judge(upgrade: Upgrade, action: Action, nameOf: (id: string) => string): Judgement {
  const { state, steps, policy, approved, cancelling, direction } = upgrade;
  const hasFailed = steps.some(isFailed);
  switch (action) {
    case 'pause':
      if (cancelling) return refused('it is being cancelled');
      if (state.name === 'scheduled') return refused('it has not started yet: cancel it instead');
      // An upgrade that waits for its window would continue by itself, so a pause changes something.
      return state.name === 'paused' && state.reason !== 'window' ? NEEDLESS : POSSIBLE;
    case 'resume':
      if (state.name !== 'paused') return NEEDLESS;
      if (state.reason === 'canary')
        return refused('it waits for approval after its canary: approve it, or cancel it');
      if (state.reason === 'window') {
        const canGoBack = direction === 'forward' && rollbackRefusal(upgrade, nameOf) === null;
        return refused(
          `${state.message}; until then: pause it, ${canGoBack ? 'roll it back, ' : ''}or cancel it`,
        );
      }
      return hasFailed ? refused('a step has failed: retry it, or cancel') : POSSIBLE;
    case 'approve':
      if (policy.canary === 0) return refused('its policy has no canary to approve');
      if (direction === 'back') return refused('it is on its way back, which waits for no approval');
      if (approved) return NEEDLESS;
      return cancelling ? refused('it is being cancelled') : POSSIBLE;
    case 'confirm':
      return state.name === 'paused' && awaitsConfirmation(upgrade) !== null
        ? POSSIBLE
        : refused('no step waits to be confirmed');
    case 'retry':
      return hasFailed || (state.name === 'paused' && state.reason === 'failure')
        ? POSSIBLE
        : refused('no step has failed: there is nothing to retry');
    case 'cancel':
      return cancelling ? NEEDLESS : POSSIBLE;
    case 'rollback': {
      if (direction === 'back') return NEEDLESS;
      const reason = rollbackRefusal(upgrade, nameOf);
      return reason === null ? POSSIBLE : refused(reason);
    }
    default:
      return action satisfies never;
  }
}

/** Why the upgrade cannot be rolled back; null if it can. */
export function rollbackRefusal(upgrade: Upgrade, nameOf: (id: string) => string): string | null {
  if (upgrade.state.name === 'scheduled') return 'it has not started yet: cancel it instead';
  if (upgrade.cancelling) return 'it is being cancelled';
  const final = upgrade.steps.find((step) => step.reversible === false && step.phase.name !== 'preparing');
  return final ? `it can't be rolled back: ${nameOf(final.instance_id)} was upgraded irreversibly` : null;
}

function refused(reason: string): Judgement {
  return { name: 'refused', reason };
}
