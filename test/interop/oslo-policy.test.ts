/**
 * Our rules beside the real oslo.policy and the real Trove: random rules, callers and targets get the
 * same answer from both; Trove's defaults are ours.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { allows, type Credentials, parseRule } from '../../api/access/language.ts';
import { DEFAULT_RULES, TROVE_ONLY } from '../../api/access/rules.ts';
import { describeInterop, runPython } from '../support/python.ts';

/** Answers, for each case, what oslo.policy says; null where it fails. */
const ORACLE = `
import json, logging, sys
from oslo_config import cfg
from oslo_policy import policy
logging.disable(logging.CRITICAL)
answers = []
for case in json.load(sys.stdin):
    enforcer = policy.Enforcer(cfg.ConfigOpts(), use_conf=False, default_rule='nothing')
    try:
        enforcer.set_rules(policy.Rules.from_dict(case['rules'], 'nothing'), use_conf=False)
        answers.append(bool(enforcer.enforce('asked', case['target'], dict(case['credentials']))))
    except Exception:
        answers.append(None)
print(json.dumps(answers))
`;

const TROVES_RULES = `
import json
from trove.common import policies
print(json.dumps({rule.name: rule.check_str for rule in policies.list_rules()}))
`;

interface Case {
  readonly rules: Readonly<Record<string, unknown>>;
  readonly target: Readonly<Record<string, string>>;
  readonly credentials: Credentials;
}

const word = fc.constantFrom(
  'a',
  'b',
  'B',
  'p1',
  'p2',
  'True',
  'None',
  '%(tenant)s',
  'x%(tenant)s',
  '%%',
  '',
);
const check = fc.oneof(
  fc.constantFrom('@', '!', 'rule:other', 'rule:third'),
  word.map((value) => `role:${value}`),
  fc
    .tuple(
      fc.constantFrom(
        'user_id',
        'project_id',
        'is_admin',
        'nothing',
        'domain.id',
        'groups',
        'groups.id',
        "'p1'",
        '"a"',
        'True',
        'None',
        '7',
      ),
      word,
    )
    .map(([kind, value]) => `${kind}:${value}`),
);
/** Well and badly formed alike. */
const loose = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: check },
      { weight: 2, arbitrary: fc.constantFrom('and', 'or', 'not', 'AND', '(', ')', '((', '))') },
    ),
    {
      minLength: 1,
      maxLength: 9,
    },
  )
  .chain((parts) =>
    fc.constantFrom(parts.join(' '), parts.join('  ').replaceAll('( ', '(').replaceAll(' )', ')')),
  );
const { strict } = fc.letrec<{ strict: string }>((self) => ({
  strict: fc.oneof(
    { depthSize: 'small' },
    check,
    self('strict').map((inner) => `not ${inner}`),
    self('strict').map((inner) => `(${inner})`),
    fc
      .tuple(self('strict'), fc.constantFrom('and', 'or', 'Or'), self('strict'))
      .map((parts) => parts.join(' ')),
  ),
}));
const list = fc.array(fc.oneof(check, fc.array(check, { maxLength: 3 })), { maxLength: 3 });
const rule = fc.oneof(
  { weight: 4, arbitrary: strict },
  { weight: 3, arbitrary: loose },
  { weight: 1, arbitrary: list },
);

const value = fc.constantFrom<unknown>('a', 'b', 'p1', 'p2', true, false, null, 7);
const credentials: fc.Arbitrary<Credentials> = fc.record(
  {
    user_id: value,
    project_id: value,
    is_admin: fc.boolean(),
    roles: fc.subarray(['a', 'B', 'p1', 'x', '%']),
    domain: fc.record({ id: value }),
    groups: fc.oneof(fc.array(fc.record({ id: value }), { maxLength: 2 }), fc.subarray(['a', 'b'])),
  },
  { requiredKeys: [] },
);
const cases: fc.Arbitrary<Case> = fc.record({
  rules: fc.record({
    asked: rule,
    other: strict.filter((text) => !text.includes('rule:')),
    third: fc.constantFrom('', '@', '!', [['role:a']]),
  }),
  target: fc.constantFrom({ tenant: 'p1' }, { tenant: 'p2' }, { tenant: 'a' }),
  credentials,
});

/** What we say, or why we refuse to. */
function ours({ rules, target, credentials }: Case): boolean | string {
  try {
    const checks = new Map(Object.entries(rules).map(([name, text]) => [name, parseRule(text)]));
    const asked = checks.get('asked');
    return asked !== undefined && allows(asked, checks, credentials, target);
  } catch (error) {
    return String(error);
  }
}

describeInterop('beside oslo.policy', () => {
  it('thousands of rules mean the same; what we refuse to read lets nobody in there either', async () => {
    const sample = fc.sample(cases, { numRuns: 5000, seed: 20_261_124 });
    const { code, stdout, stderr } = await runPython(ORACLE, { input: JSON.stringify(sample) });
    expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
    const theirs = JSON.parse(stdout) as (boolean | null)[];
    const differing = sample.flatMap((each, index) => {
      const [our, their] = [ours(each), theirs[index] ?? null];
      // It fails where a credential has no inside to look into: no answer to compare.
      if (their === null) return [];
      if (typeof our === 'boolean' ? our === their : their === false) return [];
      return [{ ...each, our, their }];
    });
    expect(differing.slice(0, 5)).toEqual([]);
    const granted = theirs.filter((answer) => answer === true).length;
    const refused = sample.filter((each) => typeof ours(each) === 'string').length;
    // The sample is worth something: plenty of each kind.
    expect(Math.min(granted, theirs.length - granted, refused)).toBeGreaterThan(500);
  });

  it("Trove's rules are ours with Trove's defaults, and we know which of them we have no use for", async () => {
    const { stdout } = await runPython(TROVES_RULES);
    const theirs = JSON.parse(stdout) as Record<string, string>;
    const own: Readonly<Record<string, string>> = DEFAULT_RULES;
    const unknown = Object.keys(theirs).filter((name) => !(name in own) && !TROVE_ONLY.has(name));
    expect(unknown).toEqual([]);
    expect([...TROVE_ONLY].filter((name) => !(name in theirs) || name in own)).toEqual([]);
    const shared = Object.keys(theirs).filter((name) => name in own);
    expect(Object.fromEntries(shared.map((name) => [name, own[name]]))).toEqual(
      Object.fromEntries(shared.map((name) => [name, theirs[name]])),
    );
  });
});
