/** Options that several commands share, and how their values are read. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { PolicyRequest } from '../client/index.ts';
import type { Percentage } from '../src/core/policy.ts';

/** Accepts whole numbers only; the API decides how large they may be. */
export function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** A number of instances, or a percentage of them. */
function countOrShare(text: string): number | Percentage {
  return /^\d{1,3}%$/.test(text) ? (text as Percentage) : count(text);
}

function windowOf(cron: string, { windowSeconds = 3600, timeZone = 'UTC' }: PolicyOptions) {
  return { cron, duration_seconds: windowSeconds, time_zone: timeZone };
}

export function collect(text: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, text];
}

export interface PolicyOptions {
  readonly maxUnavailable?: number | Percentage;
  readonly canary?: number;
  readonly soakSeconds?: number;
  readonly stepTimeoutSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly retries?: number;
  readonly onFailure?: 'pause' | 'rollback' | 'fail';
  readonly notBefore?: string;
  readonly window?: string;
  readonly windowSeconds?: number;
  readonly timeZone?: string;
}

/** Adds an option for every field of an upgrade's policy; `onFailure` is the API's default. */
export function withPolicyOptions(
  command: Command,
  { onFailure }: { readonly onFailure: 'pause' | 'fail' },
): Command {
  return command
    .option(
      '--max-unavailable <n>',
      'instances that may be out of service at once, e.g. 2 or 25% (default: 1)',
      countOrShare,
    )
    .option('--canary <n>', 'after this many instances, wait for an approval', count)
    .option('--soak-seconds <s>', 'after each step, health must hold this long', count)
    .option('--step-timeout-seconds <s>', 'for one attempt of a step (default: 600)', count)
    .option('--timeout-seconds <s>', 'for the whole upgrade (default: 36000)', count)
    .option('--retries <n>', 'attempts per step beyond the first (default: 2)', count)
    .addOption(
      new Option(
        '--on-failure <what>',
        `when a step has used up its retries (default: ${onFailure})`,
      ).choices(['pause', 'rollback', 'fail']),
    )
    .option('--not-before <time>', 'start no step before, e.g. 2026-11-23T02:00:00Z')
    .option('--window <cron>', 'start steps only in windows that open then, e.g. "0 2 * * 6,0"')
    .option('--window-seconds <s>', 'how long a window stays open (default: 3600)', count)
    .option('--time-zone <name>', 'by whose clock a window opens, e.g. Europe/Berlin (default: UTC)');
}

/** The policy that the options ask for; undefined when they ask for none. */
export function policyOf(options: PolicyOptions): PolicyRequest | undefined {
  const { maxUnavailable, canary, soakSeconds, stepTimeoutSeconds, timeoutSeconds, retries, onFailure } =
    options;
  const policy: PolicyRequest = {
    ...(maxUnavailable !== undefined && { max_unavailable: maxUnavailable }),
    ...(canary !== undefined && { canary }),
    ...(soakSeconds !== undefined && { soak_seconds: soakSeconds }),
    ...(stepTimeoutSeconds !== undefined && { step_timeout_seconds: stepTimeoutSeconds }),
    ...(timeoutSeconds !== undefined && { timeout_seconds: timeoutSeconds }),
    ...(retries !== undefined && { retries }),
    ...(onFailure !== undefined && { on_failure: onFailure }),
    ...(options.notBefore !== undefined && { not_before: options.notBefore }),
    ...(options.window !== undefined && { window: windowOf(options.window, options) }),
  };
  return Object.keys(policy).length > 0 ? policy : undefined;
}
