/**
 * Which version may follow which, and which may serve beside which: the rules of the catalogue, and
 * those that hold where it has none. Each function answers why not, or null.
 */
import semver from 'semver';
import type { DatastoreVersion } from './domain.ts';

/** Why what runs `from` must not go to `to`. A rollback need not ask. */
export function pathRefusal(from: string, to: DatastoreVersion): string | null {
  if (from === to.name) return null;
  if (to.upgrade_from !== null && !inRange(from, to.upgrade_from)) {
    return `${to.name} can be reached from ${to.upgrade_from} only, and not from ${from}`;
  }
  const major = majorOf(from);
  if (to.upgrade_from === null && to.manager === 'postgresql' && major !== majorOf(to.name)) {
    return `${from} and ${to.name} are different major releases: only minor releases of ${major} can be reached in place`;
  }
  if (compareVersions(to.name, from) >= 0) return null;
  return `${to.name} is older than ${from}, and a cluster is not downgraded`;
}

/** Why `one` and `other` must not serve in one cluster at a time; `versions`: those of their datastore. */
export function mixRefusal(one: string, other: string, versions: readonly DatastoreVersion[]): string | null {
  const forbids = (holder: string, neighbour: string) => {
    const range = versions.find(({ name }) => name === holder)?.not_mixed_with ?? null;
    return holder !== neighbour && range !== null && inRange(neighbour, range);
  };
  if (!forbids(one, other) && !forbids(other, one)) return null;
  return `${one} must not run beside ${other} in one cluster`;
}

/** True for a range that versions can be held against, e.g. `>=17.0 <17.10`. */
export function isRange(text: string): boolean {
  return semver.validRange(text) !== null;
}

/** True for a name that has a number which can be ordered: `17.10`, `5.7.29-log`. */
export function isVersion(name: string): boolean {
  return semver.coerce(name) !== null;
}

/** `17.6` counts as 17.6.0. A version that has no number lies in no range. */
export function inRange(version: string, range: string): boolean {
  const known = semver.coerce(version);
  return known !== null && semver.satisfies(known, range);
}

/** Orders versions by their numbers: 17.9 before 17.10. */
export function compareVersions(a: string, b: string): number {
  const [as, bs] = [numbersOf(a), numbersOf(b)];
  for (let i = 0; i < Math.max(as.length, bs.length); i++) {
    const difference = (as[i] ?? 0) - (bs[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function majorOf(version: string): number {
  return numbersOf(version)[0] ?? 0;
}

function numbersOf(version: string): readonly number[] {
  return /\d+(\.\d+)*/.exec(version)?.[0].split('.').map(Number) ?? [];
}
