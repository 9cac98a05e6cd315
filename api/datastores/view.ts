import type {
  DatastoreDocument,
  DatastoreVersionDocument,
  DatastoreVersionListed,
  ManagedVersionDocument,
} from '../../src/contract/catalogue.ts';
import type { Datastore, DatastoreVersion } from '../../src/core/domain.ts';
import { links, type Urls } from '../http/urls.ts';

export function datastoreView(
  datastore: Datastore,
  versions: readonly DatastoreVersion[],
  urls: Urls,
): DatastoreDocument {
  const { default_version_id } = datastore;
  // Trove's command line searches the versions for the default's name.
  const default_version = versions.find(({ id }) => id === default_version_id)?.id;
  return {
    id: datastore.id,
    name: datastore.name,
    links: links(urls, `datastores/${datastore.id}`),
    versions: versions.map((version) => ({
      ...versionFields(version, urls),
      active: version.active ? 1 : 0,
    })),
    ...(default_version !== undefined && { default_version }),
  };
}

export function versionView(version: DatastoreVersion, urls: Urls): DatastoreVersionDocument {
  return { ...versionFields(version, urls), datastore: version.datastore_id, active: version.active };
}

export function listedVersionView(version: DatastoreVersion, urls: Urls): DatastoreVersionListed {
  return { ...versionFields(version, urls), datastore: version.datastore_id, active: version.active ? 1 : 0 };
}

function versionFields(version: DatastoreVersion, urls: Urls) {
  return {
    id: version.id,
    name: version.name,
    version: version.name,
    links: links(urls, `datastores/versions/${version.id}`),
    packages: version.packages.join(','),
    image: version.image,
    image_tags: [...version.image_tags],
    upgrade_from: version.upgrade_from,
    not_mixed_with: version.not_mixed_with,
  };
}

/** The form in which Trove's administrators see a version. */
export function managedVersionView(version: DatastoreVersion, datastore: Datastore): ManagedVersionDocument {
  const { id, name, manager, image, active, upgrade_from, not_mixed_with } = version;
  return {
    ...{ id, name, version: name, datastore_id: datastore.id, datastore_name: datastore.name },
    ...{ datastore_manager: manager, image, active, upgrade_from, not_mixed_with },
    image_tags: [...version.image_tags],
    packages: [...version.packages],
    default: datastore.default_version_id === id,
  };
}
