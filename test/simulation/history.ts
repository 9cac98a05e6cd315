import type { Logger } from '../../src/log.ts';
import { T0 } from './scheduler.ts';

/** The history of events, for people; and a number that differs if any event differs. */
export class History {
  readonly lines: string[] = [];
  readonly #now: () => number;
  #hash = 0x811c9dc5;

  constructor(now: () => number) {
    this.#now = now;
  }

  get hash(): string {
    return this.#hash.toString(16).padStart(8, '0');
  }

  tell(text: string): void {
    const line = `${((this.#now() - T0) / 1000).toFixed(3).padStart(9)}  ${text}`;
    this.lines.push(line);
    for (let i = 0; i < line.length; i++) {
      this.#hash = Math.imul(this.#hash ^ line.charCodeAt(i), 0x01000193) >>> 0;
    }
  }

  /** The logs of a process are a part of the history. */
  logOf(name: string): Logger {
    const write = (fields: unknown, message?: string) => {
      const { err } = (typeof fields === 'object' && fields ? fields : {}) as { err?: unknown };
      const reason = err instanceof Error ? `: ${err.message}` : '';
      this.tell(`${name}: ${message ?? String(fields)}${reason}`);
    };
    const quiet = () => undefined;
    const loud = { info: write, warn: write, error: write, fatal: write };
    const log = { ...loud, debug: quiet, trace: quiet, child: () => log };
    return log as unknown as Logger;
  }
}
