/** What a command has of the world around it; tests give their own. */
export interface Io {
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Reads a file, or standard input for `-`. */
  readonly readFile: (path: string) => Promise<string>;
}

/** A stream that text goes to; a terminal if a person watches. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Ctrl-C: the reason with which `Io.signal` aborts. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** A command asks how things stand, and will say so: it is given the time for it. */
  isAnswered = false;
}
