/**
 * The drivers of this agent, by manager. A driver is loaded with the first instance that needs it: an agent
 * of one datastore does not hold the code of the others.
 *
 * Beside the folders of the drivers: `account.ts` the user that servers run as · `state-file.ts` what a driver
 * remembers across a crash.
 */
import { z } from 'zod';
import { textOf } from '../../src/log.ts';
import type { DriverFactory, DriverLoader } from '../driver.ts';
import { readHooksFile } from './command/hooks-file.ts';
import { readHostFile } from './postgresql/adopted/host-file.ts';

/** What drivers read from the agent's environment. Each variable has a row in `docs/configuration.md`. */
export const driversConfig = {
  /** The commands that upgrade the datastores for which there is no driver here. */
  COFFER_HOOKS_FILE: fileRead((path) => readHooksFile(path, Object.keys(BUILT_IN))).optional(),
  /** The PostgreSQL server of this host that Coffer did not make. */
  COFFER_POSTGRESQL_HOST: fileRead(readHostFile).optional(),
};

function fileRead<Content>(read: (path: string) => Content) {
  return z.string().transform((path, context) => {
    try {
      return read(path);
    } catch (err) {
      context.addIssue({ code: 'custom', message: textOf(err) });
      return z.NEVER;
    }
  });
}

type DriversConfig = z.output<z.ZodObject<typeof driversConfig>>;

/** The drivers that come with the agent: an operator's hooks cannot replace these. */
const BUILT_IN: Readonly<Record<string, (config: DriversConfig) => Promise<DriverFactory>>> = {
  postgresql: async ({ COFFER_POSTGRESQL_HOST: host }) => {
    const { adoptingDriver, postgresqlDriver } = await import('./postgresql/index.ts');
    return host === undefined ? postgresqlDriver : adoptingDriver(host);
  },
  simulated: async () => (await import('./simulated.ts')).simulatedDriver,
};

/** The drivers that come with the agent, and one for each manager that the operator's hooks file names. */
export function driversOf(config: DriversConfig): Readonly<Record<string, DriverLoader>> {
  const loaders = new Map<string, DriverLoader>();
  for (const [manager, hooks] of config.COFFER_HOOKS_FILE ?? []) {
    loaders.set(manager, async () => (await import('./command/index.ts')).commandDriver(hooks));
  }
  for (const [manager, load] of Object.entries(BUILT_IN)) loaders.set(manager, () => load(config));
  return Object.fromEntries(loaders);
}
