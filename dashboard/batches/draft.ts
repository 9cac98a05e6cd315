/** A batch as the user types it into a form, and in the form that the API takes. Pure. */
import type { CreateBatchInput } from '../../client/index.ts';
import { DEFAULT_WAVE, DEFAULT_WAVES, WAVE_LIMITS } from '../../src/core/batch/waves.ts';
import { isShare, isWhole, shareOf } from '../../src/core/policy-inputs.ts';
import { BATCH_DRAFT, type PolicyDraft, policyOf, problemsOf } from '../upgrades/policy.ts';

export interface WaveDraft {
  /** Identifies the wave within the form. */
  readonly key: number;
  /** A number of clusters, or a percentage of all; empty: all clusters that are left. */
  readonly share: string;
  readonly maxConcurrent: string;
  /** A number of clusters, or a percentage of the wave. */
  readonly failureBudget: string;
  /** The total seconds that its clusters may be without writes; empty: no limit. */
  readonly outageBudget: string;
  readonly soakMinutes: string;
  readonly approval: boolean;
}

export interface BatchDraft {
  readonly name: string;
  readonly datastore: string;
  readonly version: string;
  readonly range: string;
  readonly pattern: string;
  readonly tag: string;
  readonly allTenants: boolean;
  readonly waves: readonly WaveDraft[];
  /** The policy of each cluster's upgrade. */
  readonly policy: PolicyDraft;
}

export function waveDraft(key: number, wave: (typeof DEFAULT_WAVES)[number] = {}): WaveDraft {
  const { share = '', write_outage_budget_seconds, ...settings } = { ...DEFAULT_WAVE, ...wave };
  return {
    key,
    share: String(share),
    maxConcurrent: String(settings.max_concurrent),
    failureBudget: String(settings.failure_budget),
    outageBudget: String(write_outage_budget_seconds ?? ''),
    soakMinutes: String(settings.soak_seconds / 60),
    approval: settings.approval,
  };
}

/** The API's default waves. */
export const FIRST_WAVES = DEFAULT_WAVES.map((wave, index) => waveDraft(index + 1, wave));

/**
 * The problem that keeps a draft from being sent, in a sentence; null if there is none. The API checks the
 * rest.
 */
export function problemOf({ datastore, version, waves, policy }: BatchDraft): string | null {
  if (datastore === '' || version === '') return 'Choose the version to go to.';
  for (const [index, wave] of waves.entries()) {
    const problem = waveProblem(wave);
    if (problem) return `Wave ${index + 1}: ${problem}`;
  }
  return Object.keys(problemsOf(policy)).length > 0 ? 'Correct how each cluster is upgraded.' : null;
}

function waveProblem(wave: WaveDraft): string | null {
  if (wave.share !== '' && !isShare(wave.share, WAVE_LIMITS.share))
    return 'its share is a number of clusters or a percentage, e.g. 1 or 10%.';
  if (!isShare(wave.failureBudget, WAVE_LIMITS.failure_budget))
    return 'its failure budget is a number of clusters or a percentage, e.g. 0 or 5%.';
  const { least, most } = WAVE_LIMITS.max_concurrent;
  if (!isWhole(wave.maxConcurrent, WAVE_LIMITS.max_concurrent))
    return `clusters at once are a number from ${least} to ${most}.`;
  if (wave.outageBudget !== '' && !isWhole(wave.outageBudget, WAVE_LIMITS.write_outage_budget_seconds))
    return 'its outage budget is a number of seconds.';
  return isWhole(wave.soakMinutes, { least: 0, most: WAVE_LIMITS.soak_seconds.most / 60 })
    ? null
    : 'its soak is a number of minutes.';
}

/** Expects a draft without a problem. */
export function batchOf(draft: BatchDraft): CreateBatchInput {
  const { name, datastore, version, range, pattern, tag, allTenants, waves } = draft;
  const policy = policyOf(draft.policy, BATCH_DRAFT);
  return {
    ...(name.trim() !== '' && { name: name.trim() }),
    datastore_version: version,
    selector: {
      datastore,
      ...(range.trim() !== '' && { version: range.trim() }),
      ...(pattern.trim() !== '' && { name: pattern.trim() }),
      ...(tag.trim() !== '' && { tag: tag.trim() }),
    },
    ...(allTenants && { all_tenants: true }),
    ...(Object.keys(policy).length > 0 && { policy }),
    waves: waves.map((wave) => ({
      ...(wave.share !== '' && { share: shareOf(wave.share) }),
      max_concurrent: Number(wave.maxConcurrent),
      failure_budget: shareOf(wave.failureBudget),
      ...(wave.outageBudget !== '' && { write_outage_budget_seconds: Number(wave.outageBudget) }),
      soak_seconds: Number(wave.soakMinutes) * 60,
      approval: wave.approval,
    })),
  };
}
