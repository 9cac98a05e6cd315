/** The policy of an upgrade as the user types it into a form, and in the form that the API takes. Pure. */
import type { BatchDocument, PolicyRequest } from '../../client/index.ts';
import { count, duration, fullTime, instant } from '../format.ts';

/** The fields are texts as the user types them: a number may be half written. */
export interface PolicyDraft {
  readonly onFailure: 'pause' | 'rollback' | 'fail';
  /** Empty: no canary. */
  readonly canary: string;
  readonly maxUnavailable: string;
  readonly soakSeconds: string;
  readonly retries: string;
  readonly stepTimeoutSeconds: string;
  readonly timeoutSeconds: string;
  /** In the format of the browser's field, in the user's zone: `2026-11-25T03:00`; empty: at once. */
  readonly notBefore: string;
  /** A cron expression; empty: at any time. */
  readonly windowCron: string;
  readonly windowMinutes: string;
  readonly windowZone: string;
  /** Reasons for gates that are to be skipped, keyed by gate. */
  readonly overrides: Readonly<Record<string, string>>;
}

/** The API's defaults. */
export const DEFAULT_DRAFT: PolicyDraft = {
  onFailure: 'pause',
  canary: '',
  maxUnavailable: '1',
  soakSeconds: '0',
  retries: '2',
  stepTimeoutSeconds: '600',
  timeoutSeconds: '36000',
  notBefore: '',
  windowCron: '',
  windowMinutes: '60',
  windowZone: 'UTC',
  overrides: {},
};

/** The defaults in a batch: nobody watches each of thousands of upgrades. */
export const BATCH_DRAFT: PolicyDraft = { ...DEFAULT_DRAFT, onFailure: 'fail' };

export type PolicyProblems = Readonly<Partial<Record<keyof PolicyDraft, string>>>;

/** The problems that keep a draft from being sent; the API checks the rest. */
export function problemsOf(draft: PolicyDraft): PolicyProblems {
  const whole = (field: NumberField, min: number, max: number) =>
    isWhole(draft[field], min, max) ? {} : { [field]: `A whole number from ${min} to ${max}.` };
  return {
    ...(draft.canary === '' ? {} : whole('canary', 1, 100)),
    ...(/^([1-9]\d?|100)%$/.test(draft.maxUnavailable) || isWhole(draft.maxUnavailable, 1, 100)
      ? {}
      : { maxUnavailable: 'A number of instances from 1 to 100, or a percentage such as 25%.' }),
    ...whole('soakSeconds', 0, 86_400),
    ...whole('retries', 0, 20),
    ...whole('stepTimeoutSeconds', 1, 86_400),
    ...whole('timeoutSeconds', 1, 2_592_000),
    ...(draft.windowCron === '' ? {} : whole('windowMinutes', 1, 1440)),
    ...(draft.notBefore === '' || !Number.isNaN(Date.parse(draft.notBefore))
      ? {}
      : { notBefore: 'A day and a time.' }),
  };
}

type NumberField =
  | 'canary'
  | 'soakSeconds'
  | 'retries'
  | 'stepTimeoutSeconds'
  | 'timeoutSeconds'
  | 'windowMinutes';

function isWhole(text: string, min: number, max: number): boolean {
  return /^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max;
}

/**
 * Expects a draft without problems. Values equal to `byItself`, the API's defaults in this place, are left
 * out.
 */
export function policyOf(draft: PolicyDraft, byItself: PolicyDraft): PolicyRequest {
  const number = (field: NumberField, name: string) =>
    draft[field] === byItself[field] ? {} : { [name]: Number(draft[field]) };
  const overrides = Object.entries(draft.overrides).filter(([, reason]) => reason.trim() !== '');
  return {
    ...(draft.onFailure !== byItself.onFailure && { on_failure: draft.onFailure }),
    ...number('canary', 'canary'),
    ...(draft.maxUnavailable !== byItself.maxUnavailable && {
      max_unavailable: draft.maxUnavailable.endsWith('%')
        ? (draft.maxUnavailable as `${number}%`)
        : Number(draft.maxUnavailable),
    }),
    ...number('soakSeconds', 'soak_seconds'),
    ...number('retries', 'retries'),
    ...number('stepTimeoutSeconds', 'step_timeout_seconds'),
    ...number('timeoutSeconds', 'timeout_seconds'),
    ...(draft.notBefore !== '' && { not_before: new Date(draft.notBefore).toISOString() }),
    ...(draft.windowCron !== '' && {
      window: {
        cron: draft.windowCron.trim(),
        duration_seconds: Number(draft.windowMinutes) * 60,
        time_zone: draft.windowZone.trim(),
      },
    }),
    ...(overrides.length > 0 && {
      overrides: overrides.map(([gate, reason]) => ({ gate, reason: reason.trim() })) as NonNullable<
        PolicyRequest['overrides']
      >,
    }),
  };
}

/** A policy in words; it leaves out values that equal the API's defaults. */
export function policyTexts(policy: BatchDocument['policy']): readonly string[] {
  const { max_unavailable, canary = 0, soak_seconds = 0, retries, on_failure, not_before, window } = policy;
  const failing = { pause: 'pauses', rollback: 'rolls back', fail: 'ends as failed' };
  return [
    `at most ${max_unavailable ?? DEFAULT_DRAFT.maxUnavailable} out of service at once`,
    ...(canary > 0 ? [`approval after ${canary}`] : []),
    ...(soak_seconds > 0 ? [`soaks ${duration(soak_seconds * 1000)} after each step`] : []),
    `${count(retries ?? Number(DEFAULT_DRAFT.retries), 'retry', 'retries')}, then ${failing[on_failure ?? DEFAULT_DRAFT.onFailure]}`,
    ...(not_before ? [`not before ${fullTime(instant(not_before))}`] : []),
    ...(window
      ? [`in windows ${window.cron} of ${duration(window.duration_seconds * 1000)}, ${window.time_zone}`]
      : []),
    ...(policy.overrides ?? []).map(({ gate, reason }) => `${gate} skipped: ${reason}`),
  ];
}
