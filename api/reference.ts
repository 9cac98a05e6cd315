/**
 * The OpenAPI document as a page that people read, at `/reference`: made on the server, without a script, a font
 * or a request to anybody. `docs/rest.md` is made of the same sections.
 */
import { createHash } from 'node:crypto';
import type { App } from './deps.ts';

/** As much of an OpenAPI document as is shown. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly description?: string };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
}

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: boolean | Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly default?: unknown;
}

interface Operation {
  readonly tags?: readonly string[];
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content?: Content };
  readonly responses?: Readonly<Record<string, { readonly content?: Content }>>;
}
type Content = Readonly<Record<string, { readonly schema?: Schema }>>;

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
}

export interface Route {
  readonly method: string;
  readonly path: string;
  readonly summary: string;
  readonly description: string | null;
  readonly parameters: readonly Parameter[];
  /** Shapes in the manner of TypeScript. */
  readonly body: string | null;
  readonly answers: readonly { readonly status: string; readonly shape: string }[];
}

export interface Section {
  readonly tag: string;
  readonly routes: readonly Route[];
}

const METHODS: readonly string[] = ['get', 'post', 'put', 'patch', 'delete'];

/** Every operation, under its first tag, in the order of the document. */
export function sectionsOf({ paths = {} }: ApiDocument): readonly Section[] {
  const sections = new Map<string, Route[]>();
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(item)) {
      if (!METHODS.includes(method)) continue;
      const route = routeOf(method, path, operation as Operation);
      const tag = (operation as Operation).tags?.[0] ?? 'other';
      sections.set(tag, [...(sections.get(tag) ?? []), route]);
    }
  }
  return [...sections].map(([tag, routes]) => ({ tag, routes }));
}

function routeOf(method: string, path: string, operation: Operation): Route {
  const { summary = '', description = null, parameters = [], requestBody, responses = {} } = operation;
  const answers = Object.entries(responses)
    .filter(([status]) => status !== 'default')
    .map(([status, { content }]) => ({ status, shape: shapeIn(content) ?? 'nothing' }));
  return {
    ...{ method: method.toUpperCase(), path, summary, description, parameters },
    ...{ body: shapeIn(requestBody?.content), answers },
  };
}

function shapeIn(content: Content | undefined): string | null {
  const [first] = Object.values(content ?? {});
  return first?.schema === undefined ? null : shapeOf(first.schema);
}

/** The named schemas, as shapes. */
export function namedShapes({
  components,
}: ApiDocument): readonly { name: string; shape: string; description: string }[] {
  return Object.entries(components?.schemas ?? {}).map(([name, schema]) => ({
    ...{ name, shape: shapeOf(schema), description: schema.description ?? '' },
  }));
}

/** A schema in the manner of TypeScript: `{ name: string; instances?: Instance[] }`. */
export function shapeOf(schema: Schema, indent = ''): string {
  const { $ref, type, properties, items, anyOf, oneOf, allOf, additionalProperties } = schema;
  if ($ref) return $ref.slice($ref.lastIndexOf('/') + 1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const branches = anyOf ?? oneOf;
  if (branches) return [...new Set(branches.map((branch) => shapeOf(branch, indent)))].join(' | ');
  if (allOf) return allOf.map((branch) => shapeOf(branch, indent)).join(' & ');
  if (properties) return objectShape(schema, indent);
  if (items) return `(${shapeOf(items, indent)})[]`.replace(/^\((\w+)\)/, '$1');
  if (typeof additionalProperties === 'object') return `{ [key]: ${shapeOf(additionalProperties, indent)} }`;
  if (Array.isArray(type)) return type.join(' | ');
  return typeof type === 'string' ? type : 'any';
}

function objectShape({ properties = {}, required = [] }: Schema, indent: string): string {
  const deeper = `${indent}  `;
  const fields = Object.entries(properties).map(([name, schema]) => {
    const mark = required.includes(name) ? '' : '?';
    const note = [
      schema.description,
      schema.default === undefined ? '' : `default ${JSON.stringify(schema.default)}`,
    ];
    const said = note.filter(Boolean).join('; ');
    return `${deeper}${name}${mark}: ${shapeOf(schema, deeper)};${said === '' ? '' : `  // ${said}`}`;
  });
  return fields.length === 0 ? '{}' : `{\n${fields.join('\n')}\n${indent}}`;
}

const STYLE = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1rem}
pre{overflow-x:auto;padding:.75rem;border:1px solid color-mix(in srgb,currentColor 20%,transparent);border-radius:6px;font-size:.85rem}
code{font-family:ui-monospace,monospace}
summary{cursor:pointer;padding:.35rem 0;overflow-wrap:anywhere}
.method{display:inline-block;min-width:4.5rem;font-weight:700}
table{border-collapse:collapse}td{padding:.15rem .75rem .15rem 0;vertical-align:top}
nav a{margin-right:1rem}`;

/** Nothing is run and nothing is loaded; this one style sheet counts. */
const HEADERS = {
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
};

/** `/reference`. */
export function referenceRoutes(app: App): void {
  app.get('/reference', { schema: { hide: true } }, async (_request, reply) => {
    reply.headers(HEADERS).type('text/html; charset=utf-8');
    // The document has more than is shown, and its type says less than it holds.
    return reply.serializer((page: string) => page).send(pageOf(app.swagger() as unknown as ApiDocument));
  });
}

export function pageOf(document: ApiDocument): string {
  const sections = sectionsOf(document);
  const links = [...sections.map(({ tag }) => tag), 'schemas'].map(
    (tag) => `<a href="#${escaped(tag)}">${escaped(tag)}</a>`,
  );
  const bodies = sections.map(
    ({ tag, routes }) => `<h2 id="${escaped(tag)}">${escaped(tag)}</h2>\n${routes.map(routeHtml).join('\n')}`,
  );
  const schemas = namedShapes(document).map(
    ({ name, shape, description }) =>
      `<h3 id="${escaped(name)}">${escaped(name)}</h3><p>${escaped(description)}</p><pre><code>${escaped(shape)}</code></pre>`,
  );
  const { title, description = '' } = document.info;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(title)} REST API</title><style>${STYLE}</style></head>
<body><h1>${escaped(title)} REST API</h1><p>${escaped(description)} For programs: <a href="openapi.json">openapi.json</a>.</p>
<nav aria-label="Sections">${links.join('\n')}</nav>
<main>${bodies.join('\n')}
<h2 id="schemas">schemas</h2>
${schemas.join('\n')}</main></body></html>
`;
}

function routeHtml({ method, path, summary, description, parameters, body, answers }: Route): string {
  const rows = parameters.map(
    (one) =>
      `<tr><td><code>${escaped(one.name)}</code></td><td>${escaped(one.in)}${one.required ? '' : ', optional'}</td><td>${escaped(one.description ?? '')}</td></tr>`,
  );
  const parts = [
    description === null ? '' : `<p>${escaped(description)}</p>`,
    rows.length === 0 ? '' : `<table>${rows.join('')}</table>`,
    body === null ? '' : `<p>Body</p><pre><code>${escaped(body)}</code></pre>`,
    ...answers.map(
      ({ status, shape }) => `<p>${escaped(status)}</p><pre><code>${escaped(shape)}</code></pre>`,
    ),
  ];
  return `<details><summary><span class="method">${method}</span> <code>${escaped(path)}</code> ${escaped(summary)}</summary>${parts.join('')}</details>`;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
