/** docs/trove-compatibility.md says nothing that no test runs. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');

interface Row {
  readonly what: string;
  readonly state: string;
  /** `path`: title; several with a dot between them */
  readonly test: string;
  readonly how: string;
}

function rowsOf(page: string): readonly Row[] {
  return page
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| | '))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
    .filter(([, state]) => state !== '')
    .map(([what = '', state = '', test = '', how = '']) => ({ what, state, test, how }));
}

const parsed = new Map<string, ReadonlyMap<string, string>>();

/** The tests and suites of a file as they are written, by their titles. */
function testsIn(file: string): ReadonlyMap<string, string> {
  const known = parsed.get(file);
  if (known) return known;
  const tests = new Map<string, string>();
  parsed.set(file, tests);
  const visit = (node: ts.Node): void => {
    const title = ts.isCallExpression(node) ? node.arguments[0] : undefined;
    if (title && ts.isStringLiteralLike(title) && isFunction(node)) tests.set(title.text, node.getText());
    ts.forEachChild(node, visit);
  };
  const text = readFileSync(join(ROOT, file), 'utf8');
  visit(ts.createSourceFile(file, text, { languageVersion: ts.ScriptTarget.ES2023 }, true));
  return tests;
}

/** Of a test, a suite or one of many rows: its last argument, or last but a time, is what it does. */
function isFunction(call: ts.Node): boolean {
  return ts.isCallExpression(call) && call.arguments.some((argument) => ts.isArrowFunction(argument));
}

/** What a test has to name that runs this row: a command, a function of the client, a method. Null for what has no name. */
function nameOf(what: string): string | null {
  if (/^(database|datastore) /.test(what)) return what;
  if (/^[a-z_]+\.[a-z_]+$/.test(what)) return `client.${what}(`;
  return /^[\w’ ]+: ([a-z_]+)$/.exec(what)?.[1] ?? null;
}

/** What is wrong with a row, in words; nothing for a good one. */
function problemsOf({ what, state, test, how }: Row): string[] {
  if (state === 'absent') {
    return /^.+\. Instead: .+\.$/.test(how)
      ? []
      : [`${what}: does not say why it is absent, and what to do instead`];
  }
  if (state !== 'works' && state !== 'differs') return [`${what}: is neither works, differs nor absent`];
  if (state === 'differs' && how === '') return [`${what}: does not say how it differs`];
  const bodies: string[] = [];
  for (const one of test.split(' · ')) {
    const [, file = '', title = ''] = /^`(test\/[^`]+)`: (.+)$/.exec(one) ?? [];
    if (!existsSync(join(ROOT, file)) || file === '') return [`${what}: names no test`];
    const body = testsIn(file).get(title);
    if (body === undefined) return [`${what}: ${file} has no test '${title}'`];
    bodies.push(body.slice(body.indexOf(title) + title.length));
  }
  const name = nameOf(what);
  return name === null || bodies.some((body) => body.includes(name))
    ? []
    : [`${what}: no test of it has '${name}'`];
}

describe('docs/trove-compatibility.md', () => {
  const rows = rowsOf(readFileSync(join(ROOT, 'docs/trove-compatibility.md'), 'utf8'));

  it('marks nothing as working that no test runs, and gives reasons for the rest', () => {
    expect(rows.length).toBeGreaterThan(80);
    expect(rows.flatMap(problemsOf)).toEqual([]);
  });

  it('names everything once', () => {
    const names = rows.map(({ what }) => what);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  it('would be found out', () => {
    const good = {
      what: 'x',
      state: 'works',
      test: '`test/unit/compatibility.test.ts`: names everything once',
      how: '',
    };
    expect(problemsOf(good)).toEqual([]);
    expect(problemsOf({ ...good, state: 'absent', how: 'We have none. Instead: another.' })).toEqual([]);
    for (const change of [
      { test: '`test/unit/compatibility.test.ts`: is nowhere' },
      { test: '`test/unit/nowhere.test.ts`: x' },
      { test: '' },
      { state: 'absent' },
      { state: 'absent', how: 'We have none.' },
      { state: 'absent', how: 'Instead: another.' },
      { test: `${good.test} · \`test/unit/nowhere.test.ts\`: x` },
      { what: 'database cluster jump' },
      { what: 'clusters.jump' },
      { what: 'taskmanager: jump_over' },
      { state: 'differs' },
      { state: 'perhaps' },
    ])
      expect(problemsOf({ ...good, ...change }), JSON.stringify(change)).toHaveLength(1);
  });
});
