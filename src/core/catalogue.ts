/**
 * The catalogue: which datastores there are, which versions of them, and which versions may be used. The store
 * keeps the catalogue, administrators change it. Every change is a pure function from one catalogue to the
 * next.
 */

import type { Datastore, DatastoreVersion } from './domain.ts';
import { CofferError } from './errors.ts';
import { BUILT_IN_DATASTORES, BUILT_IN_VERSIONS } from './managers/index.ts';

export interface Catalogue {
  /** Counts the changes; a change names the revision that it read (compare-and-set). */
  readonly revision: number;
  /** In the order in which they were created, as are the versions. */
  readonly datastores: readonly Datastore[];
  readonly versions: readonly DatastoreVersion[];
  /**
   * Ids of built-in entries that were added once: an entry that an administrator has removed is not added
   * again.
   */
  readonly seeded: readonly string[];
}

export const EMPTY_CATALOGUE: Catalogue = { revision: 0, datastores: [], versions: [], seeded: [] };

/** A version as an administrator describes it. */
export interface NewVersion extends Omit<DatastoreVersion, 'datastore_id'> {
  /** Name of the version's datastore, which is created if there is none. */
  readonly datastore_name: string;
  /** Whether clusters that name no version get this one. */
  readonly is_default: boolean;
}

/** The fields of a version that an administrator may change; fields that are left out stay. */
export interface VersionChange extends Partial<Omit<DatastoreVersion, 'id' | 'datastore_id'>> {
  readonly is_default?: boolean;
}

/**
 * Adds the built-in entries of this release that the catalogue never had. Returns the same catalogue if there
 * are none.
 */
export function withBuiltIns(catalogue: Catalogue): Catalogue {
  const isNew = ({ id }: { readonly id: string }) => !catalogue.seeded.includes(id);
  const newDatastores = BUILT_IN_DATASTORES.filter(isNew);
  const newVersions = BUILT_IN_VERSIONS.filter(isNew);
  if (newDatastores.length + newVersions.length === 0) return catalogue;
  const nameOf = (one: { readonly name: string }) => one.name;
  // An entry of the same name that an administrator has made is kept.
  const datastores = [
    ...catalogue.datastores,
    ...newDatastores.filter(({ name }) => !catalogue.datastores.map(nameOf).includes(name)),
  ];
  const versions = newVersions.filter(
    ({ datastore_id, name }) =>
      datastores.some(({ id }) => id === datastore_id) &&
      !versionsOf(catalogue, datastore_id).map(nameOf).includes(name),
  );
  return next(catalogue, {
    datastores,
    versions: [...catalogue.versions, ...versions],
    seeded: [...catalogue.seeded, ...[...newDatastores, ...newVersions].map(({ id }) => id)],
  });
}

export function versionsOf({ versions }: Catalogue, datastore_id: string): readonly DatastoreVersion[] {
  return versions.filter((version) => version.datastore_id === datastore_id);
}

/** By id or name. Throws `datastore_not_found`. */
export function findDatastore({ datastores }: Catalogue, reference: string): Datastore {
  const datastore = datastores.find(({ id, name }) => id === reference || name === reference);
  if (datastore) return datastore;
  throw new CofferError('datastore_not_found', `Datastore '${reference}' cannot be found.`);
}

/**
 * By id or name, among the given versions, which are usually those of one datastore. Throws
 * `datastore_version_not_found`.
 */
export function findVersion(versions: readonly DatastoreVersion[], reference: string): DatastoreVersion {
  const version = versions.find(({ id, name }) => id === reference || name === reference);
  if (version) return version;
  throw new CofferError('datastore_version_not_found', `Datastore version '${reference}' cannot be found.`);
}

/**
 * Adds a new version, and its datastore if there is none of that name. Returns the same catalogue if it has the
 * version under its id: the request came a second time. Throws `conflict` if the name is taken.
 */
