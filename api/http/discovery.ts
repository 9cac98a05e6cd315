import type { FastifyRequest } from 'fastify';
import { ApiVersionAnswer, ApiVersionsAnswer } from '../../src/contract/documents.ts';
import type { App } from '../deps.ts';
import { originOf } from './urls.ts';

const tags = ['discovery'];

/** What this server offers: version documents as in Trove, and the OpenAPI document. */
export function discoveryRoutes(app: App): void {
  app.get(
    '/',
    { schema: { tags, summary: 'API versions', response: { 200: ApiVersionsAnswer } } },
    async (request) => ({
      versions: [version(request)],
    }),
  );

  for (const path of ['/v1.0', '/v1']) {
    app.get(
      path,
      {
        schema: {
          tags,
          hide: path === '/v1',
          summary: 'The API version',
          response: { 200: ApiVersionAnswer },
        },
      },
      async (request) => ({ version: version(request) }),
    );
  }

  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
}

function version(request: FastifyRequest) {
  return {
    id: 'v1.0' as const,
    status: 'CURRENT' as const,
    updated: '2012-08-01T00:00:00Z',
    links: [{ rel: 'self' as const, href: `${originOf(request)}/v1.0/` }],
  };
}
