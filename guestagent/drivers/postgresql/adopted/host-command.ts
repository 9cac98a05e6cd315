import type { Account } from '../../account.ts';
import { failureOf, isDone } from '../../command/answers.ts';
import { inheritedEnvironment, runHook } from '../../command/run-hook.ts';

/** A command of the operator's, or of the host's packages, for an adopted server. */
export interface HostCommand {
  /** For messages, e.g. `the start command`. */
  readonly what: string;
  readonly command: readonly string[];
  readonly timeout_ms: number;
  readonly variables: Readonly<Record<string, string>>;
  /** The user that the command runs as; null for the agent's own. */
  readonly account: Account | null;
  /** Asked when the time is over: true if the command's processes must not be ended. */
  readonly isDone?: () => Promise<boolean>;
}

const NEVER = new AbortController().signal;

/**
 * Resolves when the command has succeeded. An agent that stops does not end the command: half an installation
 * or half a start is worse than one that the next agent finds done.
 */
export async function runCommand(call: HostCommand): Promise<void> {
  const { what, command, timeout_ms, variables, account } = call;
  const end = await runHook({
    hook: { command, timeout_ms },
    env: { ...inheritedEnvironment(), ...variables },
    ...{ run: null, dir: '/', signal: NEVER, account },
    ...(call.isDone && { isDone: call.isDone }),
  });
  if (!isDone(end)) throw failureOf(what, end);
}
