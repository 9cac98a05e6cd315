/** The fenced blocks of the documentation, and how the commands in them are run. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

// Plain JavaScript, outside of what the compiler sees here.
const { which } = (await import(resolve(import.meta.dirname, '../../scripts/lib/command.mjs'))) as {
  which(name: string, dirs?: readonly string[]): string | undefined;
};

/** Undefined where there is no such program. */
export { which };

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
  /** `sh`: typed into a shell. `js`: run by Node. Anything else is not run. */
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
  return language === 'sh' ? text : null;
}

/** What a test does to a page so that it can be typed; each key is a text that one block of it has. */
export interface Typing {
  /** Shell, before the block: what a reader has from elsewhere, or has waited for meanwhile. */
  readonly before?: Readonly<Record<string, string>>;
  /** Shell or JavaScript instead of the text, wherever it stands: an address, an id, an hour. */
  readonly instead?: Readonly<Record<string, string>>;
  /** The block is not typed here: where else, or why nowhere and what is looked at instead. Names a test. */
  readonly elsewhere?: Readonly<Record<string, string>>;
}

/** All that is typed of a page, from top to bottom. Throws if the page does not have what `typing` is about. */
export function pageScript(page: string, { before = {}, instead = {}, elsewhere = {} }: Typing): string {
  const blocks = blocksOf(page).filter((block) => typedAs(block) !== null);
  for (const text of [...Object.keys(before), ...Object.keys(elsewhere)])
    if (blocks.filter((block) => block.text.includes(text)).length !== 1)
      throw new Error(`${page}: not exactly one block has ${text}`);
  for (const text of Object.keys(instead))
    if (!blocks.some((block) => block.text.includes(text))) throw new Error(`${page}: no block has ${text}`);
  const keyOf = (block: Block, keys: object) => Object.keys(keys).find((text) => block.text.includes(text));
  return blocks
    .filter((block) => keyOf(block, elsewhere) === undefined)
    .map((block) => {
      const first = before[keyOf(block, before) ?? ''] ?? ':';
      const text = Object.entries(instead).reduce(
        (typed, [from, to]) => typed.replaceAll(from, () => to),
        block.text,
      );
      return `echo "--- ${page}:${block.line}" >&2\n${first}\n${typedAs({ ...block, text })}`;
    })
    .join('\n');
}

/** Of a block that is run, the shell that runs it; JavaScript goes to Node. */
function typedAs(block: Block): string | null {
  if (block.language !== 'js') return scriptOf(block);
  return `node --input-type=module - <<'END OF SCRIPT'\n${block.text}\nEND OF SCRIPT`;
}

/** One word of a shell command, whatever characters the text has: a path may have blanks and quotes. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A folder with `coffer`, an `npx` that finds it as npm does, only faster, and a strict `curl`. */
export async function commandsIn(dir: string, root = ROOT): Promise<string> {
  const bin = join(dir, 'bin');
  await mkdir(bin, { recursive: true });
  const coffer = `exec ${shellWord(process.execPath)} ${shellWord(join(root, 'bin/coffer.mjs'))}`;
  const npx = `[ "$1" = coffer ] || { echo "npx $1: not for a test" >&2; exit 1; }\nshift\n${coffer} "$@"`;
  // A refusal is a failure here; a reader sees it.
  const curl = `exec ${shellWord(which('curl') ?? 'curl')} --silent --show-error --fail-with-body "$@"`;
  const found = which('psql');
  const psql = found ? `exec ${shellWord(found)} "$@"` : 'echo "no psql on this machine: $*" >&2';
  for (const [name, script] of Object.entries({ coffer: `${coffer} "$@"`, npx, curl, psql })) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  return bin;
}

/** For a whole page; a test is given more. */
const PATIENCE_MS = 840_000;

/** Types a whole page into one shell, in the root of the clone. As `runScript`. */
export async function runPage(
  page: string,
  dir: string,
  env: NodeJS.ProcessEnv,
  typing: Typing = {},
): Promise<string> {
  return runScript(page, pageScript(page, typing), dir, env);
}

/** Answers what a script said; rejects with it if a command fails. `dir` is for whatever it leaves behind. */
export async function runScript(
  name: string,
  script: string,
  dir: string,
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const bin = await commandsIn(dir);
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
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
  throw new Error(`${name} does not work as it stands: exit code ${code}\n${said}`);
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // Nothing was left.
  }
}
