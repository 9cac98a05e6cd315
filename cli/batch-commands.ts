import type { Command } from 'commander';
import type { BatchDocument, BatchMemberDocument, CreateBatchInput } from '../client/index.ts';
import { BATCH_ACTIONS, type BatchAction } from '../src/core/batch/record.ts';
import { BATCH_POLICY, DEFAULT_POLICY } from '../src/core/policy.ts';
import { counted } from '../src/core/words.ts';
import { renderBatch } from './batch-progress.ts';
import { WAVE_HELP, waveOf, wayOnOf } from './batch-waves.ts';
import { EXIT, UsageError } from './failures.ts';
import type { Io } from './io.ts';
import { batchWord, withLastWord } from './last-word.ts';
import { collect, count } from './options.ts';
import { type Output, prose } from './output.ts';
import { policyOf, withPolicyOptions } from './policy.ts';
import { type Session, sessionOf } from './session.ts';

type Exit = (code: number) => void;
/** At most this many clusters of a selection are shown; the report has all of them. */
const CLUSTERS_SHOWN = 20;

interface CreateOptions {
  readonly cluster?: readonly string[];
  readonly datastore?: string;
  readonly versionRange?: string;
  readonly namePattern?: string;
  readonly tag?: string;
  readonly allTenants?: boolean;
  readonly name?: string;
  readonly wave?: CreateBatchInput['waves'];
  readonly dryRun?: boolean;
  readonly watch?: boolean;
  readonly wait?: boolean;
}

/** `batch-create`, `-list`, `-show`, `-watch`, `-report` and the actions. */
export function addBatchCommands(program: Command, io: Io, exit: Exit): void {
  addCreate(program, io, exit);
  addReading(program, io, exit);
  addReport(program, io);
  for (const action of BATCH_ACTIONS) addAction(program, io, action);
}

function addCreate(program: Command, io: Io, exit: Exit): void {
  const command = program
    .command('batch-create')
    .description('Upgrade many clusters to a datastore version, wave by wave.')
    .argument('<datastore_version>', 'name or id')
    .option('--cluster <cluster>', 'this cluster, by name or id; may be given several times', collect)
    .option('--datastore <datastore>', 'all clusters of this datastore')
    .option('--version-range <range>', 'all whose version lies in the range, e.g. ">=17.5 <17.10"')
    .option('--name-pattern <pattern>', 'all whose name fits, e.g. "shop-*"')
    .option('--tag <tag>', 'all that have the tag')
    .option('--all-tenants', 'for administrators: among the clusters of all tenants')
    .option('--name <name>', 'what the batch is called')
    .option('--wave <wave>', 'a wave; several in their order', waveOf)
    .option('--dry-run', 'show what would be upgraded in which wave, and change nothing')
    .option('--watch', 'show how it goes, to the end; Ctrl-C leaves it running')
    .option('--wait', 'wait until it has ended, or is paused and waits for a person');
  withPolicyOptions(command, { ...DEFAULT_POLICY, ...BATCH_POLICY })
    .addHelpText(
      'after',
      `${WAVE_HELP}

Examples:
  coffer batch-create 17.10 --datastore postgresql --version-range ">=17.0 <17.10" --dry-run
  coffer batch-create 17.10 --tag staging --watch
  coffer batch-create 17.10 --name-pattern "shop-*" --wave share=1,failures=0,soak=600 --wave share=10% --wave concurrent=50,approval`,
    )
    .action(async (version: string, options: CreateOptions, self: Command) => {
      const session = sessionOf(self, io);
      const { client, output } = session;
      const wanted = await wantedOf(session, version, options, policyOf(self));
      if (options.dryRun) {
        const plan = await client.batches.plan(wanted);
        return output.result(plan, () => showResolved(output, plan.batch, plan.clusters));
      }
      const begun = await client.batches.create(wanted);
      const { id } = begun.batch;
      if (options.watch || options.wait) return watch(session, id, { ...options, exit });
      output.result(begun, () => {
        showResolved(output, begun.batch, begun.clusters);
        output.line(`Batch ${id} is accepted. Watch it: coffer batch-watch ${id}`);
      });
    });
}

