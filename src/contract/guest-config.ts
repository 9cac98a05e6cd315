import type { Endpoint, Role } from '../core/domain.ts';

/**
 * What the guest agent knows of one instance before any report: written on its host by the
 * provisioner, or by the agent itself after it has joined. Lies in `<guest dir>/<instance_id>.json`.
 */
export interface InstanceConfig {
  /** The installation that its messages belong to; absent in files of before there were any. */
  readonly installation?: string;
  readonly instance_id: string;
  readonly cluster_id: string;
  readonly name: string;
  /** Position in the cluster, from 0, in creation order. */
  readonly ordinal: number;
  readonly manager: string;
  /** The version to build with; later versions are told by `upgrade`, and remembered in the state directory. */
  readonly datastore_version: string;
  /** The role to build with; afterwards the data directory itself knows. */
  readonly role: Role;
  /** Where this instance serves. */
  readonly endpoint: Endpoint;
  /** Where a replica finds the primary for its first copy; null for the primary itself. */
  readonly primary: Endpoint | null;
  /** Protects what this instance is told and says, 32 bytes in base64; absent where nothing is protected. */
  readonly rpc_key?: string;
  /** The secret that the agents of one cluster share: passwords are derived from it. Never sent. */
  readonly cluster_token: string;
  readonly extended_properties: Readonly<Record<string, unknown>>;
  /** Databases and users to make when the cluster is built; passwords as SCRAM-SHA-256 verifiers. */
  readonly databases: readonly string[];
  readonly users: readonly {
    readonly name: string;
    readonly verifier: string;
    readonly databases: readonly string[];
  }[];
}

/** What does not depend on who brings the instance. */
export type PlannedInstance = Omit<InstanceConfig, 'cluster_token' | 'rpc_key'>;
