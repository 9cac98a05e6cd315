/**
 * The policy of an upgrade: how the upgrade may do its work. A request states it, with every field optional; it is
 * stored with the upgrade, and returned with it.
 *
 * `POLICY_FIELDS` is the one list of the fields. From it follow the types and defaults below, the schemas of HTTP and
 * RPC and the OpenAPI document (`src/contract/policy.ts`), the options of the command line (`cli/policy.ts`), the
 * dashboard's form (`dashboard/upgrades/policy.ts`), and the table in `docs/upgrades.md`. A new field needs an entry
 * in the list, and code that obeys the field. A new kind of field also needs a type (`Kinds`), a schema, and a
 * reader of typed text (`policy-inputs.ts`): the compiler names these places.
 */
import type { Instant } from './domain.ts';
import type { Window } from './window.ts';
import { iso } from './words.ts';

export const DAY_SECONDS = 86_400;

interface Described {
  /** Names the field in a form; without its unit. */
  readonly label: string;
  /** A sentence for people who choose a value, whichever way they state the policy. */
  readonly meaning: string;
  /** A value to show beside the meaning, as a person types it. */
  readonly example?: string;
}

export interface Limits<Least = number> {
  readonly least: Least;
  readonly most: number;
}

interface Choice {
  readonly label: string;
  readonly meaning: string;
  /** The choice in a list of what a policy says. */
  readonly phrase: string;
}

/** How people give a field, and how they are told its value. */
interface Asked extends Described {
  /** Where the dashboard asks for it: at once, among further settings, or beside the gates of a plan. */
  readonly asked: 'at_once' | 'further' | 'beside_gates';
  /** The form offers this value with a check box, and only then asks for another one. */
  readonly offer?: { readonly value: string; readonly label: string; readonly meaning: string };
  /** The value in a list of what a policy says; `{}` stands for the value. Choices have phrases of their own. */
  readonly phrase: string;
  /** True if that list has the field also where its value is the default. */
  readonly is_always_told?: true;
}

export type PolicyField = Asked &
  (
    | ({ readonly kind: 'count' | 'seconds'; readonly default: number } & Limits)
    /** A number of instances, or a percentage of them. */
    | { readonly kind: 'share'; readonly least: 1; readonly most: number; readonly default: number }
    | {
        readonly kind: 'choice';
        readonly default: string;
        readonly choices: Readonly<Record<string, Choice>>;
      }
    | { readonly kind: 'time'; readonly default: null }
    | { readonly kind: 'window'; readonly default: null }
    | { readonly kind: 'overrides'; readonly default: readonly [] }
  );