async function wantedOf(
  { client }: Session,
  datastore_version: string,
  options: CreateOptions,
  policy: CreateBatchInput['policy'],
): Promise<CreateBatchInput> {
  const selector = {
    ...(options.datastore !== undefined && { datastore: options.datastore }),
    ...(options.versionRange !== undefined && { version: options.versionRange }),
    ...(options.namePattern !== undefined && { name: options.namePattern }),
    ...(options.tag !== undefined && { tag: options.tag }),
  };
  const hasSelector = Object.keys(selector).length > 0;
  if (hasSelector === (options.cluster !== undefined)) {
    throw new UsageError(
      'Say which clusters: either --cluster, or --datastore, --version-range, --name-pattern or --tag.',
    );
  }
  const ids: string[] = [];
  for (const reference of options.cluster ?? []) ids.push((await client.clusters.get(reference)).id);
  return {
    datastore_version,
    ...(hasSelector ? { selector } : { clusters: ids }),
    ...(options.allTenants && { all_tenants: true }),
    ...(options.name !== undefined && { name: options.name }),
    ...(options.wave && { waves: options.wave }),
    ...(policy && { policy }),
  };
}

function addReading(program: Command, io: Io, exit: Exit): void {
  program
    .command('batch-list')
    .description('List batches, newest first.')
    .addHelpText('after', '\nExample:\n  coffer batch-list')
    .action(async (_options, command) => {
      const { client, output } = sessionOf(command, io);
      const batches: BatchDocument[] = [];
      for await (const batch of client.batches.list()) batches.push(batch);
      output.result({ batches }, () => showBatches(output, batches));
    });

  program
    .command('batch-show')
    .description('Show a batch with its waves.')
    .argument('<batch>', 'its id')
    .addHelpText('after', '\nExample:\n  coffer batch-show 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a')
    .action(async (id: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const batch = await client.batches.get(id);
      output.result({ batch }, () => showBatch(output, batch));
    });

  program
    .command('batch-watch')
    .description('Watch a batch to its end: a bar for each wave, and when it will be done.')
    .argument('<batch>', 'its id')
    .option('--wait', 'stop also when it is paused and waits for a person')
    .addHelpText('after', '\nExample:\n  coffer batch-watch 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a')
    .action(async (id: string, options: { readonly wait?: boolean }, command) => {
      const session = sessionOf(command, io);
      await watch(session, (await session.client.batches.get(id)).id, { ...options, watch: true, exit });
    });
}

interface Watching {
  readonly watch?: boolean;
  readonly wait?: boolean;
  readonly exit: Exit;
}

async function watch(session: Session, id: string, { watch: isShown, wait, exit }: Watching): Promise<void> {
  const { client, io, json, output } = session;
  const until = wait ? ('settled' as const) : ('ended' as const);
  const isTTY = io.stdout.isTTY ?? false;
  const command = `coffer batch-watch ${id}`;
  const watched = { name: 'The batch', command, get: () => client.batches.get(id), tell: batchWord };
  await withLastWord(io, watched, async () => {
    const batch = isShown
      ? await renderBatch(client, id, { stream: io.stdout, isTTY, json, until, signal: io.signal })
      : await client.batches.waitFor(id, { until, signal: io.signal });
    if (json || !isShown) output.result({ batch }, () => showBatch(output, batch));
    exit(batch.state === 'paused' ? EXIT.paused : batch.state === 'succeeded' ? EXIT.ok : EXIT.failed);
  });
}

function addReport(program: Command, io: Io): void {
  program
    .command('batch-report')
    .description('What has become of every cluster of a batch: comma-separated values, or JSON with --json.')
    .argument('<batch>', 'its id')
    .addHelpText(
      'after',
      '\nExamples:\n  coffer batch-report 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a > report.csv\n  coffer batch-report 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a --json',
    )
    .action(async (id: string, _options, command) => {
      const { client, output, json } = sessionOf(command, io);
      if (json) output.result(await client.batches.report(id), () => undefined);
      else io.stdout.write(await client.batches.reportAsCsv(id));
    });
}

const DESCRIPTIONS: Readonly<Record<BatchAction, string>> = {
  pause: 'Pause a batch: no further cluster begins, what is in flight ends.',
  resume: 'Let a paused batch go on, with its budgets whole again.',
  approve: 'Let the next wave that needs it start.',
  retry: 'Try again what failed, or the clusters named, and go on.',
  skip: 'Leave what failed behind and go on, or take the clusters named out.',
  rollback: 'Take a wave back to the versions that its clusters came from; then the batch is paused.',
  cancel: 'Cancel a batch: no further cluster begins, and it ends when what is in flight has.',
};

