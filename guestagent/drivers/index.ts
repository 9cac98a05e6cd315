/**
 * The drivers of this agent, by manager. A driver is loaded with the first instance that needs it: an agent
 * of one datastore does not hold the code of the others.
 */
import { z } from 'zod';
import { textOf } from '../../src/log.ts';
import type { DriverLoader } from '../driver.ts';
import { type Hooks, readHooksFile } from './command/hooks-file.ts';
import { type PostgresqlHost, readHostFile } from './postgresql/adopted/host-file.ts';

/** The drivers that come with the agent: an operator's hooks cannot replace these. */
const BUILT_IN: Readonly<Record<string, DriverLoader>> = {
  postgresql: async () => (await import('./postgresql/index.ts')).postgresqlDriver,
  simulated: async () => (await import('./simulated.ts')).simulatedDriver,
};

/** What drivers read from the agent's environment. */
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

/** The drivers that come with the agent, and one for each manager that the operator's hooks file names. */
export function driversOf(config: {
  readonly COFFER_HOOKS_FILE?: ReadonlyMap<string, Hooks> | undefined;
  readonly COFFER_POSTGRESQL_HOST?: PostgresqlHost | undefined;
}): Readonly<Record<string, DriverLoader>> {
  const host = config.COFFER_POSTGRESQL_HOST;
  const own = [...(config.COFFER_HOOKS_FILE ?? [])].map(([manager, each]): [string, DriverLoader] => [
    manager,
    async () => (await import('./command/index.ts')).commandDriver(each),
  ]);
  const adopting: Readonly<Record<string, DriverLoader>> =
    host === undefined
      ? {}
      : { postgresql: async () => (await import('./postgresql/index.ts')).adoptingDriver(host) };
  return { ...Object.fromEntries(own), ...BUILT_IN, ...adopting };
}
