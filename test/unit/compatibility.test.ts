/** docs/trove-compatibility.md says nothing that no test runs. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');

interface Row {
  readonly what: string;
  readonly state: string;
  /** `path`: title */
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

/** The titles of tests and suites, as they are written. */
function titlesIn(file: string): ReadonlySet<string> {
  const titles = new Set<string>();
  const visit = (node: ts.Node): void => {
    const title = ts.isCallExpression(node) ? node.arguments[0] : undefined;
    if (title && ts.isStringLiteralLike(title)) titles.add(title.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.ES2023));
  return titles;
}

/** What is wrong with a row, in words; nothing for a good one. */
function problemsOf({ what, state, test, how }: Row): string[] {
  if (state === 'absent') return how === '' ? [`${what}: does not say why it is absent`] : [];
  if (state !== 'works' && state !== 'differs') return [`${what}: is neither works, differs nor absent`];
  if (state === 'differs' && how === '') return [`${what}: does not say how it differs`];
  const [, file = '', title = ''] = /^`(test\/[^`]+)`: (.+)$/.exec(test) ?? [];
  if (!existsSync(join(ROOT, file)) || file === '') return [`${what}: names no test`];
  return titlesIn(file).has(title) ? [] : [`${what}: ${file} has no test '${title}'`];
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
      test: '`test/unit/compatibility.test.ts`: would be found out',
      how: '',
    };
    expect(problemsOf(good)).toEqual([]);
    for (const change of [
      { test: '`test/unit/compatibility.test.ts`: is nowhere' },
      { test: '`test/unit/nowhere.test.ts`: x' },
      { test: '' },
      { state: 'absent' },
      { state: 'differs' },
      { state: 'perhaps' },
    ])
      expect(problemsOf({ ...good, ...change }), JSON.stringify(change)).toHaveLength(1);
  });
});