/** Durations are in seconds, because people type them. */
export const POLICY_FIELDS = {
  max_unavailable: {
    ...{ kind: 'share', least: 1, most: 100, default: 1 },
    label: 'Out of service at once',
    meaning: 'Instances that may be out of service at once: a number or a percentage.',
    example: '25%',
    ...{ asked: 'further', phrase: 'at most {} out of service at once', is_always_told: true },
  },
  canary: {
    ...{ kind: 'count', least: 0, most: 100, default: 0 },
    label: 'Instances before the approval',
    meaning: 'After this many instances, wait for an approval; 0: never.',
    ...{ asked: 'at_once', phrase: 'approval after {}' },
    offer: {
      value: '1',
      label: 'Try it on one instance first',
      meaning: 'After the first instance it pauses until somebody approves: a canary.',
    },
  },
  soak_seconds: {
    ...{ kind: 'seconds', least: 0, most: DAY_SECONDS, default: 0 },
    label: 'Soak',
    meaning: 'After a step forward, the instance must stay healthy this long before the next step starts.',
    ...{ asked: 'further', phrase: 'soaks {} after each step' },
  },
  step_timeout_seconds: {
    ...{ kind: 'seconds', least: 1, most: DAY_SECONDS, default: 600 },
    label: 'Step timeout',
    meaning: 'The time for one attempt of a step.',
    ...{ asked: 'further', phrase: '{} for each attempt of a step' },
  },
  timeout_seconds: {
    ...{ kind: 'seconds', least: 1, most: 30 * DAY_SECONDS, default: 36_000 },
    label: 'Whole timeout',
    meaning: 'The time for the whole upgrade, without the time that it waits for a person.',
    ...{ asked: 'further', phrase: '{} for the whole upgrade' },
  },
  retries: {
    ...{ kind: 'count', least: 0, most: 20, default: 2 },
    label: 'Retries',
    meaning: 'Attempts of each step beyond the first.',
    ...{ asked: 'further', phrase: 'retries of each step: {}', is_always_told: true },
  },
  on_failure: {
    ...{ kind: 'choice', default: 'pause' },
    choices: {
      pause: {
        label: 'Pause',
        meaning: 'It stops and waits for you: retry, roll back or cancel.',
        phrase: 'pauses when a step keeps failing',
      },
      rollback: {
        label: 'Roll back',
        meaning: 'It takes every instance back to the present version by itself.',
        phrase: 'rolls back when a step keeps failing',
      },
      fail: {
        label: 'Fail',
        meaning: 'It ends there. Instances stay as they are, and the record says which runs what.',
        phrase: 'ends as failed when a step keeps failing',
      },
    },
    label: 'When a step keeps failing',
    meaning: 'What to do when a step has used up its retries.',
    ...{ asked: 'at_once', phrase: '{}', is_always_told: true },
  },
  not_before: {
    ...{ kind: 'time', default: null },
    label: 'Start no step before',
    meaning: 'Start no step before this time.',
    example: '2026-11-23T02:00:00Z',
    ...{ asked: 'further', phrase: 'not before {}' },
  },
  window: {
    ...{ kind: 'window', default: null },
    label: 'Only in windows',
    meaning:
      'Start a step forward only while a window is open, and only if the step can finish in it; a rollback waits for no window.',
    ...{ asked: 'further', phrase: 'in windows {}' },
  },
  /** The overrides end with the upgrade; its record says who asked for them, and when. */
  overrides: {
    ...{ kind: 'overrides', default: [] },
    label: 'Gates to skip',
    meaning: 'Gates to skip, and why.',
    example: 'guests_alive=the host is replaced',
    ...{ asked: 'beside_gates', phrase: '{}' },
  },
} as const satisfies Readonly<Record<string, PolicyField>>;

/** What a window consists of. `input` names the part where a person gives it on its own, without `window` around it. */
export const WINDOW_PARTS = {
  cron: {
    ...{ kind: 'text', most: 200, default: '', placeholder: 'cron' },
    input: 'window',
    label: POLICY_FIELDS.window.label,
    meaning:
      'Steps forward start only in windows that open at these times: minute hour day-of-month month day-of-week, as in crontab(5).',
    example: '0 2 * * 6,0',
  },
  /** A request has to say how long; forms and the command line have a default. */
  duration_seconds: {
    ...{ kind: 'seconds', least: 60, most: DAY_SECONDS, default: 3600 },
    input: 'window_seconds',
    label: 'Window length',
    meaning: 'How long a window stays open.',
  },
  time_zone: {
    ...{ kind: 'text', most: 100, default: 'UTC', placeholder: 'name' },
    input: 'time_zone',
    label: 'Window time zone',
    meaning: 'The time zone by whose clock windows open.',
    example: 'Europe/Berlin',
  },
} as const satisfies Readonly<Record<keyof Window, WindowPart>>;

export type WindowPart = Described & { readonly input: string } & (
    | ({ readonly kind: 'seconds'; readonly default: number } & Limits)
    | {
        readonly kind: 'text';
        readonly most: number;
        readonly default: string;
        /** Stands for the value in a line of help. */
        readonly placeholder: string;
      }
  );

type Fields = typeof POLICY_FIELDS;
export type PolicyFieldName = keyof Fields;

