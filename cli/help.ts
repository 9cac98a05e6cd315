/** How `--help` fits a terminal: which texts take a line of their own, and where long lines break. */
import type { Command, Help } from 'commander';
import type { Io, Terminal } from './io.ts';
import { columnsOf } from './output.ts';

const INDENT = '  ';
/** The least width of a description beside its term; a description with less room stands below its term. */
const LEAST_DESCRIPTION = 40;

/**
 * Makes a command write through `io`, with help as wide as the terminal, or 80 columns wide without a
 * terminal.
 */
export function fitHelp(command: Command, io: Io): void {
  const widthOf = (stream: Terminal) => columnsOf(stream.isTTY ? stream : { ...stream, columns: 0 });
  command
    .configureOutput({
      writeOut: (text) => io.stdout.write(fitted(text, widthOf(io.stdout))),
      // An error message is one line, which programs search for.
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => widthOf(io.stdout),
      getErrHelpWidth: () => widthOf(io.stderr),
    })
    .configureHelp({ showGlobalOptions: true, formatItem });
}

function formatItem(this: Help, term: string, termWidth: number, description: string, helper: Help): string {
  if (!description) return `${INDENT}${term}`;
  const width = helper.helpWidth ?? 80;
  const room = width - termWidth - 2 * INDENT.length;
  if (room >= LEAST_DESCRIPTION) {
    const [first = '', ...rest] = helper.boxWrap(description, room).split('\n');
    const below = rest.map((line) => `\n${' '.repeat(termWidth + 2 * INDENT.length)}${line}`);
    return `${INDENT}${term.padEnd(termWidth)}${INDENT}${first}${below.join('')}`;
  }
  const lines = helper.boxWrap(description, width - 3 * INDENT.length).split('\n');
  return [`${INDENT}${term}`, ...lines.map((line) => `${INDENT.repeat(3)}${line}`)].join('\n');
}

/**
 * Lines that are too long continue on the next line, indented to where their text begins. Long commands break
 * so that a shell still takes them as one command.
 */
function fitted(text: string, width: number): string {
  return text
    .split('\n')
    .flatMap((line) =>
      line.length <= width ? [line] : isTyped(line) ? typed(line, width) : broken(line, width),
    )
    .join('\n');
}

function isTyped(line: string): boolean {
  return /^\s+([A-Z_]+=\S+ )*(\S+ \| )?(coffer|npx)\b/.test(line);
}

function typed(line: string, width: number): string[] {
  const indent = /^ */.exec(line)?.[0] ?? '';
  const words = line.trim().match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  const lines = filled(words, indent, `${indent}${INDENT}`, width - 2);
  return lines.map((each, at) => (at < lines.length - 1 ? `${each} \\` : each));
}

function broken(line: string, width: number): string[] {
  const indent = /^ */.exec(line)?.[0] ?? '';
  // A term, two spaces or more, and its text: ` 130 Ctrl-C; …`.
  const term = /^ +\S.*? {2,}(?=\S)/.exec(line)?.[0] ?? '';
  const hang = term !== '' && term.length < width / 2 ? ' '.repeat(term.length) : indent;
  const start = hang === indent ? indent : term;
  return filled(line.slice(start.length).trim().split(/ +/), start, hang, width);
}

/** Fills lines with words: the first line begins with `start`, the others with `hang`. */
function filled(words: readonly string[], start: string, hang: string, width: number): string[] {
  const lines = [start];
  for (const word of words) {
    const line = lines.at(-1) ?? '';
    const isEmpty = line.trim() === '' || line === start;
    if (isEmpty || line.length + 1 + word.length <= width)
      lines[lines.length - 1] = isEmpty ? line + word : `${line} ${word}`;
    else lines.push(hang + word);
  }
  return lines;
}
