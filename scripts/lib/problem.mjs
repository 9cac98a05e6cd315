// @ts-check

/**
 * An error that the person at the terminal can act on. Its text is shown unchanged, without a stack: it says
 * what happened and what to do.
 */
export class Problem extends Error {
  /**
   * @param {string} what what happened
   * @param {string} [remedy] what to do about it, one or more lines
   */
  constructor(what, remedy) {
    super(remedy ? `${what}\n${remedy}` : what);
    this.name = 'Problem';
  }
}

/** The rejection of all work that was under way when the person asked to stop. */
export class Stopped extends Problem {
  constructor() {
    super('stopped before it was ready');
    this.name = 'Stopped';
  }
}

/**
 * Prints an error for a person: a Problem unchanged, anything else (a bug of ours) with its stack.
 * @param {unknown} error
 */
export function report(error) {
  if (error instanceof Problem) process.stderr.write(`coffer: ${error.message}\n`);
  else process.stderr.write(`coffer: unexpected error, please report it\n${stackOf(error)}\n`);
}

/** @param {unknown} error */
function stackOf(error) {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * The code of a system error, such as ENOENT.
 * @param {unknown} error
 */
export function codeOf(error) {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
