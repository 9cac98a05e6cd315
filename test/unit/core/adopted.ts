/** What the agent of an adopted server reports, for tests that need such a report. */
import type { AdoptionReport } from '../../../src/core/adoption.ts';

type Server = NonNullable<AdoptionReport['server']>;

/** A healthy primary of 17.6 as Debian's tools make it, with what a test says about it. */
export function adoptionReport(
  server: Partial<Server> | null = {},
  refusals: AdoptionReport['refusals'] = [],
): AdoptionReport {
  return {
    host: {
      control: 'pg_ctlcluster 17 main',
      login: 'postgres through the socket in /run/postgresql',
      versions: [{ version: '17.6', from: '/usr/lib/postgresql/17/bin' }],
    },
    server: server && {
      ...{ version: '17.6', full_version: '17.6 (Debian 17.6-1)', role: 'primary', upstream: null },
      ...{ system_identifier: '7', data_checksums: true, port: 5432 },
      ...{ socket_directories: ['/run/postgresql'], data_directory: '/var/lib/postgresql/17/main' },
      config_file: '/etc/postgresql/17/main/postgresql.conf',
      settings: [{ name: 'wal_level', value: 'replica', source: 'default' }],
      slots: [{ name: 'standby_2', type: 'physical', active: true }],
      extensions: [{ database: 'shop', name: 'pg_trgm', version: '1.6' }],
      ...{ preload_libraries: [], tablespaces: [], synchronous_standby_names: '', archive_program: null },
      ...server,
    },
    changes: [
      {
        what: 'set primary_conninfo, if the server must follow another primary',
        where: 'ALTER SYSTEM',
        taken_back: 'ALTER SYSTEM, to the value of the adoption',
      },
    ],
    refusals,
  };
}
