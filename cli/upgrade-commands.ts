import type { Command } from 'commander';
import type { PlanDocument, UpgradeDocument } from '../client/index.ts';
import { DEFAULT_POLICY } from '../src/core/policy.ts';
import { EXIT } from './failures.ts';
import type { Io } from './io.ts';
import { upgradeWord, withLastWord } from './last-word.ts';
import { type Output, prose } from './output.ts';
import { policyOf, withPolicyOptions } from './policy.ts';
import { renderProgress } from './progress.ts';
import { type Session, sessionOf } from './session.ts';
import { findUpgrade, UPGRADE_ARGUMENT, wayOn } from './upgrades.ts';

type Exit = (code: number) => void;

interface UpgradeOptions {
  readonly watch?: boolean;
  readonly wait?: boolean;
  readonly dryRun?: boolean;
  readonly planHash?: string;
}

/** `cluster-upgrade`, `instance-upgrade`, `upgrade-list`, `-show`, `-watch`. */
export function addUpgradeCommands(program: Command, io: Io, exit: Exit): void {
  addClusterUpgrade(program, io, exit);
  addInstanceUpgrade(program, io, exit);

  program
    .command('upgrade-list')
    .description('List the upgrades of a cluster, newest first.')
    .argument('<cluster>', 'name or id')
    .addHelpText('after', '\nExample:\n  coffer upgrade-list shop')
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const upgrades: UpgradeDocument[] = [];
      for await (const upgrade of client.upgrades.list(reference)) upgrades.push(upgrade);
      output.result({ upgrades }, () => showUpgrades(output, upgrades));
    });

  program
    .command('upgrade-show')
    .description('Show an upgrade with its steps.')
    .argument('<upgrade>', UPGRADE_ARGUMENT)
    .addHelpText(
      'after',
      '\nExamples:\n  coffer upgrade-show shop\n  coffer upgrade-show 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a',
    )
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const upgrade = await findUpgrade(client, reference);
      output.result({ upgrade }, () => showUpgrade(output, upgrade));
    });

  program
    .command('upgrade-watch')
    .description('Watch an upgrade to its end, from its beginning.')
    .argument('<upgrade>', UPGRADE_ARGUMENT)
    .option('--wait', 'stop also when it is paused and waits for a person')
    .addHelpText(
      'after',
      '\nExamples:\n  coffer upgrade-watch shop\n  coffer upgrade-watch 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a',
    )
    .action(async (reference: string, options: { readonly wait?: boolean }, command) => {
      const session = sessionOf(command, io);
      const { id } = await findUpgrade(session.client, reference);
      await watch(session, id, options.wait ? 'settled' : 'ended', exit);
    });
}

function addClusterUpgrade(program: Command, io: Io, exit: Exit): void {
  const command = program
    .command('cluster-upgrade')
    .description('Upgrade a cluster to a datastore version while it serves.')
    .argument('<cluster>', 'name or id');
  withUpgradeOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  coffer cluster-upgrade shop 17.10 --watch
  coffer cluster-upgrade shop 17.10 --dry-run
  coffer cluster-upgrade shop 17.10 --canary 1 --soak-seconds 60
  coffer cluster-upgrade shop 17.10 --on-failure fail --wait && echo done`,
    )
    .action(async (cluster: string, version: string, options: UpgradeOptions, self: Command) => {
      const session = sessionOf(self, io);
      const { clusters } = session.client;
      const policy = policyOf(self);
      if (options.dryRun) return tellPlan(session, await clusters.plan(cluster, version, policy));
      const upgrading = await clusters.upgrade(cluster, version, policy, planOptionsOf(options));
      const id = upgrading.upgrade_id;
      if (await watched(session, id, options, exit)) return;
      session.output.result({ cluster: upgrading }, () => tellAccepted(session.output, id, upgrading.name));
    });
}

function addInstanceUpgrade(program: Command, io: Io, exit: Exit): void {
  const command = program
    .command('instance-upgrade')
    .description('Upgrade one instance of a cluster, ahead of the others.')
    .argument('<instance>', 'name or id');
  withUpgradeOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  coffer instance-upgrade shop-member-2 17.10 --watch
  coffer instance-upgrade shop-member-2 17.10 --dry-run
  coffer instance-upgrade shop-member-2 17.10 --wait && coffer cluster-upgrade shop 17.10`,
    )
    .action(async (instance: string, version: string, options: UpgradeOptions, self: Command) => {
      const session = sessionOf(self, io);
      const { instances, upgrades } = session.client;
      const policy = policyOf(self);
      if (options.dryRun) return tellPlan(session, await instances.plan(instance, version, policy));
      const { upgrade_id: id } = await instances.upgrade(instance, version, policy, planOptionsOf(options));
      if (await watched(session, id, options, exit)) return;
      const upgrade = await upgrades.get(id);
      session.output.result({ upgrade }, () => tellAccepted(session.output, id, instance));
    });
}

/** The options that all commands share that begin an upgrade. */
function withUpgradeOptions(command: Command): Command {
  command
    .argument('<datastore_version>', 'name or id')
    .option('--dry-run', 'show the plan and what would hold it back now, and change nothing')
    .option('--plan-hash <hash>', 'upgrade only if the plan is still the one with this hash')
    .option('--watch', 'show how it goes, to the end; Ctrl-C leaves it running')
    .option('--wait', 'wait until it has ended, or is paused and waits for a person');
  return withPolicyOptions(command, DEFAULT_POLICY);
}

