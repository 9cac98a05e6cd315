import { type Command, InvalidArgumentError } from 'commander';
import type { ClusterDocument, CreateClusterInput, CreatedClusterDocument } from '../client/index.ts';
import { counted } from '../src/core/words.ts';
import { UsageError } from './failures.ts';
import { troublesIn } from './instances.ts';
import type { Io } from './io.ts';
import { clusterWord, withLastWord } from './last-word.ts';
import { collect, count } from './options.ts';
import { type Output, printable } from './output.ts';
import { type Session, sessionOf } from './session.ts';

interface CreateOptions {
  readonly instances: number;
  readonly flavor: string;
  readonly volumeSize: number;
  readonly property: Properties;
  readonly database: readonly string[];
  readonly user?: string;
  readonly passwordFile?: string;
  readonly wait?: boolean;
}

/** `cluster-list`, `-show`, `-create`, `-reset-status`, `-delete`. */
export function addClusterCommands(program: Command, io: Io): void {
  program
    .command('cluster-list')
    .description('List the clusters of your tenant, by name.')
    .addHelpText('after', '\nExample:\n  coffer cluster-list --json | jq .clusters[].name')
    .action(async (_options, command) => {
      const { client, output } = sessionOf(command, io);
      const clusters: ClusterDocument[] = [];
      for await (const cluster of client.clusters.list()) clusters.push(cluster);
      clusters.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
      output.result({ clusters }, () => showClusters(output, clusters));
    });

  program
    .command('cluster-show')
    .description('Show a cluster with its instances.')
    .argument('<cluster>', 'name or id')
    .addHelpText('after', '\nExample:\n  coffer cluster-show shop')
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const cluster = await client.clusters.get(reference);
      output.result({ cluster }, () => showCluster(output, cluster));
    });

  addCreateCommand(program, io);

  program
    .command('cluster-reset-status')
    .description('Free a cluster of its task: its upgrade ends at once, whatever is in flight.')
    .argument('<cluster>', 'name or id')
    .addHelpText('after', '\nExample:\n  coffer cluster-reset-status shop')
    .action(async (reference: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const cluster = await client.clusters.resetStatus(reference);
      output.result({ cluster }, () => showCluster(output, cluster));
    });

  program
    .command('cluster-delete')
    .description('Delete a cluster with all its data.')
    .argument('<cluster>', 'name or id')
    .option('--wait', 'wait until it is gone')
    .addHelpText('after', '\nExample:\n  coffer cluster-delete shop --wait')
    .action(async (reference: string, options: { readonly wait?: boolean }, command) => {
      const session = sessionOf(command, io);
      const { client, output } = session;
      const cluster = await client.clusters.get(reference);
      await client.clusters.delete(cluster);
      const gone = () => client.clusters.waitUntilGone(cluster, { signal: io.signal });
      if (options.wait) await withLastWord(io, watchedCluster(session, cluster), gone);
      const said = options.wait ? 'is deleted' : 'is being deleted';
      output.result({ cluster: { id: cluster.id, name: cluster.name } }, () =>
        output.line(`Cluster ${cluster.name} ${said}.`),
      );
    });
}

/** Waits until the cluster is idle, and returns the cluster. */
export async function waitForCluster(session: Session, cluster: ClusterDocument): Promise<ClusterDocument> {
  const { client, io } = session;
  let after = cluster;
  await withLastWord(io, watchedCluster(session, cluster), async () => {
    after = await client.clusters.waitFor(cluster, { signal: io.signal });
  });
  return after;
}

export function watchedCluster({ client }: Session, { id, name }: ClusterDocument) {
  const get = () => client.clusters.get(id);
  return { name: `Cluster ${name}`, command: `coffer cluster-show ${id}`, get, tell: clusterWord };
}

function addCreateCommand(program: Command, io: Io): void {
  program
    .command('cluster-create')
    .description('Create a cluster.')
    .argument('<name>', 'what to call it')
    .argument('<datastore>', 'e.g. postgresql; coffer datastore-list shows all')
    .argument('[version]', "a version of the datastore; the datastore's default when left out")
    .option('--instances <n>', 'how many instances', count, 3)
    .option('--flavor <id>', 'flavor of each instance', '1')
    .option('--volume-size <gib>', 'volume of each instance', count, 1)
    .option(
      '--property <key=value>',
      'an extended property, its value in JSON; may be repeated',
      property,
      {},
    )
    .option('--database <name>', 'a database to create; may be repeated', collect, [])
    .option('--user <name>', 'a user of these databases to create')
    .option('--password-file <file>', "the file that holds the user's password; - for standard input")
    .option('--wait', 'wait until it serves')
    .addHelpText(
      'after',
      `
Examples:
  coffer cluster-create shop postgresql 17.6 --instances 3 --wait
  coffer cluster-create shop postgresql --database shop --user shop --password-file secret.txt
  coffer cluster-create toy simulated 1.0 --instances 5 --property simulated.upgrade_ms=2000`,
    )
    .action(
      async (
        name: string,
        datastore: string,
        version: string | undefined,
        options: CreateOptions,
        command,
      ) => {
        const session = sessionOf(command, io);
        const { client, output, json } = session;
        const created = await client.clusters.create(await requestOf(io, name, datastore, version, options));
        // This comes before any waiting: the cluster cannot become idle without agents.
        if (!json || options.wait) tellHowToJoin(io, created);
        const cluster = options.wait ? { ...created, ...(await waitForCluster(session, created)) } : created;
        output.result({ cluster }, () => showCluster(output, cluster));
      },
    );
}

