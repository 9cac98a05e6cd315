import { realpath } from 'node:fs/promises';
import type { Client } from 'pg';
import type {
  AdoptedServer,
  AdoptionChange,
  AdoptionHost,
  AdoptionRefusal,
  AdoptionReport,
} from '../../../../src/core/adoption.ts';
import type { Endpoint } from '../../../../src/core/domain.ts';
import { textOf } from '../../../../src/log.ts';
import { parseConninfo, streamName, withoutSecrets } from '../conninfo.ts';
import { identifierIn } from '../control.ts';
import { databasesOf } from '../left-behind.ts';
import { glance, majorOf } from '../replication.ts';
import { type Login, one, PATIENT, withClient } from '../sql.ts';
import { SYNCHRONOUS } from '../synchronous.ts';
import { librariesIn } from './host-binaries.ts';
import { controlText, type PostgresqlHost } from './host-file.ts';
import { loginText } from './host-login.ts';
import type { Memory } from './memory.ts';

/** Finds out, by questions only, what an adopted server is and what is in the way of upgrading it. */
interface LookDeps {
  readonly host: PostgresqlHost;
  readonly login: Login;
  /** Where the instance serves, as the agent was told. */
  readonly endpoint: Endpoint;
  readonly isRunning: () => Promise<boolean>;
  readonly recall: () => Promise<Memory | null>;
  readonly requireKnown: (version: string) => void;
}

const MAJORS = ['13', '14', '15', '16', '17'];
const MAX_DATABASES = 50;
const LOOK = { ...PATIENT, connectMs: 3_000, statementMs: 5_000 };

/** What an upgrade depends on, or changes. */
const SETTINGS = [
  ...['primary_conninfo', 'primary_slot_name', 'restore_command', 'recovery_min_apply_delay'],
  ...['recovery_target_timeline', 'hot_standby', 'wal_level', 'max_wal_senders', 'max_connections'],
  ...['max_worker_processes', 'max_prepared_transactions', 'max_locks_per_transaction', 'wal_keep_size'],
  ...['max_slot_wal_keep_size', 'archive_mode', 'shared_preload_libraries', 'listen_addresses', 'port'],
  ...['unix_socket_directories', 'cluster_name', 'synchronous_commit', 'logging_collector', 'ssl'],
];
const TARGETS = ['', '_name', '_time', '_xid', '_lsn'].map((end) => `recovery_target${end}`);

interface Found {
  readonly server: AdoptedServer;
  readonly conninfo: string;
  readonly isSuperuser: boolean;
  readonly target: string | null;
}

/** All but the extensions: see `extensionsOf`. */
export async function look(deps: LookDeps): Promise<AdoptionReport & { readonly conninfo: string | null }> {
  const { host, login } = deps;
  const about = hostOf(host);
  const blind = (refusal: AdoptionRefusal) => ({
    ...{ host: about, server: null, changes: changesOn(host, null), refusals: [refusal], conninfo: null },
  });
  const stranger = await strangerRefusal(deps);
  if (stranger !== null) return blind(stranger);
  if (!(await deps.isRunning())) return blind(notRunning(host));
  let found: Found;
  try {
    found = await withClient(login, LOOK, (client) => find(client, host));
  } catch (error) {
    return blind(isDenied(error) ? notSuperuser(host) : loginRefused(host, error));
  }
  const { server, conninfo } = found;
  const refusals = await refusalsOf(deps, found);
  return { host: about, server, changes: changesOn(host, server), refusals, conninfo };
}

function hostOf(host: PostgresqlHost): AdoptionHost {
  const { versions, packages } = host;
  return {
    control: controlText(host.control),
    login: loginText(host.login),
    versions:
      versions !== null
        ? [...versions].map(([version, from]) => ({ version, from }))
        : [
            {
              version: 'any of this major release',
              from: `${packages?.install.join(' ')}, into ${packages?.bindir}`,
            },
          ],
  };
}

async function find(client: Client, host: PostgresqlHost): Promise<Found> {
  const seen = await glance(client);
  const row = await one<{
    full_version: string;
    identifier: string;
    checksums: boolean;
    superuser: boolean;
  }>(
    client,
    `SELECT pg_catalog.current_setting('server_version') AS full_version,
            (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS identifier,
            pg_catalog.current_setting('data_checksums')::bool AS checksums,
            (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser`,
  );
  const settings = await settingsOf(client);
  const settingOf = (name: string) => settings.get(name)?.value ?? '';
  const list = (name: string) => librariesIn(settingOf(name));
  const shown = SETTINGS.flatMap((name) => {
    const setting = settings.get(name);
    return setting === undefined
      ? []
      : [{ name, value: shownValue(name, setting.value), source: setting.source }];
  });
  const server: AdoptedServer = {
    ...{ version: seen.version, full_version: row.full_version },
    ...{ role: seen.standby ? 'replica' : 'primary', upstream: seen.upstream },
    streams_as: streamName(
      settingOf('primary_conninfo') || (host.replication ?? ''),
      settingOf('cluster_name'),
    ),
    ...{ system_identifier: row.identifier, data_checksums: row.checksums },
    port: Number(settingOf('port')),
    socket_directories: list('unix_socket_directories'),
    data_directory: settingOf('data_directory'),
    config_file: settingOf('config_file') || host.config_file,
    settings: shown,
    slots: await slotsOf(client),
    extensions: [],
    preload_libraries: list('shared_preload_libraries'),
    tablespaces: await tablespacesOf(client),
    synchronous_standby_names: settingOf(SYNCHRONOUS),
    archive_program: archiveProgram(settingOf('archive_mode'), settingOf('archive_command')),
  };
  return {
    ...{ server, conninfo: settingOf('primary_conninfo'), isSuperuser: row.superuser },
    target: TARGETS.find((name) => settingOf(name) !== '') ?? null,
  };
}

