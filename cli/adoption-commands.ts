import { type Command, InvalidArgumentError } from 'commander';
import type { AdoptingClusterDocument, AdoptionDocument } from '../client/index.ts';
import { foundRows } from '../src/core/adoption-rows.ts';
import { showCluster, waitForCluster, watchedCluster } from './cluster-commands.ts';
import { UsageError } from './failures.ts';
import type { Io } from './io.ts';
import { withLastWord } from './last-word.ts';
import { type Output, printable, prose } from './output.ts';
import { sessionOf } from './session.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

interface AdoptOptions {
  readonly instance: readonly Address[];
  readonly wait?: boolean;
}

interface ReleaseOptions {
  readonly force?: boolean;
  readonly wait?: boolean;
}

/** `cluster-adopt`, `-report`, `-release`. */
export function addAdoptionCommands(program: Command, io: Io): void {
  addAdoptCommand(program, io);
  addReportCommand(program, io);
  addReleaseCommand(program, io);
}

function addAdoptCommand(program: Command, io: Io): void {
  program
    .command('cluster-adopt')
    .description('Adopt a cluster: servers that exist and serve, and that Coffer did not make.')
    .argument('<name>', 'what to call it')
    .argument('<datastore>', 'e.g. postgresql')
    .option('--instance <host:port>', 'where one of its servers serves; repeat it for each', address, [])
    .option('--wait', 'wait until every agent has reported and none refuses')
    .addHelpText(
      'after',
      `
Writes the join token of each host; start an agent there with it. Nothing on the hosts changes until an
upgrade is accepted: coffer cluster-report shows what was found, and what Coffer would do.

Example:
  coffer cluster-adopt shop postgresql --instance db-1:5432 --instance db-2:5432 --instance db-3:5432`,
    )
    .action(async (name: string, type: string, options: AdoptOptions, command) => {
      const session = sessionOf(command, io);
      const { client, output, json } = session;
      const { instance: instances } = options;
      if (instances.length === 0) throw new UsageError('--instance is missing: name each server, host:port.');
      const adopting = await client.clusters.adopt({ name, datastore: { type }, instances: [...instances] });
      // This comes before any waiting: the cluster cannot become idle without agents.
      if (!json || options.wait) tellHowToJoin(io, adopting);
      const cluster = options.wait ? { ...adopting, ...(await waitForCluster(session, adopting)) } : adopting;
      output.result({ cluster }, () => showCluster(output, cluster));
    });
}

/** Reads `db-1:5432`, and adds it to the earlier ones. */
function address(text: string, earlier: readonly Address[]): readonly Address[] {
  const [host = '', port = '', ...rest] = text.split(':');
  const number = Number(port);
  const isPort = /^\d{1,5}$/.test(port) && number >= 1 && number <= 65_535;
  if (host === '' || !isPort || rest.length > 0) {
    throw new InvalidArgumentError('It must be host:port, e.g. db-1:5432, with a port from 1 to 65535.');
  }
  return [...earlier, { host, port: number }];
}

/** Written to stderr, because the result is on stdout. */
function tellHowToJoin(io: Io, { id, name, join_tokens }: AdoptingClusterDocument): void {
  if (join_tokens.length === 0) return;
  const agents = join_tokens.map(
    ({ endpoint, join_token }) => `On the host of ${printable(endpoint.host)}:

  COFFER_JOIN_TOKEN=${join_token} \\
  COFFER_ADVERTISE=${printable(endpoint.host)}:${endpoint.port} COFFER_POSTGRESQL_HOST=/etc/coffer/postgresql.yaml \\
  COFFER_GUEST_DIR=/var/lib/coffer/${id} COFFER_CACHE_DIR=/var/cache/coffer \\
  COFFER_AMQP_URL=amqp://user:password@host:5672 npx coffer-guestagent
`,
  );
  io.stderr.write(`Cluster ${printable(name)} waits for its agents. Start one on each host, with Coffer installed; docs/adopt.md says
what the file of COFFER_POSTGRESQL_HOST holds. The tokens are not shown again.

${agents.join('\n')}
What they find: coffer cluster-report ${printable(name)}

`);
}

function addReportCommand(program: Command, io: Io): void {
  program
    .command('cluster-report')
    .description('Show what was found on the servers of an adopted cluster, and what Coffer would do there.')
    .argument('<cluster>', 'name or id')
    .addHelpText('after', '\nExample:\n  coffer cluster-report shop')
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const adoption = await client.clusters.adoption(reference);
      output.result({ adoption }, () => showAdoption(output, adoption));
    });
}

type Report = AdoptionDocument['instances'][number];

/** What is in the way first: the reader may have to do something about it. */
function showAdoption(output: Output, adoption: AdoptionDocument): void {
  const { cluster_name, accepted, gates, system_identifier, instances } = adoption;
  output.line(
    accepted
      ? `Cluster ${cluster_name} can be upgraded: every agent has reported, and nothing is refused.`
      : `Cluster ${cluster_name} can't be upgraded yet:`,
  );
  if (!accepted)
    output.table(
      ['Gate', prose('Reason, and what to do')],
      gates.map(({ gate, reason }) => [gate, reason]),
    );
  output.table(
    ['Instance', 'Role', 'Version', 'Follows', 'Server', 'Checksums'],
    instances.map((each) => [
      each.instance_name,
      each.server?.role,
      each.server?.version,
      placeOf(each.server?.upstream ?? null),
      placeOf(each.address),
      each.server === null ? null : each.server.data_checksums ? 'on' : 'off',
    ]),
  );
  if (system_identifier !== null) output.line(`System identifier: ${system_identifier}`);
  for (const each of instances) showInstance(output, each);
}

function showInstance(output: Output, report: Report): void {
  const { instance_name, host, server, changes } = report;
  if (host === null) return;
  output.line('');
  output.line(`${instance_name}: found`);
  output.table(['What', prose('Value'), prose('Where from')], foundRows(host, server));
  if (changes.length === 0) return;
  output.line(`${instance_name}: what Coffer would do in an upgrade`);
  output.table(
    [prose('What'), prose('Where'), prose('Taken back')],
    changes.map(({ what, where, taken_back }) => [what, where, taken_back ?? 'needs no way back']),
  );
}

function placeOf(place: Address | null): string | null {
  return place && `${place.host}:${place.port}`;
}

function addReleaseCommand(program: Command, io: Io): void {
  program
    .command('cluster-release')
    .description('Let an adopted cluster go: its servers go on serving.')
    .argument('<cluster>', 'name or id')
    .option('--force', 'do not wait for agents that are gone: what Coffer has set on their servers stays')
    .option('--wait', 'wait until it is let go')
    .addHelpText(
      'after',
      `
Its agents take back what Coffer has set, and its record is removed. Then stop the agents, and remove their
folders (COFFER_GUEST_DIR).

Example:
  coffer cluster-release shop --wait`,
    )
    .action(async (reference: string, options: ReleaseOptions, command) => {
      const session = sessionOf(command, io);
      const { client, output } = session;
      const cluster = await client.clusters.release(reference, { force: options.force ?? false });
      const gone = () => client.clusters.waitUntilGone(cluster, { signal: io.signal });
      if (options.wait) await withLastWord(io, watchedCluster(session, cluster), gone);
      const said = options.wait ? 'is released: its servers go on' : 'is being released';
      output.result({ cluster: { id: cluster.id, name: cluster.name } }, () =>
        output.line(`Cluster ${cluster.name} ${said}.`),
      );
    });
}
