/** The demo's own client, which writes all the time: plain JavaScript, as it runs before anything is compiled. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

interface Account {
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

interface WriterModule {
  startWriter(
    endpoints: readonly Endpoint[],
    account: Account,
  ): Promise<{ acknowledgedSoFar(): number; stop(): Promise<{ acknowledged: number[]; outage_ms: number }> }>;
  findLost(
    endpoints: readonly Endpoint[],
    account: Account,
    acknowledged: readonly number[],
  ): Promise<number[]>;
  askVersions(endpoints: readonly Endpoint[], account: Account): Promise<string[]>;
}

/** Who it signs in as. */
export const account: Account = { user: 'app', password: 'a secret', database: 'app' };

/** What a new PostgreSQL cluster is asked for, so that the client can write to it. */
export const accountRequest = {
  databases: [{ name: account.database }],
  users: [{ name: account.user, password: account.password, databases: [{ name: account.database }] }],
};

export async function loadWriter(): Promise<WriterModule> {
  const path = join(import.meta.dirname, '../../scripts/lib/writer.mjs');
  return (await import(pathToFileURL(path).href)) as WriterModule;
}
