import type { Command } from 'commander';
import { showCluster, waitForCluster } from './cluster-commands.ts';
import type { Io } from './io.ts';
import { count } from './options.ts';
import { sessionOf } from './session.ts';

interface GrowOptions {
  readonly instances: number;
  readonly flavor: string;
  readonly volumeSize: number;
  readonly wait?: boolean;
}

/** `cluster-grow`, `-shrink`. */
export function addResizeCommands(program: Command, io: Io): void {
  program
    .command('cluster-grow')
    .description('Add instances to a cluster: replicas of its primary, where it has one.')
    .argument('<cluster>', 'name or id')
    .option('--instances <n>', 'how many', count, 1)
    .option('--flavor <id>', 'flavor of each', '1')
    .option('--volume-size <gib>', 'volume of each', count, 1)
    .option('--wait', 'wait until they serve')
    .addHelpText(
      'after',
      `
Where agents are external, start one for each new instance, with the join token of the cluster.

Example:
  coffer cluster-grow shop --instances 2 --wait`,
    )
    .action(async (reference: string, options: GrowOptions, command) => {
      const session = sessionOf(command, io);
      const { client, output } = session;
      const instance = { flavorRef: options.flavor, volume: { size: options.volumeSize } };
      const added = Array.from({ length: options.instances }, () => instance);
      const growing = await client.clusters.grow(reference, added);
      const cluster = options.wait ? await waitForCluster(session, growing) : growing;
      output.result({ cluster }, () => showCluster(output, cluster));
    });

  program
    .command('cluster-shrink')
    .description('Remove instances from a cluster with their data; never its only primary.')
    .argument('<cluster>', 'name or id')
    .argument('<instance...>', 'names or ids')
    .option('--wait', 'wait until they are gone')
    .addHelpText('after', '\nExample:\n  coffer cluster-shrink shop shop-member-3 --wait')
    .action(
      async (
        reference: string,
        instances: readonly string[],
        options: { readonly wait?: boolean },
        command,
      ) => {
        const session = sessionOf(command, io);
        const { client, output } = session;
        const shrinking = await client.clusters.shrink(reference, instances);
        const cluster = options.wait ? await waitForCluster(session, shrinking) : shrinking;
        output.result({ cluster }, () => showCluster(output, cluster));
      },
    );
}