/** Where agents are external: how to start them. Written to stderr, because the result is on stdout. */
function tellHowToJoin(io: Io, { id, name, instances, join_token }: CreatedClusterDocument): void {
  if (join_token === undefined) return;
  io.stderr.write(`Cluster ${printable(name)} waits for ${counted(instances.length, 'guest agent')}. Start ${instances.length === 1 ? 'it' : 'each'} on its host, with Coffer installed:

  COFFER_JOIN_TOKEN=${join_token} \\
  COFFER_ADVERTISE=host:port COFFER_GUEST_DIR=/var/lib/coffer/${id} COFFER_CACHE_DIR=/var/cache/coffer \\
  COFFER_AMQP_URL=amqp://user:password@host:5672 npx coffer-guestagent

COFFER_ADVERTISE is where the database is to serve. The token is not shown again.

`);
}

async function requestOf(
  io: Io,
  name: string,
  type: string,
  version: string | undefined,
  options: CreateOptions,
): Promise<CreateClusterInput> {
  const databases = options.database.map((database) => ({ name: database }));
  const instance = { flavorRef: options.flavor, volume: { size: options.volumeSize } };
  const password = await passwordOf(io, options);
  return {
    name,
    datastore: { type, ...(version !== undefined && { version }) },
    instances: Array.from({ length: options.instances }, () => instance),
    // The API checks the properties: which ones are allowed depends on the datastore.
    extended_properties: options.property as NonNullable<CreateClusterInput['extended_properties']>,
    databases,
    users: options.user === undefined ? [] : [{ name: options.user, password, databases }],
  };
}

/** A password on the command line would be visible to everybody on the machine. */
async function passwordOf(io: Io, { user, passwordFile }: CreateOptions): Promise<string> {
  if (user === undefined) return '';
  if (passwordFile === undefined)
    throw new UsageError('--user needs --password-file: a file that holds the password.');
  try {
    return (await io.readFile(passwordFile)).replace(/\r?\n$/, '');
  } catch (error) {
    throw new UsageError(`The password can't be read: ${error instanceof Error ? error.message : error}`);
  }
}

interface Properties {
  readonly [key: string]: unknown;
}

/** Reads `simulated.upgrade_ms=500` into `{simulated: {upgrade_ms: 500}}`, merged with the earlier properties. */
function property(text: string, earlier: Properties): Properties {
  const [path, value] = [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)];
  const keys = path.split('.');
  if (!text.includes('=') || keys.some((key) => !/^[a-z][a-z0-9_]*$/.test(key) || key in Object.prototype)) {
    throw new InvalidArgumentError('It must look like simulated.upgrade_ms=500.');
  }
  return withValue(earlier, keys, jsonOrText(value));
}

function withValue(earlier: unknown, [key, ...rest]: readonly string[], value: unknown): Properties {
  const base = typeof earlier === 'object' && earlier !== null ? { ...earlier } : {};
  if (key === undefined) return base;
  const inner: unknown = Reflect.get(base, key);
  return { ...base, [key]: rest.length === 0 ? value : withValue(inner, rest, value) };
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function showClusters(output: Output, clusters: readonly ClusterDocument[]): void {
  output.table(
    ['Name', 'Task', 'Version', 'Datastore', 'ID'],
    clusters.map(({ id, name, datastore, task }) => [name, task.name, datastore.version, datastore.type, id]),
    'There are no clusters yet. Create one: coffer cluster-create shop postgresql --instances 3 --wait',
  );
}

/** All reasons of each gate. */
function problemsOf({ problems }: ClusterDocument): Readonly<Record<string, string>> {
  const gates = [...new Set(problems.map(({ gate }) => gate))];
  const reasonsOf = (gate: string) =>
    problems.filter((problem) => problem.gate === gate).map(({ reason }) => reason);
  return Object.fromEntries(gates.map((gate) => [gate, reasonsOf(gate).join('; ')]));
}

/** A cluster as a person wants to see it. */
export function showCluster(output: Output, cluster: ClusterDocument): void {
  output.fields({
    id: cluster.id,
    name: cluster.name,
    datastore: cluster.datastore.type,
    // An adopted cluster has none until its servers have said it.
    datastore_version: cluster.datastore.version || 'not known yet',
    task_name: cluster.task.name,
    task_description: cluster.task.description,
    upgrade_id: cluster.upgrade_id,
    created: cluster.created,
    updated: cluster.updated,
    ...(cluster.adopted && { adopted: 'its servers were there before' }),
    ...problemsOf(cluster),
  });
  output.table(
    ['Instance', 'Status', 'Role', 'Version', 'Endpoint', 'ID'],
    cluster.instances.map(({ id, name, status, role, version, endpoint }) => [
      name,
      status,
      role,
      version,
      endpoint === null ? null : `${endpoint.host}:${endpoint.port}`,
      id,
    ]),
  );
  // The reasons stand below the table: a reason may be long, and must be readable on a narrow terminal.
  for (const trouble of troublesIn(cluster)) output.line(trouble);
}
