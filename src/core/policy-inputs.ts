/**
 * How a person gives a policy, in a form or on the command line: with a text for each field, and with three texts for
 * a window.
 */
import {
  type Limits,
  PERCENTAGE,
  type Percentage,
  POLICY,
  type PolicyField,
  type PolicyFieldName,
  type StatedPolicy,
  WINDOW_PARTS,
  type WindowPart,
} from './policy.ts';

type WindowInputName = (typeof WINDOW_PARTS)[keyof typeof WINDOW_PARTS]['input'];
export type PolicyInputName = PolicyFieldName | WindowInputName;

export type PolicyInput = (Exclude<PolicyField, { readonly kind: 'window' }> | WindowPart) & {
  readonly name: PolicyInputName;
  readonly asked: PolicyField['asked'];
};

/** In the order of the policy's fields. */
export const POLICY_INPUTS: readonly PolicyInput[] = POLICY.flatMap((field): readonly PolicyInput[] => {
  if (field.kind !== 'window') return [field];
  const { asked } = field;
  return Object.values(WINDOW_PARTS).map((part) => ({ ...part, name: part.input, asked }));
});

/** The values that a person has given: fields as a request states them, and a window by its parts. */
export type GivenPolicy = Omit<StatedPolicy, 'window'> & {
  readonly window?: string;
  readonly window_seconds?: number;
  readonly time_zone?: string;
};

/** Parts of a window that are not given have their defaults; other fields are left to the API. */
export function policyFrom({
  window: cron,
  window_seconds,
  time_zone,
  ...fields
}: GivenPolicy): StatedPolicy {
  if (cron === undefined) return fields;
  const window = {
    cron,
    duration_seconds: window_seconds ?? WINDOW_PARTS.duration_seconds.default,
    time_zone: time_zone ?? WINDOW_PARTS.time_zone.default,
  };
  return { ...fields, window };
}

/** What a text has to be if it is not fit for the input; null if it is fit. */
export function misfitOf(input: PolicyInput, text: string): string | null {
  switch (input.kind) {
    case 'count':
    case 'seconds':
      return isWhole(text, input) ? null : `a whole number from ${input.least} to ${input.most}`;
    case 'share':
      return isShare(text, input)
        ? null
        : `a whole number from ${input.least} to ${input.most}, or a percentage such as 25%`;
    case 'time':
      return Number.isNaN(Date.parse(text)) ? 'a day and a time' : null;
    case 'choice':
    case 'text':
    case 'overrides':
      return null;
  }
}

/** The value that a text stands for if it is fit for an input: numbers are numbers. */
export function typedValue({ kind }: PolicyInput, text: string): number | string {
  if (kind === 'share') return shareOf(text);
  return kind === 'count' || kind === 'seconds' ? Number(text) : text;
}

/** The number or percentage that a text stands for if it is either. */
export function shareOf(text: string): number | Percentage {
  return text.endsWith('%') ? (text as Percentage) : Number(text);
}

export function isShare(text: string, limits: Limits<0 | 1>): boolean {
  return isWhole(text, limits) || PERCENTAGE[limits.least].test(text);
}

export function isWhole(text: string, { least, most }: Limits): boolean {
  return /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most;
}
