import { useState } from 'react';
import type { BatchDocument } from '../../client/index.ts';
import { firstOf, usePolled } from '../data.ts';
import { Button, Empty, Pill } from '../parts/basics.tsx';
import { Reading } from '../parts/failure.tsx';
import { PlusIcon } from '../parts/icons.tsx';
import { Page } from '../parts/page.tsx';
import { Rows } from '../parts/rows.tsx';
import { Ago } from '../parts/when.tsx';
import { Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { batchWord } from '../words.ts';
import { CountsBar } from './counts.tsx';

const PAGE = 20;
const EVERY_MS = 2_000;

export function BatchesScreen() {
  const { href, may } = useSession();
  const [limit, setLimit] = useState(PAGE);
  const { data, error, reload } = usePolled((client) => firstOf(client.batches.list(), limit), {
    key: `batches ${limit}`,
    everyMs: EVERY_MS,
  });
  const create = may('batch:create') && (
    <Link className="button primary" to={href(['batches', 'new'])}>
      <PlusIcon />
      New batch
    </Link>
  );
  return (
    <Page title="Batches" aside={create}>
      <Reading what="the batches" data={data} error={error} reload={reload} />
      {data?.items.length === 0 && (
        <Empty title="There are no batches yet">
          A batch takes many clusters to one version, wave by wave, and stops when too many fail.
        </Empty>
      )}
      {data && data.items.length > 0 && <BatchTable batches={data.items} />}
      {data?.hasMore && (
        <div className="more">
          <Button onClick={() => setLimit(limit + PAGE)}>Show earlier ones</Button>
        </div>
      )}
    </Page>
  );
}

function BatchTable({ batches }: { readonly batches: readonly BatchDocument[] }) {
  return (
    <Rows caption="Batches, newest first" columns={['Batch', 'State', 'To', 'Clusters', 'Begun']}>
      {batches.map((batch) => (
        <BatchRow key={batch.id} batch={batch} />
      ))}
    </Rows>
  );
}

function BatchRow({ batch }: { readonly batch: BatchDocument }) {
  const { href } = useSession();
  const { id, name, datastore, to, counts, created, since, message } = batch;
  const word = batchWord(batch);
  return (
    <tr>
      <th scope="row">
        <Link className="row-link" to={href(['batches', id])}>
          {name ?? `Batch ${id.slice(0, 8)}`}
        </Link>
      </th>
      <td data-label="State">
        <Pill tone={word.tone}>{word.text}</Pill>
        {since !== null && (
          <p className="reason-line" title={message ?? undefined}>
            <Ago at={since} />
            {message !== null && <>: {message}</>}
          </p>
        )}
      </td>
      <td data-label="To">
        {datastore} <b className="mono">{to.name}</b>
      </td>
      <td data-label="Clusters" className="wide">
        <CountsBar counts={counts} label="Clusters" />
      </td>
      <td data-label="Begun" className="quiet">
        <Ago at={created} />
      </td>
    </tr>
  );
}
