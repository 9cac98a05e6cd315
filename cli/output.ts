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

  /** `none` is what a person is told where there are no rows. */
  table(headers: readonly string[], rows: readonly (readonly Cell[])[], none?: string): void {
    const { isTTY } = this.#stream;
    if (isTTY && rows.length === 0 && none !== undefined) return this.line(none);
    const lines = [headers, ...rows].map((row) => row.map(textOf));
    const shown = isTTY ? framed(lines, columnsOf(this.#stream)) : lines.map((row) => row.join('\t'));
    this.#stream.write(`${shown.join('\n')}\n`);
  }

  /** One thing, field by field. */
  fields(fields: Readonly<Record<string, Cell>>): void {
    this.table(['Field', 'Value'], Object.entries(fields));
  }

  line(text: string): void {
    this.#stream.write(`${printable(text)}\n`);
  }
}

/** Some terminals say that they have none. */
export function columnsOf({ columns }: Terminal): number {
  return columns || 80;
}

function textOf(cell: Cell): string {
  return printable(String(cell ?? ''));
}

/** What others have typed must not move the cursor. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ');
}

function framed(lines: readonly (readonly string[])[], columns: number): string[] {
  const [headers = [], ...rows] = lines;
  const widths = widthsOf(lines, columns);
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`;
  const framedRow = (row: readonly string[]) => {
    const cells = widths.map((width, column) => wrapped(row[column] ?? '', width));
    const height = Math.max(...cells.map(({ length }) => length));
    return Array.from(
      { length: height },
      (_, line) =>
        `|${widths.map((width, column) => ` ${(cells[column]?.[line] ?? '').padEnd(width)} `).join('|')}|`,
    );
  };
  return [rule, ...framedRow(headers), rule, ...rows.flatMap(framedRow), rule];
}

/** As wide as what is in them; where the terminal is too narrow for that, the widest are made narrower. */
function widthsOf(lines: readonly (readonly string[])[], columns: number): number[] {
  const [headers = []] = lines;
  const widest = (column: number, measure: (text: string) => number) =>
    Math.max(...lines.map((row) => measure(row[column] ?? '')));
  const widths = headers.map((_, column) => widest(column, (text) => text.length));
  // Words stay whole: half an id is of no use.
  const least = headers.map((_, column) =>
    widest(column, (text) => Math.max(...text.split(' ').map(({ length }) => length))),
  );
  let excess = widths.reduce((sum, width) => sum + width + 3, 1) - columns;
  for (; excess > 0; excess--) {
    const spare = widths.map((width, column) => (width > (least[column] ?? 0) ? width : 0));
    const column = spare.indexOf(Math.max(...spare));
    if ((spare[column] ?? 0) === 0) break;
    widths[column] = (widths[column] ?? 0) - 1;
  }
  return widths;
}

function wrapped(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line.length + 1 + word.length > width && line !== '') lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
