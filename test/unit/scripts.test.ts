/** The commands of package.json that are scripts of ours: what they answer before they do anything. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly scripts: Readonly<Record<string, string>>;
};
const ours = Object.entries(scripts).flatMap(([name, command]) => {
  const file = /\bnode (scripts\/\S+)/.exec(command)?.[1];
  return file === undefined ? [] : [[name, file] as const];
});

describe('--help', () => {
  it('is asked of every script', () => {
    expect(ours.map(([name]) => name).sort()).toEqual([
      ...['bench', 'chaos', 'demo', 'demos', 'fuzz', 'prove', 'simulate', 'sizing', 'start', 'test'],
    ]);
  });

  it.each(ours)('npm run %s says how it is used, and does nothing else', async (name, file) => {
    const env = { PATH: process.env['PATH'], COFFER_HOME: '/nowhere/that/can/be' };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file, '--help'], {
      cwd: ROOT,
      env,
    });
    expect(stdout).toMatch(new RegExp(`^usage: npm (run )?${name} `));
    expect(stderr).toBe('');
  });
});
