/** Which clusters of a list are meant. Pure. */
import type { ClusterDocument } from '../../client/index.ts';
import { taskText } from '../words.ts';

export interface ClusterFilter {
  /** Part of a name, an id, an instance's name or a tag. */
  readonly text: string;
  readonly datastore: string;
  readonly version: string;
  readonly task: string;
}

export const FILTER_FIELDS = ['text', 'datastore', 'version', 'task'] as const;

export function filterOf(query: URLSearchParams): ClusterFilter {
  const [text, datastore, version, task] = FILTER_FIELDS.map((field) => query.get(field) ?? '');
  return { text: text ?? '', datastore: datastore ?? '', version: version ?? '', task: task ?? '' };
}

export function isFiltering(filter: ClusterFilter): boolean {
  return FILTER_FIELDS.some((field) => filter[field] !== '');
}

/** Of `clusters`, those that all of the filter holds for, by name. */
export function matching(
  clusters: readonly ClusterDocument[],
  filter: ClusterFilter,
): readonly ClusterDocument[] {
  const text = filter.text.trim().toLowerCase();
  return clusters
    .filter(({ datastore }) => filter.datastore === '' || datastore.type === filter.datastore)
    .filter(({ datastore }) => filter.version === '' || datastore.version === filter.version)
    .filter(({ task }) => filter.task === '' || task.name === filter.task)
    .filter((cluster) => text === '' || words(cluster).some((word) => word.toLowerCase().includes(text)))
    .toSorted((a, b) => byName(a.name, b.name) || (a.id < b.id ? -1 : 1));
}

function words({ id, name, instances, extended_properties }: ClusterDocument): readonly string[] {
  const tags = extended_properties?.['tags'];
  return [id, name, ...instances.map((one) => one.name), ...(Array.isArray(tags) ? tags.map(String) : [])];
}

interface Choice {
  readonly value: string;
  readonly label: string;
}

/** What there is to choose from: what some cluster has, and what is chosen already. */
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
    task: choices(
      clusters.map(({ task }) => task.name),
      filter.task,
    ).map((choice) => ({ ...choice, label: taskText(choice.value as ClusterDocument['task']['name']) })),
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
