import type { Client } from 'pg';
import type { Hindrance } from '../../../src/core/domain.ts';
import { sleep } from '../../../src/service.ts';
import type { DriverLog } from '../../driver.ts';
import type { Control } from './control.ts';
import { tooSmall } from './demands.ts';
import { one } from './sql.ts';

/** The startup process replays the log and shows what it waits for; the session is one that it waits for. */
const REPLAY = `
  SELECT CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS pause,
         current_setting('recovery_min_apply_delay') AS delay,
         session.pid, session.usename AS user, session.state,
         coalesce(startup.wait_event_type = 'Lock' OR startup.wait_event LIKE 'RecoveryConflict%'
           OR startup.wait_event_type = 'BufferPin', false) AS waits
    FROM (SELECT 1) AS always
    LEFT JOIN pg_stat_activity AS startup ON startup.backend_type = 'startup'
    LEFT JOIN LATERAL (
      SELECT other.* FROM pg_stat_activity AS other
       WHERE other.backend_type = 'client backend' AND other.pid <> pg_backend_pid()
         AND CASE startup.wait_event_type
             WHEN 'Lock' THEN EXISTS (
               SELECT FROM pg_locks AS wanted JOIN pg_locks AS held
                   ON (held.locktype, held.database, held.relation) IS NOT DISTINCT FROM
                      (wanted.locktype, wanted.database, wanted.relation)
                WHERE wanted.pid = startup.pid AND NOT wanted.granted AND held.granted AND held.pid = other.pid)
             ELSE other.backend_xmin IS NOT NULL OR other.backend_xid IS NOT NULL END
       ORDER BY other.xact_start LIMIT 1) AS session
      ON startup.wait_event_type IN ('Lock', 'BufferPin') OR startup.wait_event LIKE 'RecoveryConflict%'`;

interface Replay {
  readonly pause: string | null;
  readonly delay: string;
  readonly pid: number | null;
  readonly user: string | null;
  readonly state: string | null;
  readonly waits: boolean;
}

/** Null if nothing hinders the replay. `control` is the present content of `pg_control`. */
export async function hindranceOf(client: Client, control: Control | null): Promise<Hindrance | null> {
  const replay = await one<Replay & Record<string, unknown>>(client, REPLAY);
  if (replay.pause !== null && replay.pause !== 'not paused') {
    const small = control === null ? null : await tooSmall(client, control.demands);
    if (small !== null) return { kind: 'settings', reason: `its replay is paused, for ${small}` };
    const reason = 'its replay is paused: "SELECT pg_wal_replay_resume()" there lets it go on';
    return { kind: 'pause', reason };
  }
  if (!/^0[a-z]*$/.test(replay.delay)) {
    const reason = `its replay is delayed: recovery_min_apply_delay is ${replay.delay}`;
    return { kind: 'delay', reason };
  }
  if (!replay.waits) return null;
  return { kind: 'session', reason: `its replay waits for ${sessionWords(replay)}` };
}

function sessionWords({ pid, user, state }: Replay): string {
  if (pid === null) return 'a session that reads there';
  return `the session ${pid} of user "${user ?? 'unknown'}" there (${state ?? 'unknown'}): "SELECT pg_terminate_backend(${pid})" ends it`;
}

const PATIENCE_MS = 300;
const POLL_MS = 3;

/**
 * True once the standby has replayed the whole record at `lsn`. Nobody can write meanwhile. So sessions are
 * ended if they read what the replay would change and have delayed it for a moment; a pause of the replay is
 * ended too.
 */
export async function replayUpTo(
  client: Client,
  lsn: string,
  timeoutMs: number,
  log: DriverLog,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  let next = Date.now() + PATIENCE_MS;
  for (;;) {
    const row = await one<{ replayed: boolean | null }>(
      client,
      'SELECT pg_last_wal_replay_lsn() > $1::pg_lsn AS replayed',
      [lsn],
    );
    if (row.replayed === true) return true;
    if (Date.now() > deadline) return false;
    if (Date.now() > next) {
      await clearTheWay(client, log);
      next = Date.now() + PATIENCE_MS;
    }
    await sleep(POLL_MS);
  }
}

async function clearTheWay(client: Client, log: DriverLog): Promise<void> {
  const replay = await one<Replay & Record<string, unknown>>(client, REPLAY);
  if (replay.pause !== null && replay.pause !== 'not paused') {
    log.warn({}, 'the replay is paused: it goes on, for this standby takes over');
    await client.query('SELECT pg_wal_replay_resume()');
  }
  if (!replay.waits || replay.pid === null) return;
  const { pid, user } = replay;
  log.warn({ pid, user }, 'ending a session that keeps this standby from taking over');
  await client.query('SELECT pg_terminate_backend($1)', [pid]);
}
