import { Client, type ClientConfig, type QueryResultRow } from 'pg';
import type { Endpoint } from '../../../src/core/domain.ts';

/** How the driver logs in to a server: over TCP, with a password derived from the cluster's token. */
export interface Login {
  readonly endpoint: Endpoint;
  readonly user: string;
  readonly password: string;
}

export interface Limits {
  readonly connectMs: number;
  /** For each statement; null for none. */
  readonly statementMs: number | null;
}

export const QUICK: Limits = { connectMs: 900, statementMs: 900 };
export const PATIENT: Limits = { connectMs: 5_000, statementMs: null };

export function clientConfig(login: Login, limits: Limits, database = 'postgres'): ClientConfig {
  return {
    host: login.endpoint.host,
    port: login.endpoint.port,
    user: login.user,
    password: login.password,
    database,
    application_name: 'coffer',
    ssl: false,
    keepAlive: true,
    connectionTimeoutMillis: limits.connectMs,
    ...(limits.statementMs !== null && { query_timeout: limits.statementMs }),
  };
}

/** A connection that reports its end to whoever uses it next, instead of by an unhandled event. */
export async function connect(login: Login, limits: Limits, database?: string): Promise<Client> {
  const client = new Client(clientConfig(login, limits, database));
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    disconnect(client);
    throw error;
  }
  return client;
}

/** Does not wait: a server that hangs must not hang the driver. */
export function disconnect(client: Client): void {
  client.end().catch(() => {});
}

export async function withClient<T>(
  login: Login,
  limits: Limits,
  work: (client: Client) => Promise<T>,
  database?: string,
): Promise<T> {
  const client = await connect(login, limits, database);
  try {
    return await work(client);
  } finally {
    disconnect(client);
  }
}

/** The one row of a query that has one. */
export async function one<Row extends QueryResultRow>(
  client: Client,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row> {
  const { rows } = await client.query<Row>(text, [...values]);
  const row = rows[0];
  if (row === undefined) throw new Error('the query answered no row');
  return row;
}
