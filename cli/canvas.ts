/** Output that is redrawn in place on a terminal. */
import type { Terminal } from './io.ts';

/** Lines that are redrawn again and again in the same place. */
export class Canvas {
  readonly #stream: Terminal;
  #height = 0;
  #drawn = '';

  constructor(stream: Terminal) {
    this.#stream = stream;
  }

  draw(lines: readonly string[]): void {
    const text = lines.map((line) => `${line}\n`).join('');
    if (text === this.#drawn) return;
    const up = this.#height > 0 ? `\x1b[${this.#height}A` : '';
    this.#stream.write(`${up}\r\x1b[0J${text}`);
    this.#drawn = text;
    this.#height = lines.length;
  }
}

/** `1:05`; empty before the start. */
export function elapsed(started: string | null, ended: string | null): string {
  if (started === null) return '';
  const end = ended === null ? Date.now() : Date.parse(ended);
  return minutes(end - Date.parse(started));
}

function minutes(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** `  about 0:12 left`; empty where there is no estimate. */
export function remaining(estimated_end: string | null): string {
  if (estimated_end === null) return '';
  return `  about ${minutes(Date.parse(estimated_end) - Date.now())} left`;
}

export function clip(text: string, columns: number): string {
  return text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
}
