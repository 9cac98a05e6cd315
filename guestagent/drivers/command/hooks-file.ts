import { z } from 'zod';
import { ConfigError } from '../../../src/config.ts';
import { Argv, mapOf, missingProgram, readOperatorFile, Timeout } from '../operator-file.ts';

/** The hooks that an operator can give commands for, in the sequence of an upgrade. */
const HOOKS = ['pre_upgrade', 'upgrade', 'post_upgrade', 'health', 'rollback'] as const;
export type HookName = (typeof HOOKS)[number];

/** A hook as it is run: an argument vector, which no shell interprets. */
export interface Hook {
  readonly command: readonly string[];
  readonly timeout_ms: number;
}

/** The hooks of one manager. Without `rollback` its upgrades are irreversible. */
export interface Hooks {
  readonly hooks: Readonly<Partial<Record<HookName, Hook>> & Record<'upgrade' | 'health', Hook>>;
  /** Variables that every hook gets in addition to ours. */
  readonly environment: Readonly<Record<string, string>>;
}

const TIMEOUT_SECONDS = 600;
/** A guest from which no heartbeat was received for 15 s counts as away. */
const HEALTH_TIMEOUT_SECONDS = 10;

const Spelled = z.strictObject({ command: Argv, timeout_seconds: Timeout.exactOptional() });
/** A bare list is the command. */
const HookEntry = z.union([Argv.transform((command) => ({ command })), Spelled]);

const Environment = mapOf(
  z.string(),
  /^(?!COFFER_)[A-Za-z_][A-Za-z0-9_]*$/,
  'names of variables that do not begin with COFFER_',
);
const Manager = z.strictObject({
  pre_upgrade: HookEntry.exactOptional(),
  upgrade: HookEntry,
  post_upgrade: HookEntry.exactOptional(),
  health: HookEntry,
  rollback: HookEntry.exactOptional(),
  environment: Environment.exactOptional(),
});
const HooksFile = z.strictObject({
  managers: mapOf(Manager, /^[a-z][a-z0-9_]*$/, 'names of managers, such as valkey').refine(
    (managers) => Object.keys(managers).length > 0,
    'must name a manager',
  ),
});

/**
 * Reads the file that says which commands this agent runs for which manager. Throws a `ConfigError` that
 * lists every problem, including programs that do not exist: a missing program must not look like an outage
 * in the middle of an upgrade. `builtIn`: managers that have a driver of their own.
 */
export function readHooksFile(path: string, builtIn: readonly string[]): ReadonlyMap<string, Hooks> {
  const managers = Object.entries(readOperatorFile(path, HooksFile).managers);
  const problems = managers.flatMap(([name, manager]) => [
    ...(builtIn.includes(name) ? [`${name} has a driver of its own: choose another name`] : []),
    ...HOOKS.flatMap((hook) => missingProgram(`${name}.${hook}`, manager[hook]?.command[0])),
  ]);
  if (problems.length > 0) throw new ConfigError(`${path}: ${problems.join('; ')}`);
  return new Map(managers.map(([name, manager]) => [name, hooksOf(manager)]));
}

function hooksOf({ environment = {}, ...entries }: z.output<typeof Manager>): Hooks {
  const hookOf = (name: HookName, entry: z.output<typeof Spelled>): Hook => {
    const { command, timeout_seconds } = entry;
    const seconds = timeout_seconds ?? (name === 'health' ? HEALTH_TIMEOUT_SECONDS : TIMEOUT_SECONDS);
    return { command, timeout_ms: seconds * 1000 };
  };
  const { pre_upgrade, upgrade, post_upgrade, health, rollback } = entries;
  const hooks = {
    ...(pre_upgrade && { pre_upgrade: hookOf('pre_upgrade', pre_upgrade) }),
    upgrade: hookOf('upgrade', upgrade),
    ...(post_upgrade && { post_upgrade: hookOf('post_upgrade', post_upgrade) }),
    health: hookOf('health', health),
    ...(rollback && { rollback: hookOf('rollback', rollback) }),
  };
  return { hooks, environment };
}
