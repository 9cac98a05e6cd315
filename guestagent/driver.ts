import type { InstanceConfig } from '../src/contract/guest-config.ts';
import type { Endpoint, GuestAction, GuestReport, UpgradeInfo } from '../src/core/domain.ts';

export type { InstanceConfig };

/** What a driver can say of its server, without the agent's own fields. Never throws for a sick server. */
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
  | 'message'
>;

/**
 * One datastore's hands: brings one instance of it up and moves it between versions.
 *
 * Every method may be called again after a crash at any await of an earlier call: it finishes what
 * was begun, or undoes it, and never leaves a half. Calls for one instance come one at a time,
 * `health` excepted. A rejection means: not done, and the instance is as it was before the call
 * (or as near to it as the driver could bring it; `health` tells).
 */
export interface Driver {
  /** Builds the instance if its state directory is empty, else brings the server up as it was. Adopts a server that survived the agent. */
  start(): Promise<void>;
  /** Stops the server cleanly; the data stays. */
  stop(): Promise<void>;
  /** Stops the server and removes everything of this instance. */
  destroy(): Promise<void>;
  health(): Promise<Health>;
  /** Makes ready without touching service: fetches the version's binaries, checks that the upgrade can be done. */
  preUpgrade(target: Target): Promise<UpgradeInfo>;
  /** Moves this instance to the target version: stop, swap, start, wait until it serves again in its role. */
  upgrade(target: Target): Promise<void>;
  /** Checks, after `upgrade`, that the server runs the version and serves; tidies up what the old version left. */
  postUpgrade(target: Target): Promise<void>;
  /**
   * Stops a primary for a switchover, after everything it wrote has been sent to its standbys.
   * Answers the log position that a successor must have, and what else it is to take on. Rejects with the primary
   * serving, or serving again; it is not stopped for a successor, given by its name, that does not keep up. Null: any
   * standby will do.
   */
  demote(order: {
    readonly successor: string | null;
  }): Promise<{ readonly lsn: string; readonly handover?: Passed }>;
  /**
   * Makes this instance the primary, if it has everything up to `lsn`; rejects, still a standby, if
   * not. On a demoted primary it undoes the demotion: the server starts again as primary.
   */
  promote(order: { readonly lsn: string; readonly handover?: Passed }): Promise<void>;
  /** Points a standby to another primary and waits until it streams from there. */
  follow(order: { readonly primary: Endpoint }): Promise<void>;
  /** Of the simulated datastore alone: false makes the agent lose the message, as a fault on demand. */
  hears?(action: GuestAction): boolean;
}

/** What the demoted primary passes on to its successor, in the words of their driver. */
type Passed = Readonly<Record<string, unknown>>;

export interface Target {
  /** The version's name in the catalogue, e.g. `17.10`: all that a guest is ever told. */
  readonly datastore_version: string;
  /** Where the primary is now: a demoted primary comes back as its standby. Null where roles do not matter. */
  readonly primary: Endpoint | null;
  readonly info: UpgradeInfo;
}

/** Rejecting with this says that another attempt cannot help. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

export interface DriverDeps {
  readonly config: InstanceConfig;
  /** This instance's own directory, kept across restarts; removed by `destroy`. */
  readonly stateDir: string;
  /** Where downloaded packages are kept, shared by all instances of this machine. */
  readonly cacheDir: string;
  /** The unprivileged user that servers run as when the agent is root; `nobody` when not said. */
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
/** Brings a driver's code in when an instance needs it. */
export type DriverLoader = () => Promise<DriverFactory>;
