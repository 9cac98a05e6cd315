// @ts-check
import { messageOf, Stopped } from './problem.mjs';

/**
 * Progress of all work that takes longer than a moment, on stderr, so that stdout stays clean for the output
 * that programs read. On a terminal one line is redrawn and shows the time that has passed. Elsewhere (a CI
 * log) plain lines appear: one when the work begins to take long, one now and then, and one at the end.
 *
 * @typedef {(detail: string) => void} Update shows what happens inside a step
 * @typedef {object} Progress
 * @property {<T>(title: string, work: (update: Update) => Promise<T>) => Promise<T>} step
 * @property {(line: string) => void} line one line that stays
 * @property {<T>(work: () => Promise<T>) => Promise<T>} pause leaves the terminal to another program meanwhile
 */

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/** A step that ends sooner is not worth a line. */
const QUIET_MS = 700;
const STILL_MS = 10_000;

/**
 * @param {NodeJS.WriteStream} [stream]
 * @returns {Progress}
 */
export function createProgress(stream = process.stderr) {
  return stream.isTTY && !process.env['CI'] ? livingLine(stream) : plainLines(stream);
}

/**
 * @param {NodeJS.WriteStream} stream
 * @returns {Progress}
 */
function plainLines(stream) {
  const line = (/** @type {string} */ text) => void stream.write(`${text}\n`);
  return {
    line,
    pause: (work) => work(),
    async step(title, work) {
      const began = Date.now();
      let shown = false;
      let detail = '';
      const show = () => {
        line(shown ? `  … ${title}, ${seconds(began)}${detail && `: ${detail}`}` : `  … ${title}`);
        shown = true;
      };
      const first = setTimeout(show, QUIET_MS);
      const still = setInterval(show, STILL_MS);
      try {
        const result = await work((text) => {
          detail = text;
        });
        if (shown) line(`  ✓ ${title} (${seconds(began)})`);
        return result;
      } catch (error) {
        // Work that was told to stop has not failed.
        if (!(error instanceof Stopped)) line(`  ✗ ${title} (${seconds(began)})`);
        throw error;
      } finally {
        clearTimeout(first);
        clearInterval(still);
      }
    },
  };
}

/**
 * Steps may run at the same time: the line shows all of them, the oldest first.
 * @param {NodeJS.WriteStream} stream
 * @returns {Progress}
 */
function livingLine(stream) {
  /** @type {Set<{ title: string, detail: string, began: number }>} */
  const running = new Set();
  let paused = false;
  let frame = 0;
  /** @type {NodeJS.Timeout | undefined} */
  let timer;

  const wipe = () => void stream.write('\r\u001b[2K');
  const draw = () => {
    if (paused || running.size === 0) return;
    const parts = [...running].map((s) => `${s.title} ${seconds(s.began)}${s.detail && ` (${s.detail})`}`);
    const text = `  ${FRAMES[frame++ % FRAMES.length]} ${parts.join(' · ')}`;
    wipe();
    stream.write(text.slice(0, Math.max(20, (stream.columns || 80) - 1)));
  };
  const line = (/** @type {string} */ text) => {
    if (running.size > 0) wipe();
    stream.write(`${text}\n`);
    draw();
  };
  const drop = (/** @type {{ title: string, detail: string, began: number }} */ step) => {
    running.delete(step);
    if (running.size > 0) return;
    clearInterval(timer);
    timer = undefined;
    wipe();
  };

  return {
    line,
    async pause(work) {
      paused = true;
      wipe();
      try {
        return await work();
      } finally {
        paused = false;
      }
    },
    async step(title, work) {
      const step = { title, detail: '', began: Date.now() };
      running.add(step);
      timer ??= setInterval(draw, 100);
      try {
        const result = await work((text) => {
          step.detail = text;
        });
        drop(step);
        if (Date.now() - step.began >= QUIET_MS) line(`  ✓ ${title} (${seconds(step.began)})`);
        return result;
      } catch (error) {
        drop(step);
        if (!(error instanceof Stopped)) line(`  ✗ ${title} (${seconds(step.began)}): ${firstLine(error)}`);
        throw error;
      }
    },
  };
}

/** @param {unknown} error */
function firstLine(error) {
  return messageOf(error).split('\n', 1)[0];
}

/** @param {number} began */
function seconds(began) {
  return `${((Date.now() - began) / 1000).toFixed(1)} s`;
}
