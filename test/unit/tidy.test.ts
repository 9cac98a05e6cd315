/**
 * The style guide as a test: which room may import which, that every file is used, that functions fit
 * a screen. The table is the one of the design; a breach fails the build.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const MAX_FUNCTION_LINES = 70;
const MAX_FILE_LINES = 400;

/** Rooms, the most special first: a file belongs to the first that its path begins with. */
const ROOMS = [
  'src/core/errors.ts',
  'src/core/digest.ts',
  'src/core/policy.ts',
  'src/core/policy-inputs.ts',
  'src/core/batch/waves.ts',
  'src/core/adoption-rows.ts',
  'src/core/',
  'src/contract/',
  'src/bus/',
  'src/store/',
  'src/queue.ts',
  'src/',
  'api/',
  'taskmanager/',
  'guestagent/',
  'client/',
  'cli/',
  'dashboard/',
] as const;
type Room = (typeof ROOMS)[number];

/** Tables of which the dashboard makes its forms and its tables: data, and functions that need nothing else. */
const TABLES: readonly Room[] = [
  'src/core/policy.ts',
  'src/core/policy-inputs.ts',
  'src/core/batch/waves.ts',
  'src/core/adoption-rows.ts',
];
/** Of the core, what every room may import. */
const COMMON: readonly Room[] = ['src/core/errors.ts', 'src/core/digest.ts'];
const CORE: readonly Room[] = ['src/core/', ...COMMON, ...TABLES];
/** `src/` alone stands for the basics: config, log, service. */
const BASICS: readonly Room[] = ['src/', ...COMMON];
const SRC: readonly Room[] = [...CORE, 'src/', 'src/contract/', 'src/bus/', 'src/store/', 'src/queue.ts'];

const MAY_IMPORT: Readonly<Record<Room, readonly Room[]>> = {
  'src/core/errors.ts': CORE,
  'src/core/digest.ts': CORE,
  'src/core/policy.ts': CORE,
  'src/core/policy-inputs.ts': TABLES,
  'src/core/batch/waves.ts': CORE,
  'src/core/adoption-rows.ts': CORE,
  'src/core/': CORE,
  'src/contract/': [...CORE, 'src/contract/'],
  'src/bus/': [...BASICS, 'src/bus/', 'src/contract/'],
  'src/store/': [...CORE, ...BASICS, 'src/store/'],
  'src/queue.ts': [...CORE, ...BASICS],
  'src/': BASICS,
  'api/': [...SRC, 'api/'],
  'taskmanager/': [...SRC, 'taskmanager/'],
  'guestagent/': [...CORE, 'src/', 'src/contract/', 'src/bus/', 'guestagent/'],
  'client/': [...CORE, 'src/contract/', 'client/'],
  // Of the last three the doctor alone makes use: it looks at RabbitMQ and Redis themselves.
  'cli/': [...CORE, 'src/contract/', 'client/', 'cli/', 'src/', 'src/bus/', 'src/store/'],
  'dashboard/': ['client/', 'dashboard/', ...TABLES],
};

/** Exports for programs outside this repository: the client's package. */
const PUBLIC = ['client/index.ts'];
/** Where a process or a package begins: nobody imports these. */
const ENTRIES = [
  'api/main.ts',
  'taskmanager/main.ts',
  'taskmanager/rekey.ts',
  'guestagent/main.ts',
  'cli/main.ts',
  'client/index.ts',
  'dashboard/main.tsx',
];
/** From outside, and fit for the core: functions of their arguments (croner: docs/decisions/0018). */
const PURE_PACKAGES = ['croner', 'semver'];
/** A hash follows from its text. All else in that module is random, or waits. */
const PURE_HASH = /^import \{ createHash \} from 'node:crypto';$/m;
/** Modules with a clock, a socket, a disk or a dice: nothing for the core. */
const PURE_BANNED =
  /\b(Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|process\.|async |await |fetch\()/;

const files = ['src', 'api', 'taskmanager', 'guestagent', 'client', 'cli', 'dashboard'].flatMap(sourcesIn);

function sourcesIn(folder: string): string[] {
  return filesIn(folder).filter((file) => /\.tsx?$/.test(file));
}

function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort();
}

function parse(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.ES2023, true);
}

