/** Which clusters a batch upgrades, and in which waves: the request, and what it results in. */
import type { Cluster } from '../domain.ts';
import type { Percentage } from '../policy.ts';
import type { Selector } from './record.ts';
import type { WaveStatement } from './waves.ts';

/** A wave as it is asked for, with the clusters that it is for. */
export interface WaveRequest extends WaveStatement {
  readonly selector?: Selector;
}

/** Tells whether a version lies in a range. The core does not know how versions are compared. */
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
function tagsOf({ extended_properties }: Cluster): readonly string[] {
  const { tags } = extended_properties;
  return Array.isArray(tags) ? (tags as readonly string[]) : [];
}

/**
 * Tells whether a text matches a pattern of `*` and `?`. The time is in proportion to the lengths of both,
 * whatever they contain.
 */
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
      // Let the last star match one more character.
      in_pattern = star + 1;
      at = ++from;
    } else {
      return false;
    }
  }
  return [...pattern.slice(in_pattern)].every((rest) => rest === '*');
}

/**
 * The wave of each cluster, in the order of `clusters`; null for clusters that no wave takes. A wave takes
 * what it asks for from the clusters that the waves before it have left.
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
