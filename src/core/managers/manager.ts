/** All that the core decides about a datastore manager, as one value per manager. */
import type { DatastoreVersion } from '../domain.ts';
import type { Order } from '../order/order.ts';

export interface Manager {
  /** As clusters and versions name the manager, e.g. `postgresql`. */
  readonly name: string;
  /** In which order the instances of a cluster are upgraded. */
  readonly order: Order;
  /** True if a driver of ours makes the servers; false if their operator does, and writes hooks. */
  readonly buildsServers: boolean;
  /**
   * True if instances are programs with data of their own: each has an address and a guest agent to itself, and a
   * new instance copies the primary. False for instances that only behave like servers.
   */
  readonly hasServers: boolean;
  /** Instances that a cluster may have. */
  readonly maxInstances: number;
  /** Why a server that runs `from` must not go to `to` where the catalogue does not say; null if it may. */
  readonly pathRefusal: (from: string, to: string) => string | null;
  /** What the catalogue holds of this datastore at first start; null if an administrator adds all of it. */
  readonly builtIn: BuiltIn | null;
}

/** A datastore and its versions as a release of Coffer brings them along. Ids are fixed for ever. */
export interface BuiltIn {
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

/** What holds for a manager where nothing else is said: its operator makes the servers, and any path is allowed. */
export function operatorsOwn(name: string, order: Order): Manager {
  return {
    ...{ name, order },
    ...{ buildsServers: false, hasServers: true, maxInstances: MANY, pathRefusal: () => null, builtIn: null },
  };
}
