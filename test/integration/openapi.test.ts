/** The OpenAPI document: valid, of every route that is there and of no other; docs/rest.md, which is made of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { POLICY } from '../../src/core/policy.ts';
import { ROOT } from '../support/docs.ts';
import { type ApiDocument, namedShapes, sectionsOf, shapeOf } from '../support/rest-page.ts';
import { ask, type Harness, startApi } from './api-harness.ts';

let api: Harness;
let document: ApiDocument;
beforeAll(async () => {
  api = await startApi();
  document = (await ask(`${api.origin}/openapi.json`)).body as ApiDocument;
});
afterAll(() => api.close());

/** Served, and in no document: pages, files and second names. */
const NOT_DESCRIBED = /^\/(dashboard|openapi\.json|v1$)/;

/** `GET /v1.0/:tenant_id/clusters`, as the server itself tells it. */
function servedRoutes(): string[] {
  const stack: string[] = [];
  return api.app
    .printRoutes({ commonPrefix: false, includeHooks: false })
    .split('\n')
    .flatMap((line) => {
      const [, indent = '', part = '', verbs = ''] = /^([│├└─ ]*)(\S+)(?: \(([A-Z, ]+)\))?$/.exec(line) ?? [];
      if (part === '') return [];
      const depth = indent.length / 4;
      stack.splice(depth - 1, stack.length, part);
      return verbs === '' ? [] : verbs.split(', ').map((verb) => `${verb} ${stack.join('')}`);
    })
    .filter((route) => !/^(HEAD|OPTIONS) /.test(route));
}

function described(): string[] {
  return sectionsOf(document).flatMap(({ routes }) =>
    routes.map(({ method, path }) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
}

describe('/openapi.json', () => {
  it('is valid OpenAPI 3.1', async () => {
    // A text of one line is taken for the name of a file.
    const { valid, errors } = await new Validator().validate(JSON.stringify(document, null, 2));
    expect(errors ?? []).toEqual([]);
    expect(valid).toBe(true);
    expect(document).toMatchObject({ openapi: expect.stringMatching(/^3\.1/) as string });
  });

  it('has every route that is served, and no other', () => {
    const served = servedRoutes().filter((route) => !NOT_DESCRIBED.test(route.split(' ')[1] ?? ''));
    expect(served.length).toBeGreaterThan(40);
    const plain = (routes: readonly string[]) => routes.map((route) => route.replace(/(?<=.)\/$/, '')).sort();
    expect(plain(described())).toEqual(plain(served));
  });

  it('says of every alternative what it is: one that may be anything would be none', () => {
    const unsaid: string[] = [];
    const look = (value: unknown, where: string): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [name, inner] of Object.entries(value)) {
        const alternatives = name === 'anyOf' || name === 'oneOf' ? (inner as readonly object[]) : [];
        if (alternatives.some((each) => Object.keys(each).length === 0)) unsaid.push(where);
        look(inner, `${where}/${name}`);
      }
    };
    look(document, '');
    expect(unsaid).toEqual([]);
  });

  it.each(['PolicyRequestInput', 'Policy'])(
    'has each field of the policy in %s, with its meaning',
    (name) => {
      const { properties = {} } = document.components?.schemas?.[name] ?? {};
      const said = Object.entries(properties).map(([field, { description }]) => [field, description]);
      expect(said).toEqual(POLICY.map((field) => [field.name, field.meaning]));
    },
  );

  it('says of every route what it is for and what it answers', () => {
    const routes = sectionsOf(document).flatMap((section) => section.routes);
    expect(routes.filter(({ summary, answers }) => summary === '' || answers.length === 0)).toEqual([]);
  });
});

describe('docs/rest.md', () => {
  it('writes schemas as types', () => {
    expect(
      shapeOf({
        type: 'object',
        required: ['a'],
        properties: {
          a: { anyOf: [{ type: 'string' }, { type: 'null' }] },
          b: { type: 'array', items: { $ref: '#/components/schemas/B' }, description: 'All <b>' },
          c: { type: 'integer', default: 1 },
        },
      }),
    ).toBe('{\n  a: string | null;\n  b?: B[];  // All <b>\n  c?: integer;  // default 1\n}');
  });
});

/** `docs/rest.md`, as it should be. */
function restPage(): string {
  const sections = sectionsOf(document).map(({ tag, routes }) => {
    const rows = routes.map(({ method, path, summary, answers }) => {
      const statuses = answers.map(({ status }) => status).join(', ');
      return `| \`${method} ${path}\` | ${summary.replaceAll('|', '\\|')} | ${statuses} |`;
    });
    const bodies = routes.flatMap(({ method, path, body }) =>
      body === null ? [] : [`\`${method} ${path}\` takes\n\n\`\`\`ts\n${body}\n\`\`\`\n`],
    );
    return `## ${tag}\n\n| request | | answers |\n|---|---|---|\n${rows.join('\n')}\n${bodies.map((body) => `\n${body}`).join('')}`;
  });
  const schemas = namedShapes(document).map(
    ({ name, shape, description }) =>
      `### ${name}\n\n${description ? `${description}\n\n` : ''}\`\`\`ts\n${shape}\n\`\`\`\n`,
  );
  return `# REST

Made from the schemas by which the API checks requests; \`UPDATE=1 npm test -- test/integration/openapi.test.ts\`
writes it anew. The API itself serves the same as [OpenAPI 3.1](http://127.0.0.1:8779/openapi.json). \`/v1\` is \`/v1.0\`, and \`cluster\` is \`clusters\`: two names of one place.

Every error has one form, \`{"itemNotFound": {"code": 404, "message": "…", "error": "cluster_not_found"}}\`: the key is
Trove's, \`error\` a stable code ([troubleshooting.md](troubleshooting.md) has all of them). A token is sent as
\`X-Auth-Token\`. A POST or PATCH with an \`Idempotency-Key\` may be sent again. Every answer has an
\`X-Openstack-Request-Id\`, by which logs can be searched.

${sections.join('\n')}
## Schemas

${schemas.join('\n')}`;
}

it('docs/rest.md says the same', () => {
  const path = join(ROOT, 'docs/rest.md');
  if (process.env['UPDATE']) writeFileSync(path, restPage());
  expect(
    readFileSync(path, 'utf8') === restPage(),
    'UPDATE=1 npm test -- test/integration/openapi.test.ts',
  ).toBe(true);
});
