import type { Terminal } from './io.ts';

type Cell = string | number | null | undefined;

/** Writes results: tables for a person, tabs for a pipe, one JSON document for a program. */
export class Output {
  readonly #stream: Terminal;
  readonly #json: boolean;

  constructor(stream: Terminal, options: { readonly json: boolean }) {
    this.#stream = stream;
    this.#json = options.json;
  }

  /** The result of a command: `document` with `--json`, else whatever `show` writes. */
  result(document: unknown, show: () => void): void {
    if (this.#json) this.#stream.write(`${JSON.stringify(document)}\n`);
    else show();
  }

  table(headers: readonly string[], rows: readonly (readonly Cell[])[]): void {
    const lines = [headers, ...rows].map((row) => row.map(textOf));
    this.#stream.write(
      `${(this.#stream.isTTY ? framed(lines) : lines.map((row) => row.join('\t'))).join('\n')}\n`,
    );
  }

  /** One thing, field by field. */
  fields(fields: Readonly<Record<string, Cell>>): void {
    this.table(['Field', 'Value'], Object.entries(fields));
  }

  line(text: string): void {
    this.#stream.write(`${printable(text)}\n`);
  }
}

function textOf(cell: Cell): string {
  return printable(String(cell ?? ''));
}

/** What others have typed must not move the cursor. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ');
}

function framed(lines: readonly (readonly string[])[]): string[] {
  const [headers = [], ...rows] = lines;
  const widths = headers.map((_, column) => Math.max(...lines.map((row) => (row[column] ?? '').length)));
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`;
  const framedRow = (row: readonly string[]) =>
    `|${widths.map((width, column) => ` ${(row[column] ?? '').padEnd(width)} `).join('|')}|`;
  return [rule, framedRow(headers), rule, ...rows.map(framedRow), rule];
}