interface Setting {
  readonly value: string;
  readonly source: string;
}

async function settingsOf(client: Client): Promise<ReadonlyMap<string, Setting>> {
  const { rows } = await client.query<{ name: string; value: string | null; source: string }>(
    `SELECT name, pg_catalog.current_setting(name, true) AS value,
            coalesce(sourcefile || ':' || sourceline, source) AS source
       FROM pg_catalog.pg_settings WHERE name = ANY ($1)`,
    [[...[...SETTINGS, ...TARGETS, 'data_directory', 'config_file', 'archive_command'], SYNCHRONOUS]],
  );
  return new Map(rows.map(({ name, value, source }) => [name, { value: value ?? '', source }]));
}

/** A connection string may hold a password, and a command a key. */
function shownValue(name: string, value: string): string {
  if (name === 'primary_conninfo') {
    const parsed = parseConninfo(value);
    return parsed === null ? '(a connection URI)' : withoutSecrets(parsed);
  }
  return name === 'restore_command' ? (programIn(value) ?? '') : value;
}

function archiveProgram(mode: string, command: string): string | null {
  return mode === 'off' ? null : programIn(command);
}

function programIn(command: string): string | null {
  const program = command.trim().split(/\s+/)[0] ?? '';
  return program === '' ? null : program;
}

async function slotsOf(client: Client): Promise<AdoptedServer['slots']> {
  const { rows } = await client.query<AdoptedServer['slots'][number]>(
    `SELECT slot_name AS name, slot_type AS type, active
       FROM pg_catalog.pg_replication_slots WHERE NOT temporary ORDER BY slot_name`,
  );
  return rows;
}

async function tablespacesOf(client: Client): Promise<AdoptedServer['tablespaces']> {
  const { rows } = await client.query<AdoptedServer['tablespaces'][number]>(
    `SELECT spcname AS name, pg_catalog.pg_tablespace_location(oid) AS location
       FROM pg_catalog.pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY spcname`,
  );
  return rows;
}

/** Asks every database in a session of its own. */
export async function extensionsOf(login: Login): Promise<AdoptedServer['extensions']> {
  const databases = await withClient(login, LOOK, databasesOf);
  const found: AdoptedServer['extensions'][number][] = [];
  for (const database of databases.slice(0, MAX_DATABASES)) {
    const inOne = await withClient(login, LOOK, extensionsIn, database).catch(() => []);
    found.push(...inOne.map((extension) => ({ database, ...extension })));
  }
  return found;
}

async function extensionsIn(client: Client): Promise<readonly { name: string; version: string }[]> {
  const { rows } = await client.query<{ name: string; version: string }>(
    `SELECT extname AS name, extversion AS version FROM pg_catalog.pg_extension
      WHERE extname <> 'plpgsql' ORDER BY extname`,
  );
  return rows;
}

// ---- what is in the way

/** The data directory was that of another cluster when it was adopted. */
async function strangerRefusal({ host, recall }: LookDeps): Promise<AdoptionRefusal | null> {
  const memory = await recall();
  const identifier = await identifierIn(host.data_directory).catch(() => null);
  if (memory === null || identifier === null || identifier === memory.system_identifier) return null;
  return {
    code: 'other_cluster',
    reason: `${host.data_directory} belongs to the cluster ${identifier}; the one that was adopted was ${memory.system_identifier}`,
    way_out: `name the right data directory in ${host.path}; for another cluster, release this one and adopt that one`,
  };
}

function notRunning({ data_directory, path, control }: PostgresqlHost): AdoptionRefusal {
  return {
    code: 'not_running',
    reason: `no server runs on ${data_directory}`,
    way_out: `start it (${controlText(control)}), or correct data_directory in ${path}`,
  };
}

function loginRefused({ login, path }: PostgresqlHost, error: unknown): AdoptionRefusal {
  return {
    code: 'login_refused',
    reason: `the agent can't log in as ${loginText(login)}: ${textOf(error)}`,
    way_out: `correct login in ${path}, or let this user in (pg_hba.conf)`,
  };
}

/** The settings of the agent's sessions are a superuser's to make. */
function isDenied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '42501';
}

function notSuperuser({ login, path }: PostgresqlHost): AdoptionRefusal {
  return {
    code: 'not_superuser',
    reason: `${login.user} is not a superuser of the server`,
    way_out: `name a superuser as login in ${path}`,
  };
}

