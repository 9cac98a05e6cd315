/** Which clusters of a list match a filter, and in which sequence they are shown. Pure. */
import type { ClusterDocument } from '../../client/index.ts';
import { clusterWord, waitsForPerson } from '../words.ts';

export interface ClusterFilter {
  /** Part of a name, an id, an instance's name or a tag. */
  readonly text: string;
  readonly datastore: string;
  readonly version: string;
  /** A state in words, or `PROBLEMS`. */
  readonly state: string;
}

/** A value of the filter by state: all clusters that somebody must look at. */
const PROBLEMS = 'problems';

export const FILTER_FIELDS = ['text', 'datastore', 'version', 'state'] as const;

export function filterOf(query: URLSearchParams): ClusterFilter {
  const [text, datastore, version, state] = FILTER_FIELDS.map((field) => query.get(field) ?? '');
  return { text: text ?? '', datastore: datastore ?? '', version: version ?? '', state: state ?? '' };
}

/**
 * How urgent a cluster is, the most urgent first: something is wrong; a person must act; somebody should
 * look; nothing is to be done.
 */
type Urgency = 0 | 1 | 2 | 3;

function urgencyOf(cluster: Pick<ClusterDocument, 'task' | 'instances' | 'upgrade' | 'problems'>): Urgency {
  const { upgrade, instances } = cluster;
  if (clusterWord(cluster).tone === 'bad') return 0;
  if (upgrade && waitsForPerson(upgrade)) return 1;
  const isDown = instances.some(({ status }) => status === 'ERROR' || status === 'UNKNOWN');
  return isDown || upgrade?.silent ? 2 : 3;
}

export function isFiltering(filter: ClusterFilter): boolean {
  return FILTER_FIELDS.some((field) => filter[field] !== '');
}

/** The `clusters` that match every part of the filter: problems first, then by name. */
export function matching(
  clusters: readonly ClusterDocument[],
  filter: ClusterFilter,
): readonly ClusterDocument[] {
  const text = filter.text.trim().toLowerCase();
  return clusters
    .filter(({ datastore }) => filter.datastore === '' || datastore.type === filter.datastore)
    .filter(({ datastore }) => filter.version === '' || datastore.version === filter.version)
    .filter((cluster) => isInState(cluster, filter.state))
    .filter((cluster) => text === '' || words(cluster).some((word) => word.toLowerCase().includes(text)))
    .toSorted((a, b) => urgencyOf(a) - urgencyOf(b) || byName(a.name, b.name) || (a.id < b.id ? -1 : 1));
}

function isInState(cluster: ClusterDocument, state: string): boolean {
  if (state === PROBLEMS) return urgencyOf(cluster) < 3;
  return state === '' || clusterWord(cluster).text === state;
}

function words({ id, name, instances, extended_properties }: ClusterDocument): readonly string[] {
  const tags = extended_properties?.['tags'];
  return [id, name, ...instances.map((one) => one.name), ...(Array.isArray(tags) ? tags.map(String) : [])];
}

interface Choice {
  readonly value: string;
  readonly label: string;
}

/** The choices: the values that some cluster has, and the values that are chosen already. */
export function choicesIn(clusters: readonly ClusterDocument[], filter: ClusterFilter) {
  const ofDatastore = clusters.filter(
    ({ datastore }) => filter.datastore === '' || datastore.type === filter.datastore,
  );
  return {
    datastore: choices(
      clusters.map(({ datastore }) => datastore.type),
      filter.datastore,
    ),
    version: choices(
      ofDatastore.map(({ datastore }) => datastore.version),
      filter.version,
    ),
    state: [
      { value: PROBLEMS, label: 'Problems' },
      ...choices(
        clusters.map((cluster) => clusterWord(cluster).text),
        filter.state === PROBLEMS ? '' : filter.state,
      ),
    ],
  };
}

function choices(values: readonly string[], chosen: string): readonly Choice[] {
  const all = new Set(chosen === '' ? values : [...values, chosen]);
  return [...all].toSorted(byName).map((value) => ({ value, label: value }));
}

/** 17.9 before 17.10, shop-2 before shop-10. */
export function byName(a: string, b: string): number {
  return collator.compare(a, b);
}

const collator = new Intl.Collator('en', { numeric: true });
