import type { Command } from 'commander';
import type { UpgradeDocument } from '../client/index.ts';
import { ACTIONS, type Action } from '../src/core/upgrade/inputs.ts';
import type { Io } from './io.ts';
import { sessionOf } from './session.ts';
import { findUpgrade, UPGRADE_ARGUMENT, wayOn } from './upgrades.ts';

const DESCRIPTIONS: Readonly<Record<Action, string>> = {
  pause: 'Pause an upgrade: nothing further is started, what is in flight ends.',
  resume: 'Let a paused upgrade go on.',
  approve: 'Let an upgrade go on past its canary.',
  confirm:
    'Say that the instance that an upgrade has paused for runs the new version: you have looked at its server.',
  retry:
    'Try again what has failed in an upgrade, with all its retries anew. Of one that has ended: by another upgrade.',
  rollback:
    'Take an upgrade back to the version that the cluster came from. Of one that has ended: by another upgrade.',
  cancel: 'Cancel an upgrade: nothing further is started, and it ends when what is in flight has ended.',
};

/** `upgrade-pause`, `-resume`, `-approve`, `-confirm`, `-retry`, `-rollback`, `-cancel`. */
export function addActionCommands(program: Command, io: Io): void {
  for (const action of ACTIONS) {
    program
      .command(`upgrade-${action}`)
      .description(DESCRIPTIONS[action])
      .argument('<upgrade>', UPGRADE_ARGUMENT)
      .addHelpText(
        'after',
        `
Examples:
  coffer upgrade-${action} shop
  coffer upgrade-${action} 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a --json`,
      )
      .action(async (reference: string, _options, command) => {
        const { client, output } = sessionOf(command, io);
        const { id } = await findUpgrade(client, reference);
        const upgrade = await client.upgrades[action](id);
        output.result({ upgrade }, () => output.line(sentence(upgrade)));
      });
  }
}

/** What has become of the upgrade, and which command to type next. */
function sentence(upgrade: UpgradeDocument): string {
  const { id, cluster_name, cluster_id, state, message, cancelling, ended } = upgrade;
  const subject = `Upgrade ${id} of ${cluster_name ?? cluster_id} is ${state}`;
  const command = wayOn(upgrade);
  if (command !== null) return `${subject}: ${message}. To go on: ${command}`;
  if (ended !== null) return message === null ? `${subject}.` : `${subject}: ${message}.`;
  if (cancelling) return `${subject} until what is in flight has ended. Watch it: coffer upgrade-watch ${id}`;
  return `${subject}. Watch it: coffer upgrade-watch ${id}`;
}
