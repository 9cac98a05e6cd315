/** `--help` teaches: each command says what it does and shows how it is typed. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../../cli/program.ts';
import { coffer } from '../support/cli.ts';

function everyCommand(command: Command, path: readonly string[] = []): string[] {
  return command.commands.flatMap((child) => {
    const below = [...path, child.name()];
    return [below.join(' '), ...everyCommand(child, below)];
  });
}

const GOLDEN = join(import.meta.dirname, '../golden/cli');
const nobody = { write: () => undefined };
const program = buildProgram(
  {
    ...{ stdout: nobody, stderr: nobody, env: {}, signal: new AbortController().signal },
    readFile: async () => '',
  },
  () => undefined,
);
const commands = everyCommand(program);

/** The words of a text; a `\\` at the end of a line only says that a command goes on below. */
const wordsOf = (text: string) => text.replaceAll(' \\\n', '\n').match(/\S+/g);

describe.each([60, 80, 120])('--help on a terminal of %d columns', (columns) => {
  it.each(['', ...commands])('of coffer %s fits, with every word whole', async (command) => {
    const { stdout } = await coffer(`${command} --help`, { isTTY: true, columns });
    const whole = await coffer(`${command} --help`, { isTTY: true, columns: 1000 });
    const longest = Math.max(...stdout.split('\n').map(({ length }) => length));
    expect(longest).toBeLessThanOrEqual(columns);
    expect(wordsOf(stdout)).toEqual(wordsOf(whole.stdout));
  });

  it.each(['', 'cluster-upgrade', 'batch-create', 'dead-letters replay'])(
    'of coffer %s is as in test/golden/cli/',
    async (command) => {
      const { stdout } = await coffer(`${command} --help`, { isTTY: true, columns });
      const name = ['help', ...command.split(' ').filter(Boolean), columns].join('-');
      await expect(stdout).toMatchFileSnapshot(join(GOLDEN, `${name}.golden`));
    },
  );
});

it('--help without a terminal is 80 columns wide', async () => {
  const { stdout } = await coffer('--help', { columns: 200 });
  expect(stdout).toBe((await coffer('--help', { isTTY: true, columns: 80 })).stdout);
});

describe('coffer --help', () => {
  it('names every command under what it is about, with a first upgrade and the exit codes', async () => {
    const { code, stdout } = await coffer('--help');
    expect(code).toBe(0);
    const tops = commands.filter((path) => !path.includes(' '));
    expect(tops.length).toBeGreaterThan(30);
    expect(tops.filter((name) => !new RegExp(`^  ${name}\\b`, 'm').test(stdout))).toEqual([]);
    for (const heading of [
      'Upgrades:',
      'Clusters:',
      'This installation:',
      'A first upgrade:',
      'Exit codes:',
    ]) {
      expect(stdout).toContain(`\n${heading}\n`);
    }
  });

  it.each(commands)('%s has a description and an example of itself', async (command) => {
    const { code, stdout } = await coffer(`${command} --help`);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Usage: .*\n\n[A-Z]/);
    expect(stdout).toMatch(new RegExp(`Examples?:\\n([^\\n]*\\n)?(  [A-Z_]+=.*)?  coffer ${command}`));
    expect(stdout).toContain('--endpoint <url>');
  });
});
