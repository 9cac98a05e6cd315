import swagger from '@fastify/swagger';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { ErrorAnswer } from '../../src/contract/documents.ts';
import type { App } from '../deps.ts';

type OpenApiDocument = ReturnType<typeof jsonSchemaTransformObject>;

/** Makes the OpenAPI 3.1 document from the routes' schemas. To be called before the routes are added. */
export async function registerOpenApi(app: App): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Coffer',
        version: '1.0',
        description:
          'Upgrades database clusters while they serve. The API of OpenStack Trove, with upgrades to watch.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
    },
    transform: (route) => jsonSchemaTransform({ ...route, schema: withErrors(route.schema) }),
    transformObject: (document) => withoutUnused(jsonSchemaTransformObject(document)),
  });
}

/** Every operation answers errors in one form. */
function withErrors<Schema extends { response?: unknown }>(schema: Schema): Schema {
  return { ...schema, response: { ...(schema.response ?? {}), default: ErrorAnswer } };
}

/**
 * Each named schema comes in two forms, for reading and for writing: this keeps those that something refers
 * to.
 */
function withoutUnused(document: OpenApiDocument): OpenApiDocument {
  const schemas = ('components' in document ? document.components?.schemas : undefined) ?? {};
  const unused = Object.keys(schemas).filter((name) => !isReferred(document, name));
  if (unused.length === 0) return document;
  for (const name of unused) delete schemas[name];
  // A schema that only an unused schema referred to is unused now.
  return withoutUnused(document);
}

function isReferred(document: OpenApiDocument, name: string): boolean {
  return JSON.stringify(document).includes(`"#/components/schemas/${name}"`);
}
