/** The policy of an upgrade as the user types it into a form, and in the form that the API takes. Pure. */
import type { BatchDocument, PolicyRequest } from '../../client/index.ts';
import {
  BATCH_POLICY,
  OVERRIDABLE_GATES,
  POLICY,
  type PolicyField,
  WINDOW_PARTS,
} from '../../src/core/policy.ts';
import {
  type GivenPolicy,
  misfitOf,
  POLICY_INPUTS,
  type PolicyInput,
  type PolicyInputName,
  policyFrom,
  typedValue,
} from '../../src/core/policy-inputs.ts';
import { capitalised, duration, fullTime, instant } from '../format.ts';

type TextInputName = Exclude<PolicyInputName, 'overrides'>;
/**
 * The fields are texts as the user types them: a number may be half written. A time is in the format of the browser's
 * field, in the user's zone: `2026-11-25T03:00`; empty: at once. An empty `window`: at any time.
 */
export type PolicyDraft = Readonly<Record<TextInputName, string>> & {
  /** Reasons for gates that are to be skipped, keyed by gate. */
  readonly overrides: Readonly<Record<string, string>>;
};

/** The inputs with a text, which the form asks for; overrides are asked for beside the gates of a plan. */
export const TEXT_INPUTS = POLICY_INPUTS.filter(
  (input): input is PolicyInput & { readonly name: TextInputName } => input.name !== 'overrides',
);

/** The API's defaults. */
export const DEFAULT_DRAFT = draftOf({});

/** The defaults in a batch. */
export const BATCH_DRAFT = draftOf(BATCH_POLICY);

function draftOf(defaults: Readonly<Partial<Record<TextInputName, unknown>>>): PolicyDraft {
  const texts = TEXT_INPUTS.map((input) => [input.name, String(defaults[input.name] ?? input.default ?? '')]);
  return { ...(Object.fromEntries(texts) as Readonly<Record<TextInputName, string>>), overrides: {} };
}

export type PolicyProblems = Readonly<Partial<Record<TextInputName, string>>>;

/** The problems that keep a draft from being sent; the API checks the rest. */
export function problemsOf(draft: PolicyDraft): PolicyProblems {
  const problems = TEXT_INPUTS.flatMap((input) => {
    const text = draft[input.name];
    const misfit =
      !isAsked(input, draft) || text === DEFAULT_DRAFT[input.name] ? null : misfitOf(input, text);
    return misfit === null ? [] : [[input.name, `${capitalised(misfit)}.`]];
  });
  return Object.fromEntries(problems);
}

/** The length and the time zone of a window are asked for only where there is a window. */
export function isAsked(input: PolicyInput, draft: PolicyDraft): boolean {
  return draft.window !== '' || !('input' in input) || input.name === 'window';
}

/**
 * Expects a draft without problems. Values equal to `byItself`, the API's defaults in this place, are left
 * out.
 */
export function policyOf(draft: PolicyDraft, byItself: PolicyDraft): PolicyRequest {
  const given = TEXT_INPUTS.filter(({ name }) => draft[name] !== byItself[name]).map((input) => {
    const text = draft[input.name].trim();
    return [input.name, input.kind === 'time' ? new Date(text).toISOString() : typedValue(input, text)];
  });
  const overrides = OVERRIDABLE_GATES.flatMap((gate) => {
    const reason = draft.overrides[gate]?.trim() ?? '';
    return reason === '' ? [] : [{ gate, reason }];
  });
  return {
    ...policyFrom(Object.fromEntries(given) as GivenPolicy),
    ...(overrides.length > 0 && { overrides }),
  };
}

/** A policy in words; it leaves out most values that equal the API's defaults. */
export function policyTexts(policy: PolicyRequest | BatchDocument['policy']): readonly string[] {
  return POLICY.flatMap((field) => {
    const value = policy[field.name] ?? field.default;
    if (value === field.default && !field.is_always_told) return [];
    return wordsFor(field, value).map((words) => field.phrase.replace('{}', words));
  });
}

function wordsFor(field: PolicyField, value: PolicyRequest[keyof PolicyRequest] | null): readonly string[] {
  if (value === null || value === undefined) return [];
  if (field.kind === 'seconds') return [duration(Number(value) * 1000)];
  if (typeof value === 'number') return [String(value)];
  if (typeof value === 'string') {
    if (field.kind === 'choice') return [field.choices[value]?.phrase ?? value];
    return [field.kind === 'time' ? fullTime(instant(value)) : value];
  }
  if ('cron' in value) {
    const { cron, duration_seconds, time_zone = WINDOW_PARTS.time_zone.default } = value;
    return [`${cron} of ${duration(duration_seconds * 1000)}, ${time_zone}`];
  }
  return value.map(({ gate, reason }) => `${gate} skipped: ${reason}`);
}
