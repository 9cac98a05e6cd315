/** The actions that a person can take on a batch, and what each will cause, in words. Pure. */
import type { BatchDocument } from '../../client/index.ts';
import type { Deed } from '../deed.ts';
import { count } from '../format.ts';

export type BatchAction = BatchDocument['actions'][number];

const LABELS: Readonly<Record<BatchAction, string>> = {
  pause: 'Pause',
  resume: 'Resume',
  approve: 'Approve',
  retry: 'Retry',
  skip: 'Skip',
  rollback: 'Roll back',
  cancel: 'Cancel',
};

export function batchDeedOf(action: BatchAction, batch: BatchDocument): Deed<BatchAction> {
  const isDangerous = action === 'cancel' || action === 'rollback';
  const label = LABELS[action];
  return { action, label, title: `${label} the batch?`, sentences: sentencesOf(action, batch), isDangerous };
}

function sentencesOf(action: BatchAction, { counts, to, wave, waves }: BatchDocument): readonly string[] {
  const running = count(counts.running, 'upgrade');
  const failed = count(counts.failed, 'cluster');
  const left = count(counts.queued + counts.waiting, 'cluster');
  switch (action) {
    case 'pause':
      return [`No further cluster begins. ${running} in flight end first; ${left} wait until you resume.`];
    case 'resume':
      return ['It goes on where it was, with its budgets whole again.'];
    case 'approve': {
      const next = waves.find(
        ({ approval, started, number }) => approval && started === null && number >= wave,
      );
      return [`Wave ${next?.number ?? wave} may start, with ${count(next?.size ?? 0, 'cluster')}.`];
    }
    case 'retry':
      return [`${failed} that failed are tried again, from their own wave on, and the batch goes on.`];
    case 'skip':
      return [
        counts.failed > 0
          ? `${failed} that failed are left behind as they are, and the batch goes on.`
          : `${left} that have not begun are left out.`,
      ];
    case 'rollback':
      return [
        'The wave is taken back, under the same limits: what was upgraded or failed goes back by a new upgrade, what runs turns round, what had not begun is cancelled.',
        'After that the batch is paused.',
      ];
    case 'cancel':
      return [
        `No further cluster begins: ${left} are cancelled. ${running} in flight end first; those that wait for a person are cancelled too.`,
        `Clusters that run ${to.name} already keep it.`,
      ];
  }
}
