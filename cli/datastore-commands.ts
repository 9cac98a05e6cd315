import type { Command } from 'commander';
import type { CofferClient, VersionChangeInput } from '../client/index.ts';
import { UsageError } from './failures.ts';
import type { Io } from './io.ts';
import { collect } from './options.ts';
import type { Output } from './output.ts';
import { sessionOf } from './session.ts';

interface SettingOptions {
  readonly image?: string;
  readonly imageTag?: readonly string[];
  readonly upgradeFrom?: string;
  readonly notMixedWith?: string;
}

interface CreateOptions extends SettingOptions {
  readonly active?: boolean;
  readonly default?: boolean;
}

interface SetOptions extends SettingOptions {
  readonly datastore?: string;
  readonly versionName?: string;
  readonly datastoreManager?: string;
  readonly enable?: boolean;
  readonly disable?: boolean;
  readonly default?: boolean;
  readonly nonDefault?: boolean;
}

/** `datastore-list`, `-delete`, `datastore-version-list`, `-create`, `-set`, `-delete`. */
export function addDatastoreCommands(program: Command, io: Io): void {
  addReadingCommands(program, io);
  addCreateCommand(program, io);
  addSetCommand(program, io);
  addDeleteCommands(program, io);
}

function addReadingCommands(program: Command, io: Io): void {
  program
    .command('datastore-list')
    .description('List the datastores.')
    .addHelpText('after', '\nExample:\n  coffer datastore-list')
    .action(async (_options, command) => {
      const { client, output } = sessionOf(command, io);
      const datastores = await client.datastores.list();
      output.result({ datastores }, () => {
        output.table(
          ['Name', 'ID'],
          datastores.map(({ id, name }) => [name, id]),
        );
      });
    });

  program
    .command('datastore-version-list')
    .description('List the versions of a datastore.')
    .argument('<datastore>', 'name or id')
    .addHelpText('after', '\nExample:\n  coffer datastore-version-list postgresql')
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const versions = await client.datastores.versions(reference);
      output.result({ versions }, () => {
        output.table(
          ['Name', 'Active', 'Upgrade from', 'Not mixed with', 'Version', 'ID'],
          versions.map(({ id, name, version, active, upgrade_from, not_mixed_with }) => {
            return [name, active === 1 ? 'yes' : 'no', upgrade_from, not_mixed_with, version, id];
          }),
        );
      });
    });
}

function withSettings(command: Command): Command {
  return command
    .option('--upgrade-from <range>', 'from which versions it can be reached, e.g. ">=17.0 <17.10", or none')
    .option('--not-mixed-with <range>', 'which must not run beside it in one cluster, e.g. "<17.8", or none')
    .option('--image <id>', 'kept for Trove clients')
    .option('--image-tag <tag>', 'the same; may be repeated', collect);
}

function settingsOf({ image, imageTag, upgradeFrom, notMixedWith }: SettingOptions): VersionChangeInput {
  return {
    ...(image !== undefined && { image }),
    ...(imageTag !== undefined && { image_tags: [...imageTag] }),
    ...(upgradeFrom !== undefined && { upgrade_from: rangeOf(upgradeFrom) }),
    ...(notMixedWith !== undefined && { not_mixed_with: rangeOf(notMixedWith) }),
  };
}

function rangeOf(text: string): string | null {
  return text === 'none' ? null : text;
}

function addCreateCommand(program: Command, io: Io): void {
  withSettings(
    program
      .command('datastore-version-create')
      .description(
        'Add a version to the catalogue, inactive unless asked for otherwise. Administrators only.',
      )
      .argument('<name>', 'the number that its guest agents report, e.g. 17.11')
      .argument('<datastore>', 'name; the datastore is made if there is none')
      .argument('<manager>', "the guest agents' driver, e.g. postgresql")
      .option('--active', 'clusters and upgrades may have it')
      .option('--default', 'clusters get it that name no version'),
  )
    .addHelpText(
      'after',
      '\nExample:\n  coffer datastore-version-create 3.0 simulated simulated --active --upgrade-from ">=2.0"',
    )
    .action(
      async (name: string, datastore_name: string, manager: string, options: CreateOptions, command) => {
        const { client, output } = sessionOf(command, io);
        const version = await client.datastores.createVersion({
          ...{ name, datastore_name, datastore_manager: manager },
          ...{ active: options.active ?? false, default: options.default ?? false },
          ...settingsOf(options),
        });
        output.result({ version }, () =>
          output.fields({ ID: version.id, Name: name, Datastore: datastore_name }),
        );
      },
    );
}

