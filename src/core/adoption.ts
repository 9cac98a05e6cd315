/**
 * Adoption: Coffer takes over a server that it did not make. The guest agent looks at the server and its host,
 * changes nothing, and reports what it found, what Coffer would change and where, and what it refuses. The
 * report is part of each heartbeat of such a server, so it shows the server as it is now.
 */

/** Why a server can't be adopted, or can't be upgraded as it is. Each stands until its cause is gone. */
export const ADOPTION_REFUSALS = [
  /** No server runs on the data directory of the host file. */
  'not_running',
  /** The server refuses the agent's login. */
  'login_refused',
  /** The login is not a superuser's. */
  'not_superuser',
  /** The server that answers is not the server of the host file, or not at the agent's address. */
  'other_server',
  /** The data directory belongs to another cluster than the one that was adopted here. */
  'other_cluster',
  /** Coffer does not know this release of PostgreSQL. */
  'version_unsupported',
  /** The host file names no binaries for the version that runs. */
  'version_unknown',
  /** The server would not follow a new primary: the settings for it can't be made, or have no effect. */
  'settings_overridden',
  /** The server could not follow a new primary: the agent knows no login for replication. */
  'replication_login_missing',
  /** The server is set up in a way that Coffer can't continue, e.g. its recovery ends at a target. */
  'setup_unsupported',
] as const;
type AdoptionRefusalCode = (typeof ADOPTION_REFUSALS)[number];

export interface AdoptionRefusal {
  readonly code: AdoptionRefusalCode;
  /** One sentence: what is the matter. */
  readonly reason: string;
  /** What the operator can do about it. */
  readonly way_out: string;
}

interface AdoptionSetting {
  readonly name: string;
  /** As the server shows it. Secrets are left out. */
  readonly value: string;
  /** Where the value comes from: a file with its line, `command line`, `default` and the like. */
  readonly source: string;
}

/** Something that Coffer does to the server or its host in an upgrade, and takes back when it lets go. */
export interface AdoptionChange {
  /** What is done, in a sentence. */
  readonly what: string;
  /** The file, the command or the SQL statement. */
  readonly where: string;
  /** How it is taken back; null for what needs no way back, e.g. a restart. */
  readonly taken_back: string | null;
}

/** What the server says about itself. */
export interface AdoptedServer {
  /** As in the catalogue, e.g. `15.18`. */
  readonly version: string;
  /** With what its distribution adds: `15.18 (Debian 15.18-0+deb12u1)`. */
  readonly full_version: string;
  readonly role: 'primary' | 'replica';
  /** Where a replica replicates from. */
  readonly upstream: { readonly host: string; readonly port: number } | null;
  /** The name under which the server streams from its primary, or would: `application_name`. */
  readonly streams_as?: string;
  /** The same for all servers of one cluster. Digits: too large for a number. */
  readonly system_identifier: string;
  readonly data_checksums: boolean;
  readonly port: number;
  readonly socket_directories: readonly string[];
  readonly data_directory: string;
  readonly config_file: string;
  /** The settings in force that matter to an upgrade. */
  readonly settings: readonly AdoptionSetting[];
  readonly slots: readonly {
    readonly name: string;
    readonly type: 'physical' | 'logical';
    readonly active: boolean;
  }[];
  /** Of all databases that can be asked. */
  readonly extensions: readonly {
    readonly database: string;
    readonly name: string;
    readonly version: string;
  }[];
  readonly preload_libraries: readonly string[];
  readonly tablespaces: readonly { readonly name: string; readonly location: string }[];
  readonly synchronous_standby_names: string;
  /** The program that archives the log, without its arguments; null if the log is not archived. */
  readonly archive_program: string | null;
}

/** What the agent knows of its host, from the file that the operator wrote there. */
export interface AdoptionHost {
  /** How the server is started and stopped, e.g. `pg_ctlcluster 15 main`. */
  readonly control: string;
  /** How the agent logs in, e.g. `postgres through the socket in /run/postgresql`. */
  readonly login: string;
  /** Where the binaries of which version are, or which command brings them. */
  readonly versions: readonly { readonly version: string; readonly from: string }[];
}

export interface AdoptionReport {
  readonly host: AdoptionHost;
  /** Null while the server can't be asked: `refusals` say why. */
  readonly server: AdoptedServer | null;
  /** What Coffer would change in an upgrade. */
  readonly changes: readonly AdoptionChange[];
  /** Empty if nothing is in the way. */
  readonly refusals: readonly AdoptionRefusal[];
}

/** For people: what is in the way, and the way out. */
export function refusalSentence({ reason, way_out }: AdoptionRefusal): string {
  const [what, how] = [reason, way_out].map((text) => text.replace(/\.$/, ''));
  return `${what}: ${how}`;
}

export function refusalWords(refusals: readonly AdoptionRefusal[]): string {
  return refusals.map(refusalSentence).join('; ');
}
