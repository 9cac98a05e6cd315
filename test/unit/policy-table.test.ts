/**
 * Each field of the policy's table is in every place where people and programs give a policy, or are told one.
 * `test/integration/openapi.test.ts` looks for the fields in OpenAPI, and `test/dashboard/session.test.ts` in the page.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import { DEFAULT_DRAFT, isAsked, policyTexts, TEXT_INPUTS } from '../../dashboard/upgrades/policy.ts';
import { PolicyDocument, PolicyRequest } from '../../src/contract/policy.ts';
import {
  DEFAULT_POLICY,
  type Override,
  POLICY,
  type Policy,
  type PolicyField,
  type PolicyFieldName,
  policyInJson,
  statedPolicy,
  WINDOW_PARTS,
} from '../../src/core/policy.ts';
import { POLICY_INPUTS } from '../../src/core/policy-inputs.ts';
import { coffer } from '../support/cli.ts';
import { ROOT } from '../support/docs.ts';

const names = POLICY.map(({ name }) => name);
const WINDOW = { cron: '0 2 * * 6,0', duration_seconds: 3600, time_zone: 'Europe/Berlin' };

/** Values that are fit for a field, and values that are not, as a request states them. */
function valuesOf(field: PolicyField): {
  readonly fit: readonly unknown[];
  readonly unfit: readonly unknown[];
} {
  switch (field.kind) {
    case 'count':
    case 'seconds':
      return { fit: [field.least, field.most], unfit: [field.least - 1, field.most + 1, 1.5, '1', null] };
    case 'share':
      return {
        fit: [field.least, field.most, '1%', '100%'],
        unfit: [field.most + 1, '0%', '101%', '5', null],
      };
    case 'choice':
      return { fit: Object.keys(field.choices), unfit: ['other', null] };
    case 'time':
      return {
        fit: ['2026-11-23T02:00:00Z', '2026-11-23T02:00:00+01:00'],
        unfit: ['2026-11-23T02:00', 1, null],
      };
    case 'window':
      return {
        fit: [WINDOW],
        unfit: [{ ...WINDOW, cron: '0 2 31 2 *' }, { ...WINDOW, duration_seconds: 59 }, null],
      };
    case 'overrides':
      return {
        fit: [[], [{ gate: 'guests_alive', reason: 'known' }]],
        unfit: [[{ gate: 'one_primary', reason: 'x' }], null],
      };
  }
}

describe.each(POLICY)('$name', ({ name, ...field }) => {
  it('is taken within its limits and refused beyond them, and left out', () => {
    const { fit, unfit } = valuesOf(field);
    const isTaken = (value: unknown) => PolicyRequest.safeParse({ [name]: value }).success;
    expect(fit.filter((value) => !isTaken(value))).toEqual([]);
    expect(unfit.filter(isTaken)).toEqual([]);
    expect(PolicyRequest.parse({})).toEqual({});
  });

  it('has a default that a request may state and a document may show', () => {
    expect(DEFAULT_POLICY[name]).toEqual(field.default);
    const { [name]: shown } = PolicyDocument.parse(policyInJson(DEFAULT_POLICY));
    expect(shown).toEqual(field.default);
    const { [name]: _, ...others } = policyInJson(DEFAULT_POLICY);
    expect(PolicyDocument.safeParse(others).success).toBe(false);
  });

  it.each(['cluster-upgrade', 'instance-upgrade', 'batch-create'])(
    'is an option of coffer %s',
    async (command) => {
      const { stdout } = await coffer(`${command} --help`, { isTTY: true, columns: 1000 });
      const flag = name === 'overrides' ? 'override' : name.replaceAll('_', '-');
      const parts: readonly { readonly meaning: string }[] =
        field.kind === 'window' ? Object.values(WINDOW_PARTS) : [field];
      expect(stdout).toMatch(new RegExp(`^  --${flag} <`, 'm'));
      for (const { meaning } of parts) expect(stdout).toContain(meaning.slice(1, -1));
    },
  );

  it('is asked for by the form, except gates to skip: they are asked for beside the plan', () => {
    const asked = TEXT_INPUTS.filter((input) => isAsked(input, { ...DEFAULT_DRAFT, window: '* * * * *' }));
    expect(asked.some((input) => input.name === name)).toBe(name !== 'overrides');
  });

  it('is told in words when it is not as it is by itself', () => {
    const values = PolicyRequest.parse({ [name]: valuesOf(field).fit.at(-1) });
    const words = policyTexts(policyInJson(values));
    expect(words.length).toBeGreaterThan(0);
    expect(words).not.toEqual(policyTexts({}));
  });
});

