// @ts-check
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const SAMPLE_MS = 200;

/**
 * The resident memory of a process, as the kernel reports it.
 * @param {number} pid
 * @returns {number} KiB
 */
export function rssKib(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}

/**
 * The largest resident memory of a process between this call and the reading.
 * @param {number} pid
 */
export function watchRss(pid) {
  const stopped = new AbortController();
  let peak = rssKib(pid);
  const watching = (async () => {
    while (!stopped.signal.aborted) {
      peak = Math.max(peak, rssKib(pid));
      await sleep(SAMPLE_MS);
    }
  })();
  return async () => {
    stopped.abort();
    await watching;
    return peak;
  };
}

/**
 * @param {import('ioredis').Redis} redis
 * @returns {Promise<number>} bytes
 */
export async function usedMemory(redis) {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}
