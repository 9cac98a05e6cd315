// @ts-check

/**
 * Gives `work` a signal that aborts after `ms`, or together with `outer` and its reason. This function holds
 * the timer until the work is over: Node.js 20 may collect an `AbortSignal.timeout()` within
 * `AbortSignal.any()` as garbage, and then the signal never aborts.
 * @template T
 * @param {AbortSignal} outer
 * @param {number} ms
 * @param {(signal: AbortSignal) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function patiently(outer, ms, work) {
  const patience = new AbortController();
  const follow = () => patience.abort(outer.reason);
  const timer = setTimeout(() => patience.abort(new Error(`still waiting after ${ms / 1000} s`)), ms);
  if (outer.aborted) follow();
  outer.addEventListener('abort', follow);
  try {
    return await work(patience.signal);
  } finally {
    clearTimeout(timer);
    outer.removeEventListener('abort', follow);
  }
}
