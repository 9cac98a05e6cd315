/** The OpenAPI document, in sections and in shapes that people read: `docs/rest.md` is made of them. */

/** As much of an OpenAPI document as is shown. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly description?: string };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
}

interface Schema {
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

interface Route {
  readonly method: string;
  readonly path: string;
  readonly summary: string;
  readonly description: string | null;
  readonly parameters: readonly Parameter[];
  /** Shapes in the manner of TypeScript. */
  readonly body: string | null;
  readonly answers: readonly { readonly status: string; readonly shape: string }[];
}

interface Section {
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

/** The named schemas, as shapes, by their names: the order in which modules are loaded is no order for readers. */
export function namedShapes({
  components,
}: ApiDocument): readonly { name: string; shape: string; description: string }[] {
  return Object.entries(components?.schemas ?? {})
    .map(([name, schema]) => ({
      ...{ name, shape: shapeOf(schema), description: schema.description ?? '' },
    }))
    .sort((a, b) => a.name.localeCompare(b.name, 'en'));
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
    const said = note.filter(Boolean).join('; ').replace('.; ', '; ');
    return `${deeper}${name}${mark}: ${shapeOf(schema, deeper)};${said === '' ? '' : `  // ${said}`}`;
  });
  return fields.length === 0 ? '{}' : `{\n${fields.join('\n')}\n${indent}}`;
}
