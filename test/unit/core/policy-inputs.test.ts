/** What people type for a field of the policy, on the command line and in the dashboard. */
import { describe, expect, it } from 'vitest';
import { misfitOf, POLICY_INPUTS, typedValue } from '../../../src/core/policy-inputs.ts';

describe('a typed text', () => {
  const input = (name: string) => POLICY_INPUTS.find((each) => each.name === name) ?? expect.fail(name);
  it.each([
    ['retries', '20', null, 20],
    ['retries', '21', 'a whole number from 0 to 20', null],
    ['retries', '-1', 'a whole number from 0 to 20', null],
    ['window_seconds', '59', 'a whole number from 60 to 86400', null],
    ['max_unavailable', '100', null, 100],
    ['max_unavailable', '25%', null, '25%'],
    ['max_unavailable', '0', 'a whole number from 1 to 100, or a percentage such as 25%', null],
    ['max_unavailable', '0%', 'a whole number from 1 to 100, or a percentage such as 25%', null],
    ['not_before', 'soon', 'a day and a time', null],
    ['time_zone', 'UTC', null, 'UTC'],
  ])('%s %s', (name, text, misfit, value) => {
    expect(misfitOf(input(name), text)).toBe(misfit);
    if (misfit === null) expect(typedValue(input(name), text)).toBe(value);
  });
});