function addAction(program: Command, io: Io, action: BatchAction): void {
  const command = program
    .command(`batch-${action}`)
    .description(DESCRIPTIONS[action])
    .argument('<batch>', 'its id')
    .addHelpText('after', `\nExample:\n  coffer batch-${action} 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a`);
  if (action === 'retry' || action === 'skip')
    command.option('--cluster <cluster>', 'this cluster, by name or id; may be given several times', collect);
  if (action === 'rollback')
    command.option('--wave <n>', 'which wave, from 1 (default: the last begun)', count);
  command.action(
    async (id: string, options: { cluster?: readonly string[]; wave?: number }, self: Command) => {
      const { client, output } = sessionOf(self, io);
      const batch = await act(
        client.batches,
        id,
        action,
        options,
        async (reference) => (await client.clusters.get(reference)).id,
      );
      output.result({ batch }, () => output.line(sentence(batch)));
    },
  );
}

async function act(
  batches: Session['client']['batches'],
  id: string,
  action: BatchAction,
  { cluster, wave }: { readonly cluster?: readonly string[]; readonly wave?: number },
  idOf: (reference: string) => Promise<string>,
): Promise<BatchDocument> {
  const ids = cluster && (await Promise.all(cluster.map(idOf)));
  if (action === 'retry' || action === 'skip') return batches[action](id, ids);
  return action === 'rollback' ? batches.rollback(id, wave) : batches[action](id);
}

/** What has become of the batch, and which command to type next. */
function sentence(batch: BatchDocument): string {
  const subject = `Batch ${batch.id} is ${batch.state}${batch.cancelling && batch.ended === null ? ', cancelling' : ''}`;
  const command = wayOnOf(batch);
  if (command !== null) return `${subject}: ${batch.message}. To go on: ${command}`;
  if (batch.ended !== null) return `${subject}: ${batch.message}.`;
  return `${subject}. Watch it: coffer batch-watch ${batch.id}`;
}

function showBatches(output: Output, batches: readonly BatchDocument[]): void {
  output.table(
    ['Name', 'State', 'ID', 'To', 'Clusters', 'Failed', 'Succeeded', 'Created'],
    batches.map(({ id, name, datastore, to, state, size, counts, created }) => [
      name,
      state,
      id,
      `${datastore} ${to.name}`,
      size,
      counts.failed,
      counts.succeeded,
      created,
    ]),
    'There are no batches yet. See what one comes to: coffer batch-create <version> --datastore <datastore> --dry-run',
  );
}

function showBatch(output: Output, batch: BatchDocument): void {
  output.fields({
    id: batch.id,
    name: batch.name,
    to: `${batch.datastore} ${batch.to.name}`,
    state: batch.cancelling && batch.ended === null ? `${batch.state}, cancelling` : batch.state,
    message: batch.message,
    next: wayOnOf(batch),
    actions: batch.actions.join(', '),
    clusters: batch.size,
    left_out: batch.left_out,
    wave: `${batch.wave} of ${batch.waves.length}`,
    soaks_until: batch.soaks_until,
    write_outage_ms: batch.write_outage_ms,
    created: batch.created,
    started: batch.started,
    ended: batch.ended,
    estimated_end: batch.estimated_end,
  });
  output.table(
    [
      'Wave',
      'Clusters',
      'Running',
      'Succeeded',
      'Failed',
      'May fail',
      'Queued',
      'Waiting',
      'Skipped',
      'Cancelled',
    ],
    batch.waves.map(({ number, size, counts, failures_allowed }) => [
      number,
      size,
      counts.running,
      counts.succeeded,
      counts.failed,
      failures_allowed,
      counts.queued,
      counts.waiting,
      counts.skipped,
      counts.cancelled,
    ]),
  );
}

function showResolved(
  output: Output,
  { datastore, to, size, left_out, waves }: BatchDocument,
  clusters: readonly BatchMemberDocument[],
): void {
  output.line(`${counted(size, 'cluster')} to ${datastore} ${to.name}; ${left_out} left out.`);
  for (const { number, size: clusters, failures_allowed, failure_budget } of waves) {
    const share = typeof failure_budget === 'number' ? '' : ` (${failure_budget})`;
    output.line(
      `Wave ${number}: ${counted(clusters, 'cluster')}, of which ${failures_allowed} may fail${share}.`,
    );
  }
  output.table(
    ['Cluster', 'Wave', 'From', 'To', prose('Note')],
    clusters
      .slice(0, CLUSTERS_SHOWN)
      .map((one) => [one.cluster_name, one.wave, one.from, one.to, one.reason]),
  );
  if (clusters.length > CLUSTERS_SHOWN) output.line(`… and ${clusters.length - CLUSTERS_SHOWN} more.`);
}
