import { useState } from 'react';
import type { ClusterDocument, ClusterInstanceDocument, UpgradeDocument } from '../../client/index.ts';
import { AdoptionReport } from '../adoptions/report.tsx';
import { firstOf, usePolled } from '../data.ts';
import { bytes, count, duration } from '../format.ts';
import { Button, Card, Empty, Note, Pill, Stat } from '../parts/basics.tsx';
import { FailureNote, Reading } from '../parts/failure.tsx';
import { UpIcon } from '../parts/icons.tsx';
import { Page } from '../parts/page.tsx';
import { Rows } from '../parts/rows.tsx';
import { Ago, Lasted, When } from '../parts/when.tsx';
import { Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { clusterWord, INSTANCE_WORDS, upgradeWord, waitsForPerson } from '../words.ts';
import { NewerVersions } from './newer.tsx';
import { PauseNote } from './pause.tsx';
import { TopologyDrawing } from './topology-drawing.tsx';
import { InstanceTroubles } from './troubles.tsx';

const EVERY_MS = 1_000;
const HISTORY_EVERY_MS = 3_000;
const HISTORY_PAGE = 10;

export function ClusterScreen({ id }: { readonly id: string }) {
  const { href } = useSession();
  const { data, error, reload } = usePolled((client) => client.clusters.get(id), {
    key: id,
    everyMs: EVERY_MS,
  });
  return (
    <Page
      title={data?.name ?? 'Cluster'}
      crumbs={<Link to={href(['clusters'])}>Clusters</Link>}
      aside={data && <ClusterActions cluster={data} />}
    >
      <Reading what="the cluster" data={data} error={error} reload={reload} />
      {data && <ClusterParts cluster={data} />}
    </Page>
  );
}

function ClusterActions({ cluster }: { readonly cluster: ClusterDocument }) {
  const { href, may } = useSession();
  const { id, task, upgrade, upgrade_id } = cluster;
  if (task.name === 'UPGRADING_CLUSTER' && upgrade_id !== null) {
    return (
      <Link className="button primary" to={href(['upgrades', upgrade_id])}>
        {upgrade && waitsForPerson(upgrade) ? 'Go to the upgrade' : 'Watch the upgrade'}
      </Link>
    );
  }
  if (!may('cluster:action')) return null;
  if (task.name !== 'NONE') return <Button isDisabled>{task.description}</Button>;
  return (
    <Link className="button primary" to={href(['clusters', id, 'upgrade'])}>
      <UpIcon />
      Upgrade …
    </Link>
  );
}

function ClusterParts({ cluster }: { readonly cluster: ClusterDocument }) {
  const { datastore, instances, created, task, upgrade, problems } = cluster;
  const word = clusterWord(cluster);
  const tags = cluster.extended_properties?.['tags'];
  return (
    <>
      {problems
        .filter(({ gate }) => gate !== 'adoption_accepted')
        .map(({ reason }) => (
          <Note key={reason} kind="bad" title={word.text}>
            {reason}
          </Note>
        ))}
      {upgrade && <PauseNote upgrade={upgrade} />}
      <InstanceTroubles instances={instances} />
      <Card className="summary">
        <dl className="stats">
          <Stat label="State">
            <Pill tone={word.tone}>{word.text}</Pill>
          </Stat>
          <Stat label="Version">
            {datastore.type} <span className="mono">{datastore.version || 'not known yet'}</span>{' '}
            <NewerVersions cluster={cluster} />
          </Stat>
          <Stat label="Instances">{instances.length}</Stat>
          <Stat label="Created">
            <Ago at={created} />
          </Stat>
          {Array.isArray(tags) && tags.length > 0 && <Stat label="Tags">{tags.map(String).join(', ')}</Stat>}
        </dl>
        {task.name !== 'NONE' && !upgrade?.since && <p className="quiet task">{task.description}</p>}
      </Card>
      <Card title="Topology">
        <TopologyDrawing instances={instances} />
        <InstanceTable instances={instances} />
      </Card>
      {cluster.adopted && <AdoptionReport cluster={cluster} />}
      <History id={cluster.id} />
    </>
  );
}

function InstanceTable({ instances }: { readonly instances: readonly ClusterInstanceDocument[] }) {
  return (
    <Rows
      caption="The instances of the cluster"
      columns={['Instance', 'Role', 'State', 'Version', 'Lag', 'Endpoint']}
    >
      {instances.map((instance) => (
        <InstanceRow key={instance.id} instance={instance} />
      ))}
    </Rows>
  );
}

function InstanceRow({ instance }: { readonly instance: ClusterInstanceDocument }) {
  const { name, role, status, version, lag_bytes, endpoint } = instance;
  const word = INSTANCE_WORDS[status];
  return (
    <tr>
      <th scope="row">{name}</th>
      <td data-label="Role">{role ?? '–'}</td>
      <td data-label="State">
        <Pill tone={word.tone}>{word.text}</Pill>
      </td>
      <td data-label="Version" className="mono">
        {version ?? '–'}
      </td>
      <td data-label="Lag">{lag_bytes === null ? '–' : bytes(lag_bytes)}</td>
      <td data-label="Endpoint" className="mono">
        {endpoint ? `${endpoint.host}:${endpoint.port}` : '–'}
      </td>
    </tr>
  );
}

function History({ id }: { readonly id: string }) {
  const [limit, setLimit] = useState(HISTORY_PAGE);
  const { data, error } = usePolled((client) => firstOf(client.upgrades.list(id), limit), {
    key: `${id} ${limit}`,
    everyMs: HISTORY_EVERY_MS,
  });
  return (
    <Card title="Upgrades" aside={data && data.items.length > 0 && 'newest first'}>
      {error !== undefined && <FailureNote error={error} what="The upgrades could not be read" />}
      {data?.items.length === 0 && <Empty title="It has never been upgraded" />}
      {data && data.items.length > 0 && <HistoryTable upgrades={data.items} />}
      {data?.hasMore && (
        <div className="more">
          <Button onClick={() => setLimit(limit + HISTORY_PAGE)}>Show earlier ones</Button>
        </div>
      )}
    </Card>
  );
}

function HistoryTable({ upgrades }: { readonly upgrades: readonly UpgradeDocument[] }) {
  return (
    <Rows
      caption="Upgrades of the cluster, newest first"
      columns={['Upgrade', 'State', 'Begun', 'Took', 'Write outage', 'By']}
    >
      {upgrades.map((upgrade) => (
        <HistoryRow key={upgrade.id} upgrade={upgrade} />
      ))}
    </Rows>
  );
}

function HistoryRow({ upgrade }: { readonly upgrade: UpgradeDocument }) {
  const { href } = useSession();
  const { id, from, to, created, started, ended, write_outage_ms, requested_by, progress, follows } = upgrade;
  const word = upgradeWord(upgrade);
  const steps = count(progress.total, 'step');
  return (
    <tr>
      <th scope="row">
        <Link className="row-link mono" to={href(['upgrades', id])}>
          {from.name} → {to.name}
        </Link>
        {follows && <span className="quiet"> · {follows.as}</span>}
      </th>
      <td data-label="State">
        <Pill tone={word.tone}>{word.text}</Pill>
      </td>
      <td data-label="Begun">
        <When at={created} />
      </td>
      <td data-label="Took">
        {started ? (
          <span title={steps}>
            <Lasted from={started} to={ended} />
          </span>
        ) : (
          '–'
        )}
      </td>
      <td data-label="Write outage">{write_outage_ms > 0 ? duration(write_outage_ms) : 'none'}</td>
      <td data-label="By" className="quiet">
        {requested_by.user ?? (requested_by.via === 'rest' ? 'the API' : requested_by.via)}
      </td>
    </tr>
  );
}
