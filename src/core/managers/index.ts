/**
 * The datastore managers that the core knows, one file each. Nothing else in the core, the api, the taskmanager
 * or the dashboard names a manager: a new one needs a file here and a line in `KNOWN`.
 *
 * - `manager.ts`: what there is to decide about a manager
 * - `postgresql.ts`, with the builds in `postgresql-builds.ts`
 * - `simulated.ts`
 * - `redis.ts`, `mysql.ts`: replicas first, the primary last
 * - `galera.ts` (MariaDB, Percona XtraDB Cluster): one by one
 * - `cassandra.ts`: seeds, then rack by rack
 * - `mongodb.ts`: config servers, shard by shard, query routers last
 */
import type { Datastore, DatastoreVersion } from '../domain.ts';
import { creationSequence } from '../sequence/creation.ts';
import { cassandra } from './cassandra.ts';
import { mariadb, pxc } from './galera.ts';
import { type Manager, operatorsOwn } from './manager.ts';
import { mongodb } from './mongodb.ts';
import { mysql } from './mysql.ts';
import { postgresql } from './postgresql.ts';
import { redis } from './redis.ts';
import { simulated } from './simulated.ts';

const KNOWN: readonly Manager[] = [postgresql, simulated, mysql, redis, cassandra, mariadb, pxc, mongodb];
const BY_NAME = new Map(KNOWN.map((manager) => [manager.name, manager]));

/**
 * The manager of this name. A cluster whose manager is unknown here is upgraded in creation order, by its
 * operator's hooks.
 */
export function managerOf(name: string): Manager {
  return BY_NAME.get(name) ?? operatorsOwn(name, creationSequence);
}

/** Managers whose drivers build servers: an operator's hooks cannot replace these drivers. */
export const BUILDING_MANAGERS = KNOWN.filter(({ buildsServers }) => buildsServers).map(({ name }) => name);

/** The datastores in the catalogue at first start. */
export const BUILT_IN_DATASTORES: readonly Datastore[] = KNOWN.flatMap(({ name, builtIn }) =>
  builtIn === null
    ? []
    : [{ id: builtIn.datastore_id, name, default_version_id: builtIn.default_version_id }],
);

const PLAIN = { active: true, image: '', image_tags: [], upgrade_from: null, not_mixed_with: null } as const;

export const BUILT_IN_VERSIONS: readonly DatastoreVersion[] = KNOWN.flatMap(({ name: manager, builtIn }) =>
  (builtIn?.versions ?? []).map(({ id, name, packages }) => ({
    ...{ id, datastore_id: builtIn?.datastore_id ?? '', name, manager, ...PLAIN, packages },
  })),
);
