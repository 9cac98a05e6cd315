import { useMemo, useState } from 'react';
import type { ClusterDocument } from '../../client/index.ts';
import { allClusters, usePolled } from '../data.ts';
import { count } from '../format.ts';
import { Empty, More, Pill } from '../parts/basics.tsx';
import { Reading } from '../parts/failure.tsx';
import { PlusIcon, SearchIcon } from '../parts/icons.tsx';
import { Page } from '../parts/page.tsx';
import { Rows } from '../parts/rows.tsx';
import { Ago } from '../parts/when.tsx';
import { go, Link, usePlace } from '../router.tsx';
import { useSession } from '../session.tsx';
import { clusterWord, INSTANCE_WORDS } from '../words.ts';
import { type ClusterFilter, choicesIn, FILTER_FIELDS, filterOf, isFiltering, matching } from './filter.ts';
import { NewerVersions } from './newer.tsx';
import { ReasonLine } from './pause.tsx';

const EVERY_MS = 2_000;
const PAGE = 50;

export function ClustersScreen() {
  const { href, may } = useSession();
  const { query } = usePlace();
  const { data, error, reload } = usePolled(allClusters, { key: 'clusters', everyMs: EVERY_MS });
  const filter = filterOf(query);
  const set = (change: Partial<ClusterFilter>) => {
    const next = { ...filter, ...change };
    go(href(['clusters'], Object.fromEntries(FILTER_FIELDS.map((field) => [field, next[field]]))), {
      replace: true,
    });
  };
  const create = (
    <>
      {may('cluster:adopt') && (
        <Link className="button" to={href(['clusters', 'adopt'])}>
          Adopt …
        </Link>
      )}
      {may('cluster:create') && (
        <Link className="button primary" to={href(['clusters', 'new'])}>
          <PlusIcon />
          New cluster
        </Link>
      )}
    </>
  );
  return (
    <Page title="Clusters" aside={create}>
      <Reading what="the clusters" data={data} error={error} reload={reload} />
      {data && data.length === 0 && (
        <Empty title="There are no clusters yet">
          Create one here, or on the command line: <code>coffer cluster-create</code>
        </Empty>
      )}
      {data && data.length > 0 && (
        <>
          <FilterBar clusters={data} filter={filter} onChange={set} />
          <ClusterTable
            all={data.length}
            clusters={matching(data, filter)}
            onClear={() => go(href(['clusters']), { replace: true })}
          />
        </>
      )}
    </Page>
  );
}

interface FilterBarProps {
  readonly clusters: readonly ClusterDocument[];
  readonly filter: ClusterFilter;
  readonly onChange: (change: Partial<ClusterFilter>) => void;
}

function FilterBar({ clusters, filter, onChange }: FilterBarProps) {
  const choices = useMemo(() => choicesIn(clusters, filter), [clusters, filter]);
  const select = (field: 'datastore' | 'version' | 'state', every: string) => (
    <select
      aria-label={`Filter by ${field}`}
      value={filter[field]}
      onChange={({ target: { value } }) =>
        onChange({ [field]: value, ...(field === 'datastore' && { version: '' }) })
      }
    >
      <option value="">{every}</option>
      {choices[field].map(({ value, label }) => (
        <option key={value} value={value}>
          {label}
        </option>
      ))}
    </select>
  );
  return (
    <search className="filters">
      <label className="search">
        <SearchIcon />
        <input
          type="search"
          aria-label="Search clusters by name, id, instance or tag"
          placeholder="Search by name, id, instance or tag"
          value={filter.text}
          onChange={({ target: { value } }) => onChange({ text: value })}
        />
      </label>
      {select('datastore', 'Datastore')}
      {select('version', 'Version')}
      {select('state', 'State')}
    </search>
  );
}

interface ClusterTableProps {
  readonly clusters: readonly ClusterDocument[];
  readonly all: number;
  readonly onClear: () => void;
}

function ClusterTable({ clusters, all, onClear }: ClusterTableProps) {
  const { query } = usePlace();
  const [shown, setShown] = useState(PAGE);
  if (clusters.length === 0) {
    return (
      <Empty title={`None of ${count(all, 'cluster')} is like that`}>
        <button type="button" className="link" onClick={onClear}>
          Show all of them
        </button>
      </Empty>
    );
  }
  return (
    <>
      <p className="tally" role="status">
        {isFiltering(filterOf(query))
          ? `${clusters.length} of ${count(all, 'cluster')}`
          : count(all, 'cluster')}
      </p>
      <Rows
        caption="Clusters, problems first, then by name"
        columns={['Name', 'State', 'Version', 'Instances', 'Changed']}
        className="clusters"
      >
        {clusters.slice(0, shown).map((cluster) => (
          <ClusterRow key={cluster.id} cluster={cluster} />
        ))}
      </Rows>
      <More
        shown={Math.min(shown, clusters.length)}
        total={clusters.length}
        onMore={() => setShown(shown + PAGE)}
      />
    </>
  );
}

function ClusterRow({ cluster }: { readonly cluster: ClusterDocument }) {
  const { href } = useSession();
  const { id, name, datastore, instances, updated, task, upgrade_id } = cluster;
  const word = clusterWord(cluster);
  const isUpgrading = task.name === 'UPGRADING_CLUSTER' && upgrade_id !== null;
  return (
    <tr>
      <th scope="row" data-label="Name">
        <Link className="row-link" to={href(['clusters', id])}>
          {name}
        </Link>
      </th>
      <td data-label="State">
        {isUpgrading ? (
          <Link
            className="over"
            to={href(['upgrades', upgrade_id])}
            aria-label={`${word.text}: watch the upgrade of ${name}`}
          >
            <Pill tone={word.tone}>{word.text}</Pill>
          </Link>
        ) : (
          <Pill tone={word.tone}>{word.text}</Pill>
        )}
        <ReasonLine cluster={cluster} />
      </td>
      <td data-label="Version">
        <span className="version">
          {datastore.type} <b className="mono">{datastore.version}</b>
        </span>
        <NewerVersions cluster={cluster} />
      </td>
      <td data-label="Instances">
        <InstanceDots instances={instances} />
      </td>
      <td data-label="Changed" className="quiet">
        <Ago at={updated} />
      </td>
    </tr>
  );
}

const MAX_DOTS = 12;

function InstanceDots({ instances }: Pick<ClusterDocument, 'instances'>) {
  const healthy = instances.filter(({ status }) => status === 'ACTIVE').length;
  return (
    <span className="instances">
      <span className="dots" aria-hidden="true">
        {instances.slice(0, MAX_DOTS).map(({ id, name, status }) => (
          <span
            key={id}
            className={`dot ${INSTANCE_WORDS[status].tone}`}
            title={`${name}: ${INSTANCE_WORDS[status].text}`}
          />
        ))}
      </span>
      <span>
        {healthy} of {instances.length} healthy
      </span>
    </span>
  );
}
