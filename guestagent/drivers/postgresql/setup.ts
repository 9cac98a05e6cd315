import type { Client } from 'pg';
import type { Endpoint } from '../../../src/core/domain.ts';
import type { Health } from '../../driver.ts';
import type { Account } from '../account.ts';
import type { Binaries } from './binaries.ts';
import type { Demands } from './control.ts';
import type { Glance } from './replication.ts';
import type { Server, Starter } from './server.ts';
import type { Places } from './settings.ts';
import type { Login } from './sql.ts';
import type { Serving, State } from './state.ts';

/** The instance, as far as a setup works on it. */
export interface Managed {
  readonly server: Server;
  /** Aborted when the agent stops. */
  readonly halt: AbortController;
  save<S extends State>(state: S): Promise<S>;
  bringUp(state: Serving): Promise<void>;
  stopServer(): Promise<void>;
  holdSessions(): Promise<void>;
  closeSessions(): void;
  withServer<T>(work: (client: Client) => Promise<T>): Promise<T>;
}

/**
 * All that differs between a server that Coffer built (`built.ts`) and a server that Coffer has adopted
 * (`adopted/`). Everything else in this folder is the same for both.
 */
export interface Setup {
  readonly places: Places;
  /** The user that the server runs as; null if that is the agent's own. */
  readonly account: Account | null;
  readonly starter: Starter;
  /** For the agent's own sessions on the server. */
  readonly login: Login;
  /** True if the agent starts a server that has ended by itself, and restarts one that its primary has outgrown. */
  readonly supervises: boolean;
  /** True if the server's log is the agent's, to be kept short. */
  readonly ownsLog: boolean;
  /** What to do about a standby that can never catch up. */
  readonly rebuildAdvice: string;

  /** Called at each start of the agent, before all else. */
  begin(): Promise<void>;
  /** Builds the server, or adopts the one that is there. */
  create(instance: Managed, progress: (message: string) => void): Promise<Serving>;
  /** The agent has started again, and the server should serve. */
  resume(instance: Managed, state: Serving): Promise<void>;
  /** The agent ends: what becomes of the server? */
  leave(instance: Managed): Promise<void>;
  /** The instance is removed: what becomes of the server? The state directory is removed afterwards. */
  remove(instance: Managed): Promise<void>;

  /** Throws a PermanentError unless this host can get binaries of that version. */
  requireKnown(version: string): void;
  /** The binaries of the version; fetched first if necessary. */
  binaries(version: string): Promise<Binaries>;
  /** Proves that the server could run on these binaries. Changes nothing. */
  prove(binaries: Binaries): Promise<void>;
  /** True if the server, a process with this executable, runs that version. */
  runs(executable: string, version: string): Promise<boolean>;
  /** The state of a server that should serve, which somebody else may have changed meanwhile. */
  current(state: Serving, glance: () => Promise<Glance | null>): Promise<Serving>;

  /** Writes what makes the server a standby of `primary`; null for a server that is to be the primary. */
  writeSettings(primary: Endpoint | null): Promise<void>;
  /** What keeps such settings from having an effect, and the way out; null if nothing does. */
  overridden(): Promise<string | null>;
  /** The same as it was last known, for the message of a heartbeat: it must not wait for logins. */
  explained(): Promise<string | null>;
  /** The agent is about to set `synchronous_standby_names`; an empty text resets it. */
  setsSynchronous(names: string): Promise<void>;
  /** The settings that a start has to raise, because the primary has more. */
  raised(primary: Endpoint | null): Promise<Readonly<Partial<Demands>>>;

  /** For a replication connection to another server; null if no login is known. */
  replicationLogin(endpoint: Endpoint): Promise<Login | null>;
  /** The name under which this server streams, or would. */
  ownStreamName(): Promise<string>;
  /** Whether standbys may use physical slots, which a switchover has to take along. */
  readonly movesSlots: boolean;
  /** The slot that this server names as a standby, or would; null for none. */
  ownSlot(): Promise<string | null>;

  /** An order has ended, in whatever way: what was found while it ran may hold no longer. */
  orderEnded(): void;
  /**
   * What a heartbeat says in addition; null for a server that can't be asked. Never waits. While the instance is
   * not `settled`, an order may have stopped the server.
   */
  known(isPrimary: boolean | null, settled: boolean): Partial<Health>;
  /** The same, found out now, for `pre_upgrade`. */
  check(isPrimary: boolean): Promise<Required<Pick<Health, 'findings'>>>;
}
