/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(asError(signal?.reason));
    };
    if (signal?.aborted) return reject(asError(signal.reason));
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/**
 * A signal that aborts after `ms` with a `TimeoutError`, or together with `outer` and its reason. The caller
 * must clear it when the work is done. This function holds the timer itself: Node.js 20 may collect an
 * `AbortSignal.timeout()` within `AbortSignal.any()` as garbage, and then the signal never aborts.
 */
export function deadlineOf(
  ms: number,
  outer?: AbortSignal,
): { readonly signal: AbortSignal; readonly clear: () => void } {
  const aborter = new AbortController();
  const abortToo = () => aborter.abort(outer?.reason);
  const expire = () => aborter.abort(new DOMException(`no answer within ${ms} ms`, 'TimeoutError'));
  const timer = setTimeout(expire, ms);
  if (outer?.aborted) abortToo();
  outer?.addEventListener('abort', abortToo, { once: true });
  const clear = () => {
    clearTimeout(timer);
    outer?.removeEventListener('abort', abortToo);
  };
  return { signal: aborter.signal, clear };
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
