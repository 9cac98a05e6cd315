import type { Client } from 'pg';
import type { Endpoint } from '../../../src/core/domain.ts';
import { sleep } from '../../files.ts';
import { one } from './sql.ts';

/** What a server says of itself and of its part in replication, in one round trip. */
export interface Glance {
  /** e.g. `17.6`. */
  readonly version: string;
  readonly standby: boolean;
  /** Where a standby streams from; null when it does not. */
  readonly streamsFrom: Endpoint | null;
  /** Where a standby gets its log, or tries to, by the settings that are in force; null on a primary. */
  readonly upstream: Endpoint | null;
  /** What a standby has yet to replay of what its primary has written; null when it does not stream. */
  readonly lagBytes: number | null;
  /** How far a standby has replayed the log; null on a primary. */
  readonly replayed: string | null;
}

const POLL_MS = 3;
const CATCH_UP_MS = 300_000;

const GLANCE = `
  SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
         receiver.sender_host AS host, receiver.sender_port AS port,
         pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), receiver.latest_end_lsn),
                         pg_last_wal_replay_lsn())::text AS lag,
         CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END AS replayed,
         current_setting('primary_conninfo') AS conninfo
    FROM (SELECT 1) AS always
    LEFT JOIN pg_stat_wal_receiver AS receiver ON receiver.status = 'streaming'`;

export async function glance(client: Client): Promise<Glance> {
  const row = await one<{
    version: string;
    standby: boolean;
    host: string | null;
    port: number | null;
    lag: string | null;
    replayed: string | null;
    conninfo: string;
  }>(client, GLANCE);
  const streamsFrom = row.host === null || row.port === null ? null : { host: row.host, port: row.port };
  return {
    // A distribution may add its own words: "17.6 (Debian 17.6-1)".
    version: row.version.split(' ')[0] ?? row.version,
    standby: row.standby,
    streamsFrom,
    upstream: row.standby ? (streamsFrom ?? endpointIn(row.conninfo)) : null,
    replayed: row.replayed,
    lagBytes: streamsFrom === null || row.lag === null ? null : Math.max(0, Number(row.lag)),
  };
}

/** The server that a connection string of keywords names; null for one that names it in another way. */
export function endpointIn(conninfo: string): Endpoint | null {
  const textOf = (keyword: string) => {
    const found = new RegExp(`(?:^|\\s)${keyword}\\s*=\\s*(?:'((?:[^'\\\\]|\\\\.)*)'|(\\S+))`).exec(conninfo);
    return (found?.[1] ?? found?.[2])?.replaceAll(/\\(.)/g, '$1');
  };
  const host = textOf('host') ?? textOf('hostaddr');
  const port = Number(textOf('port') ?? 5432);
  return host === undefined || host === '' || !Number.isInteger(port) ? null : { host, port };
}

/**
 * False when the standby does not stream from there in time. One that is still busy with what log it
 * has on its own disk gets more time: it asks for more only afterwards.
 */
export async function untilStreaming(
  client: Client,
  from: Endpoint | null,
  stallMs: number,
): Promise<boolean> {
  const end = Date.now() + CATCH_UP_MS;
  let [deadline, last] = [Date.now() + stallMs, ''];
  for (;;) {
    const { streamsFrom, replayed } = await glance(client);
    if (streamsFrom !== null && (from === null || sameEndpoint(streamsFrom, from))) return true;
    if (streamsFrom === null && replayed !== null && replayed !== last) {
      deadline = Math.min(Date.now() + stallMs, end);
      last = replayed;
    }
    if (Date.now() > deadline) return false;
    await sleep(POLL_MS);
  }
}

/** How many standbys stream from this primary, and how many bytes the one nearest to it lacks. */
export async function standbysOf(
  client: Client,
): Promise<{ streaming: number; nearestBytes: number | null }> {
  const row = await one<{ streaming: string; nearest: string | null }>(
    client,
    `SELECT count(*)::text AS streaming,
            min(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn))::text AS nearest
       FROM pg_stat_replication WHERE state = 'streaming'`,
  );
  return {
    streaming: Number(row.streaming),
    nearestBytes: row.nearest === null ? null : Number(row.nearest),
  };
}

/** True once the standby has replayed the record at `lsn` whole. */
export async function untilReplayed(client: Client, lsn: string, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const row = await one<{ replayed: boolean | null }>(
      client,
      'SELECT pg_last_wal_replay_lsn() > $1::pg_lsn AS replayed',
      [lsn],
    );
    if (row.replayed === true) return true;
    if (Date.now() > deadline) return false;
    await sleep(POLL_MS);
  }
}

/** May be asked again. `pg_promote` itself would look only ten times a second whether it is done. */
export async function promoteNow(client: Client, timeoutMs: number): Promise<boolean> {
  await client.query('SELECT CASE WHEN pg_is_in_recovery() THEN pg_promote(false) END');
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const { standby } = await one<{ standby: boolean }>(client, 'SELECT pg_is_in_recovery() AS standby');
    if (!standby) return true;
    if (Date.now() > deadline) return false;
    await sleep(POLL_MS);
  }
}

export function sameEndpoint(one: Endpoint, other: Endpoint): boolean {
  return one.host === other.host && one.port === other.port;
}

export function majorOf(version: string): string {
  return version.split('.')[0] ?? version;
}
