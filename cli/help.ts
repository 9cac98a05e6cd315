/** How `--help` fits a terminal: what takes a line of its own, and where lines that are too long break. */
import type { Command, Help } from 'commander';
import type { Io, Terminal } from './io.ts';
import { columnsOf } from './output.ts';

const INDENT = '  ';
/** A description beside its term; one with less room stands below it. */
const LEAST_DESCRIPTION = 40;

/** Has a command write through `io`, its help as wide as the terminal; without one, 80 wide. */
export function fitHelp(command: Command, io: Io): void {
  const widthOf = (stream: Terminal) => columnsOf(stream.isTTY ? stream : { ...stream, columns: 0 });
  command
    .configureOutput({
      writeOut: (text) => io.stdout.write(fitted(text, widthOf(io.stdout))),
      // A complaint is one line, which programs look for.
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

/** Lines that are too long go on below, where their text begins; commands so that a shell takes them as one. */
export function fitted(text: string, width: number): string {
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
  // A term, two blanks or more, and its text: `  130  Ctrl-C; …`.
  const term = /^ +\S.*? {2,}(?=\S)/.exec(line)?.[0] ?? '';
  const hang = term !== '' && term.length < width / 2 ? ' '.repeat(term.length) : indent;
  const start = hang === indent ? indent : term;
  return filled(line.slice(start.length).trim().split(/ +/), start, hang, width);
}

/** Words in lines: the first begins with `start`, the others with `hang`. */
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
