// @ts-check
/**
 * A client that writes all the time, and records what the server has acknowledged.
 *
 * It finds the primary as libpq does with a host list and `target_session_attrs=read-write`: it asks every
 * host, and takes the one that accepts writes. It runs only after the set-up: it needs `pg`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** The number of connections that write side by side. */
const CONNECTIONS = 4;
/** A pause after each commit: the writes must be continuous, but need not load the machine. */
const PAUSE_MS = 2;
/** The pause between two rounds of asking every host: more rounds would only take the servers' time. */
const RETRY_MS = 15;
const CONNECT_TIMEOUT_MS = 1_000;
const GIVE_UP_MS = 120_000;

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
  const first = await connectToPrimary(endpoints, account);
  await first.query(
    'CREATE TABLE IF NOT EXISTS writes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())',
  );
  await first.end();

  /** @type {number[]} */
  const acknowledged = [];
  let nextId = 1;
  let lastAck = performance.now();
  let outage_ms = 0;
  let errors = 0;
  let stopped = false;
  const findPrimary = sharedFinder(endpoints, account);

  const onAcknowledged = (/** @type {number} */ id) => {
    const now = performance.now();
    outage_ms = Math.max(outage_ms, now - lastAck);
    lastAck = now;
    acknowledged.push(id);
  };
  const write = async () => {
    let client = await findPrimary();
    while (!stopped) {
      const id = nextId++;
      try {
        await client.query({ name: 'write', text: 'INSERT INTO writes (id) VALUES ($1)', values: [id] });
        onAcknowledged(id);
        await sleep(PAUSE_MS);
      } catch {
        // Not acknowledged: the row may exist or not, and is not counted. The writer continues with the
        // primary, wherever it is now.
        errors += 1;
        client.end().catch(() => undefined);
        client = await findPrimary();
      }
    }
    await client.end().catch(() => undefined);
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
 * Connections to the primary for many callers. While the primary is unreachable, one search runs for all of
 * them, as in a connection pool, and the first connection found goes to the caller who asked first.
 *
 * @param {readonly Endpoint[]} endpoints
 * @param {Account} account
 * @returns {() => Promise<pg.Client>}
 */
function sharedFinder(endpoints, account) {
  /** @type {Promise<unknown>} */
  let tail = Promise.resolve();
  /** @type {Endpoint | undefined} where it was found last */
  let known;
  return () => {
    const mine = tail.then(async () => {
      const client = known && (await connectIfPrimary(known, account).catch(() => undefined));
      if (client) return client;
      const found = await connectToPrimary(endpoints, account);
      known = { host: found.host, port: found.port };
      return found;
    });
    tail = mine.catch(() => undefined);
    return mine;
  };
}

/**
 * Finds acknowledged rows that the primary does not hold.
 *
 * @param {readonly Endpoint[]} endpoints
 * @param {Account} account
 * @param {readonly number[]} acknowledged
 */
export async function findLost(endpoints, account, acknowledged) {
  const client = await connectToPrimary(endpoints, account);
  const { rows } = await client.query('SELECT id::int FROM writes');
  await client.end();
  const present = new Set(rows.map((row) => row.id));
  return acknowledged.filter((id) => !present.has(id));
}

/**
 * The version that each instance itself reports.
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
      return String(rows[0].server_version).replace(/ .*/, '');
    }),
  );
}

/**
 * Asks every host until one accepts writes. Gives up after two minutes: then the primary will not come back
 * by itself.
 *
 * @param {readonly Endpoint[]} endpoints
 * @param {Account} account
 */
async function connectToPrimary(endpoints, account) {
  const end = Date.now() + GIVE_UP_MS;
  while (Date.now() < end) {
    const found = await Promise.any(endpoints.map((endpoint) => connectIfPrimary(endpoint, account))).catch(
      () => null,
    );
    if (found) return found;
    await sleep(RETRY_MS);
  }
  throw new Error('no instance accepts writes');
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
  // A server that stops ends the connection: the next query reports that.
  client.on('error', () => undefined);
  return client;
}
