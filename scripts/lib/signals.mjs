// @ts-check

/**
 * What Ctrl-C means: the first time stop well, the second time stop now.
 *
 * npm passes on a signal that the terminal has already sent to us as well, so what comes within a second of
 * the first one is the same Ctrl-C.
 * @param {{ onStop: (reason: string) => void, onForce: () => void }} handlers
 */
export function handleSignals({ onStop, onForce }) {
  let firstAt = 0;
  const stop = (/** @type {string} */ reason) => {
    if (firstAt === 0) {
      firstAt = Date.now();
      onStop(reason);
    } else if (Date.now() - firstAt > 1_000) {
      onForce();
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop(signal));
  stopWithNpm(() => stop('the end of npm'));
}

/**
 * A shell between npm and us may die of npm's signal without passing it on. When npm is gone, we go.
 * @param {() => void} stop
 */
function stopWithNpm(stop) {
  if (!process.env['npm_lifecycle_event']) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, 250);
  timer.unref();
}
