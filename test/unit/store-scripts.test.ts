/** The shape of the store: narrow ports, and scripts whose arguments have names. What the scripts do: the conformance suite. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { script } from '../../src/store/script.ts';

const FOLDER = join(import.meta.dirname, '../../src/store');
const MAX_METHODS = 10;
const files = readdirSync(FOLDER).map((name) => ({
  name,
  source: ts.createSourceFile(name, readFileSync(join(FOLDER, name), 'utf8'), ts.ScriptTarget.ES2023, true),
}));

function portsOf(source: ts.SourceFile): readonly (readonly [name: string, methods: number])[] {
  return source.statements
    .filter(ts.isInterfaceDeclaration)
    .filter(({ name }) => name.text.endsWith('Store'))
    .map(({ name, members }) => [name.text, members.filter(ts.isMethodSignature).length]);
}

describe('the ports of the store', () => {
  it(`have at most ${MAX_METHODS} methods each`, () => {
    const ports = files.flatMap(({ source }) => portsOf(source));
    expect(ports.length).toBeGreaterThan(10);
    expect(ports.filter(([, methods]) => methods > MAX_METHODS)).toEqual([]);
  });
});

describe('a script', () => {
  it('reads keys and arguments by name, never by number', () => {
    const numbering = files.filter(
      ({ name, source }) => name !== 'script.ts' && /\b(KEYS|ARGV)\[/.test(source.text),
    );
    expect(numbering.map(({ name }) => name)).toEqual([]);
  });

  it('is given the prefix, its keys, its arguments, the lengths of its lists and their rows', () => {
    const { number_of_keys, flatten } = script('s', {
      keys: { one: ['hash', 'one'], two: ['zset', 'two:<a>:<b>'] },
      args: ['c', 'a'],
      lists: { pairs: ['left', 'right'], ids: ['id'] },
      lua: 'for left in pairs() do end for id in ids() do end',
    });
    const given = { b: 'B', a: 'A', c: 3, ids: ['i', 'j'], pairs: [{ right: true, left: null }] };
    expect(number_of_keys).toBe(3);
    expect(flatten('p', given)).toEqual(['p', 'p:one', 'p:two:A:B', '3', 'A', '1', '2', '', '1', 'i', 'j']);
  });

  it('takes no number that is none, for Redis would find it half-way', () => {
    const { flatten } = script('s', { args: ['at'], lists: { all: ['at'] }, lua: '' });
    expect(() => flatten('p', { at: Number.NaN, all: [] })).toThrow('s was given NaN');
    expect(() => flatten('p', { at: 1, all: [Number.POSITIVE_INFINITY] })).toThrow('s was given Infinity');
  });

  it.each(['right, left', 'id', 'left, right, more'])('can not be defined with a loop over %s', (names) => {
    const lists = { both: ['left', 'right'] } as const;
    const lua = `for ${names} in both() do end`;
    expect(() => script('s', { lists, lua })).toThrow(`the columns left, right, and not ${names}`);
  });
});
