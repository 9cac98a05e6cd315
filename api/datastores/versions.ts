import { z } from 'zod';
import {
  ChangeVersionBody,
  CreateVersionBody,
  ManagedVersionAnswer,
  ManagedVersionsAnswer,
  type VersionChangeRequest,
  type VersionRequest,
} from '../../src/contract/catalogue.ts';
import { SomePageQuery, TenantParams, VersionParams } from '../../src/contract/http.ts';
import {
  addVersion,
  type Catalogue,
  changeVersion,
  findDatastore,
  findVersionById,
  type NewVersion,
  removeVersion,
  type VersionChange,
} from '../../src/core/catalogue.ts';
import { changeCatalogue } from '../../src/store/change-catalogue.ts';
import type { App, Deps } from '../deps.ts';
import { urlsOf } from '../http/urls.ts';
import { pageOf } from './routes.ts';
import { managedVersionView } from './view.ts';

const tags = ['datastores'];
const PATH = 'mgmt/datastore-versions';
const nothing = z.strictObject({});

/** `/mgmt/datastore-versions`: the catalogue for administrators, as Trove's clients request it. */
export function managedVersionRoutes(app: App, deps: Deps): void {
  readingRoutes(app, deps);
  changingRoutes(app, deps);
}

function readingRoutes(app: App, { store }: Deps): void {
  app.get(
    `/${PATH}`,
    {
      config: { rule: 'datastore-version:index' },
      schema: {
        tags,
        summary: 'All versions of all datastores, inactive ones too, or a page of them',
        params: TenantParams,
        querystring: SomePageQuery,
        response: { 200: ManagedVersionsAnswer },
      },
    },
    async (request) => {
      const catalogue = await store.catalogue.get();
      const { items, ...links } = pageOf(request, request.query, PATH, catalogue.versions);
      return { versions: items.map((version) => viewOf(catalogue, version.id)), ...links };
    },
  );

  app.get(
    `/${PATH}/:version_id`,
    {
      config: { rule: 'datastore-version:show' },
      schema: {
        tags,
        summary: 'A version as administrators see it',
        params: VersionParams,
        response: { 200: ManagedVersionAnswer },
      },
    },
    async (request) => ({ version: viewOf(await store.catalogue.get(), request.params.version_id) }),
  );
}

function changingRoutes(app: App, { store, newId }: Deps): void {
  app.post(
    `/${PATH}`,
    {
      config: { rule: 'datastore-version:create' },
      schema: {
        tags,
        summary: 'Add a version, and its datastore if there is none of that name',
        description: 'The header Location of the answer leads to the version.',
        params: TenantParams,
        body: CreateVersionBody,
        response: { 202: nothing },
      },
    },
    async (request, reply) => {
      const id = request.claim?.operation_id ?? newId();
      const version = newVersion(id, request.body.version);
      await changeCatalogue(store.catalogue, (catalogue) => addVersion(catalogue, version, newId));
      reply.header('location', `${urlsOf(request).tenant}/${PATH}/${id}`);
      // Trove's client fails on any other body.
      return reply.code(202).send({});
    },
  );

  app.patch(
    `/${PATH}/:version_id`,
    {
      config: { rule: 'datastore-version:edit' },
      schema: {
        tags,
        summary: 'Change a version',
        description:
          'What is left out stays. Upgrades under way look at the catalogue before each further step: one to a version that was deactivated starts none. A version in use keeps its name and its manager.',
        params: VersionParams,
        body: ChangeVersionBody,
        response: { 202: ManagedVersionAnswer },
      },
    },
    async (request, reply) => {
      const { version_id } = request.params;
      const change = changeOf(request.body);
      const after = await changeCatalogue(store.catalogue, (catalogue) =>
        changeVersion(catalogue, version_id, change),
      );
      return reply.code(202).send({ version: viewOf(after, version_id) });
    },
  );

  app.delete(
    `/${PATH}/:version_id`,
    {
      config: { rule: 'datastore-version:delete' },
      schema: {
        tags,
        summary: 'Delete a version that no cluster and no active upgrade has',
        params: VersionParams,
        response: { 202: nothing },
      },
    },
    async (request, reply) => {
      const { version_id } = request.params;
      await changeCatalogue(store.catalogue, (catalogue) => removeVersion(catalogue, version_id));
      return reply.code(202).send({});
    },
  );
}

function viewOf(catalogue: Catalogue, id: string) {
  const version = findVersionById(catalogue, id);
  return managedVersionView(version, findDatastore(catalogue, version.datastore_id));
}

function newVersion(id: string, request: VersionRequest): NewVersion {
  const { name, datastore_name, datastore_manager: manager, active } = request;
  const { image = '', image_tags = [], packages = [] } = request;
  const { upgrade_from = null, not_mixed_with = null, default: is_default = false } = request;
  return {
    ...{ id, name, datastore_name, manager, active, is_default },
    ...{ image, image_tags, packages, upgrade_from, not_mixed_with },
  };
}

function changeOf({
  datastore_manager,
  default: is_default,
  ...fields
}: VersionChangeRequest): VersionChange {
  return {
    ...fields,
    ...(datastore_manager !== undefined && { manager: datastore_manager }),
    ...(is_default !== undefined && { is_default }),
  };
}
