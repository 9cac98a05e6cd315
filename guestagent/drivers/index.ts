/**
 * The drivers of this agent, by manager. A driver is loaded with the first instance that needs it: an agent
 * of one datastore does not hold the code of the others.
 */
import type { DriverLoader } from '../driver.ts';
import type { Hooks } from './command/hooks-file.ts';

const BUILT_IN: Readonly<Record<string, DriverLoader>> = {
  postgresql: async () => (await import('./postgresql/index.ts')).postgresqlDriver,
  simulated: async () => (await import('./simulated.ts')).simulatedDriver,
};

/** The managers whose drivers come with the agent: an operator's hooks cannot replace these drivers. */
export const BUILT_IN_DRIVERS: readonly string[] = Object.keys(BUILT_IN);

/** The drivers that come with the agent, and one for each manager that an operator's hooks file names. */
export function driversWith(
  hooks: ReadonlyMap<string, Hooks> = new Map(),
): Readonly<Record<string, DriverLoader>> {
  const own = [...hooks].map(([manager, each]): [string, DriverLoader] => [
    manager,
    async () => (await import('./command/index.ts')).commandDriver(each),
  ]);
  return { ...Object.fromEntries(own), ...BUILT_IN };
}
