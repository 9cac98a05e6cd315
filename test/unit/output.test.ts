/** How results are written: tables that fit the terminal, tabs in a pipe, words where there is nothing. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { elapsed, remaining } from '../../cli/canvas.ts';
import { Output, prose } from '../../cli/output.ts';

function written(terminal: { isTTY: boolean; columns?: number }, show: (output: Output) => void): string {
  let text = '';
  const write = (part: string) => {
    text += part;
  };
  show(new Output({ write, ...terminal }, { json: false }));
  return text;
}

const ID = '5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a';
const paused =
  'paused: disk full on shop-member-2: retry it, or cancel it; a person can: retry, cancel, rollback';
const show = (output: Output) =>
  output.table(
    ['ID', prose('Note')],
    [
      [ID, paused],
      ['2', null],
    ],
  );

describe('time on a picture that is redrawn', () => {
  afterEach(() => void vi.useRealTimers());

  it('is told in minutes and seconds, with what is expected to be left', () => {
    vi.useFakeTimers({ now: Date.parse('2026-11-25T10:00:00Z') });
    expect(elapsed('2026-11-25T09:58:55Z', null)).toBe('1:05');
    expect(elapsed(null, null)).toBe('');
    expect(remaining('2026-11-25T10:12:07.400Z')).toBe('  about 12:07 left');
    expect(remaining('2026-11-25T09:59:00Z')).toBe('  about 0:00 left');
    expect(remaining(null)).toBe('');
  });
});

describe('a table', () => {
  it.each([60, 80, 110])('fits a terminal of %d columns, with every word whole', (columns) => {
    const text = written({ isTTY: true, columns }, show);
    const lines = text.trimEnd().split('\n');
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(columns);
    expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
    expect(text).toContain(ID);
    const notes = lines.filter((line) => line.startsWith('|')).map((line) => line.split('|')[2]?.trim());
    expect(notes.join(' ').trim()).toBe(`Note ${paused}`);
  });

  it('is as wide as what is in it where there is room', () => {
    const wide = written({ isTTY: true, columns: 200 }, show);
    expect(wide.split('\n')).toHaveLength(7);
    expect(written({ isTTY: true, columns: 0 }, show)).toBe(written({ isTTY: true, columns: 80 }, show));
  });

  it.each([
    [60, ['Name', 'State', 'ID'], 'Created'],
    [50, ['Name', 'State'], 'ID, Created'],
    [15, ['Name'], 'State, ID, Created'],
  ])('of %d columns leaves out what comes last, and says so', (columns, titles, hidden) => {
    const text = written({ isTTY: true, columns }, (output) =>
      output.table(['Name', 'State', 'ID', 'Created'], [['shop', 'running', ID, '2026-11-25T10:00:00.000Z']]),
    );
    const lines = text.trimEnd().split('\n');
    expect(
      lines[1]
        ?.split('|')
        .slice(1, -1)
        .map((title) => title.trim()),
    ).toEqual(titles);
    expect(Math.max(...lines.slice(0, 5).map(({ length }) => length))).toBeLessThanOrEqual(columns);
    expect(lines.slice(5).join(' ')).toBe(`Left out for want of room: ${hidden}. All columns: --wide`);
  });

  it('keeps sentences when it leaves out columns', () => {
    const text = written({ isTTY: true, columns: 50 }, (output) =>
      output.table(['Step', 'ID', prose('Note')], [['a', ID, paused]]),
    );
    expect(text).toContain('Note');
    expect(text).toContain('Left out for want of room: ID.');
  });

  it('breaks a value only where it has more than the whole line', () => {
    const text = written({ isTTY: true, columns: 30 }, (output) => output.table(['ID'], [[ID]]));
    expect(text.split('\n').slice(3, 5)).toEqual([
      `| ${ID.slice(0, 26)} |`,
      `| ${ID.slice(26).padEnd(26)} |`,
    ]);
  });

  it('is nothing but tabs in a pipe', () => {
    expect(written({ isTTY: false, columns: 20 }, show)).toBe(`ID\tNote\n${ID}\t${paused}\n2\t\n`);
  });

  it('without rows tells a person what that means, and a program nothing', () => {
    const empty = (output: Output) => output.table(['ID'], [], 'There are none yet.');
    expect(written({ isTTY: true }, empty)).toBe('There are none yet.\n');
    expect(written({ isTTY: false }, empty)).toBe('ID\n');
    const untold = written({ isTTY: true }, (output) => output.table(['ID'], []));
    expect(untold.split('\n')[1]).toBe('| ID |');
  });
});
