// @ts-check
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { readJson, writeJson } from './json-file.mjs';
import { Problem } from './problem.mjs';

/**
 * Ports for our own servers, chosen once and kept, so that a connection string survives a restart. They lie
 * below the range from which systems take the source port of an outgoing connection (32768 and up on Linux).
 * Inside that range, a client that keeps trying to connect to a stopped server can, by chance, connect to
 * itself. Then the server finds its port taken.
 */
const LOWEST = 20_000;
const HIGHEST = 32_000;

/**
 * @param {string} file remembers the choices
 * @param {readonly string[]} names
 * @returns {Promise<Record<string, number>>}
 */
export async function ownPorts(file, names) {
  const remembered = /** @type {Record<string, number>} */ (readJson(file) ?? {});
  /** @type {Record<string, number>} */
  const chosen = {};
  for (const name of names) {
    const taken = Object.values({ ...remembered, ...chosen });
    const kept = remembered[name];
    chosen[name] = kept && (await isFree(kept)) ? kept : await choosePort(taken);
  }
  writeJson(file, { ...remembered, ...chosen });
  return chosen;
}

/**
 * Any free port.
 * @param {readonly number[]} [except]
 */
export async function choosePort(except = []) {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(LOWEST, HIGHEST);
    if (!except.includes(port) && (await isFree(port))) return port;
  }
  throw new Problem(`no free port found on 127.0.0.1 between ${LOWEST} and ${HIGHEST}`);
}

/**
 * @param {number} port
 * @param {string} [host]
 * @returns {Promise<boolean>}
 */
export function isFree(port, host = '127.0.0.1') {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
