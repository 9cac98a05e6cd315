/** The options that state the policy of an upgrade, made from the table of the policy's fields. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { PolicyRequest } from '../client/index.ts';
import { OVERRIDABLE_GATES, type Override } from '../src/core/policy.ts';
import {
  type GivenPolicy,
  misfitOf,
  POLICY_INPUTS,
  type PolicyInput,
  policyFrom,
  typedValue,
} from '../src/core/policy-inputs.ts';

const PLACEHOLDERS = {
  count: 'n',
  share: 'n',
  seconds: 's',
  choice: 'what',
  time: 'time',
  overrides: 'gate=reason',
} as const;

/** Adds an option for every field of the policy; its help names the value of `defaults`. */
export function withPolicyOptions(
  command: Command,
  defaults: Readonly<Partial<Record<PolicyInput['name'], unknown>>>,
): Command {
  for (const input of POLICY_INPUTS) {
    const option = optionOf(input);
    option.description = descriptionOf(input, defaults[input.name] ?? input.default);
    command.addOption(option);
  }
  return command;
}

/** The policy that the command's options ask for; undefined when they ask for none. */
export function policyOf(command: Command): PolicyRequest | undefined {
  const given = POLICY_INPUTS.map((input): readonly [string, unknown] => [
    input.name,
    command.getOptionValue(optionOf(input).attributeName()),
  ]).filter(([, value]) => value !== undefined);
  return given.length > 0 ? policyFrom(Object.fromEntries(given) as GivenPolicy) : undefined;
}

function optionOf(input: PolicyInput): Option {
  const { name, kind } = input;
  const flag = kind === 'overrides' ? 'override' : name.replaceAll('_', '-');
  const option = new Option(`--${flag} <${kind === 'text' ? input.placeholder : PLACEHOLDERS[kind]}>`);
  switch (kind) {
    case 'choice':
      return option.choices(Object.keys(input.choices));
    case 'overrides':
      return option.argParser(overridesOf);
    // The API reads these, and says what is wrong with them.
    case 'time':
    case 'text':
      return option;
    default:
      return option.argParser((text) => {
        const misfit = misfitOf(input, text);
        if (misfit !== null) throw new InvalidArgumentError(`It must be ${misfit}.`);
        return typedValue(input, text);
      });
  }
}

function descriptionOf({ kind, meaning, example }: PolicyInput, byDefault: unknown): string {
  const sentence = meaning.charAt(0).toLowerCase() + meaning.slice(1).replace(/\.$/, '');
  const isTold = typeof byDefault === 'number' || (typeof byDefault === 'string' && byDefault !== '');
  const notes = [
    ...(example === undefined ? [] : [`e.g. ${example.includes(' ') ? `"${example}"` : example}`]),
    ...(isTold ? [`default: ${byDefault}`] : []),
    ...(kind === 'overrides' ? ['may be given several times'] : []),
  ];
  return notes.length > 0 ? `${sentence} (${notes.join('; ')})` : sentence;
}

function overridesOf(text: string, earlier: readonly Override[] = []): readonly Override[] {
  const [, name, reason = ''] = /^(\w+)=(.+)$/s.exec(text) ?? [];
  const gate = OVERRIDABLE_GATES.find((each) => each === name);
  if (gate !== undefined) return [...earlier, { gate, reason }];
  throw new InvalidArgumentError(
    `It must be a gate and the reason to skip it. The gates: ${OVERRIDABLE_GATES.join(', ')}.`,
  );
}
