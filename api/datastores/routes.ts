import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  DatastoreAnswer,
  DatastoresAnswer,
  VersionAnswer,
  VersionsAnswer,
} from '../../src/contract/catalogue.ts';
import {
  DatastoreParams,
  DatastoreVersionParams,
  SomePageQuery,
  TenantParams,
  VersionParams,
} from '../../src/contract/http.ts';
import {
  type Catalogue,
  findDatastore,
  findVersion,
  findVersionById,
  removeDatastore,
  versionsOf,
} from '../../src/core/catalogue.ts';
import type { Datastore, DatastoreVersion } from '../../src/core/domain.ts';
import { CofferError } from '../../src/core/errors.ts';
import { changeCatalogue } from '../../src/store/change-catalogue.ts';
import type { App, Deps } from '../deps.ts';
import { type Link, nextLink, urlsOf } from '../http/urls.ts';
import { datastoreView, listedVersionView, versionView } from './view.ts';

const tags = ['datastores'];

/** `/datastores`: the catalogue. */
export function datastoreRoutes(app: App, deps: Deps): void {
  app.get(
    '/datastores',
    {
      config: { rule: 'datastore:index' },
      schema: {
        tags,
        summary: 'All datastores, or a page of them',
        params: TenantParams,
        querystring: SomePageQuery,
        response: { 200: DatastoresAnswer },
      },
    },
    async (request) => {
      const catalogue = await deps.store.catalogue.get();
      const { items, ...links } = pageOf(request, request.query, 'datastores', catalogue.datastores);
      return { datastores: items.map((datastore) => viewOf(request, catalogue, datastore)), ...links };
    },
  );

  app.get(
    '/datastores/:datastore',
    {
      config: { rule: 'datastore:show' },
      schema: { tags, summary: 'A datastore', params: DatastoreParams, response: { 200: DatastoreAnswer } },
    },
    async (request) => {
      const catalogue = await deps.store.catalogue.get();
      const datastore = findDatastore(catalogue, request.params.datastore);
      return { datastore: viewOf(request, catalogue, datastore) };
    },
  );

  app.delete(
    '/datastores/:datastore',
    {
      config: { rule: 'datastore:delete' },
      schema: {
        tags,
        summary: 'Delete a datastore that has no versions',
        params: DatastoreParams,
        response: { 202: z.strictObject({}) },
      },
    },
    async (request, reply) => {
      const { datastore } = request.params;
      await changeCatalogue(deps.store.catalogue, (catalogue) => removeDatastore(catalogue, datastore));
      return reply.code(202).send({});
    },
  );

  versionRoutes(app, deps);
}

function versionRoutes(app: App, deps: Deps): void {
  app.get(
    '/datastores/:datastore/versions',
    {
      config: { rule: 'datastore:version_index' },
      schema: {
        tags,
        summary: 'Versions of a datastore: all, or a page of them',
        params: DatastoreParams,
        querystring: SomePageQuery,
        response: { 200: VersionsAnswer },
      },
    },
    async (request) => {
      const catalogue = await deps.store.catalogue.get();
      const datastore = findDatastore(catalogue, request.params.datastore);
      const versions = visible(request, versionsOf(catalogue, datastore.id));
      const path = `datastores/${datastore.id}/versions`;
      const { items, ...links } = pageOf(request, request.query, path, versions);
      return { versions: items.map((version) => listedVersionView(version, urlsOf(request))), ...links };
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
      const catalogue = await deps.store.catalogue.get();
      const datastore = findDatastore(catalogue, request.params.datastore);
      const version = findVersion(versionsOf(catalogue, datastore.id), request.params.version);
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
      const version = findVersionById(await deps.store.catalogue.get(), version_id);
      return { version: versionView(version, urlsOf(request)) };
    },
  );
}

function viewOf(request: FastifyRequest, catalogue: Catalogue, datastore: Datastore) {
  const versions = visible(request, versionsOf(catalogue, datastore.id));
  return datastoreView(datastore, versions, urlsOf(request));
}

/** Versions that nobody can choose any more are visible only to administrators, as in Trove. */
function visible({ caller }: FastifyRequest, versions: readonly DatastoreVersion[]) {
  return caller.is_admin ? versions : versions.filter(({ active }) => active);
}

/** The requested page, with the link to the next one; all items if no page was requested. */
export function pageOf<T extends { readonly id: string }>(
  request: FastifyRequest,
  { limit, marker }: SomePageQuery,
  path: string,
  all: readonly T[],
): { readonly items: readonly T[]; readonly links?: Link[] } {
  const at = marker === undefined ? -1 : all.findIndex(({ id }) => id === marker);
  if (marker !== undefined && at < 0) {
    throw new CofferError(
      'invalid_request',
      `Validation error: query['marker'] ${marker} is not in this listing`,
    );
  }
  const rest = all.slice(at + 1);
  if (limit === undefined) return { items: rest };
  const items = rest.slice(0, limit);
  const next_marker = rest.length > limit ? (items.at(-1)?.id ?? null) : null;
  return { items, ...nextLink(urlsOf(request), path, limit, next_marker) };
}
