import {
  DatastoreAnswer,
  DatastoresAnswer,
  VersionAnswer,
  VersionsAnswer,
} from '../src/contract/documents.ts';
import {
  DatastoreParams,
  DatastoreVersionParams,
  TenantParams,
  VersionParams,
} from '../src/contract/http.ts';
import { DATASTORE_VERSIONS, DATASTORES } from '../src/core/catalogue.ts';
import type { Datastore, DatastoreVersion } from '../src/core/domain.ts';
import { CofferError } from '../src/core/errors.ts';
import type { App } from './deps.ts';
import { datastoreView, listedVersionView, urlsOf, versionView } from './views.ts';

const tags = ['datastores'];

/** `/datastores`: the catalogue. */
export function datastoreRoutes(app: App): void {
  app.get(
    '/datastores',
    {
      config: { rule: 'datastore:index' },
      schema: { tags, summary: 'All datastores', params: TenantParams, response: { 200: DatastoresAnswer } },
    },
    async (request) => ({
      datastores: DATASTORES.map((datastore) =>
        datastoreView(datastore, versionsOf(datastore), urlsOf(request)),
      ),
    }),
  );

  app.get(
    '/datastores/:datastore',
    {
      config: { rule: 'datastore:show' },
      schema: { tags, summary: 'A datastore', params: DatastoreParams, response: { 200: DatastoreAnswer } },
    },
    async (request) => {
      const datastore = findDatastore(request.params.datastore);
      return { datastore: datastoreView(datastore, versionsOf(datastore), urlsOf(request)) };
    },
  );

  versionRoutes(app);
}

function versionRoutes(app: App): void {
  app.get(
    '/datastores/:datastore/versions',
    {
      config: { rule: 'datastore:version_index' },
      schema: {
        tags,
        summary: 'Versions of a datastore',
        params: DatastoreParams,
        response: { 200: VersionsAnswer },
      },
    },
    async (request) => {
      const versions = versionsOf(findDatastore(request.params.datastore));
      return { versions: versions.map((version) => listedVersionView(version, urlsOf(request))) };
    },
  );

  app.get(
    '/datastores/:datastore/versions/:version',
    {
      config: { rule: 'datastore:version_show' },
      schema: {
        tags,
        summary: 'A version of a datastore',
        params: DatastoreVersionParams,
        response: { 200: VersionAnswer },
      },
    },
    async (request) => {
      const version = findVersion(findDatastore(request.params.datastore), request.params.version);
      return { version: versionView(version, urlsOf(request)) };
    },
  );

  app.get(
    '/datastores/versions/:version_id',
    {
      config: { rule: 'datastore:version_show_by_uuid' },
      schema: {
        tags,
        summary: 'A version by its id',
        params: VersionParams,
        response: { 200: VersionAnswer },
      },
    },
    async (request) => {
      const { version_id } = request.params;
      const version = DATASTORE_VERSIONS.find((each) => each.id === version_id);
      if (version === undefined) throw versionMissing(version_id);
      return { version: versionView(version, urlsOf(request)) };
    },
  );
}

/** By id or name. Throws `datastore_not_found`. */
export function findDatastore(reference: string): Datastore {
  const datastore = DATASTORES.find(({ id, name }) => id === reference || name === reference);
  if (datastore === undefined) {
    throw new CofferError('datastore_not_found', `Datastore '${reference}' cannot be found.`);
  }
  return datastore;
}

/** By id or name, within its datastore. Throws `datastore_version_not_found`. */
export function findVersion(datastore: Datastore, reference: string): DatastoreVersion {
  const version = versionsOf(datastore).find(({ id, name }) => id === reference || name === reference);
  if (version === undefined) throw versionMissing(reference);
  return version;
}

function versionsOf(datastore: Datastore): readonly DatastoreVersion[] {
  return DATASTORE_VERSIONS.filter((version) => version.datastore_id === datastore.id);
}

function versionMissing(reference: string): CofferError {
  return new CofferError('datastore_version_not_found', `Datastore version '${reference}' cannot be found.`);
}
