/** What shells complete, asked of the shells themselves as far as they are there. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { coffer } from '../support/cli.ts';

let dir: string;
const scripts = new Map<string, string>();
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'coffer-completion-'));
  // In place of the real one: what it would list.
  writeFileSync(join(dir, 'coffer'), '#!/bin/sh\nprintf "ID\\tName\\n1\\tshop\\n2\\tstock\\n"\n', {
    mode: 0o755,
  });
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await coffer(`completion ${shell}`);
    expect(code).toBe(0);
    const path = join(dir, `coffer.${shell}`);
    writeFileSync(path, stdout);
    scripts.set(shell, path);
  }
});
afterAll(() => rmSync(dir, { recursive: true }));

function has(shell: string): boolean {
  try {
    execFileSync(shell, ['-c', ':']);
    return true;
  } catch {
    return false;
  }
}

/** Why a test of this shell does not run, for its title. */
function reason(shell: string): string {
  return has(shell) ? '' : ` (skipped: this machine has no ${shell})`;
}

function ask(shell: string, script: string): string[] {
  const env = { PATH: `${dir}:${process.env['PATH']}`, HOME: dir, TERM: 'dumb' };
  const said = execFileSync(shell, ['-c', script], { env, encoding: 'utf8' });
  return said
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t')[0] ?? '');
}

const COMPLETERS: Readonly<Record<string, (words: readonly string[]) => string[]>> = {
  bash: (words) => {
    const line = words.map((word) => `'${word}'`).join(' ');
    return ask(
      'bash',
      `source ${scripts.get('bash')}
       complete -p coffer | grep -q -- '-F _coffer' || exit 1
       COMP_WORDS=(coffer ${line}); COMP_CWORD=${words.length}
       _coffer; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );
  },
  fish: (words) => ask('fish', `source ${scripts.get('fish')}; complete -C 'coffer ${words.join(' ')}'`),
};

describe.each(['bash', 'fish'])('%s', (shell) => {
  const complete = COMPLETERS[shell] ?? (() => []);

  it.skipIf(!has(shell))(`completes commands, options, their values, and clusters${reason(shell)}`, () => {
    expect(complete(['cluster-u'])).toEqual(['cluster-upgrade']);
    expect(complete([''])).toEqual(expect.arrayContaining(['cluster-create', 'doctor', 'dead-letters']));
    expect(complete(['dead-letters', 'r'])).toEqual(['replay']);
    expect(complete(['cluster-upgrade', '--dry'])).toEqual(['--dry-run']);
    expect(complete(['cluster-upgrade', 'shop', '17.10', '--on-failure', ''])).toEqual(
      expect.arrayContaining(['pause', 'rollback', 'fail']),
    );
    expect(complete(['--tenant', 'cluster-show', 'upgrade-sho'])).toEqual(['upgrade-show']);
    expect(complete(['cluster-show', 's']).sort()).toEqual(['shop', 'stock']);
    expect(complete(['cluster-show', 'st'])).toEqual(['stock']);
    expect(complete(['completion', 'z'])).toEqual(['zsh']);
    expect(complete(['cluster-show', '--jso'])).toEqual(['--json']);
  });
});

it.skipIf(!has('zsh'))(
  `zsh can read its script, and takes it for a completion of coffer${reason('zsh')}`,
  () => {
    const script = `autoload -U compinit; compinit -u -d ${dir}/dump; source ${scripts.get('zsh')}; print $_comps[coffer]`;
    expect(ask('zsh', script)).toEqual(['_coffer']);
  },
);

it('another shell is refused with those that there are', async () => {
  expect(await coffer('completion tcsh')).toMatchObject({
    ...{ code: 2, stderr: expect.stringContaining('bash, zsh, fish') as string },
  });
});
