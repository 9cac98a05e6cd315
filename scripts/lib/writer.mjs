// @ts-check
/**
 * A client that writes all the time, and remembers what the server acknowledged.
 *
 * It finds the primary as libpq does with a host list and `target_session_attrs=read-write`: asks
 * every host, takes the one that may write. Runs after the set-up: it needs `pg`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** Connections that write side by side. */
const CONNECTIONS = 4;
/** A pause after each commit: the point is to write without a break, not to burn the machine. */
const PAUSE_MS = 2;
const RETRY_MS = 5;
const CONNECT_TIMEOUT_MS = 1_000;

/**
 * @typedef {{ host: string, port: number }} Endpoint
 * @typedef {{ user: string, password: string, database: string }} Account
 * @typedef {{ acknowledged: number[], outage_ms: number, errors: number }} Written
 */

/**
 * Creates the table `writes` and begins to insert numbered rows into it, one commit each.
 *
 * @param {readonly Endpoint[]} endpoints every instance of the cluster, in any order
 * @param {Account} account
 * @returns {Promise<{ acknowledgedSoFar(): number, stop(): Promise<Written> }>} `outage_ms` is the
 *   longest time in which no commit was acknowledged on any connection.
 */
export async function startWriter(endpoints, account) {
  const first = await connectToPrimary(endpoints, account, () => false);
  await first?.query(
    'CREATE TABLE IF NOT EXISTS writes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())',
  );
  await first?.end();

  /** @type {number[]} */
  const acknowledged = [];
  let nextId = 1;
  let lastAck = performance.now();
  let outage_ms = 0;
  let errors = 0;
  let stopped = false;
  const isStopped = () => stopped;

  const onAcknowledged = (/** @type {number} */ id) => {
    const now = performance.now();
    outage_ms = Math.max(outage_ms, now - lastAck);
    lastAck = now;
    acknowledged.push(id);
  };
  const write = async () => {
    let client = await connectToPrimary(endpoints, account, isStopped);
    while (!stopped && client) {
      const id = nextId++;
      try {
        await client.query({ name: 'write', text: 'INSERT INTO writes (id) VALUES ($1)', values: [id] });
        onAcknowledged(id);
        await sleep(PAUSE_MS);
      } catch {
        // Not acknowledged: it may be there or not, and is not counted. On to the primary, wherever it is now.
        errors += 1;
        client.end().catch(() => undefined);
        client = await connectToPrimary(endpoints, account, isStopped);
      }
    }
    await client?.end().catch(() => undefined);
  };
  const writers = Array.from({ length: CONNECTIONS }, write);
  return {
    acknowledgedSoFar: () => acknowledged.length,
    stop: async () => {
      stopped = true;
      await Promise.all(writers);
      return { acknowledged, outage_ms: Math.round(outage_ms), errors };
    },
  };
}

/**
 * Acknowledged rows that the primary does not hold.
 *
 * @param {readonly Endpoint[]} endpoints
 * @param {Account} account
 * @param {readonly number[]} acknowledged
 */
export async function findLost(endpoints, account, acknowledged) {
  const client = await connectToPrimary(endpoints, account, () => false);
  if (!client) throw new Error('no instance accepts writes');
  const { rows } = await client.query('SELECT id::int FROM writes');
  await client.end();
  const present = new Set(rows.map((row) => row.id));
  return acknowledged.filter((id) => !present.has(id));
}

/**
 * What each instance itself says of its version.
 *
 * @param {readonly Endpoint[]} endpoints
 * @param {Account} account
 */
export function askVersions(endpoints, account) {
  return Promise.all(
    endpoints.map(async (endpoint) => {
      const client = newClient(endpoint, account);
      await client.connect();
      const { rows } = await client.query('SHOW server_version');
      await client.end();
      return String(rows[0].server_version).split(' ')[0];
    }),
  );
}

/**
 * @param {readonly Endpoint[]} endpoints
 * @param {Account} account
 * @param {() => boolean} isStopped
 * @returns {Promise<pg.Client | null>} null when stopped meanwhile
 */
async function connectToPrimary(endpoints, account, isStopped) {
  while (!isStopped()) {
    const found = await Promise.any(endpoints.map((endpoint) => connectIfPrimary(endpoint, account))).catch(
      () => null,
    );
    if (found) return found;
    await sleep(RETRY_MS);
  }
  return null;
}

/**
 * @param {Endpoint} endpoint
 * @param {Account} account
 */
async function connectIfPrimary(endpoint, account) {
  const client = newClient(endpoint, account);
  try {
    await client.connect();
    const { rows } = await client.query('SELECT pg_is_in_recovery() AS standby');
    if (rows[0].standby) throw new Error('a standby');
    return client;
  } catch (err) {
    client.end().catch(() => undefined);
    throw err;
  }
}

/**
 * @param {Endpoint} endpoint
 * @param {Account} account
 */
function newClient({ host, port }, account) {
  const client = new pg.Client({ ...account, host, port, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  // A server that goes away ends the connection: the next query says so.
  client.on('error', () => undefined);
  return client;
}
