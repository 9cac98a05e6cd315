import { z } from 'zod';
import { PlacementArg } from '../../../src/contract/rpc.ts';
import { SERVICE_STATUSES } from '../../../src/core/domain.ts';
import { type Health, PermanentError } from '../../driver.ts';
import type { HookEnd } from './run-hook.ts';

/**
 * What a hook's exit code means. 0: done. 75 (EX_TEMPFAIL of sysexits.h): it can't be done now, nothing has
 * changed, try again. Any other code: it can't be done, and another try would not help. If a hook took too
 * long or was killed, nobody knows how far it came: it is tried again.
 */
const TEMPORARY = 75;

/**
 * What `health` may print. If it prints no version, the version is the one to which the hooks have moved the
 * instance.
 */
const HealthAnswer = z.strictObject({
  status: z.enum(SERVICE_STATUSES).exactOptional(),
  version: z.string().min(1).max(255).exactOptional(),
  message: z.string().exactOptional(),
  placement: PlacementArg.exactOptional(),
});
const PreUpgradeAnswer = z.looseObject({ reversible: z.boolean().exactOptional() });

const TOLD_LINES = 5;
const TOLD_CHARACTERS = 500;

export function isDone(end: HookEnd): boolean {
  return end.kind === 'exited' && end.code === 0;
}

/** True if the hook reports that it has changed nothing, or never ran. */
export function hasChangedNothing(end: HookEnd): boolean {
  return end.kind === 'not started' || (end.kind === 'exited' && end.code === TEMPORARY);
}

/** The error of an order whose hook, or another command of the operator's, has not succeeded. */
export function failureOf(what: string, end: HookEnd): Error {
  const isPermanent = end.kind === 'exited' && end.code !== TEMPORARY;
  const message = complaint(what, end);
  return isPermanent ? new PermanentError(message) : new Error(message);
}

/** The state of the server by the `health` hook; `supposed` is its version if the hook reports none. */
export function healthOf(end: HookEnd, supposed: string | null): Health {
  const sick = { service_status: 'failed', version: supposed, role: 'member' } as const;
  if (end.kind !== 'exited') return { ...sick, message: complaint('the health hook', end) };
  const answer = HealthAnswer.safeParse(documentIn(end.stdout));
  if (!answer.success) {
    return { ...sick, message: `what the health hook says can't be used: ${z.prettifyError(answer.error)}` };
  }
  const { status, version = supposed, message, placement } = answer.data;
  const isWell = end.code === 0;
  return {
    service_status: status ?? (isWell ? 'healthy' : 'failed'),
    version,
    role: 'member',
    message: message ?? (isWell ? null : complaint('the health hook', end)),
    ...(placement && { placement }),
  };
}

/** What `pre_upgrade` reports on the way back; undefined if it reports nothing. */
export function reversibleOf(stdout: string): boolean | undefined {
  const answer = PreUpgradeAnswer.safeParse(documentIn(stdout));
  return answer.success ? answer.data.reversible : undefined;
}

/**
 * The JSON object that was printed; an empty object if something else was printed: a hook may print anything.
 */
function documentIn(stdout: string): unknown {
  const text = stdout.trim();
  if (!text.startsWith('{')) return {};
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** One line, as shown to the person who upgrades. */
function complaint(what: string, end: HookEnd): string {
  switch (end.kind) {
    case 'not started':
      return `${what} could not be started: ${end.reason}`;
    case 'timed out':
      return `${what} was ended after its ${end.after_ms / 1000} s${quoted(end.tail)}`;
    case 'killed':
      return `${what} was killed by ${end.by}${quoted(end.tail)}`;
    case 'exited':
      return `${what} ended with exit code ${end.code}${quoted(end.tail)}`;
    default:
      return end satisfies never;
  }
}

/** The last lines of a hook's output. */
function quoted(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const words = lines
    .slice(-TOLD_LINES)
    .join(' / ')
    .replaceAll(/\p{Cc}/gu, ' ');
  return words === '' ? '' : `: ${words.slice(-TOLD_CHARACTERS)}`;
}
