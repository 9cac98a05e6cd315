/** Hooks as an operator writes them: small programs, and the file that names them. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { HookName } from '../../guestagent/drivers/command/hooks-file.ts';

/** A shell script without its first line, or the same with more to say. */
export type Script = string | { readonly script: string; readonly timeout_seconds: number };

/** Writes the scripts and the file of hooks of manager `kv`; answers the file's path. */
export async function writeHooks(
  dir: string,
  scripts: Readonly<Partial<Record<HookName, Script>>>,
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  await mkdir(dir, { recursive: true });
  const entries = Object.entries(scripts).map(async ([name, given]) => {
    const { script, ...rest } = typeof given === 'string' ? { script: given } : given;
    const path = join(dir, name);
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
    return [name, { command: [path, 'an argument'], ...rest }] as const;
  });
  const file = join(dir, 'hooks.yaml');
  const hooks = Object.fromEntries(await Promise.all(entries));
  await writeFile(file, stringify({ managers: { kv: { ...hooks, environment } } }), { mode: 0o600 });
  return file;
}
