import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { Client, type ClientConfig, type QueryResultRow } from 'pg';
import type { Endpoint } from '../../../src/core/domain.ts';
import { isErrno } from '../../../src/files.ts';
import { sleep } from '../../../src/service.ts';
import type { InstanceConfig } from '../../driver.ts';
import { derivePassword, REPLICATION_USER, SUPERUSER } from './settings.ts';

/** How the driver logs in to a server. */
export interface Login {
  /** The host may be the folder of a socket. */
  readonly endpoint: Endpoint;
  readonly user: string;
  /** Null if the server knows the user in another way. */
  readonly password: string | (() => Promise<string>) | null;
  /** Read again for each connection; null for none. */
  readonly ssl: (() => ConnectionOptions) | null;
  /** Opens the socket in another way than by connecting to the endpoint; null if that is not necessary. */
  readonly openSocket: (() => Promise<Socket>) | null;
  /** The settings that the session makes for itself. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface Limits {
  /** For the login, including all its tries. */
  readonly connectMs: number;
  /** For each statement; null for no limit. */
  readonly statementMs: number | null;
}

export const QUICK: Limits = { connectMs: 900, statementMs: 900 };
export const PATIENT: Limits = { connectMs: 10_000, statementMs: null };

const TRY_MS = 5_000;
const TRY_AGAIN_MS = 50;

/**
 * A session takes its settings from the configuration, the database and the role. Any of these settings may
 * end a statement, the wait for a lock or the session itself, or give functions another meaning. Settings
 * that a client names at its login override all three.
 */
const OWN_SETTINGS: Readonly<Record<string, string>> = {
  statement_timeout: '0',
  lock_timeout: '0',
  idle_session_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  // A standby refuses serializable transactions.
  default_transaction_isolation: 'read committed',
  search_path: 'pg_catalog',
  role: 'none',
  // Otherwise a primary that waits for a lost synchronous standby would block the driver, too.
  synchronous_commit: 'local',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
};

const SUPERUSER_SETTINGS: Readonly<Record<string, string>> = {
  ...OWN_SETTINGS,
  session_replication_role: 'origin',
  // A missing library ends every login; a superuser may go without the library.
  session_preload_libraries: '',
  local_preload_libraries: '',
};

const SINCE_17: Readonly<Record<string, string>> = { transaction_timeout: '0' };

export function superuserSettings(major: number): Login['settings'] {
  return { ...SUPERUSER_SETTINGS, ...(major >= 17 && SINCE_17) };
}

/** For an instance's own server that Coffer built. */
export function superuserLogin(config: InstanceConfig): Login {
  return {
    ...{ endpoint: config.endpoint, user: SUPERUSER, password: derivePassword(config, SUPERUSER) },
    settings: superuserSettings(Number.parseInt(config.datastore_version, 10)),
    ...{ ssl: null, openSocket: null },
  };
}

/** For another server of a cluster that Coffer built. */
export function replicationLogin(config: InstanceConfig, endpoint: Endpoint): Login {
  const password = derivePassword(config, REPLICATION_USER);
  return {
    ...{ endpoint, user: REPLICATION_USER, password, settings: OWN_SETTINGS },
    ...{ ssl: null, openSocket: null },
  };
}

export function clientConfig(login: Login, limits: Limits, database = 'postgres'): ClientConfig {
  return {
    host: login.endpoint.host,
    port: login.endpoint.port,
    user: login.user,
    ...(login.password !== null && { password: login.password }),
    database,
    application_name: 'coffer',
    options: startupOptions(login.settings),
    ssl: login.ssl?.() ?? false,
    keepAlive: true,
    connectionTimeoutMillis: limits.connectMs,
    ...(limits.statementMs !== null && { query_timeout: limits.statementMs }),
  };
}

function startupOptions(settings: Login['settings']): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replaceAll(/[\\ ]/g, '\\$&')}`)
    .join(' ');
}

/**
 * A connection that reports its end to its next user, instead of with an unhandled event. A login that is
 * refused for the moment is tried again: while clients that fill the server log in, they hold even the
 * connections that are reserved for superusers.
 */
async function connect(login: Login, limits: Limits, database?: string): Promise<Client> {
  const deadline = Date.now() + limits.connectMs;
  for (;;) {
    const connectMs = Math.max(1, Math.min(deadline - Date.now(), TRY_MS));
    const socket = await login.openSocket?.();
    const client = new Client({
      ...clientConfig(login, { ...limits, connectMs }, database),
      ...(socket && { stream: () => socket }),
    });
    client.on('error', () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      disconnect(client);
      if (!isPassing(error) || Date.now() + TRY_AGAIN_MS >= deadline) throw error;
      await sleep(TRY_AGAIN_MS);
    }
  }
}

/** Does not wait: a server that hangs must not block the driver. */
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

/**
 * One connection that is kept open, so that urgent work need not log in first. If the connection is lost, a
 * new one is made, and the interrupted work is done once more: all work given to it may be repeated.
 */
export class Session {
  readonly #login: Login;
  readonly #limits: Limits;
  #client: Client | null = null;
  #opening: Promise<Client> | null = null;

  constructor(login: Login, limits: Limits) {
    this.#login = login;
    this.#limits = limits;
  }

  async use<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = await this.open();
    try {
      return await work(client);
    } catch (error) {
      if (!isLost(error)) {
        // An error without an SQLSTATE is no answer of the server: a statement may still be running.
        if (codeOf(error).length !== 5) this.#drop(client);
        throw error;
      }
      this.#drop(client);
    }
    return work(await this.open());
  }

  /** The existing connection, or a new one. */
  async open(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  close(): void {
    if (this.#client !== null) this.#drop(this.#client);
  }

  async #connect(): Promise<Client> {
    const client = await connect(this.#login, this.#limits);
    this.#client = client;
    client.once('end', () => this.#drop(client));
    return client;
  }

  #drop(client: Client): void {
    if (this.#client === client) this.#client = null;
    disconnect(client);
  }
}

/**
 * Too many connections, or no memory for one more (53); cut off (08); starting, stopping or recovering
 * (57P0x): a moment later the login may succeed.
 */
function isPassing(error: unknown): boolean {
  return /^(53|08|57P0)/.test(codeOf(error)) || isCutOff(error);
}

/**
 * Somebody else ended the session or its statement: an administrator, a time limit, or, on a standby, the
 * replay of its primary's log. The error says nothing about the server.
 */
function isLost(error: unknown): boolean {
  return /^(08|57P0|57014|25P0[34]|40001|40P01)/.test(codeOf(error)) || isCutOff(error);
}

function isCutOff(error: unknown): boolean {
  if (isErrno(error, 'ECONNRESET', 'EPIPE')) return true;
  return (
    error instanceof Error &&
    /^Connection terminated|is not queryable$|^timeout expired$|^could not fork new process/.test(
      error.message,
    )
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** The only row of a query that has one. */
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
