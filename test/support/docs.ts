/** The fenced blocks of the documentation, and how the commands in them are run. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

/** Every page that a user reads. */
export const PAGES = [
  ...['README.md', 'CONTRIBUTING.md'],
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

export interface Block {
  readonly page: string;
  /** Of its first line of text, from 1. */
  readonly line: number;
  /** `sh`: a script. `console`: commands after `$ `, with what they print. Anything else is not run. */
  readonly language: string;
  readonly text: string;
}

export function pageText(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8');
}

export function blocksOf(page: string): readonly Block[] {
  const blocks: Block[] = [];
  let open: { readonly line: number; readonly language: string; readonly lines: string[] } | null = null;
  for (const [index, line] of pageText(page).split('\n').entries()) {
    const fence = /^```(\S*)/.exec(line);
    if (!fence) open?.lines.push(line);
    else if (!open) open = { line: index + 2, language: fence[1] ?? '', lines: [] };
    else {
      blocks.push({ page, line: open.line, language: open.language, text: open.lines.join('\n') });
      open = null;
    }
  }
  return blocks;
}

/** What a person would type: null for a block that is not to be typed. */
export function scriptOf({ language, text }: Block): string | null {
  if (language === 'sh') return text;
  if (language !== 'console') return null;
  const typed: string[] = [];
  let goesOn = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('$ ')) typed.push(line.slice(2));
    else if (goesOn) typed.push(line);
    goesOn = line.endsWith('\\') && (line.startsWith('$ ') || goesOn);
  }
  return typed.join('\n');
}

/** A folder with `coffer`, and an `npx` that finds it as npm does, only faster. */
async function commandsIn(dir: string): Promise<string> {
  const bin = join(dir, 'bin');
  await mkdir(bin, { recursive: true });
  const coffer = `exec ${process.execPath} ${join(ROOT, 'dist/cli/main.js')}`;
  const npx = `[ "$1" = coffer ] || { echo "npx $1: not for a test" >&2; exit 1; }\nshift\n${coffer} "$@"`;
  for (const [name, script] of Object.entries({ coffer: `${coffer} "$@"`, npx })) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  return bin;
}

/** For a whole page; a test is given more. */
const PATIENCE_MS = 840_000;

/**
 * Types all blocks of a page into one shell, from top to bottom, in the root of the clone. Answers what it
 * said; rejects with it if a command fails.
 */
export async function runPage(page: string, dir: string, env: NodeJS.ProcessEnv): Promise<string> {
  const scripts = blocksOf(page).flatMap((block) => {
    const script = scriptOf(block);
    return script === null ? [] : [`echo "--- ${page}:${block.line}" >&2\n${script}`];
  });
  const bin = await commandsIn(dir);
  const child = spawn('bash', ['-euo', 'pipefail', '-c', scripts.join('\n')], {
    cwd: ROOT,
    env: { ...process.env, ...env, PATH: `${bin}:${process.env['PATH']}`, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  }
  const code = await new Promise<number | 'no end'>((done) => {
    const timer = setTimeout(() => done('no end'), PATIENCE_MS);
    child.once('exit', (status) => {
      clearTimeout(timer);
      done(status ?? 1);
    });
  });
  if (code === 0) return said;
  // Whatever it has in the background, and what has a session of its own.
  const pidFiles = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\/\d+\.pid$/.test(name),
  );
  const pids = pidFiles.map((name) => Number(readFileSync(join(dir, name), 'utf8')));
  for (const pid of [child.pid, ...pids]) if (pid) killGroup(pid);
  throw new Error(`${page} does not work as it stands: exit code ${code}\n${said}`);
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // Nothing was left.
  }
}
