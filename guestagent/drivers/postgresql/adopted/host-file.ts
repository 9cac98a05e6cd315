import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { ConfigError } from '../../../../src/config.ts';
import { Argv, mapOf, missingProgram, readOperatorFile, Timeout } from '../../operator-file.ts';

/**
 * The file in which the operator of a host describes the PostgreSQL server there: `COFFER_POSTGRESQL_HOST`.
 * Nothing of it comes over the bus.
 */
const AbsolutePath = z.string().refine(isAbsolute, 'must be an absolute path');
const OneLine = z.string().regex(/^[^\r\n\0]+$/, 'must be one line');

const COMMAND_SECONDS = 300;

const Control = z.union([
  z
    .string()
    .refine(
      (word) => word === 'pg_ctl',
      'must be pg_ctl, or one of pg_ctlcluster: "15 main", systemd: <unit>, or start and stop with commands',
    )
    .transform((): 'pg_ctl' => 'pg_ctl'),
  z.strictObject({ pg_ctlcluster: z.string().regex(/^\d+ [\w.-]+$/, 'must be like "15 main"') }),
  z.strictObject({ systemd: z.string().regex(/^[\w@.:-]+$/, 'must be the name of a unit') }),
  z.strictObject({ start: Argv, stop: Argv, timeout_seconds: Timeout.exactOptional() }),
]);

const Packages = z.strictObject({
  bindir: AbsolutePath,
  fetch: Argv,
  install: Argv,
  timeout_seconds: Timeout.exactOptional(),
});

const Tls = z.strictObject({
  ca: AbsolutePath.exactOptional(),
  cert: AbsolutePath.exactOptional(),
  key: AbsolutePath.exactOptional(),
  server_name: OneLine.exactOptional(),
});

const LoginShape = z.strictObject({
  user: OneLine.default('postgres'),
  host: OneLine,
  password_file: AbsolutePath.exactOptional(),
  tls: Tls.exactOptional(),
});

const HostShape = z
  .strictObject({
    data_directory: AbsolutePath,
    config_file: AbsolutePath.exactOptional(),
    log_file: AbsolutePath.exactOptional(),
    control: Control,
    versions: mapOf(AbsolutePath, /^\d+\.\d+$/, 'versions such as "15.18", in quotes').exactOptional(),
    packages: Packages.exactOptional(),
    login: LoginShape,
    replication: OneLine.exactOptional(),
  })
  .check(({ value, issues }) => {
    for (const message of contradictions(value)) issues.push({ code: 'custom', input: value, message });
  });

type Given = Readonly<{
  control: z.output<typeof Control>;
  versions?: Readonly<Record<string, string>>;
  packages?: z.output<typeof Packages>;
  log_file?: string;
  login: z.output<typeof LoginShape>;
}>;

function contradictions({ control, versions, packages, log_file, login }: Given): readonly string[] {
  const problems: string[] = [];
  if ((versions === undefined) === (packages === undefined)) {
    problems.push(
      'must have either versions (a folder of binaries for each) or packages (installed in place)',
    );
  }
  if (versions !== undefined && Object.keys(versions).length === 0) problems.push('names no version');
  if (versions !== undefined && typeof control !== 'string' && 'systemd' in control) {
    problems.push(
      'has a systemd unit, which starts one folder of binaries: it needs packages instead of versions',
    );
  }
  if (control === 'pg_ctl' && log_file === undefined) {
    problems.push("must name log_file: pg_ctl writes the server's first messages there");
  }
  if (login.host.startsWith('/') && login.tls !== undefined) {
    problems.push('has tls for a login through a socket, which has none');
  }
  if ((login.tls?.cert === undefined) !== (login.tls?.key === undefined)) {
    problems.push('must have both cert and key, or neither');
  }
  return problems;
}

type HostControl = z.output<typeof Control>;
type HostPackages = z.output<typeof Packages>;
export type HostLogin = z.output<typeof LoginShape>;

/** What the file says, with what follows from it. */
export interface PostgresqlHost {
  /** The file itself, for messages. */
  readonly path: string;
  readonly data_directory: string;
  readonly config_file: string;
  /** Null if only the server knows where its log is. */
  readonly log_file: string | null;
  readonly control: HostControl;
  /** The folder with `postgres`, by version; null if packages are installed in place. */
  readonly versions: ReadonlyMap<string, string> | null;
  readonly packages: HostPackages | null;
  readonly login: HostLogin;
  /** What `primary_conninfo` needs beside host and port, where the server has none yet. */
  readonly replication: string | null;
}

/** Throws a `ConfigError` that lists every problem, also programs and files that are missing. */
export function readHostFile(path: string): PostgresqlHost {
  const given = readOperatorFile(path, HostShape);
  const { data_directory, control, versions, packages, login } = given;
  const host: PostgresqlHost = {
    ...{ path, data_directory, control, login },
    config_file: given.config_file ?? join(data_directory, 'postgresql.conf'),
    log_file: given.log_file ?? logOf(control),
    versions: versions === undefined ? null : new Map(Object.entries(versions)),
    packages: packages ?? null,
    replication: given.replication ?? null,
  };
  const problems = [...missingFiles(host), ...missingPrograms(host)];
  if (problems.length > 0) throw new ConfigError(`${path}: ${problems.join('; ')}`);
  return host;
}

function logOf(control: HostControl): string | null {
  if (typeof control === 'string' || !('pg_ctlcluster' in control)) return null;
  return `/var/log/postgresql/postgresql-${control.pg_ctlcluster.replace(' ', '-')}.log`;
}

function missingFiles({ data_directory, config_file, login }: PostgresqlHost): readonly string[] {
  const { ca, cert, key } = login.tls ?? {};
  const files = { config_file, password_file: login.password_file, ca, cert, key };
  return [
    ...(existsSync(join(data_directory, 'PG_VERSION'))
      ? []
      : [`data_directory: ${data_directory} is not a data directory of PostgreSQL that this agent can read`]),
    ...Object.entries(files).flatMap(([name, file]) =>
      file === undefined || isReadable(file) ? [] : [`${name}: there is no file ${file} that can be read`],
    ),
  ];
}

function missingPrograms({ control, versions, packages }: PostgresqlHost): readonly string[] {
  const bins = [...(versions ?? [])].map(([version, bin]): [string, string] => [`versions.${version}`, bin]);
  if (packages !== null) bins.push(['packages.bindir', packages.bindir]);
  const needed = control === 'pg_ctl' ? ['postgres', 'pg_ctl'] : ['postgres'];
  const commands = typeof control === 'string' || !('start' in control) ? null : control;
  return [
    ...bins.flatMap(([where, bin]) => needed.flatMap((name) => missingProgram(where, join(bin, name)))),
    ...missingProgram('packages.fetch', packages?.fetch[0]),
    ...missingProgram('packages.install', packages?.install[0]),
    ...missingProgram('control.start', commands?.start[0]),
    ...missingProgram('control.stop', commands?.stop[0]),
  ];
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** The limit for a command of the operator's. */
export function timeoutOf(given: { readonly timeout_seconds?: number }): number {
  return (given.timeout_seconds ?? COMMAND_SECONDS) * 1_000;
}

/** How the server is started and stopped, for people. */
export function controlText(control: HostControl): string {
  if (typeof control === 'string') return control;
  if ('pg_ctlcluster' in control) return `pg_ctlcluster ${control.pg_ctlcluster}`;
  if ('systemd' in control) return `the systemd unit ${control.systemd}`;
  return `${control.start.join(' ')}, ${control.stop.join(' ')}`;
}
