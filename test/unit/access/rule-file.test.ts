/** A policy file as operators write it: what it may hold, and what stops the start, with the line. */
import { describe, expect, it } from 'vitest';
import { overrideRules } from '../../../api/access/rule-file.ts';
import { accessRules } from '../../../api/access/rules.ts';

const MEMBER = { user_id: 'ann', project_id: 'p1', roles: ['member'] };

function problems(text: string): readonly string[] {
  return overrideRules(text).problems;
}

describe('a policy file', () => {
  it('overrides the rules that it names, and leaves the others', () => {
    const file = [
      '# Who may start and stop.',
      'dba: role:dba or rule:admin',
      '"cluster:create": "rule:dba"',
      "cluster:index: '@'",
    ].join('\n');
    const { rules, problems } = overrideRules(file);
    expect(problems).toEqual([]);
    const access = accessRules(() => rules);
    expect(access.allow('cluster:create', MEMBER, 'p1')).toBe(false);
    expect(access.allow('cluster:create', { ...MEMBER, roles: ['DBA'] }, 'p1')).toBe(true);
    expect(access.allow('cluster:index', MEMBER, 'p2')).toBe(true);
    expect(access.allow('cluster:show', MEMBER, 'p1')).toBe(true);
    expect(access.allow('cluster:show', MEMBER, 'p2')).toBe(false);
    expect(access.allow('cluster:reset-status', MEMBER, 'p1')).toBe(false);
  });

  it("may be JSON, empty, or Trove's own with rules for what Coffer doesn't do", () => {
    expect(
      problems('{"cluster:create": "rule:admin", "cluster:index": [["role:member"], ["role:admin"]]}'),
    ).toEqual([]);
    expect(problems('')).toEqual([]);
    expect(problems('# nothing\n')).toEqual([]);
    expect(problems('backup:create: rule:admin\ninstance:extension:user:create: "!"')).toEqual([]);
  });

  it.each([
    ['clutser:create: rule:admin', ['line 1: clutser:create: there is no such rule']],
    [
      'a: "@"\ncluster:create: rule:operators',
      ['line 2: cluster:create: it refers to rule:operators, which there is not'],
    ],
    [
      'a: rule:b\nb: rule:a',
      [
        'line 1: a: it refers to itself, over others or directly',
        'line 2: b: it refers to itself, over others or directly',
      ],
    ],
    ['admin: rule:admin_or_owner', ['line 1: admin: it refers to itself, over others or directly']],
    [
      'cluster:create:',
      ["line 1: cluster:create: it is empty. Write '@' if everybody may, '!' if nobody may"],
    ],
    [
      '\n\ncluster:create: admin',
      ["line 3: cluster:create: 'admin' is no check: write e.g. role:admin or rule:admin"],
    ],
    ['cluster:create: role:a or', ['line 1: cluster:create: it ends too early: a check is missing']],
    ['cluster:create: {role: admin}', ['line 1: cluster:create: it must be text, not object']],
    ['cluster:create: true', ['line 1: cluster:create: it must be text, not boolean']],
    ['- cluster:create', ['line 1: the file must hold rules as `name: rule`']],
    ['just text', ['line 1: the file must hold rules as `name: rule`']],
  ])('with %j is refused', (text, expected) => {
    expect(problems(text)).toEqual(expected);
  });

  it.each([
    ['cluster:create: "role:a', /^line 1: /],
    ['cluster:create: "!"\ncluster:create: "@"', /^line 2: .*unique/],
    ['a: *nowhere', /^line 1: /],
    [`a: ${'x'.repeat(300_000)}`, /larger than/],
  ])('that YAML can not read, such as %.60j, is refused', (text, message) => {
    expect(problems(text)[0]).toMatch(message);
  });

  it('tells every problem at once', () => {
    expect(problems('cluster:create: admin\nfoo:bar: "@"\ncluster:show: (')).toHaveLength(3);
  });
});
