import { TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import { UpgradeActionAnswer } from '../src/contract/rpc.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Caller } from './access/caller.ts';
import type { Deps } from './deps.ts';

/** A person waits for the answer. */
const ACTION_TIMEOUT_MS = 5_000;

interface ActionRequest {
  readonly method: 'upgrade_action' | 'batch_action';
  readonly action: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/**
 * Makes a taskmanager do what a person wants; resolves with the reason if the state doesn't allow it. Rejects
 * with `bus_unavailable` when no taskmanager answers.
 */
export async function requestAction(
  { bus }: Deps,
  caller: Caller,
  { method, action, args }: ActionRequest,
): Promise<string | null> {
  const { tenant_id, user, request_id } = caller;
  const context = { request_id, tenant_id, user, is_admin: false };
  const options = { timeout_ms: ACTION_TIMEOUT_MS, context };
  const said = { ...args, action, by: user ?? 'an operator' };
  const answer = await bus.call(TASKMANAGER_TOPIC, method, said, options).catch((cause: unknown) => {
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
