/**
 * The rule language. That it means what it means in oslo.policy is compared with the real one in
 * test/interop/oslo-policy.test.ts; here is what we refuse and oslo.policy does not, and laws that hold
 * for any rule.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allows, type Check, type Credentials, parseRule, RuleError } from '../../../api/access/language.ts';

const ALICE: Credentials = { user_id: 'alice', project_id: 'p1', roles: ['Member', 'dba'], is_admin: false };

function may(rule: unknown, credentials = ALICE, rules: Readonly<Record<string, unknown>> = {}): boolean {
  const named = new Map(Object.entries(rules).map(([name, text]) => [name, parseRule(text)]));
  return allows(parseRule(rule), named, credentials, { tenant: 'p1', project_id: 'p1' });
}

describe('a rule', () => {
  it.each([
    ['', true],
    ['@', true],
    ['!', false],
    ['role:member', true],
    ['role:DBA', true],
    ['role:admin', false],
    ['project_id:%(tenant)s', true],
    ['project_id:%(project_id)s', true],
    ['project_id:p2', false],
    ['is_admin:False', true],
    ['is_admin:True', false],
    ['user_id:alice', true],
    ['no_such:alice', false],
    ["'p1':%(tenant)s", true],
    ['True:True', true],
    ['user_id:100%%', false],
    ['role:admin or role:dba and role:member', true],
    ['(role:dba or role:member) and role:admin', false],
    ['role:dba or role:member and role:admin', true],
    ['not role:admin and role:dba', true],
    ['not (role:admin or role:dba)', false],
    ['NOT NOT role:dba', true],
    ['((role:dba))', true],
    [[], true],
    [[[]], false],
    [['role:admin', 'role:dba'], true],
    [[['role:admin', 'role:dba']], false],
    [[['role:member', 'role:dba'], 'role:admin'], true],
  ])('%j is %j for a member', (rule, expected) => {
    expect(may(rule)).toBe(expected);
  });

  it('is looked up by name, and an unknown one is a no', () => {
    expect(may('rule:dba', ALICE, { dba: 'role:dba' })).toBe(true);
    expect(may('rule:dba', ALICE)).toBe(false);
  });

  it('looks inside credentials, and one element of a list is enough', () => {
    const nested = { user: { domain: { id: 'd1' } }, groups: [{ id: 'g1' }, { id: 'g2' }] };
    expect(may('user.domain.id:d1', nested)).toBe(true);
    expect(may('groups.id:g2', nested)).toBe(true);
    expect(may('groups.id:g3', nested)).toBe(false);
    expect(may('user.domain.id.more:d1', nested)).toBe(false);
  });

  it('finds nothing that the credentials only inherit', () => {
    expect(may('constructor.name:Object')).toBe(false);
    expect(may('__proto__.x:1')).toBe(false);
  });

  it.each([
    [null, /empty/],
    [undefined, /empty/],
    [7, /must be text/],
    [{ role: 'admin' }, /must be text/],
    ['   ', /blank/],
    ['admin', /'admin' is no check: write e\.g\. role:admin/],
    ['role:a role:b', /a check is out of place/],
    ['role:a and', /ends too early/],
    ['and role:a', /'and' is out of place/],
    ['not', /ends too early/],
    ['(role:a', /'\)' is missing/],
    ['role:a)', /'\)' is out of place/],
    ['()', /'\)' is out of place/],
    ["'role:a'", /is neither a credential nor a constant/],
    ['project_id:%(tennant)s', /'%\(tennant\)s' is not known: there are %\(tenant\)s/],
    ['project_id:%(tenant)d', /holds '%\('/],
    ['role:50%', /holds '%'/],
    ['http://example.org/check', /would ask another server/],
    ['1a:x', /neither a credential nor a constant/],
    [[['role:a', 7]], /must be a list of checks/],
    ['('.repeat(200), /nested more than 50 deep/],
    ['not '.repeat(200), /nested more than 50 deep/],
    ['role:a or '.repeat(600), /more than 1000 words/],
  ])('is refused when it is %j', (rule, message) => {
    expect(() => parseRule(rule)).toThrow(RuleError);
    expect(() => parseRule(rule)).toThrow(message);
  });
});

const ROLES = ['a', 'b', 'c', 'd'] as const;

const { tree } = fc.letrec<{ tree: Check }>((self) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(...ROLES).map((role): Check => ({ is: 'role', role })),
    self('tree').map((check): Check => ({ is: 'not', check })),
    fc
      .tuple(
        fc.constantFrom('all' as const, 'any' as const),
        fc.array(self('tree'), { minLength: 2, maxLength: 4 }),
      )
      .map(([is, checks]): Check => ({ is, checks })),
  ),
}));
const credentials = fc.subarray([...ROLES]).map((roles): Credentials => ({ roles }));

/** The check as text, with no more parentheses than it needs. */
function written(check: Check): string {
  const inner = (part: Check) =>
    part.is === 'any' || part.is === 'all' ? `(${written(part)})` : written(part);
  switch (check.is) {
    case 'role':
      return `role:${check.role}`;
    case 'not':
      return `not ${inner(check.check)}`;
    case 'all':
      return check.checks.map(inner).join(' and ');
    case 'any':
      return check.checks.map((part) => (part.is === 'all' ? written(part) : inner(part))).join(' or ');
    default:
      throw new Error(`not made here: ${check.is}`);
  }
}

function holds(check: Check, who: Credentials): boolean {
  return allows(check, new Map(), who, {});
}

describe('any rule', () => {
  it('means what its tree means', () => {
    fc.assert(
      fc.property(tree, credentials, (check, who) => {
        expect(holds(parseRule(written(check)), who)).toBe(holds(check, who));
      }),
    );
  });

  it('holds for exactly those for whom its negation does not', () => {
    fc.assert(
      fc.property(tree, credentials, (check, who) => {
        expect(holds(parseRule(`not (${written(check)})`), who)).toBe(!holds(check, who));
      }),
    );
  });

  it('is read or refused, whatever it is, and what is read can be asked', () => {
    const word = fc.constantFrom(
      'role:a',
      'rule:b',
      'and',
      'or',
      'not',
      '(',
      ')',
      '@',
      '!',
      'x',
      "'a':%(tenant)s",
      '%',
    );
    const rule = fc.oneof(
      fc.array(word).map((words) => words.join(' ')),
      fc.string(),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(rule, (text) => {
        let check: Check;
        try {
          check = parseRule(text);
        } catch (error) {
          expect(error).toBeInstanceOf(RuleError);
          return;
        }
        expect(allows(check, new Map(), { roles: ['a'] }, { tenant: 'a' })).toBeTypeOf('boolean');
      }),
      { numRuns: 1000 },
    );
  });
});
