// @ts-check

/**
 * The meaning of Ctrl-C: the first one stops cleanly, the second one stops at once.
 *
 * npm passes on a signal that the terminal has already sent to us as well, so a signal within a second of the
 * first one belongs to the same Ctrl-C.
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
 * A shell between npm and this process may die of npm's signal without passing it on. So when npm has ended,
 * this process ends too.
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
