import type {
  DatastoreAnswer,
  DatastoreDocument,
  DatastoresAnswer,
  DatastoreVersionDocument,
  DatastoreVersionListed,
  VersionAnswer,
  VersionsAnswer,
} from '../src/contract/documents.ts';
import type { Http } from './http.ts';
import { inPath, type Reference } from './references.ts';

export class Datastores {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

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
}
