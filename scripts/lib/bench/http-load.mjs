// @ts-check
import { Agent, request } from 'node:http';

/**
 * Requests over connections that are kept open, with the requested number at once.
 *
 * @typedef {{ method?: string, path: string, body?: object }} Asked
 */

/** @param {string} origin e.g. `http://127.0.0.1:8779` */
export function openHttp(origin) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const { hostname, port } = new URL(origin);
  const ask = (/** @type {Asked} */ { method = 'GET', path, body }) =>
    new Promise((/** @type {(answer: { status: number, body: any }) => void} */ resolve, reject) => {
      const text = body && JSON.stringify(body);
      const headers = text
        ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
        : {};
      const asking = request({ hostname, port, method, path, headers, agent }, (answer) => {
        /** @type {Buffer[]} */
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () => {
          const said = Buffer.concat(chunks).toString();
          resolve({ status: answer.statusCode ?? 0, body: said === '' ? null : JSON.parse(said) });
        });
        answer.on('error', reject);
      });
      asking.on('error', reject);
      asking.end(text);
    });
  return {
    ask,
    /**
     * Sends requests for `seconds`, `atOnce` at a time.
     * @param {() => Asked} next
     * @param {{ seconds: number, atOnce: number }} load
     * @returns {Promise<number>} answers in a second
     */
    async rate(next, { seconds, atOnce }) {
      let answers = 0;
      const began = performance.now();
      const until = began + seconds * 1000;
      await Promise.all(
        Array.from({ length: atOnce }, async () => {
          while (performance.now() < until) {
            const { status } = await ask(next());
            if (status >= 400) throw new Error(`a request of the benchmark was answered ${status}`);
            answers++;
          }
        }),
      );
      return (answers * 1000) / (performance.now() - began);
    },
    close: () => agent.destroy(),
  };
}

/**
 * Does `work` for each item, `atOnce` items at a time.
 * @template T
 * @param {readonly T[]} items
 * @param {number} atOnce
 * @param {(item: T) => Promise<unknown>} work
 */
export async function forEach(items, atOnce, work) {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: Math.min(atOnce, items.length) }, async () => {
      for (const item of rest) await work(item);
    }),
  );
}
