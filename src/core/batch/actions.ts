import { lastStarted, nextApproval } from './act.ts';
import { BATCH_ACTIONS, type Batch, type BatchAction, isBatchActive } from './record.ts';

/**
 * What a person can do to a batch now: the actions that `advanceBatch` would accept and that would change
 * something. If failures have paused the batch, the action that lets it continue comes first.
 */
export function possibleBatchActions(batch: Batch): readonly BatchAction[] {
  const { state } = batch;
  if (!isBatchActive(batch)) return [];
  const possible = BATCH_ACTIONS.filter((action) => isPossible(batch, action));
  if (state.name !== 'paused' || state.reason !== 'failures') return possible;
  const isFirst = (action: BatchAction) => Number(action === 'retry');
  return possible.toSorted((a, b) => isFirst(b) - isFirst(a));
}

function isPossible(batch: Batch, action: BatchAction): boolean {
  const { state, cancelling, waves, approved_wave } = batch;
  if (cancelling) return false;
  const failed = waves.some(({ counts }) => counts.failed > 0);
  switch (action) {
    case 'pause':
      return state.name === 'running' || state.name === 'scheduled';
    case 'resume':
      return state.name === 'paused' && state.reason !== 'approval';
    case 'approve':
      return nextApproval(batch) > approved_wave;
    case 'retry':
      return failed && state.name !== 'rolling_back';
    case 'skip':
      return failed || waves.some(({ counts }) => counts.queued + counts.waiting > 0);
    case 'rollback': {
      const counts = waves[lastStarted(batch)]?.counts;
      return (
        state.name !== 'rolling_back' && !!counts && counts.running + counts.succeeded + counts.failed > 0
      );
    }
    case 'cancel':
      return true;
    default:
      return action satisfies never;
  }
}
