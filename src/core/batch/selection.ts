/** Which clusters a batch is about, and in which waves: what is asked for, and what comes of it. */
import type { Cluster } from '../domain.ts';
import type { Percentage, Policy } from '../policy.ts';
import type { Wave } from './record.ts';

/** All that are given must hold. */
export interface Selector {
  /** Id or name of a datastore. */
  readonly datastore?: string;
  /** A range such as `>=17.5 <17.10`, which the present version must lie in. */
  readonly version?: string;
  /** A pattern: `*` stands for any text, `?` for one character. */
  readonly name?: string;
  /** One of the cluster's tags. */
  readonly tag?: string;
}

/** Explicit clusters, or all that a selector finds. */
export interface Selection {
  readonly clusters?: readonly ChosenCluster[];
  readonly selector?: Selector;
  /** An administrator selects among the clusters of all tenants. */
  readonly all_tenants: boolean;
}

export interface ChosenCluster {
  readonly id: string;
  /** In place of the batch's, field by field. */
  readonly policy?: Partial<Policy>;
}

export type WaveSettings = Pick<
  Wave,
  'max_concurrent' | 'failure_budget' | 'write_outage_budget_seconds' | 'soak_seconds' | 'approval'
>;

export interface WaveRequest extends Partial<WaveSettings> {
  /** So many of all clusters, or such a part of them (rounded up); all that are left if neither this nor a selector is given. */
  readonly share?: number | Percentage;
  readonly selector?: Selector;
}

export const DEFAULT_WAVE: WaveSettings = {
  max_concurrent: 10,
  failure_budget: '5%',
  write_outage_budget_seconds: null,
  soak_seconds: 0,
  approval: false,
};

/** One cluster first, and it must succeed; then a tenth of all; then the rest. */
export const DEFAULT_WAVES: readonly WaveRequest[] = [{ share: 1, failure_budget: 0 }, { share: '10%' }, {}];

/** Tells whether a version lies in a range: how versions are compared is not the core's. */
export type InRange = (version: string, range: string) => boolean;

export function isSelected(cluster: Cluster, selector: Selector, inRange: InRange): boolean {
  const { datastore, version, name, tag } = selector;
  return (
    (datastore === undefined || cluster.datastore_id === datastore || cluster.datastore_name === datastore) &&
    (version === undefined || inRange(cluster.datastore_version, version)) &&
    (name === undefined || isLike(cluster.name, name)) &&
    (tag === undefined || tagsOf(cluster).includes(tag))
  );
}

/** A cluster's tags: `extended_properties.tags`, set when it is created. */
export function tagsOf({ extended_properties }: Cluster): readonly string[] {
  const { tags } = extended_properties;
  return Array.isArray(tags) ? (tags as readonly string[]) : [];
}

/** Whether a text fits a pattern of `*` and `?`. Takes time in proportion to both, whatever they are. */
export function isLike(text: string, pattern: string): boolean {
  let [at, in_pattern, star, from] = [0, 0, -1, 0];
  while (at < text.length) {
    const wanted = pattern[in_pattern];
    if (wanted === '*') {
      star = in_pattern++;
      from = at;
    } else if (wanted === '?' || wanted === text[at]) {
      at += 1;
      in_pattern += 1;
    } else if (star >= 0) {
      // The last star stands for one character more.
      in_pattern = star + 1;
      at = ++from;
    } else {
      return false;
    }
  }
  return [...pattern.slice(in_pattern)].every((rest) => rest === '*');
}

/**
 * Which wave each cluster is in, in the order of `clusters`; null for those that no wave takes.
 * A wave takes what it wants of those that the waves before it have left.
 */
export function splitIntoWaves(
  clusters: readonly Cluster[],
  waves: readonly WaveRequest[],
  inRange: InRange,
): readonly (number | null)[] {
  const waveOf = new Array<number | null>(clusters.length).fill(null);
  for (const [wave, { share, selector }] of waves.entries()) {
    let room = share === undefined ? clusters.length : roomOf(share, clusters.length);
    for (const [index, cluster] of clusters.entries()) {
      if (room === 0) break;
      if (waveOf[index] !== null || (selector && !isSelected(cluster, selector, inRange))) continue;
      waveOf[index] = wave;
      room -= 1;
    }
  }
  return waveOf;
}

function roomOf(share: number | Percentage, size: number): number {
  return typeof share === 'number' ? share : Math.ceil((size * Number.parseFloat(share)) / 100);
}
