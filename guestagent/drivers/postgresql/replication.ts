import type { Client } from 'pg';
import { type Endpoint, sameEndpoint } from '../../../src/core/domain.ts';
import { sleep } from '../../../src/service.ts';
import { endpointIn } from './conninfo.ts';
import { parseLsn } from './control.ts';
import { one } from './sql.ts';

/** What a server reports about itself and its part in replication, in one round trip. */
export interface Glance {
  /** e.g. `17.6`. */
  readonly version: string;
  readonly standby: boolean;
  /** Where a standby streams from; null if it does not stream, or has just begun and received nothing yet. */
  readonly streamsFrom: Endpoint | null;
  /** Where a standby gets its log, or tries to, by the settings in force; null on a primary. */
  readonly upstream: Endpoint | null;
  /**
   * How far a standby has received the log; null on a primary, and while it has received none since its
   * start.
   */
  readonly received: bigint | null;
  /** How far a standby has replayed the log; null on a primary. */
  readonly replayed: bigint | null;
  /** The position of the primary's log in the last message from it; null if the standby does not stream. */
  readonly heard: { readonly position: bigint; readonly ago_ms: number } | null;
}

const POLL_MS = 3;
const CATCH_UP_MS = 300_000;
/** A connection that the primary refuses ends far sooner. */
const STEADY_MS = 1_000;

/**
 * A receiver shows the state "streaming" as soon as it is connected, before it asks for the log. If it asks
 * for log that its primary has removed, it shows that state again and again, and receives nothing. At its
 * start the last message has the same time for sending and receipt; with the first message the two times
 * differ.
 */
const GLANCE = `
  SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
         receiver.sender_host AS host, receiver.sender_port AS port,
         receiver.last_msg_send_time <> receiver.last_msg_receipt_time
           OR clock_timestamp() - process.backend_start > interval '${STEADY_MS} ms' AS steady,
         pg_last_wal_receive_lsn()::text AS received,
         receiver.latest_end_lsn::text AS heard,
         (extract(epoch FROM clock_timestamp() - receiver.last_msg_receipt_time) * 1000)::float8 AS heard_ago_ms,
         CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END AS replayed,
         current_setting('primary_conninfo') AS conninfo
    FROM (SELECT 1) AS always
    LEFT JOIN pg_stat_wal_receiver AS receiver ON receiver.status = 'streaming'
    LEFT JOIN pg_stat_activity AS process ON process.pid = receiver.pid`;

export async function glance(client: Client): Promise<Glance> {
  const row = await one<{
    version: string;
    standby: boolean;
    host: string | null;
    port: number | null;
    steady: boolean | null;
    received: string | null;
    heard: string | null;
    heard_ago_ms: number | null;
    replayed: string | null;
    conninfo: string;
  }>(client, GLANCE);
  const streams = row.standby && row.steady === true && row.host !== null && row.port !== null;
  const streamsFrom = streams ? { host: row.host ?? '', port: row.port ?? 0 } : null;
  const [received, heard] = [positionIn(row.received), positionIn(row.heard)];
  return {
    // A distribution may add text of its own: "17.6 (Debian 17.6-1)".
    version: row.version.split(' ')[0] ?? row.version,
    standby: row.standby,
    streamsFrom,
    upstream: row.standby ? (streamsFrom ?? endpointIn(row.conninfo)) : null,
    received: row.standby ? received : null,
    replayed: positionIn(row.replayed),
    heard:
      streams && heard !== null
        ? { position: heard > (received ?? 0n) ? heard : (received ?? 0n), ago_ms: row.heard_ago_ms ?? 0 }
        : null,
  };
}

function positionIn(text: string | null): bigint | null {
  return text === null ? null : parseLsn(text);
}

/**
 * False if the standby does not stream from there in time. A standby that is still replaying the log on its
 * own disk gets more time: it asks for more log only afterwards.
 */
export async function untilStreaming(
  client: Client,
  from: Endpoint | null,
  stallMs: number,
): Promise<boolean> {
  const end = Date.now() + CATCH_UP_MS;
  let deadline = Date.now() + stallMs;
  let last: bigint | null = null;
  for (;;) {
    const { streamsFrom, replayed } = await glance(client);
    if (streamsFrom !== null && (from === null || sameEndpoint(streamsFrom, from))) return true;
    if (streamsFrom === null && replayed !== null && (last === null || replayed > last)) {
      deadline = Math.min(Date.now() + stallMs, end);
      last = replayed;
    }
    if (Date.now() > deadline) return false;
    await sleep(POLL_MS);
  }
}

/** A standby that streams from this primary. */
export interface Standby {
  readonly name: string;
  /** How much of this primary's log the standby has not yet written to its disk. */
  readonly lacksBytes: number;
  /**
   * How much the standby has not yet replayed up to the given position; 0 or less if it has replayed all of
   * it.
   */
  readonly unreplayedBytes: number;
}

export async function standbysOf(client: Client, position: string): Promise<readonly Standby[]> {
  const { rows } = await client.query<{ name: string; lacks: string; unreplayed: string }>(
    `SELECT application_name AS name,
            pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)::text AS lacks,
            pg_wal_lsn_diff($1::pg_lsn, coalesce(replay_lsn, '0/0'))::text AS unreplayed
       FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn IS NOT NULL`,
    [position],
  );
  return rows.map(({ name, lacks, unreplayed }) => ({
    ...{ name, lacksBytes: Number(lacks), unreplayedBytes: Number(unreplayed) },
  }));
}

export async function writtenPosition(client: Client): Promise<string> {
  const row = await one<{ lsn: string }>(client, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
  return row.lsn;
}

/**
 * An instance's name in the form in which PostgreSQL shows an application's name: 63 bytes of printable
 * ASCII.
 */
export function applicationName(name: string): string {
  const escaped = [...Buffer.from(name)].map((byte) =>
    byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
  );
  return escaped.join('').slice(0, 63);
}

/**
 * May be called again. `pg_promote` itself would check only ten times a second whether the promotion is done.
 */
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

export function majorOf(version: string): string {
  return version.split('.')[0] ?? version;
}

/** Drops the slots that nobody reads. `left` are those that somebody reads, e.g. a cascading standby. */
export async function dropIdleSlots(
  client: Client,
  type: 'logical' | 'physical',
): Promise<{ readonly dropped: readonly string[]; readonly left: readonly string[] }> {
  const slots = `FROM pg_replication_slots WHERE slot_type = '${type}' AND NOT temporary`;
  const dropped = await client.query<{ name: string }>(
    `SELECT slot_name AS name, pg_drop_replication_slot(slot_name) ${slots} AND NOT active`,
  );
  const left = await client.query<{ name: string }>(`SELECT slot_name AS name ${slots}`);
  const [gone, there] = [dropped, left].map(({ rows }) => rows.map(({ name }) => name));
  return { dropped: gone ?? [], left: there ?? [] };
}
