/** `docs/guarantees.md` names files, names and tests: all of them must be there. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const text = readFileSync(join(ROOT, 'docs/guarantees.md'), 'utf8');
const PATH = /`((?:api|cli|client|docs|guestagent|scripts|src|taskmanager|test)\/[\w./-]+)`/g;

interface Claim {
  readonly path: string;
  /** Words of the code, and titles of tests, that the file is said to hold. */
  readonly holds: readonly string[];
}

/** One for each line that begins with a path; a title may be any part of the real one. */
function claimsOf(markdown: string): readonly Claim[] {
  return markdown.split('\n').flatMap((line) => {
    const [, path, rest = ''] = /^- `([^`]+)`:(.*)$/.exec(line) ?? [];
    if (path === undefined) return [];
    const names = [...rest.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);
    const titles = [...rest.matchAll(/“([^”]+)”/g)].map(([, title = '']) => title);
    return [{ path, holds: [...names, ...titles] }];
  });
}

const claims = claimsOf(text);

describe('docs/guarantees.md', () => {
  it('has each guarantee, with what keeps it and what shows it', () => {
    const sections = text.split(/^## /m).slice(1);
    const numbers = sections.flatMap((section) => /^G(\d+):/.exec(section)?.[1] ?? []);
    expect(numbers.map(Number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]);
    for (const section of sections.filter((one) => /^G\d/.test(one))) {
      expect(section).toMatch(/Kept by\n\n- `[\s\S]*Shown by\n\n- `/);
    }
  });

  it('has each invariant of the machine', () => {
    const machine = readFileSync(join(ROOT, 'src/core/upgrade/advance.ts'), 'utf8');
    const stated = [...machine.matchAll(/^ \* - (M\d):/gm)].map(([, name]) => name);
    expect([...text.matchAll(/^\| (M\d) \|/gm)].map(([, name]) => name)).toEqual(stated);
  });

  it('names files that are there', () => {
    const paths = [...text.matchAll(PATH)].map(([, path = '']) => path);
    expect(paths.length).toBeGreaterThan(80);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it.each(claims)('names what is in $path', ({ path, holds }) => {
    const source = readFileSync(join(ROOT, path), 'utf8');
    expect(holds.filter((one) => !isIn(source, one))).toEqual([]);
  });
});

/** A name as a whole word; a title as it stands in the source, whatever quotes are escaped there. */
function isIn(source: string, wanted: string): boolean {
  if (/^\w+$/.test(wanted)) return new RegExp(`\\b${wanted}\\b`).test(source);
  return source.replaceAll("\\'", "'").includes(wanted);
}
