import type { Endpoint, Role } from '../core/domain.ts';

/**
 * What the guest agent knows about one instance before any report. The provisioner writes this file on the
 * instance's host, or the agent writes it after it has joined. Its path is `<guest dir>/<instance_id>.json`.
 */
export interface InstanceConfig {
  /**
   * The installation that its messages belong to; absent in files that were written before installations
   * existed.
   */
  readonly installation?: string;
  readonly instance_id: string;
  readonly cluster_id: string;
  readonly name: string;
  /** Position in the cluster, from 0, in creation order. */
  readonly ordinal: number;
  readonly manager: string;
  /** True if the server existed before: the agent adopts it, and builds nothing. */
  readonly adopted?: boolean;
  /**
   * The version to build with, empty for an adopted server; later versions arrive with `upgrade`, and are
   * stored in the state directory.
   */
  readonly datastore_version: string;
  /** The role to build with; afterwards the data directory itself holds the role. */
  readonly role: Role;
  /** The address at which this instance serves. */
  readonly endpoint: Endpoint;
  /** The address of the primary from which a replica takes its first copy; null for the primary itself. */
  readonly primary: Endpoint | null;
  /**
   * Protects the messages to and from this instance, 32 bytes in base64; absent where messages are not
   * protected.
   */
  readonly rpc_key?: string;
  /** The secret that the agents of one cluster share: passwords are derived from it. It is never sent. */
  readonly cluster_token: string;
  readonly extended_properties: Readonly<Record<string, unknown>>;
  /** Databases and users to create when the cluster is built; passwords as SCRAM-SHA-256 verifiers. */
  readonly databases: readonly string[];
  readonly users: readonly {
    readonly name: string;
    readonly verifier: string;
    readonly databases: readonly string[];
  }[];
}

/** The part that does not depend on who provides the instance. */
export type PlannedInstance = Omit<InstanceConfig, 'cluster_token' | 'rpc_key'>;