interface Kinds {
  readonly count: number;
  readonly seconds: number;
  readonly share: number | Percentage;
  readonly time: Instant | null;
  readonly window: Window | null;
  readonly overrides: readonly Override[];
}
type ValueOf<Field> = Field extends { readonly choices: infer Choices }
  ? keyof Choices
  : Field extends { readonly kind: keyof Kinds }
    ? Kinds[Field['kind']]
    : never;
type InJson<Field> = Field extends { readonly kind: 'time' } ? string | null : ValueOf<Field>;
type Stated<Field> = Field extends { readonly kind: 'window' }
  ? Omit<Window, 'time_zone'> & { readonly time_zone?: string | undefined }
  : Exclude<InJson<Field>, null>;

export type Policy = { readonly [Name in PolicyFieldName]: ValueOf<Fields[Name]> };
/** The policy in JSON: a time is text. */
export type PolicyInJson = { [Name in PolicyFieldName]: InJson<Fields[Name]> };
/** The policy as a request states it: all of it is optional, and nothing is null. */
export type StatedPolicy = { [Name in PolicyFieldName]?: Stated<Fields[Name]> };

/** The fields in the order in which people read them. */
export const POLICY: readonly (PolicyField & { readonly name: PolicyFieldName })[] = (
  Object.keys(POLICY_FIELDS) as PolicyFieldName[]
).map((name) => ({ name, ...POLICY_FIELDS[name] }));

export const DEFAULT_POLICY = Object.fromEntries(
  POLICY.map((field) => [field.name, field.default]),
) as unknown as Policy;

/**
 * What a batch has in place of the defaults. When a cluster's upgrade fails, it ends: nobody watches each of
 * thousands of upgrades, and the budget decides.
 */
export const BATCH_POLICY: Partial<Policy> = { on_failure: 'fail' };

/** A share of the cluster's instances, e.g. `25%`: rounded down, but at least one instance. */
export type Percentage = `${number}%`;
/** Percentages from 0%, and from 1%. */
export const PERCENTAGE = { 0: /^(\d{1,2}|100)%$/, 1: /^(0?[1-9]|[1-9]\d|100)%$/ } as const;

/**
 * The gates that a person may override. Three cannot be overridden: whether the cluster is idle (G3), whether
 * each replica set has one primary, since no sequence is right where two primaries take writes (G6), and
 * whether the agents of an adopted cluster refuse something, since they refuse what they cannot do.
 */
export const OVERRIDABLE_GATES = [
  'version_active',
  'version_path',
  'guests_alive',
  'instances_healthy',
  'replication_caught_up',
  'unlogged_tables',
  'logical_slots',
  'upgrade_needed',
] as const;

export interface Override {
  readonly gate: (typeof OVERRIDABLE_GATES)[number];
  readonly reason: string;
}

/** `max_unavailable` as a number of instances. */
export function maxUnavailable({ max_unavailable }: Policy, instances: number): number {
  if (typeof max_unavailable === 'number') return max_unavailable;
  return Math.max(1, Math.floor((instances * Number.parseFloat(max_unavailable)) / 100));
}

export function isOverridden({ overrides }: Pick<Policy, 'overrides'>, gate: string): boolean {
  return overrides.some((override) => override.gate === gate);
}

export function policyInJson(policy: Policy): PolicyInJson;
export function policyInJson(policy: Partial<Policy>): Partial<PolicyInJson>;
export function policyInJson(policy: Partial<Policy>): Partial<PolicyInJson> {
  const values = POLICY.filter(({ name }) => name in policy).map(({ name, kind }) => {
    const value = policy[name];
    return [name, kind === 'time' && typeof value === 'number' ? iso(value) : value];
  });
  return Object.fromEntries(values) as Partial<PolicyInJson>;
}

export function statedPolicy(policy: Partial<Policy>): StatedPolicy {
  const stated = Object.entries(policyInJson(policy)).filter(([, value]) => value !== null);
  return Object.fromEntries(stated) as StatedPolicy;
}
