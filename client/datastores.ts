import type {
  DatastoreAnswer,
  DatastoreDocument,
  DatastoresAnswer,
  DatastoreVersionDocument,
  DatastoreVersionListed,
  ManagedVersionAnswer,
  ManagedVersionDocument,
  ManagedVersionsAnswer,
  NewVersionInput,
  VersionAnswer,
  VersionChangeInput,
  VersionsAnswer,
} from '../src/contract/catalogue.ts';
import type { Http } from './http.ts';
import { inPath, type Reference } from './references.ts';

const MANAGED = '/mgmt/datastore-versions';

export class Datastores {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** All datastores of the catalogue. */
  async list(): Promise<readonly DatastoreDocument[]> {
    return (await this.#http.get<DatastoresAnswer>('/datastores')).datastores;
  }

  /** Rejects with `datastore_not_found`. */
  async get(datastore: Reference): Promise<DatastoreDocument> {
    return (await this.#http.get<DatastoreAnswer>(`/datastores/${inPath(datastore)}`)).datastore;
  }

  /** The versions that clusters of a datastore can have. */
  async versions(datastore: Reference): Promise<readonly DatastoreVersionListed[]> {
    return (await this.#http.get<VersionsAnswer>(`/datastores/${inPath(datastore)}/versions`)).versions;
  }

  /** Rejects with `datastore_version_not_found`. */
  async version(datastore: Reference, version: Reference): Promise<DatastoreVersionDocument> {
    const path = `/datastores/${inPath(datastore)}/versions/${inPath(version)}`;
    return (await this.#http.get<VersionAnswer>(path)).version;
  }

  /**
   * Deletes a datastore that has no versions. For administrators, like all methods below. Rejects with
   * `in_use`.
   */
  async delete(datastore: Reference): Promise<void> {
    await this.#http.send('DELETE', `/datastores/${inPath(datastore)}`);
  }

  /** All versions of all datastores, inactive ones too, with the rules for their upgrade paths. */
  async managedVersions(): Promise<readonly ManagedVersionDocument[]> {
    return (await this.#http.get<ManagedVersionsAnswer>(MANAGED)).versions;
  }

  /** Rejects with `conflict` if the datastore already has a version of that name. */
  async createVersion(version: NewVersionInput): Promise<DatastoreVersionDocument> {
    await this.#http.send('POST', MANAGED, { body: { version } });
    return this.version(version.datastore_name, version.name);
  }

  /**
   * Fields that are left out keep their values. Rejects with `in_use` if the change concerns the name or the
   * manager of a version that a cluster has.
   */
  async changeVersion(id: string, change: VersionChangeInput): Promise<ManagedVersionDocument> {
    const path = `${MANAGED}/${inPath(id)}`;
    return (await this.#http.send<ManagedVersionAnswer>('PATCH', path, { body: change })).version;
  }

  /** Rejects with `in_use` while a cluster or an active upgrade has the version. */
  async deleteVersion(id: string): Promise<void> {
    await this.#http.send('DELETE', `${MANAGED}/${inPath(id)}`);
  }
}
