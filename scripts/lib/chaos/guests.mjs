// @ts-check
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';

/**
 * What instances themselves report, independent of Coffer's record.
 *
 * @typedef {import('../writer.mjs').Endpoint} Endpoint
 * @typedef {import('../writer.mjs').Account} Account
 */

/**
 * The attempt in the journal of a guest agent.
 * @param {string} guests the folder of all guests
 * @param {string} manager
 * @param {string} instance_id
 * @returns {{ upgrade_id: string, step: number, attempt: number, action: string, status: string } | undefined}
 */
export function journalOf(guests, manager, instance_id) {
  return lastEntry(join(stateOf(guests, manager, instance_id), 'journal.jsonl'))?.attempt;
}

/**
 * @param {string} guests
 * @param {string} instance_id
 * @returns {string | undefined}
 */
export function simulatedVersion(guests, instance_id) {
  return readJson(join(stateOf(guests, 'simulated', instance_id), 'server', 'state.json'))?.version;
}

/**
 * @param {string} guests
 * @param {string} manager
 * @param {string} instance_id
 */
function stateOf(guests, manager, instance_id) {
  return join(guests, manager === 'simulated' ? 'simulated' : instance_id, 'state', instance_id);
}

/**
 * @param {string} path
 * @returns {any}
 */
function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined; // does not exist (yet, or any more)
  }
}

/**
 * @param {string} path
 * @returns {any} the last complete line of a journal
 */
function lastEntry(path) {
  try {
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    return JSON.parse(lines.at(-1) ?? '');
  } catch {
    return undefined; // does not exist (yet, or any more), or is just being written
  }
}

const CONNECT_MS = 2_000;
/** Errors of a server or of its host when no server accepts connections. */
const DOWN = ['ECONNREFUSED', '57P03'];

/**
 * A connection to an instance; resolves to `down` if no server accepts connections there, and to `unknown` if
 * that can't be determined.
 * @param {Endpoint} endpoint
 * @param {Account} account
 * @returns {Promise<pg.Client | 'down' | 'unknown'>}
 */
export async function connectTo({ host, port }, account) {
  const client = new pg.Client({ ...account, host, port, connectionTimeoutMillis: CONNECT_MS });
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    client.end().catch(() => {});
    return DOWN.includes(String(/** @type {any} */ (error)?.code)) ? 'down' : 'unknown';
  }
}
