/** The actions that a person can take on an upgrade, and what each will cause, in words. Pure. */
import type { UpgradeDocument } from '../../client/index.ts';
import type { Deed } from '../deed.ts';
import { count } from '../format.ts';
import { isOver } from '../words.ts';

export type Action = UpgradeDocument['actions'][number];

const LABELS: Readonly<Record<Action, string>> = {
  pause: 'Pause',
  resume: 'Resume',
  approve: 'Approve',
  confirm: 'Confirm',
  retry: 'Retry',
  cancel: 'Cancel',
  rollback: 'Roll back',
};

export function deedOf(action: Action, upgrade: UpgradeDocument): Deed<Action> {
  const name = upgrade.cluster_name ?? 'the cluster';
  return {
    action,
    label: LABELS[action],
    title: `${LABELS[action]} the upgrade of ${name}?`,
    sentences: isOver(upgrade) ? afterwards(action, upgrade) : meanwhile(action, upgrade),
    isDangerous: action === 'cancel' || action === 'rollback',
  };
}

function meanwhile(action: Action, upgrade: UpgradeDocument): readonly string[] {
  const { from, to, progress, policy } = upgrade;
  const flying = inFlight(upgrade);
  const ends = flying === '' ? 'Nothing is in flight.' : `What is in flight ends first: ${flying}.`;
  const next = nextOf(upgrade);
  switch (action) {
    case 'pause':
      return [
        `No further step starts. ${ends}`,
        'It then waits for you, for as long as it takes. No other upgrade of the cluster can begin meanwhile.',
      ];
    case 'resume':
      return [`It goes on${next === '' ? '' : ` with ${next}`}.`];
    case 'approve':
      return [
        `${progress.done} of ${progress.total} steps are done, and ${count(policy.canary, 'instance was', 'instances were')} to be tried first.`,
        `It goes on to the end without asking again${next === '' ? '' : `; next is ${next}`}.`,
      ];
    case 'confirm':
      return [
        `You have looked at the server of ${failed(upgrade).split(', ')[0]}, and it runs ${to.name}.`,
        `The record then says so, and the upgrade goes on${next === '' ? '' : ` with ${next}`}.`,
      ];
    case 'retry':
      return [
        `What has failed is tried again, with all its retries anew: ${failed(upgrade)}.`,
        'If it succeeds the upgrade goes on by itself.',
      ];
    case 'cancel':
      return [
        `No further step starts. ${ends} Then the upgrade ends as cancelled.`,
        `Instances that run ${to.name} already keep it, and the cluster counts as ${from.name} until all have it. To go back instead, roll back.`,
      ];
    case 'rollback':
      return [
        `${ends} Then every instance that runs ${to.name} goes back to ${from.name}, one after the other, in the reverse order.`,
        'If a new primary has taken over, there may be another switchover: writes wait for that moment.',
      ];
  }
}

/** An upgrade that has ended is taken up by a new one. */
function afterwards(action: Action, { from, to }: UpgradeDocument): readonly string[] {
  if (action === 'rollback') {
    return [
      `A new upgrade begins that takes every instance back from ${to.name} to ${from.name}, through the same gates and in the reverse order.`,
      'Writes may wait for the moment of a switchover.',
    ];
  }
  return [
    `A new upgrade begins that takes this one up, under the same policy: instances that run ${to.name} already are left alone.`,
  ];
}

function inFlight({ steps }: UpgradeDocument): string {
  const resting = ['pending', 'backoff', 'done', 'failed', 'skipped'];
  return steps
    .filter(({ phase }) => !resting.includes(phase))
    .map(({ instance_name, instance_id, phase }) => `${instance_name ?? instance_id} (${phase})`)
    .join(', ');
}

function nextOf({ steps }: UpgradeDocument): string {
  const next = steps.find(({ phase }) => phase === 'pending' || phase === 'backoff');
  if (!next) return '';
  const name = next.instance_name ?? next.instance_id;
  return next.kind === 'switchover' ? `the switchover from ${name}` : name;
}

function failed({ steps }: UpgradeDocument): string {
  const names = steps
    .filter(({ phase }) => phase === 'failed')
    .map(({ instance_name, instance_id }) => instance_name ?? instance_id);
  return names.length > 0 ? names.join(', ') : 'the step that waits';
}
