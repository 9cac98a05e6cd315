/**
 * The drivers of this agent, by manager. A driver is loaded with the first instance that needs it: an agent
 * of one datastore does not hold the code of the others.
 */
import { z } from 'zod';
import { textOf } from '../../src/log.ts';
import type { DriverLoader } from '../driver.ts';
import { type Hooks, readHooksFile } from './command/hooks-file.ts';

/** The drivers that come with the agent: an operator's hooks cannot replace these. */
const BUILT_IN: Readonly<Record<string, DriverLoader>> = {
  postgresql: async () => (await import('./postgresql/index.ts')).postgresqlDriver,
  simulated: async () => (await import('./simulated.ts')).simulatedDriver,
};

/** What drivers read from the agent's environment. */
export const driversConfig = {
  /** The commands that upgrade the datastores for which there is no driver here. */
  COFFER_HOOKS_FILE: z
    .string()
    .transform((path, context) => {
      try {
        return readHooksFile(path, Object.keys(BUILT_IN));
      } catch (err) {
        context.addIssue({ code: 'custom', message: textOf(err) });
        return z.NEVER;
      }
    })
    .optional(),
};

/** The drivers that come with the agent, and one for each manager that the operator's hooks file names. */
export function driversOf(config: {
  readonly COFFER_HOOKS_FILE?: ReadonlyMap<string, Hooks> | undefined;
}): Readonly<Record<string, DriverLoader>> {
  const own = [...(config.COFFER_HOOKS_FILE ?? [])].map(([manager, each]): [string, DriverLoader] => [
    manager,
    async () => (await import('./command/index.ts')).commandDriver(each),
  ]);
  return { ...Object.fromEntries(own), ...BUILT_IN };
}
