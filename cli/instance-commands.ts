import type { Command } from 'commander';
import type { InstanceDocument } from '../client/index.ts';
import { reasonsOf } from './instances.ts';
import type { Io } from './io.ts';
import type { Output } from './output.ts';
import { sessionOf } from './session.ts';

/** `instance-show`. */
export function addInstanceCommands(program: Command, io: Io): void {
  program
    .command('instance-show')
    .description('Show an instance, and why it is not well.')
    .argument('<instance>', 'name or id')
    .addHelpText('after', '\nExample:\n  coffer instance-show shop-member-2')
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const instance = await client.instances.get(reference);
      output.result({ instance }, () => showInstance(output, instance));
    });
}

function showInstance(output: Output, instance: InstanceDocument): void {
  const { endpoint } = instance;
  output.fields({
    name: instance.name,
    id: instance.id,
    cluster_id: instance.cluster_id,
    status: instance.status,
    service_status: instance.service_status,
    why: reasonsOf(instance).join('; '),
    heard: instance.heard,
    role: instance.role,
    version: instance.version,
    lag_bytes: instance.lag_bytes,
    endpoint: endpoint === null ? null : `${endpoint.host}:${endpoint.port}`,
    created: instance.created,
  });
}