function roomOf(file: string): Room {
  const room = ROOMS.find((each) => file === each || (each.endsWith('/') && file.startsWith(each)));
  if (!room) throw new Error(`${file} is in no room`);
  return room;
}

/** What a file imports: own files by path, others by name. Types count too. */
function importsOf(file: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const from =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)
          ? node.argument.literal
          : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
            ? node.arguments[0]
            : undefined;
    if (from && ts.isStringLiteral(from)) found.push(from.text);
    ts.forEachChild(node, visit);
  };
  visit(parse(file));
  return found.map((name) =>
    name.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(file), name)) : name,
  );
}

function ownImportsOf(file: string): string[] {
  return importsOf(file).filter((name) => files.includes(name));
}

interface LongFunction {
  readonly where: string;
  readonly lines: number;
}

function longFunctionsOf(file: string): LongFunction[] {
  const source = parse(file);
  const found: LongFunction[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
      const lines = source.getLineAndCharacterOfPosition(node.end).line - first + 1;
      if (lines > MAX_FUNCTION_LINES) found.push({ where: `${file}:${first + 1}`, lines });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Every name that other files can import from this one. */
function exportsOf(source: ts.SourceFile): string[] {
  return source.statements.flatMap((statement): string[] => {
    if (ts.isExportDeclaration(statement)) {
      const clause = statement.exportClause;
      return clause && ts.isNamedExports(clause) ? clause.elements.map(({ name }) => name.text) : [];
    }
    const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : [];
    if (!modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) return [];
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.flatMap(({ name }) =>
        ts.isIdentifier(name)
          ? [name.text]
          : name.elements.map((each) => each.getText(source).split(/\W/).at(-1) ?? ''),
      );
    const { name } = statement as ts.FunctionDeclaration;
    return name ? [name.text] : [];
  });
}

/** Every name that this file takes from another, as `file name`; `*` stands for all names of the file. */
function takenBy(file: string, source: ts.SourceFile): string[] {
  const found: string[] = [];
  const take = (from: ts.Node | undefined, names: readonly string[]) => {
    if (!from || !ts.isStringLiteral(from) || !from.text.startsWith('.')) return;
    const target = relative(ROOT, resolve(ROOT, dirname(file), from.text));
    found.push(...names.map((name) => `${target} ${name}`));
  };
  const namesIn = (bindings: ts.NamedImportBindings | ts.NamedExportBindings | undefined) =>
    bindings && (ts.isNamedImports(bindings) || ts.isNamedExports(bindings))
      ? bindings.elements.map(({ name, propertyName }) => (propertyName ?? name).text)
      : ['*'];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) take(node.moduleSpecifier, namesIn(node.importClause?.namedBindings));
    else if (ts.isExportDeclaration(node)) take(node.moduleSpecifier, namesIn(node.exportClause));
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      take(node.arguments[0], ['*']);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      take(node.argument.literal, [node.qualifier?.getText(source) ?? '*']);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

describe('the rooms of the design', () => {
  it('sees the sources', () => {
    expect(files.length).toBeGreaterThan(40);
    expect(ENTRIES.filter((entry) => !files.includes(entry))).toEqual([]);
  });

  it('import only what their table allows', () => {
    const breaches = files.flatMap((file) =>
      ownImportsOf(file)
        .filter((other) => !MAY_IMPORT[roomOf(file)].includes(roomOf(other)))
        .map((other) => `${file} imports ${other}`),
    );
    expect(breaches).toEqual([]);
  });

  it('reach beyond the sources nowhere', () => {
    const outside = files.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.includes('/') && /^(\.\.|test|scripts|dist)\b/.test(name))
        .map((name) => `${file} imports ${name}`),
    );
    expect(outside).toEqual([]);
  });

  it('keep the core pure: no module from outside that is not, no clock, no dice, no await', () => {
    const core = files.filter((file) => file.startsWith('src/core/'));
    const breaches = core.flatMap((file) => {
      const code = parse(file)
        .getFullText()
        .replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const foreign = importsOf(file).filter(
        (name) =>
          !files.includes(name) &&
          !PURE_PACKAGES.includes(name) &&
          !(name === 'node:crypto' && PURE_HASH.test(code)),
      );
      const impure = PURE_BANNED.exec(code)?.[0];
      return [
        ...foreign.map((name) => `${file} imports ${name}`),
        ...(impure ? [`${file} has ${impure}`] : []),
      ];
    });
    expect(breaches).toEqual([]);
  });

  it('have no file that nobody uses', () => {
    const used = new Set(files.flatMap(ownImportsOf));
    expect(files.filter((file) => !used.has(file) && !(ENTRIES as readonly string[]).includes(file))).toEqual(
      [],
    );
  });

  it('export no name that no other file imports', () => {
    const code = [...files, ...['scripts', 'bin', 'findings', 'test'].flatMap(filesIn)].filter((file) =>
      /\.(tsx?|m?js)$/.test(file),
    );
    const sources = new Map(code.map((file) => [file, parse(file)]));
    const taken = new Set([...sources].flatMap(([file, source]) => takenBy(file, source)));
    const judged = [...sources].filter(
      ([file]) => !/^(test|findings|bin)\//.test(file) && !PUBLIC.includes(file),
    );
    const names = judged.flatMap(([file, source]) => exportsOf(source).map((name) => ({ file, name })));
    expect(names.length).toBeGreaterThan(1000);
    const unused = names.filter(({ file, name }) => !taken.has(`${file} ${name}`) && !taken.has(`${file} *`));
    expect(unused.map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
  });

  it('have no import cycle, not even of types', () => {
    const state = new Map<string, 'open' | 'closed'>();
    const cycles: string[] = [];
    /** Loaded at run time, and only where traces are on. */
    const isLoadedLate = (file: string, name: string) => file === 'src/tracing.ts' && name === 'src/otel.ts';
    const walk = (file: string, path: readonly string[]): void => {
      if (state.get(file) === 'closed') return;
      if (state.get(file) === 'open') {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
        return;
      }
      state.set(file, 'open');
      for (const other of ownImportsOf(file).filter((name) => !isLoadedLate(file, name)))
        walk(other, [...path, file]);
      state.set(file, 'closed');
    };
    for (const file of files) walk(file, []);
    expect(cycles).toEqual([]);
  });

  it(`hold no file longer than ${MAX_FILE_LINES} lines`, () => {
    const lengths = files.map((file) => ({ file, lines: parse(file).getLineStarts().length - 1 }));
    expect(lengths.filter(({ lines }) => lines > MAX_FILE_LINES)).toEqual([]);
  });

  it(`hold no function longer than ${MAX_FUNCTION_LINES} lines`, () => {
    expect(files.flatMap(longFunctionsOf)).toEqual([]);
  });
});

/** ioredis sends commands again over a new connection unless told not to, whether Redis has carried them out or not. */
describe('clients of Redis', () => {
  const madeIn = (file: string) =>
    readFileSync(join(ROOT, file), 'utf8').split(/\bnew (?:Redis|Queue|Worker|FlowProducer|QueueEvents)\(/)
      .length - 1;

  it('are made in one place, and by BullMQ in one other', () => {
    expect(files.filter((file) => madeIn(file) > 0)).toEqual(['src/queue.ts', 'src/redis-client.ts']);
  });

  it('of scripts and tests have no second connection, or say that they send nothing again', () => {
    const makers = ['scripts', 'test']
      .flatMap((folder) => filesIn(folder))
      .filter((file) => madeIn(file) > 0);
    const safe = /retryStrategy: \(\) => null|autoResendUnfulfilledCommands: false/g;
    const unsafe = makers.filter((file) => {
      const said = readFileSync(join(ROOT, file), 'utf8').match(safe)?.length ?? 0;
      return said < madeIn(file);
    });
    expect(unsafe).toEqual([]);
  });
});

it('people read numbers with the form of the noun that fits: no "(s)"', () => {
  const folders = [
    'src',
    'api',
    'taskmanager',
    'guestagent',
    'cli',
    'client',
    'dashboard',
    'scripts',
    'bin',
    'docs',
  ];
  const paths = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile() && /\.(tsx?|mjs|md)$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'].map((page) => join(ROOT, page));
  expect(paths.length).toBeGreaterThan(200);
  const found = [...paths, ...pages].flatMap((path) =>
    [...readFileSync(path, 'utf8').matchAll(/.*[a-z]\(s\).*/g)].map(([line]) => `${path}: ${line.trim()}`),
  );
  expect(found).toEqual([]);
});
