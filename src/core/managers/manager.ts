/** Everything that the core decides about a datastore manager, as one value per manager. */
import type { DatastoreVersion } from '../domain.ts';
import type { Sequence } from '../sequence/sequence.ts';

export interface Manager {
  /** As clusters and versions name the manager, e.g. `postgresql`. */
  readonly name: string;
  /** The sequence in which the instances of a cluster are upgraded. */
  readonly sequence: Sequence;
  /** True if a driver of ours builds the servers; false if their operator does, and writes hooks. */
  readonly buildsServers: boolean;
  /**
   * True if instances are programs with data of their own: each has its own address and its own guest agent.
   * False for instances that only behave like servers.
   */
  readonly hasServers: boolean;
  /**
   * True if the first instance of a cluster is built as the primary, and every further one copies the primary.
   * False if instances are built all alike.
   */
  readonly copiesPrimary: boolean;
  /** True if a driver of ours can adopt servers that somebody else has made. */
  readonly adoptsServers: boolean;
  /** The largest number of instances that a cluster may have. */
  readonly maxInstances: number;
  /** Why a server that runs `from` must not go to `to`, where the catalogue does not say; null if it may. */
  readonly pathRefusal: (from: string, to: string) => string | null;
  /** This datastore's part of the catalogue at first start; null if an administrator adds all of it. */
  readonly builtIn: BuiltIn | null;
}

/** A datastore and its versions that a release of Coffer includes. The ids never change. */
interface BuiltIn {
  readonly datastore_id: string;
  readonly default_version_id: string;
  readonly versions: readonly Pick<DatastoreVersion, 'id' | 'name' | 'packages'>[];
}

export const PLATFORMS = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'] as const;
/** Operating system and processor of a guest, as Node.js names them. */
export type Platform = (typeof PLATFORMS)[number];

/** An npm package that holds the server's binaries. */
export interface ServerPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity of the packed file: `sha512-<base64>`. */
  readonly integrity: string;
}

const MANY = 100;

/** The defaults for a manager: its operator builds the servers, and any path is allowed. */
export function operatorsOwn(name: string, sequence: Sequence): Manager {
  return {
    ...{ name, sequence },
    ...{ buildsServers: false, hasServers: true, copiesPrimary: true, adoptsServers: false },
    ...{ maxInstances: MANY, pathRefusal: () => null, builtIn: null },
  };
}
