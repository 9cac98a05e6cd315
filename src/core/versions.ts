/** Versions as numbers: how they are ordered, and which range they lie in. */
import semver from 'semver';

/** True for a range that versions can be compared with, e.g. `>=17.0 <17.10`. */
export function isRange(text: string): boolean {
  return semver.validRange(text) !== null;
}

/** True for a name with a number that can be ordered: `17.10`, `5.7.29-log`. */
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

/** The number before the first dot: 17 for `17.10`; 0 for a name without a number. */
export function majorOf(version: string): number {
  return numbersOf(version)[0] ?? 0;
}

function numbersOf(version: string): readonly number[] {
  return /\d+(\.\d+)*/.exec(version)?.[0].split('.').map(Number) ?? [];
}