describe('the policy', () => {
  it('has exactly these types: the SDK exports them', () => {
    interface Written {
      max_unavailable?: number | `${number}%`;
      canary?: number;
      soak_seconds?: number;
      step_timeout_seconds?: number;
      timeout_seconds?: number;
      retries?: number;
      on_failure?: 'pause' | 'rollback' | 'fail';
      not_before?: string;
      window?: {
        readonly cron: string;
        readonly duration_seconds: number;
        readonly time_zone?: string | undefined;
      };
      overrides?: readonly Override[];
    }
    expectTypeOf<Required<PolicyRequest>['window']>().toExtend<Required<Written>['window']>();
    type Rest = Omit<Pick<PolicyRequest, keyof Written>, 'window'>;
    expectTypeOf<Rest>().toEqualTypeOf<Omit<Written, 'window'>>();
    expectTypeOf<Policy['not_before']>().toEqualTypeOf<number | null>();
    expectTypeOf<z.output<typeof PolicyRequest>>().toExtend<Partial<Policy>>();
    expectTypeOf<PolicyDocument['not_before']>().toEqualTypeOf<string | null>();
  });

  it('comes back whole from the request that states it', () => {
    const policy: Policy = { ...DEFAULT_POLICY, not_before: 1_795_400_000_000, window: WINDOW };
    expect(PolicyRequest.parse(statedPolicy(policy))).toEqual(policy);
    expect({ ...PolicyRequest.parse(statedPolicy(DEFAULT_POLICY)), not_before: null, window: null }).toEqual(
      DEFAULT_POLICY,
    );
  });

  it('has no field twice, and each text that a person may type has one name', () => {
    expect(new Set(POLICY_INPUTS.map(({ name }) => name)).size).toBe(names.length + 2);
  });
});

/** The table in `docs/upgrades.md`, as it should be. */
function docsTable(): string {
  const limits = (field: { readonly least?: number; readonly most?: number; readonly kind: string }) =>
    field.least === undefined
      ? ''
      : `${field.least} to ${field.most}${field.kind === 'share' ? ', or 1% to 100%' : ''}`;
  const row = (
    name: PolicyFieldName | string,
    field: PolicyField | (typeof WINDOW_PARTS)[keyof typeof WINDOW_PARTS],
  ) => {
    const byItself = field.default === null || `${field.default}` === '' ? '' : `\`${field.default}\``;
    const values =
      field.kind === 'choice'
        ? Object.keys(field.choices)
            .map((each) => `\`${each}\``)
            .join(', ')
        : limits(field);
    return `| \`${name}\` | ${byItself} | ${values} | ${field.meaning} |`;
  };
  const rows = POLICY.flatMap(({ name, ...field }) => [
    row(name, field),
    ...(field.kind === 'window'
      ? Object.entries(WINDOW_PARTS).map(([part, inner]) => row(`window.${part}`, inner))
      : []),
  ]);
  return ['| field | default | values | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

it('docs/upgrades.md has the table', () => {
  const path = join(ROOT, 'docs/upgrades.md');
  const page = readFileSync(path, 'utf8');
  const wanted = page.replace(/^\| field \| default \|.*\n(?:\|.*\n)*/m, `${docsTable()}\n`);
  if (process.env['UPDATE']) writeFileSync(path, wanted);
  else expect(page, 'UPDATE=1 npm test -- test/unit/policy-table.test.ts').toBe(wanted);
  expect(wanted).toContain(`\n\n${docsTable()}\n\n`);
});
