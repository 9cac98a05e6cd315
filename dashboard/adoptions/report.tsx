/** The panel on the page of an adopted cluster: what was found there, what Coffer would do, what is refused. */
import type { AdoptionDocument, ClusterDocument, CofferClient } from '../../client/index.ts';
import { foundRows } from '../../src/core/adoption-rows.ts';
import { usePolled } from '../data.ts';
import type { Deed } from '../deed.ts';
import { Card, Note, Pill } from '../parts/basics.tsx';
import { DeedButtons } from '../parts/deed-buttons.tsx';
import { Reading } from '../parts/failure.tsx';
import { Rows } from '../parts/rows.tsx';
import { useSession } from '../session.tsx';

const EVERY_MS = 2_000;

type Report = AdoptionDocument['instances'][number];

export function AdoptionReport({ cluster }: { readonly cluster: ClusterDocument }) {
  const { data, error, reload } = usePolled((client) => client.clusters.adoption(cluster.id), {
    key: cluster.id,
    everyMs: EVERY_MS,
  });
  return (
    <Card title="Adoption" aside={<Release cluster={cluster} />}>
      <div className="stack padded">
        <Reading what="the report on its servers" data={data} error={error} reload={reload} />
        {data && <Verdict adoption={data} />}
        {data?.instances.map((report) => (
          <InstanceReport key={report.instance_id} report={report} />
        ))}
      </div>
    </Card>
  );
}

function Verdict({ adoption }: { readonly adoption: AdoptionDocument }) {
  const { accepted, gates, system_identifier } = adoption;
  if (accepted) {
    return (
      <p>
        <Pill tone="ok">Can be upgraded</Pill> Every agent has reported, and nothing is refused.
        {system_identifier !== null && (
          <>
            {' '}
            System identifier <span className="mono">{system_identifier}</span>.
          </>
        )}
      </p>
    );
  }
  return (
    <Note kind="wait" title="It cannot be upgraded yet">
      <ul>
        {gates.map(({ reason }) => (
          <li key={reason}>{reason}</li>
        ))}
      </ul>
    </Note>
  );
}

function InstanceReport({ report }: { readonly report: Report }) {
  const { instance_name: name, host, server, changes, refusals } = report;
  if (host === null) return null;
  const word = refusals.length > 0 ? `, ${refusals.length} refused` : '';
  return (
    <details className="found" open={refusals.length > 0}>
      <summary>
        {name}: what was found{word}
      </summary>
      <Rows caption={`What was found on ${name}`} columns={['What', 'Value', 'Where from']}>
        {foundRows(host, server).map(([what, value, from]) => (
          <tr key={what}>
            <th scope="row">{what}</th>
            <td data-label="Value" className="mono">
              {value}
            </td>
            <td data-label="Where from" className="quiet">
              {from}
            </td>
          </tr>
        ))}
      </Rows>
      {changes.length > 0 && (
        <Rows
          caption={`What Coffer would do on ${name} in an upgrade`}
          columns={['In an upgrade Coffer would', 'Where', 'Taken back']}
        >
          {changes.map(({ what, where, taken_back }) => (
            <tr key={what}>
              <th scope="row">{what}</th>
              <td data-label="Where" className="mono">
                {where}
              </td>
              <td data-label="Taken back" className="quiet">
                {taken_back ?? 'needs no way back'}
              </td>
            </tr>
          ))}
        </Rows>
      )}
    </details>
  );
}

function Release({ cluster }: { readonly cluster: ClusterDocument }) {
  const { may } = useSession();
  const { name, task } = cluster;
  const isPossible = task.name === 'NONE' || task.name === 'BUILDING';
  if (!isPossible || !may('cluster:delete')) return null;
  const deed: Deed<'release'> = {
    action: 'release',
    label: 'Release …',
    title: `Release ${name}?`,
    sentences: [
      'Its agents take back what Coffer has set on its servers, and its record is removed with its upgrades.',
      'Its servers go on serving.',
    ],
    isDangerous: true,
  };
  const run = async (client: CofferClient) => {
    await client.clusters.release(cluster);
  };
  return <DeedButtons deeds={[deed]} isWaiting={false} run={run} />;
}