function planOptionsOf({ planHash }: UpgradeOptions): { readonly planHash?: string } {
  return planHash === undefined ? {} : { planHash };
}

/** Watches the upgrade or waits for its end, if the options ask for that. */
async function watched(session: Session, id: string, options: UpgradeOptions, exit: Exit): Promise<boolean> {
  if (options.watch) await watch(session, id, options.wait ? 'settled' : 'ended', exit);
  else if (options.wait) await wait(session, id, exit);
  return options.watch === true || options.wait === true;
}

function tellAccepted(output: Output, id: string, whose: string): void {
  output.line(`Upgrade ${id} of ${whose} is accepted. Watch it: coffer upgrade-watch ${id}`);
}

function tellPlan({ output }: Session, plan: PlanDocument): void {
  output.result({ plan }, () => showPlan(output, plan));
}

/** Shows the progress of an upgrade: live on a terminal, line by line elsewhere, JSON lines with `--json`. */
async function watch(session: Session, id: string, until: 'ended' | 'settled', exit: Exit): Promise<void> {
  const { client, io, json } = session;
  const isTTY = io.stdout.isTTY ?? false;
  const watching = {
    stream: io.stdout,
    until,
    signal: io.signal,
    isTTY,
    json,
    color: isTTY && !io.env['NO_COLOR'],
  };
  await withLastWord(io, watchedUpgrade(session, id), async () => {
    const upgrade = await renderProgress(client, id, watching);
    if (json) session.output.result({ upgrade }, () => undefined);
    exit(exitCodeOf(upgrade));
  });
}

async function wait(session: Session, id: string, exit: Exit): Promise<void> {
  const { client, io, output } = session;
  await withLastWord(io, watchedUpgrade(session, id), async () => {
    const upgrade = await client.upgrades.waitFor(id, { signal: io.signal, until: 'settled' });
    output.result({ upgrade }, () => showUpgrade(output, upgrade));
    exit(exitCodeOf(upgrade));
  });
}

function watchedUpgrade({ client }: Session, id: string) {
  const command = `coffer upgrade-watch ${id}`;
  return { name: 'The upgrade', command, get: () => client.upgrades.get(id), tell: upgradeWord };
}

function exitCodeOf({ state, follows }: UpgradeDocument): number {
  if (state === 'paused') return EXIT.paused;
  // An upgrade that was begun in order to roll back has succeeded when it has rolled back.
  const isDone = state === 'succeeded' || (state === 'rolled_back' && follows?.as === 'rollback');
  return isDone ? EXIT.ok : EXIT.failed;
}

function showPlan(
  output: Output,
  { from, to, steps, successor, gates, findings, ...plan }: PlanDocument,
): void {
  output.fields({
    from: from.name,
    to: to.name,
    successor: successor?.instance_name,
    estimate_seconds: plan.estimate_seconds ?? 'not known before the first upgrade is measured',
    hash: plan.hash,
  });
  // Some stages of the datastore's sequence may be empty in this plan.
  const stages = [...new Set(steps.map(({ stage }) => stage))];
  output.table(
    ['Stage', 'Instance', 'Kind', 'Role', 'Repair'],
    steps.map(({ stage, kind, instance_name, role, repair }) => [
      stages.indexOf(stage) + 1,
      instance_name,
      kind,
      role,
      repair ? 'yes' : '',
    ]),
  );
  if (gates.length === 0) output.line('No gate would hold it back now.');
  else {
    output.table(
      ['Gate', prose('Would hold it back now')],
      gates.map(({ gate, reason }) => [gate, reason]),
    );
  }
  const others = findings.filter(({ name }) => gates.every(({ gate }) => gate !== name));
  if (others.length === 0) return;
  output.table(
    ['Finding', 'Instance', prose('What it means')],
    others.map(({ name, instance_name, reason, acknowledged }) => [
      name,
      instance_name,
      acknowledged ? `acknowledged: ${reason}` : reason,
    ]),
  );
}

function showUpgrades(output: Output, upgrades: readonly UpgradeDocument[]): void {
  output.table(
    ['ID', 'State', 'From', 'To', 'Created', 'Ended'],
    upgrades.map(({ id, from, to, state, created, ended }) => [
      id,
      state,
      from.name,
      to.name,
      created,
      ended,
    ]),
    'It was never upgraded. Look what an upgrade would do: coffer cluster-upgrade <cluster> <version> --dry-run',
  );
}

function showUpgrade(output: Output, upgrade: UpgradeDocument): void {
  output.fields({
    id: upgrade.id,
    cluster: upgrade.cluster_name ?? upgrade.cluster_id,
    from: upgrade.from.name,
    to: upgrade.to.name,
    state: upgrade.cancelling && upgrade.ended === null ? `${upgrade.state}, cancelling` : upgrade.state,
    status: upgrade.status,
    message: upgrade.message,
    next: wayOn(upgrade),
    actions: upgrade.actions.join(', '),
    progress: `${upgrade.progress.done} of ${upgrade.progress.total} steps`,
    created: upgrade.created,
    started: upgrade.started,
    ended: upgrade.ended,
    estimated_end: upgrade.estimated_end,
  });
  output.table(
    ['Step', 'Instance', 'Phase', 'Kind', 'Attempt', prose('Note')],
    upgrade.steps.map((step) => [
      step.id,
      step.instance_name ?? step.instance_id,
      step.phase,
      step.kind,
      step.attempt,
      step.error ?? step.blocked?.reason,
    ]),
  );
}
