/** `--help` teaches: each command says what it does and shows how it is typed. */
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

const nobody = { write: () => undefined };
const program = buildProgram(
  {
    ...{ stdout: nobody, stderr: nobody, env: {}, signal: new AbortController().signal },
    readFile: async () => '',
  },
  () => undefined,
);
const commands = everyCommand(program);

describe('coffer --help', () => {
  it('names every command under what it is about, with a first upgrade and the exit codes', async () => {
    const { code, stdout } = await coffer('--help');
    expect(code).toBe(0);
    const tops = commands.filter((path) => !path.includes(' '));
    expect(tops.length).toBeGreaterThan(30);
    expect(tops.filter((name) => !new RegExp(`^  ${name} `, 'm').test(stdout))).toEqual([]);
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
