import { TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import { UpgradeActionAnswer } from '../src/contract/rpc.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Caller } from './access/caller.ts';
import type { Deps } from './deps.ts';

/** A person waits for the answer. */
const ANSWER_TIMEOUT_MS = 5_000;

type Args = Readonly<Record<string, unknown>>;

/** Calls a taskmanager in the caller's name. Rejects with `bus_unavailable` when none answers. */
export async function askTaskmanager(
  { bus }: Deps,
  caller: Caller,
  method: string,
  args: Args,
): Promise<unknown> {
  const { tenant_id, user, request_id } = caller;
  const context = { request_id, tenant_id, user, is_admin: caller.is_admin };
  const said = { ...args, by: user ?? 'an operator' };
  return bus.call(TASKMANAGER_TOPIC, method, said, { timeout_ms: ANSWER_TIMEOUT_MS, context });
}

/**
 * Makes a taskmanager do what a person wants; resolves with the reason if the state doesn't allow it. Rejects
 * with `bus_unavailable` when no taskmanager answers.
 */
export async function requestAction(
  deps: Deps,
  caller: Caller,
  { method, action, args }: { method: 'upgrade_action' | 'batch_action'; action: string; args: Args },
): Promise<string | null> {
  const answer = await askTaskmanager(deps, caller, method, { ...args, action }).catch((cause: unknown) => {
    throw isSilence(cause) ? outcomeUnknown(action, cause) : cause;
  });
  const outcome = UpgradeActionAnswer.parse(answer);
  return outcome.verdict === 'refused' ? outcome.reason : null;
}

function isSilence(error: unknown): boolean {
  return error instanceof CofferError && error.code === 'bus_unavailable';
}

function outcomeUnknown(action: string, cause: unknown): CofferError {
  const message = `No taskmanager has answered: '${action}' may or may not have been carried out. Ask for it again: twice does no harm.`;
  return new CofferError('bus_unavailable', message, { cause });
}