export function addVersion(
  catalogue: Catalogue,
  { datastore_name, is_default, ...described }: NewVersion,
  newId: () => string,
): Catalogue {
  if (catalogue.versions.some(({ id }) => id === described.id)) return catalogue;
  const known = catalogue.datastores.find(({ name }) => name === datastore_name);
  const datastore = known ?? { id: newId(), name: datastore_name, default_version_id: null };
  const version = { ...described, datastore_id: datastore.id };
  checkNameFree(catalogue, datastore, version);
  return withDefault(
    next(catalogue, {
      datastores: known ? catalogue.datastores : [...catalogue.datastores, datastore],
      versions: [...catalogue.versions, version],
    }),
    version,
    is_default || undefined,
  );
}

/** Throws `datastore_version_not_found`, and `conflict` if the new name is taken. */
export function changeVersion(
  catalogue: Catalogue,
  id: string,
  { is_default, ...fields }: VersionChange,
): Catalogue {
  const before = findVersionById(catalogue, id);
  const version = { ...before, ...fields };
  checkNameFree(catalogue, findDatastore(catalogue, version.datastore_id), version);
  const versions = catalogue.versions.map((one) => (one.id === id ? version : one));
  return withDefault(next(catalogue, { versions }), version, is_default);
}

/** Throws `datastore_version_not_found`. */
export function removeVersion(catalogue: Catalogue, id: string): Catalogue {
  const version = findVersionById(catalogue, id);
  const versions = catalogue.versions.filter((one) => one.id !== id);
  return withDefault(next(catalogue, { versions }), version, false);
}

/** Throws `datastore_not_found`, and `in_use` while it has versions. */
export function removeDatastore(catalogue: Catalogue, reference: string): Catalogue {
  const { id, name } = findDatastore(catalogue, reference);
  const versions = versionsOf(catalogue, id);
  if (versions.length > 0) {
    const names = versions.map((version) => version.name).join(', ');
    throw new CofferError(
      'in_use',
      `Datastore '${name}' has versions: ${names}. Delete these first (DELETE /mgmt/datastore-versions/{id}).`,
    );
  }
  return next(catalogue, { datastores: catalogue.datastores.filter((one) => one.id !== id) });
}

/**
 * Ids of the versions that must not be in use if `after` is to take the place of `before`: versions that are
 * gone, and versions whose name or manager has changed, since records and guests hold the old ones.
 */
export function mustBeUnused(before: Catalogue, after: Catalogue): readonly string[] {
  return before.versions
    .filter(({ id, name, manager }) => {
      const kept = after.versions.find((one) => one.id === id);
      return kept?.name !== name || kept.manager !== manager;
    })
    .map(({ id }) => id);
}

/** Throws `datastore_version_not_found`. */
export function findVersionById({ versions }: Catalogue, reference: string): DatastoreVersion {
  return findVersion(
    versions.filter(({ id }) => id === reference),
    reference,
  );
}

function checkNameFree(catalogue: Catalogue, datastore: Datastore, { id, name }: DatastoreVersion): void {
  const taken = versionsOf(catalogue, datastore.id).find((one) => one.name === name && one.id !== id);
  if (!taken) return;
  throw new CofferError(
    'conflict',
    `Datastore '${datastore.name}' has a version '${name}' already (${taken.id}): change that one, or choose another name.`,
  );
}

/** `isDefault` undefined: the default stays as it was. */
function withDefault(
  catalogue: Catalogue,
  { id, datastore_id }: DatastoreVersion,
  isDefault: boolean | undefined,
): Catalogue {
  if (isDefault === undefined) return catalogue;
  const datastores = catalogue.datastores.map((datastore) => {
    if (datastore.id !== datastore_id) return datastore;
    if (isDefault) return { ...datastore, default_version_id: id };
    return datastore.default_version_id === id ? { ...datastore, default_version_id: null } : datastore;
  });
  return { ...catalogue, datastores };
}

function next(catalogue: Catalogue, fields: Partial<Catalogue>): Catalogue {
  return { ...catalogue, ...fields, revision: catalogue.revision + 1 };
}