async function refusalsOf(deps: LookDeps, found: Found): Promise<readonly AdoptionRefusal[]> {
  const { host, endpoint } = deps;
  const { server } = found;
  const refusals: AdoptionRefusal[] = [];
  const add = (code: AdoptionRefusal['code'], reason: string, way_out: string) =>
    refusals.push({ code, reason, way_out });
  const [here, there] = await Promise.all([host.data_directory, server.data_directory].map(resolved));
  if (here !== there) {
    const reason = `the server that answers has its data in ${there}, and not in ${here}`;
    add('other_server', reason, `correct login or data_directory in ${host.path}`);
  }
  if (server.port !== endpoint.port) {
    const reason = `the server listens on port ${server.port}, and the agent was told ${endpoint.host}:${endpoint.port}`;
    add('other_server', reason, 'correct COFFER_ADVERTISE of the agent');
  }
  if (!found.isSuperuser) refusals.push(notSuperuser(host));
  if (!MAJORS.includes(majorOf(server.version))) {
    const reason = `Coffer knows PostgreSQL ${MAJORS.join(', ')}, and this is ${server.version}`;
    add('version_unsupported', reason, 'leave this cluster to its present means');
  }
  try {
    deps.requireKnown(server.version);
  } catch (error) {
    add(
      'version_unknown',
      textOf(error),
      `add ${server.version}, which runs now, to versions in ${host.path}`,
    );
  }
  for (const refusal of settingRefusals(found, host)) refusals.push(refusal);
  return refusals;
}

function settingRefusals(
  { server, conninfo, target }: Found,
  host: PostgresqlHost,
): readonly AdoptionRefusal[] {
  const refusals: AdoptionRefusal[] = [];
  const settingOf = (name: string) => server.settings.find((setting) => setting.name === name);
  const followed = settingOf('primary_conninfo');
  if (followed?.source === 'command line') {
    refusals.push({
      code: 'settings_overridden',
      reason: 'primary_conninfo is an argument of the server: no file can change which server it follows',
      way_out: 'set it in a file instead, and restart the server',
    });
  }
  if (conninfo === '' && host.replication === null) {
    refusals.push({
      code: 'replication_login_missing',
      reason: 'this server has no primary_conninfo: after a switchover it could not follow the new primary',
      way_out: `say in ${host.path} how it logs in for replication, e.g. replication: "user=replicator passfile=/var/lib/postgresql/.pgpass"`,
    });
  }
  if (parseConninfo(conninfo) === null) {
    refusals.push({
      code: 'setup_unsupported',
      reason: 'primary_conninfo is a URI, whose host Coffer can not replace',
      way_out: 'write it with keywords: host=… port=… user=…',
    });
  }
  const timeline = settingOf('recovery_target_timeline')?.value;
  if (target !== null || (timeline !== undefined && timeline !== 'latest')) {
    refusals.push({
      code: 'setup_unsupported',
      reason: `${target ?? 'recovery_target_timeline'} is set: this server would not follow a new primary`,
      way_out: 'reset it, and restart the server',
    });
  }
  return refusals;
}

function resolved(path: string): Promise<string> {
  return realpath(path).catch(() => path);
}

// ---- what would be changed

function changesOn(host: PostgresqlHost, server: AdoptedServer | null): readonly AdoptionChange[] {
  const { control, packages, data_directory } = host;
  const changes: AdoptionChange[] = [
    { what: 'stop and start the server', where: controlText(control), taken_back: null },
    {
      what: 'after a switchover: host and port of primary_conninfo on a server that must follow another primary',
      where: `ALTER SYSTEM, in ${data_directory}/postgresql.auto.conf`,
      taken_back: 'the line as it was, once the server again follows the server that it follows now',
    },
  ];
  if (packages !== null) {
    const taken_back =
      'the same command with the old version, if the new one does not serve, and in a rollback';
    changes.push({
      what: 'fetch packages while the server serves',
      where: packages.fetch.join(' '),
      taken_back: null,
    });
    changes.push({
      what: 'install packages while the server is down',
      where: packages.install.join(' '),
      taken_back,
    });
  }
  const moved = (server?.slots ?? []).filter(({ type }) => type === 'physical').map(({ name }) => name);
  if (moved.length > 0) {
    changes.push({
      what: `in a switchover: the physical slots ${moved.join(', ')} are made on the new primary, and dropped here`,
      where: 'pg_create_physical_replication_slot, pg_drop_replication_slot',
      taken_back: 'when the server becomes the primary again',
    });
  }
  if (server?.role === 'primary') {
    changes.push({
      what: 'in a switchover, on the old primary: make it a standby',
      where: `${data_directory}/standby.signal`,
      taken_back: 'removed when the server becomes the primary again',
    });
  }
  if (server?.role === 'primary' && server.synchronous_standby_names !== '') {
    changes.push({
      what: `in a switchover: ${SYNCHRONOUS} passes to the new primary, with this server in the place of that one`,
      where: 'ALTER SYSTEM, on the new primary',
      taken_back:
        'on a server that is a standby when it is let go; a primary goes on waiting for its standbys',
    });
  }
  return changes;
}
