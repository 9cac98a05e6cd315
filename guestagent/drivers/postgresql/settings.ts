import { createHmac } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Endpoint } from '../../../src/core/domain.ts';
import type { InstanceConfig } from '../../driver.ts';
import { writeFileAtomic } from '../../files.ts';
import type { Account } from '../account.ts';
import { quoteValue } from './conninfo.ts';
import type { Demands } from './control.ts';

/**
 * The server's configuration, kept outside the data directory and written anew before each start, so that the
 * settings of a newer Coffer take effect. What operators set with `ALTER SYSTEM` wins: see `auto-conf.ts`.
 */
export const SUPERUSER = 'coffer';
export const REPLICATION_USER = 'coffer_replication';

export interface Places {
  readonly data: string;
  readonly conf: string;
  readonly logFile: string;
  /** Exists while the server is a standby. */
  readonly standbySignal: string;
}

export function placesIn(stateDir: string): Places {
  return {
    data: join(stateDir, 'data'),
    conf: join(stateDir, 'conf'),
    logFile: join(stateDir, 'server.log'),
    standbySignal: join(stateDir, 'data', 'standby.signal'),
  };
}

/** 256 bits that only holders of the cluster's token can know; different for each user and cluster. */
export function derivePassword(config: InstanceConfig, user: string): string {
  return createHmac('sha256', config.cluster_token)
    .update(`postgresql ${config.cluster_id} ${user}`)
    .digest('base64url');
}

/** What Coffer configures for the settings that must be at least as large on a standby as on its primary. */
export const CONFIGURED: Demands = {
  max_connections: 100,
  max_worker_processes: 8,
  max_wal_senders: 10,
  max_prepared_transactions: 0,
  max_locks_per_transaction: 64,
};

/**
 * Only the agent on the server's host may use the superuser; the replication user is for replication only.
 */
const HBA = `
host  all          ${SUPERUSER}         samehost  scram-sha-256
host  all          ${SUPERUSER}         all       reject
host  replication  ${REPLICATION_USER}  all       scram-sha-256
host  replication  all                  all       reject
host  all          ${REPLICATION_USER}  all       reject
host  all          all                  all       scram-sha-256
`;

/** Writes what the server reads at its start and on reload. */
export async function writeSettings(
  config: InstanceConfig,
  places: Places,
  account: Account | null,
  primary: Endpoint | null,
): Promise<void> {
  await mkdir(places.conf, { recursive: true });
  const options = { mode: 0o600, owner: account };
  const passfile = join(places.conf, 'passfile');
  const hbaFile = join(places.conf, 'pg_hba.conf');
  const identFile = join(places.conf, 'pg_ident.conf');
  await writeFileAtomic(
    passfile,
    `*:*:*:${REPLICATION_USER}:${derivePassword(config, REPLICATION_USER)}\n`,
    options,
  );
  await writeFileAtomic(hbaFile, HBA, options);
  await writeFileAtomic(identFile, '', options);
  const settings: Readonly<Record<string, string>> = {
    data_directory: places.data,
    hba_file: hbaFile,
    ident_file: identFile,
    listen_addresses: config.endpoint.host,
    port: String(config.endpoint.port),
    // The path of a socket is limited to 107 bytes, and a state directory's may be longer; all logins use
    // TCP.
    unix_socket_directories: '',
    cluster_name: config.name,
    password_encryption: 'scram-sha-256',

    shared_buffers: '32MB',
    ...Object.fromEntries(Object.entries(CONFIGURED).map(([name, value]) => [name, String(value)])),
    jit: 'off',

    wal_level: 'replica',
    hot_standby: 'on',
    // Used instead of replication slots: the slot of a replica that never returns would fill the disk.
    wal_keep_size: '512MB',
    // A peer that is gone must be noticed soon: a primary that stops waits for its standbys.
    wal_sender_timeout: '10s',
    wal_receiver_timeout: '10s',
    wal_receiver_status_interval: '1s',
    // The time between a standby's tries to reach its primary: part of every switchover.
    wal_retrieve_retry_interval: '100ms',
    recovery_target_timeline: 'latest',
    primary_conninfo: primary === null ? '' : conninfo(config, primary, passfile),

    logging_collector: 'off',
    log_destination: 'stderr',
    log_line_prefix: '%m [%p] ',
    log_checkpoints: 'off',
    log_timezone: 'UTC',
    timezone: 'UTC',
    restart_after_crash: 'on',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quote(value)}`);
  await writeFileAtomic(
    configFile(places),
    ['# Written by Coffer before each start.', ...lines, ''].join('\n'),
    options,
  );
}

export function configFile(places: Places): string {
  return join(places.conf, 'postgresql.conf');
}

function conninfo(config: InstanceConfig, primary: Endpoint, passfile: string): string {
  const parts: Readonly<Record<string, string>> = {
    host: primary.host,
    port: String(primary.port),
    user: REPLICATION_USER,
    passfile,
    application_name: config.name,
    connect_timeout: '5',
    gssencmode: 'disable',
  };
  return Object.entries(parts)
    .map(([name, value]) => `${name}=${quoteValue(value)}`)
    .join(' ');
}

/** As a value in a file of settings. */
export function quote(value: string): string {
  if (/[\r\n\0]/.test(value)) throw new Error('a setting must not hold a line break');
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
