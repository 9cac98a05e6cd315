/** What is redrawn in place on a terminal. */
import type { Terminal } from './io.ts';

/** Lines that are drawn over and over in the same place. */
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
  const seconds = Math.max(0, Math.round((end - Date.parse(started)) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

export function clip(text: string, columns: number): string {
  return text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
}
