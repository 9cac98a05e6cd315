// @ts-check
import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/**
 * What a bare program does on this machine: every figure of Coffer's stands beside one of these, measured in
 * the same run.
 *
 * @typedef {{ amqp_url: string, redis_url: string }} Urls
 */

/**
 * The flow of messages, between two processes as in Coffer.
 * @param {Urls} urls
 */
export async function openMessageFloor({ amqp_url, redis_url }) {
  const suffix = randomUUID().slice(0, 8);
  const peers = await Promise.all(
    ['guest', 'manager'].map((role) => start('./floor-peer.mjs', [role, amqp_url, redis_url, suffix])),
  );
  const manager = peers[1];
  return {
    /**
     * @param {number} clusters of three instances
     * @param {number} inFlight
     * @returns {Promise<number>} milliseconds
     */
    async run(clusters, inFlight) {
      const began = performance.now();
      const done = messageOf(manager, 'done');
      manager.send({ clusters, inFlight });
      await done;
      return performance.now() - began;
    },
    close: () => Promise.all(peers.map(stop)),
  };
}

/**
 * A fastify server that does the least part of the api's work: for a POST one Lua step and one confirmed
 * publish, for a GET the read of one hash, or of twenty.
 * @param {Urls} urls
 */
export async function openHttpFloor({ amqp_url, redis_url }) {
  const child = await start('./floor-http.mjs', [amqp_url, redis_url], 'listening');
  return { url: child.url, close: () => stop(child) };
}

/**
 * @param {string} script
 * @param {string[]} args
 * @param {string} sign
 */
async function start(script, args, sign = 'ready') {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), args);
  const said = await messageOf(child, sign);
  return Object.assign(child, { url: String(said.url ?? '') });
}

/**
 * @param {import('node:child_process').ChildProcess} child
 * @param {string} type
 * @returns {Promise<{ type: string, url?: string }>}
 */
function messageOf(child, type) {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error(`the floor program ended before it said ${type}`));
    child.once('exit', onExit);
    child.on('message', function listen(/** @type {{ type: string }} */ message) {
      if (message.type !== type) return;
      child.off('message', listen);
      child.off('exit', onExit);
      resolve(message);
    });
  });
}

/** @param {import('node:child_process').ChildProcess} child */
async function stop(child) {
  if (child.exitCode !== null) return;
  const exited = once(child, 'exit');
  child.disconnect();
  await exited;
}