function addSetCommand(program: Command, io: Io): void {
  withSettings(
    program
      .command('datastore-version-set')
      .description('Change a version: upgrades to one that is disabled start no further step.')
      .argument('<version>', 'id; or its name, with --datastore')
      .option('--datastore <datastore>', 'name or id of its datastore')
      .option('--enable', 'clusters and upgrades may have it')
      .option('--disable', 'nothing new gets it')
      .option('--default', 'clusters get it that name no version')
      .option('--non-default', 'clusters that name no version do not get it')
      .option('--version-name <name>', 'another name; not while a cluster has it')
      .option('--datastore-manager <name>', 'another driver; not while a cluster has it'),
  )
    .addHelpText('after', '\nExample:\n  coffer datastore-version-set 17.9 --datastore postgresql --disable')
    .action(async (reference: string, options: SetOptions, command) => {
      const { client, output } = sessionOf(command, io);
      const change = changeOf(options);
      if (Object.keys(change).length === 0) throw new UsageError('Nothing to change was given.');
      const id = await idOf(client, reference, options.datastore);
      const version = await client.datastores.changeVersion(id, change);
      output.result({ version }, () => showVersion(output, version));
    });
}

function changeOf(options: SetOptions): VersionChangeInput {
  return {
    ...settingsOf(options),
    ...switched('active', '--enable', options.enable, '--disable', options.disable),
    ...switched('default', '--default', options.default, '--non-default', options.nonDefault),
    ...(options.versionName !== undefined && { name: options.versionName }),
    ...(options.datastoreManager !== undefined && { datastore_manager: options.datastoreManager }),
  };
}

function switched(
  field: 'active' | 'default',
  on: string,
  isOn: boolean | undefined,
  off: string,
  isOff: boolean | undefined,
): VersionChangeInput {
  if (isOn && isOff) throw new UsageError(`${on} and ${off} exclude each other.`);
  return isOn || isOff ? { [field]: isOn ?? false } : {};
}

function addDeleteCommands(program: Command, io: Io): void {
  program
    .command('datastore-version-delete')
    .description('Delete a version that no cluster and no active upgrade has. Administrators only.')
    .argument('<version>', 'id; or its name, with --datastore')
    .option('--datastore <datastore>', 'name or id of its datastore')
    .addHelpText('after', '\nExample:\n  coffer datastore-version-delete 17.5 --datastore postgresql')
    .action(async (reference: string, { datastore }: { datastore?: string }, command) => {
      const { client, output } = sessionOf(command, io);
      await client.datastores.deleteVersion(await idOf(client, reference, datastore));
      output.result({ deleted: reference }, () => output.line(`Deleted version ${reference}.`));
    });

  program
    .command('datastore-delete')
    .description('Delete a datastore that has no versions. Administrators only.')
    .argument('<datastore>', 'name or id')
    .addHelpText('after', '\nExample:\n  coffer datastore-delete mysql')
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      await client.datastores.delete(reference);
      output.result({ deleted: reference }, () => output.line(`Deleted datastore ${reference}.`));
    });
}

/** Names are unique within a datastore only. */
async function idOf(client: CofferClient, reference: string, datastore: string | undefined): Promise<string> {
  return datastore === undefined ? reference : (await client.datastores.version(datastore, reference)).id;
}

function showVersion(
  output: Output,
  version: Awaited<ReturnType<CofferClient['datastores']['changeVersion']>>,
): void {
  output.fields({
    ID: version.id,
    Name: version.name,
    Datastore: version.datastore_name,
    Manager: version.datastore_manager,
    Active: version.active ? 'yes' : 'no',
    Default: version.default ? 'yes' : 'no',
    'Upgrade from': version.upgrade_from,
    'Not mixed with': version.not_mixed_with,
  });
}
