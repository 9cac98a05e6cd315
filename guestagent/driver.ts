import type { InstanceConfig } from '../src/contract/guest-config.ts';
import type { Endpoint, GuestAction, GuestReport, UpgradeInfo } from '../src/core/domain.ts';

export type { InstanceConfig };

/**
 * What a driver can report about its server, without the agent's own fields. Never throws because of an
 * unhealthy server.
 */
export type Health = Pick<
  GuestReport,
  | 'service_status'
  | 'version'
  | 'role'
  | 'upstream'
  | 'lag_bytes'
  | 'hindrance'
  | 'synchronous'
  | 'endpoint'
  | 'placement'
  | 'findings'
  | 'settings'
  | 'adoption'
  | 'message'
>;

/**
 * Runs one instance of one datastore: starts it and moves it between versions. `docs/drivers.md` leads an
 * author through it; `test/conformance/driver.ts` holds every driver to it.
 *
 * Every method may be called again after a crash at any await of an earlier call: it then finishes what was
 * begun, or undoes it, and never leaves it half done. Calls for one instance come one at a time, `health`,
 * `stop` and `destroy` excepted. A rejection means that the work is not done, and that the instance is as it
 * was before the call (or as near to it as the driver could bring it; `health` reports how it is). After `stop`
 * a rejected order brings nothing back: the next `start` decides. An object that was stopped is asked only for
 * `health`, `stop` and `destroy`.
 */
export interface Driver extends Partial<Roles> {
  /**
   * Brings the server to the state that its disk demands: builds it if it is Coffer's to build and does not
   * exist yet, starts it if it is down and should run, adopts it if it survived the agent.
   */
  start(): Promise<void>;
  /**
   * Ends the driver's work; an order that is under way ends soon, and rejects unless it succeeds. A server
   * that `start` starts is stopped cleanly; a server that belongs to its operator runs on. The data stays.
   */
  stop(): Promise<void>;
  /**
   * Removes everything of this instance that the driver has made. A server that belongs to its operator runs
   * on.
   */
  destroy(): Promise<void>;
  /** Answers within seconds, at any moment, and never rejects. */
  health(): Promise<Health>;
  /**
   * Prepares without touching service: fetches the version's binaries, and checks that the upgrade can be
   * done.
   */
  preUpgrade(target: Target): Promise<UpgradeInfo>;
  /**
   * Moves this instance to the target version, which may be an older one: stops the server, swaps the
   * binaries, starts it, and waits until it serves again in its role.
   */
  upgrade(target: Target): Promise<void>;
  /**
   * Checks after `upgrade` that the server runs the version and serves; removes what the old version left.
   */
  postUpgrade(target: Target): Promise<void>;
  /** Only for the simulated datastore: false makes the agent lose the message, as a fault on demand. */
  hears?(action: GuestAction): boolean;
}

/** The orders of a switchover, for a datastore with one primary. Where all instances are alike, there are none. */
export interface Roles {
  /**
   * Stops a primary for a switchover, after everything it wrote has been sent to its standbys. Returns the
   * log position that a successor must have, and what else the successor is to take over. On a rejection the
   * primary still serves, or serves again. It is not stopped if the successor, given by its name, does not
   * keep up. Null: any standby may succeed it.
   */
  demote(order: {
    readonly successor: string | null;
  }): Promise<{ readonly lsn: string; readonly handover?: Passed }>;
  /**
   * Makes this instance the primary if it has everything up to `lsn`; otherwise rejects, and the instance
   * stays a standby. On a demoted primary it undoes the demotion: the server starts again as primary.
   */
  promote(order: { readonly lsn: string; readonly handover?: Passed }): Promise<void>;
  /** Makes a standby, or a demoted primary, replicate from another primary; waits until it does. */
  follow(order: { readonly primary: Endpoint }): Promise<void>;
}

/** What the demoted primary hands over to its successor, in the format of their driver. */
type Passed = Readonly<Record<string, unknown>>;

export interface Target {
  /** The version's name in the catalogue, e.g. `17.10`: a guest is told nothing else about a version. */
  readonly datastore_version: string;
  /** Where the primary is now: a demoted primary returns as its standby. Null where roles do not matter. */
  readonly primary: Endpoint | null;
  readonly info: UpgradeInfo;
}

/** A rejection with this error means that another attempt cannot help. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

export interface DriverDeps {
  readonly config: InstanceConfig;
  /** This instance's own directory, kept across restarts: `start` makes it, `destroy` removes it. */
  readonly stateDir: string;
  /** Where downloaded packages are kept, shared by all instances of this machine. */
  readonly cacheDir: string;
  /** The unprivileged user that servers run as when the agent is root; `nobody` if not given. */
  readonly serverUser?: string | undefined;
  readonly log: DriverLog;
}

/** The part of pino's logger that drivers use. */
export interface DriverLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type DriverFactory = (deps: DriverDeps) => Driver;
/** Loads a driver's code when an instance needs it. */
export type DriverLoader = () => Promise<DriverFactory>;
