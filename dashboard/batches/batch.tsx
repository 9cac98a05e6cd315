/** The progress of a batch. */
import type { BatchDocument, BatchEventDocument } from '../../client/index.ts';
import { type Connection, useDoing, useWatched } from '../data.ts';
import { capitalised, count, duration, instant } from '../format.ts';
import { Button, Card, Note, Pill, Stat } from '../parts/basics.tsx';
import { Reading } from '../parts/failure.tsx';
import { DownloadIcon } from '../parts/icons.tsx';
import { ConnectionState, EventLog } from '../parts/log.tsx';
import { Origin } from '../parts/origin.tsx';
import { Page } from '../parts/page.tsx';
import { Ago, Lasted, useNow, When } from '../parts/when.tsx';
import { Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { PolicyRows } from '../upgrades/policy-rows.tsx';
import { batchWord, isBatchOver } from '../words.ts';
import { BatchActions } from './actions.tsx';
import { CountsBar } from './counts.tsx';
import { Members } from './members.tsx';
import { Waves } from './waves.tsx';

/** One event for each cluster: these events appear in the log only when the user asks for everything. */
const DETAILS = ['cluster_started', 'cluster_succeeded', 'cluster_waiting', 'cluster_queued'];

export function BatchScreen({ id }: { readonly id: string }) {
  const { href } = useSession();
  const watched = useWatched<BatchDocument, BatchEventDocument>({
    key: id,
    get: (client) => client.batches.get(id),
    watch: (client, hooks) => client.batches.watch(id, hooks),
    isOver: isBatchOver,
  });
  const { document: batch, events, connection, error, put } = watched;
  return (
    <Page
      title={batch ? (batch.name ?? `${batch.datastore} to ${batch.to.name}`) : 'Batch'}
      crumbs={<Link to={href(['batches'])}>Batches</Link>}
      aside={batch && <BatchActions batch={batch} onDone={put} />}
    >
      <Reading what="the batch" data={batch} error={error} />
      {batch && (
        <>
          <Summary batch={batch} connection={connection} />
          <Card title="Waves" aside={<ReportButtons id={id} />}>
            <Waves batch={batch} />
          </Card>
          <Members id={id} counts={batch.counts} isOver={isBatchOver(batch)} />
          <div className="columns">
            <EventLog events={events} details={DETAILS} everything="Every cluster" />
            <Details batch={batch} />
          </div>
        </>
      )}
    </Page>
  );
}

interface SummaryProps {
  readonly batch: BatchDocument;
  readonly connection: Connection;
}

function Summary({ batch, connection }: SummaryProps) {
  const word = batchWord(batch);
  const {
    counts,
    datastore,
    to,
    size,
    message,
    since,
    started,
    created,
    ended,
    write_outage_ms,
    wave,
    waves,
  } = batch;
  return (
    <Card className={`hero ${word.tone}`}>
      <div className="hero-head">
        <Pill tone={word.tone}>{word.text}</Pill>
        <span className="quiet">
          {datastore} → <span className="mono">{to.name}</span>
        </span>
        <ConnectionState connection={connection} />
      </div>
      {message && (
        <p className="sentence" aria-live="polite">
          {capitalised(message)}
        </p>
      )}
      {since !== null && (
        <p className="quiet">
          Paused since <When at={since} /> (<Ago at={since} />)
        </p>
      )}
      <CountsBar counts={counts} label="All clusters" />
      <dl className="stats">
        <Stat label="Clusters">{size}</Stat>
        {!ended && (
          <Stat label="Wave">
            {wave} of {waves.length}
          </Stat>
        )}
        <Stat label={ended ? 'Took' : 'Elapsed'}>
          <Lasted from={started ?? created} to={ended} />
        </Stat>
        <Remaining batch={batch} />
        <Stat label="Write outage, all together">
          {write_outage_ms > 0 ? duration(write_outage_ms) : 'none'}
        </Stat>
      </dl>
    </Card>
  );
}

function Remaining({ batch: { estimated_end, soaks_until } }: { readonly batch: BatchDocument }) {
  const now = useNow(1000);
  if (soaks_until !== null) return <Stat label="Soaks for">{duration(instant(soaks_until) - now)}</Stat>;
  if (estimated_end === null) return null;
  return (
    <Stat label="Expected to take">another {duration(Math.max(1000, instant(estimated_end) - now))}</Stat>
  );
}

/** The browser saves the report as a file: no other host is contacted. */
function ReportButtons({ id }: { readonly id: string }) {
  const csv = useDoing(async (client) =>
    save(await client.batches.reportAsCsv(id), 'text/csv', `batch-${id}.csv`),
  );
  const json = useDoing(async (client) => {
    const report = JSON.stringify(await client.batches.report(id), null, 2);
    save(report, 'application/json', `batch-${id}.json`);
  });
  const error = csv.error ?? json.error;
  return (
    <>
      {error !== undefined && <Note kind="bad" title="The report could not be read" />}
      <Button kind="quiet" isBusy={csv.isBusy} onClick={() => void csv.run()}>
        <DownloadIcon />
        Report, CSV
      </Button>
      <Button kind="quiet" isBusy={json.isBusy} onClick={() => void json.run()}>
        <DownloadIcon />
        Report, JSON
      </Button>
    </>
  );
}

function save(text: string, type: string, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  // By then the download no longer needs the URL.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function Details({ batch }: { readonly batch: BatchDocument }) {
  const { selection, left_out } = batch;
  const selected = selection.selector
    ? Object.entries(selection.selector).map(([name, value]) => `${name} ${value}`)
    : [count(selection.clusters ?? 0, 'named cluster')];
  return (
    <Card title="Details">
      <Origin of={batch}>
        <dt>Selected</dt>
        <dd>
          {selected.join(', ')}
          {selection.all_tenants && ', of every project'}
        </dd>
        <PolicyRows policy={batch.policy} />
        {left_out > 0 && (
          <>
            <dt>Left out</dt>
            <dd>{count(left_out, 'cluster')}: nothing to do, or no way there</dd>
          </>
        )}
      </Origin>
    </Card>
  );
}
