import type { Command } from 'commander';
import type { Io } from './io.ts';
import { sessionOf } from './session.ts';

/** `datastore-list`, `datastore-version-list`. */
export function addDatastoreCommands(program: Command, io: Io): void {
  program
    .command('datastore-list')
    .description('List the datastores.')
    .addHelpText('after', '\nExample:\n  coffer datastore-list')
    .action(async (_options, command) => {
      const { client, output } = sessionOf(command, io);
      const datastores = await client.datastores.list();
      output.result({ datastores }, () => {
        output.table(
          ['ID', 'Name'],
          datastores.map(({ id, name }) => [id, name]),
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
          ['ID', 'Name', 'Version', 'Active'],
          versions.map(({ id, name, version, active }) => [id, name, version, active === 1 ? 'yes' : 'no']),
        );
      });
    });
}
