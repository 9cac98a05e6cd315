/**
 * Which version may follow which, and which may serve beside which: the rules of the catalogue, and the rules
 * that hold where the catalogue has none. Each function returns why not, or null.
 */
import type { DatastoreVersion } from './domain.ts';
import { managerOf } from './managers/index.ts';
import { compareVersions, inRange } from './versions.ts';

/** Why a server that runs `from` must not go to `to`. A rollback need not ask. */
export function pathRefusal(from: string, to: DatastoreVersion): string | null {
  if (from === to.name) return null;
  if (to.upgrade_from !== null && !inRange(from, to.upgrade_from)) {
    return `${to.name} can be reached from ${to.upgrade_from} only, and not from ${from}`;
  }
  const refusal = to.upgrade_from === null ? managerOf(to.manager).pathRefusal(from, to.name) : null;
  if (refusal !== null) return refusal;
  if (compareVersions(to.name, from) >= 0) return null;
  return `${to.name} is older than ${from}, and a cluster is not downgraded`;
}

/**
 * Why `one` and `other` must not serve in one cluster at the same time; `versions`: those of their datastore.
 */
export function mixRefusal(one: string, other: string, versions: readonly DatastoreVersion[]): string | null {
  const forbids = (holder: string, neighbour: string) => {
    const range = versions.find(({ name }) => name === holder)?.not_mixed_with ?? null;
    return holder !== neighbour && range !== null && inRange(neighbour, range);
  };
  if (!forbids(one, other) && !forbids(other, one)) return null;
  return `${one} must not run beside ${other} in one cluster`;
}
