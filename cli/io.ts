/** What a command needs from the world around it; tests supply their own. */
export interface Io {
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Reads a file; `-` stands for standard input. */
  readonly readFile: (path: string) => Promise<string>;
}

/** A stream that text is written to; it is a terminal if a person watches. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Ctrl-C: the reason with which `Io.signal` aborts. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /**
   * Set by a command that asks for the state after Ctrl-C and will report it: the process then gives the
   * command time to do so.
   */
  isAnswered = false;
}
