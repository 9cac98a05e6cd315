import type { Terminal } from './io.ts';

type Cell = string | number | null | undefined;

/**
 * A column of sentences: on a narrow terminal its lines break between words. All other columns keep each
 * value whole.
 */
interface Prose {
  readonly title: string;
  readonly breaks: true;
}
type Column = string | Prose;

export function prose(title: string): Prose {
  return { title, breaks: true };
}

/** The width of help without a terminal, and on terminals that report zero columns. */
const USUAL_COLUMNS = 80;
/** A column of sentences is never narrower than this, unless its content is. */
const LEAST_PROSE = 16;
/** A longer word does not push other columns out: its column breaks the word. */
const LONGEST_WORD = 36;

/** Writes results: tables for a person, tabs for a pipe, one JSON document for a program. */
export class Output {
  readonly #stream: Terminal;
  readonly #json: boolean;
  readonly #wide: boolean;

  constructor(stream: Terminal, options: { readonly json: boolean; readonly wide?: boolean }) {
    this.#stream = stream;
    this.#json = options.json;
    this.#wide = options.wide ?? false;
  }

  /** The result of a command: `document` with `--json`, otherwise the text that `show` writes. */
  result(document: unknown, show: () => void): void {
    if (this.#json) this.#stream.write(`${JSON.stringify(document)}\n`);
    else show();
  }

  /**
   * Columns are given in order of importance. Where the terminal is too narrow, columns are left out from the
   * end, and columns of sentences last of all. `none` is the text for a person where there are no rows.
   */
  table(columns: readonly Column[], rows: readonly (readonly Cell[])[], none?: string): void {
    const { isTTY } = this.#stream;
    if (isTTY && rows.length === 0 && none !== undefined) return this.line(none);
    const texts = rows.map((row) => row.map(textOf));
    if (!isTTY) return this.#write([columns.map(titleOf), ...texts].map((row) => row.join('\t')));
    const all = columns.map((column, index) => measured(column, texts, index));
    const shown = this.#wide ? all : fitting(all, columnsOf(this.#stream));
    this.#write(framed(shown, texts));
    const hidden = all.filter(({ index }) => !shown.some((one) => one.index === index));
    if (hidden.length === 0) return;
    const names = hidden.map(({ title }) => title).join(', ');
    this.#write(wrapped(`Left out for want of room: ${names}. All columns: --wide`, columnsOf(this.#stream)));
  }

  /** One thing, field by field. */
  fields(fields: Readonly<Record<string, Cell>>): void {
    this.table(['Field', prose('Value')], Object.entries(fields));
  }

  line(text: string): void {
    this.#stream.write(`${printable(text)}\n`);
  }

  #write(lines: readonly string[]): void {
    this.#stream.write(`${lines.join('\n')}\n`);
  }
}

/** How many columns a terminal has. */
export function columnsOf({ columns }: Terminal): number {
  return columns || USUAL_COLUMNS;
}

function titleOf(column: Column): string {
  return typeof column === 'string' ? column : column.title;
}

function textOf(cell: Cell): string {
  return printable(String(cell ?? ''));
}

/** Text that other people have typed must not move the cursor. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ');
}

interface Measured {
  readonly title: string;
  readonly index: number;
  readonly breaks: boolean;
  readonly width: number;
  /** A narrower column can't be read. */
  readonly least: number;
}

function measured(column: Column, rows: readonly (readonly string[])[], index: number): Measured {
  const title = titleOf(column);
  const texts = [title, ...rows.map((row) => row[index] ?? '')];
  const width = Math.max(...texts.map(({ length }) => length));
  const breaks = typeof column !== 'string';
  const word = Math.max(...texts.flatMap((text) => text.split(' ').map(({ length }) => length)));
  const least = breaks ? Math.min(width, Math.max(LEAST_PROSE, Math.min(word, LONGEST_WORD))) : width;
  return { title, index, breaks, width, least };
}

const FRAME = 3;

function total(columns: readonly Measured[], measure: 'width' | 'least'): number {
  return columns.reduce((sum, column) => sum + column[measure] + FRAME, 1);
}

/** The columns that fit: columns are left out from the end, then sentences are made narrower. */
function fitting(columns: readonly Measured[], room: number): readonly Measured[] {
  let kept = columns;
  while (total(kept, 'least') > room) {
    const last = kept.findLastIndex(({ breaks }, at) => !breaks && at > 0);
    if (last < 0) break;
    kept = kept.filter((_, at) => at !== last);
  }
  const widths = kept.map(({ width }) => width);
  for (let excess = total(kept, 'width') - room; excess > 0; excess--) {
    const at = narrowable(kept, widths);
    if (at < 0) break;
    widths[at] = (widths[at] ?? 0) - 1;
  }
  return kept.map((column, at) => ({ ...column, width: widths[at] ?? 0 }));
}

/** The widest column that can be made narrower; if all are as narrow as can be read, the widest of all. */
function narrowable(columns: readonly Measured[], widths: readonly number[]): number {
  const spare = columns.map(({ least, breaks }, at) =>
    breaks && (widths[at] ?? 0) > least ? (widths[at] ?? 0) : 0,
  );
  const of = Math.max(...spare) > 0 ? spare : widths;
  const widest = Math.max(...of);
  return widest > 1 ? of.indexOf(widest) : -1;
}

function framed(columns: readonly Measured[], rows: readonly (readonly string[])[]): string[] {
  const rule = `+${columns.map(({ width }) => '-'.repeat(width + 2)).join('+')}+`;
  const framedRow = (textAt: (column: Measured) => string) => {
    const cells = columns.map((column) => wrapped(textAt(column), column.width));
    const height = Math.max(...cells.map(({ length }) => length));
    return Array.from(
      { length: height },
      (_, line) =>
        `|${columns.map(({ width }, at) => ` ${(cells[at]?.[line] ?? '').padEnd(width)} `).join('|')}|`,
    );
  };
  const body = rows.flatMap((row) => framedRow(({ index }) => row[index] ?? ''));
  return [rule, ...framedRow(({ title }) => title), rule, ...body, rule];
}

/** Breaks text between words; only a word longer than a whole line is broken within. */
function wrapped(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ').flatMap((each) => pieces(each, width))) {
    const line = lines.at(-1) ?? '';
    if (line.length + 1 + word.length > width && line !== '') lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}

function pieces(word: string, width: number): readonly string[] {
  if (word.length <= width) return [word];
  return [word.slice(0, width), ...pieces(word.slice(width), width)];
}
