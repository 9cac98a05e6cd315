/**
 * The documentation against the code: commands that are typed, blocks that are read by programs, links, and
 * whatever has to be complete. `test/integration/docs.test.ts` runs whole pages.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { buildProgram } from '../../cli/program.ts';
import { driversConfig } from '../../guestagent/drivers/index.ts';
import { DEFAULT_WAVE } from '../../src/core/batch/waves.ts';
import { ERRORS } from '../../src/core/errors.ts';
import { GATES } from '../../src/core/phase.ts';
import { blocksOf, commandsIn, PAGES, pageScript, pageText, ROOT, scriptOf } from '../support/docs.ts';
import { NOT_TYPED, SESSIONS } from '../support/typing.ts';

const nobody = { write: () => undefined };
const scripts: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(join(ROOT, 'package.json'), 'utf8'),
).scripts;

/** Parses one command line as `coffer` would, and does nothing. Answers what is wrong with it. */
async function complaintOf(words: readonly string[]): Promise<string | null> {
  let said = '';
  const stderr = {
    write: (text: string) => {
      said += text;
    },
  };
  const io = {
    stdout: nobody,
    stderr,
    env: {},
    signal: new AbortController().signal,
    readFile: async () => '',
  };
  const program = buildProgram(io, () => undefined);
  const disarm = (command: Command): void => {
    command.action(() => undefined);
    command.commands.forEach(disarm);
  };
  program.commands.forEach(disarm);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return null;
  } catch (error) {
    return words.includes('--help') || words.includes('--version') ? null : said || String(error);
  }
}

/** Lines of a page that a reader would type: of blocks that are run, and commands within a sentence. */
function typedLines(page: string): string[] {
  const blocks = blocksOf(page).flatMap((block) => scriptOf(block) ?? []);
  const inline = [...proseOf(page).matchAll(/`((?:npx coffer|coffer|npm run|npm start|npm test) [^`]+)`/g)];
  const spoken = inline.map(([, command = '']) =>
    command.replaceAll('\n', ' ').replace(/^coffer \S+$/, '$& --help'),
  );
  return [...blocks, ...spoken].join('\n').replaceAll('\\\n', ' ').split('\n');
}

/** A page without its blocks. */
function proseOf(page: string): string {
  return pageText(page).replaceAll(/^```.*\n[\s\S]*?^```$/gm, '');
}

/** What a script says of its options when it is asked. */
function flagsOf(name: string): ReadonlySet<string> {
  const [program, path = ''] = (scripts[name] ?? '').replace(/^exec /, '').split(' ');
  if (program !== 'node') return new Set(['--mutate']); // Stryker's own
  const said = execFileSync(process.execPath, [join(ROOT, path), '--help'], { encoding: 'utf8' });
  return new Set(said.match(/--[a-z-]+/g));
}

const SEPARATOR = /^(\|\||&&|[|;&()]|\d?>.*)$/;
/** After these a program is named. */
const BEFORE_A_COMMAND = /^(npx|do|then|if|until|while|!|\$|\w+=.*)$/;

/** The arguments of each call of `name` in a line: quotes hold words together, comments end it. */
function callsOf(line: string, name: string): string[][] {
  const words =
    line
      .replaceAll(/<[\w -]+>/g, 'X')
      .match(/"[^"]*"|'[^']*'|#.*|\|\||&&|[|;&()]|[^\s|;&()"']+(?:"[^"]*"|'[^']*')?/g) ?? [];
  const calls: string[][] = [];
  let open: string[] | null = null;
  let before = '';
  for (const word of words) {
    if (/^#/.test(word)) break;
    if (SEPARATOR.test(word)) open = null;
    else if (word === name && (open === null || BEFORE_A_COMMAND.test(before))) {
      open = [];
      calls.push(open);
    } else if (open === null) open = BEFORE_A_COMMAND.test(word) ? null : [];
    else open.push(word.replaceAll(/^["']|["']$/g, ''));
    before = word;
  }
  return calls;
}

describe.each(PAGES)('%s', (page) => {
  it('has command lines that coffer understands', async () => {
    const wrong: string[] = [];
    for (const line of typedLines(page)) {
      if (line.includes('…')) continue;
      for (const call of callsOf(line, 'coffer')) {
        const complaint = await complaintOf(call);
        if (complaint !== null) wrong.push(`${line}: ${complaint}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('names scripts and programs that are there', () => {
    const lines = typedLines(page);
    const named = lines.flatMap((line) =>
      [...line.matchAll(/\bnpm run ([\w-]+)/g)].map(([, name = '']) => name),
    );
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
    const programs = lines.flatMap((line) =>
      [...line.matchAll(/\bdist\/([\w/-]+)\.js/g)].map(([, path]) => `${path}.ts`),
    );
    expect(programs.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('marks every block with what it is, so that a test knows what to type', () => {
    expect(proseOf(page).match(/^ {4}\S.*$/gm) ?? []).toEqual([]);
  });

  it('is typed by a test, or says which one looks at it otherwise', () => {
    const typings = [...SESSIONS.map(({ pages }) => pages), NOT_TYPED].flatMap((pages) => pages[page] ?? []);
    const hasCommands = blocksOf(page).some(({ language }) => language === 'js' || language === 'sh');
    expect(typings).toHaveLength(hasCommands ? 1 : 0);
    for (const typing of typings) {
      expect(() => pageScript(page, typing)).not.toThrow();
      const tests = Object.values(typing.elsewhere ?? {}).map((text) =>
        text.match(/test\/[\w/.-]+\.test\.ts/g),
      );
      expect(tests).not.toContain(null);
      expect(tests.flat().filter((path) => !existsSync(join(ROOT, path ?? '')))).toEqual([]);
    }
  });

  it('gives our scripts options that they know', () => {
    const wrong: string[] = [];
    for (const line of typedLines(page)) {
      for (const [, name = '', options = ''] of line.matchAll(/\bnpm (?:run )?([\w-]+) -- ([^#`]*)/g)) {
        const paths = options.match(/\btest\/\S+/g) ?? [];
        wrong.push(...paths.filter((path) => !existsSync(join(ROOT, path))));
        const flags = options.match(/--[a-z-]+/g) ?? [];
        wrong.push(...flags.filter((flag) => !flagsOf(name).has(flag)).map((flag) => `${name} ${flag}`));
      }
    }
    expect(wrong).toEqual([]);
  });

  it('has blocks that can be read by what they are for', () => {
    for (const { language, text, line, ...block } of blocksOf(page)) {
      const where = `${page}:${line}`;
      const script = scriptOf({ language, text, line, ...block });
      if (script !== null) execFileSync('bash', ['-n', '-c', script.replaceAll(/<\w+>/g, 'X')]);
      if (language === 'json') expect(() => JSON.parse(text), where).not.toThrow();
      if (language === 'yaml')
        expect(
          parseAllDocuments(text).flatMap(({ errors }) => errors),
          where,
        ).toEqual([]);
      expect(['sh', 'text', 'ts', 'js', 'json', 'yaml', 'ini', 'http', ''], where).toContain(language);
    }
  });

  it('names tests that are there', () => {
    const named = pageText(page).match(/\btest\/[\w./-]+\.(test\.ts|golden|patch)\b/g) ?? [];
    expect([...new Set(named)].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('leads to what is there', () => {
    const links = [...pageText(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)/g)];
    const broken = links.filter(([, path = '', anchor]) => {
      const target = path === '' ? join(ROOT, page) : join(ROOT, dirname(page), path);
      if (!existsSync(target)) return true;
      return anchor !== undefined && !anchorsOf(readFileSync(target, 'utf8')).includes(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });
});

/** As GitHub makes them of headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe('docs/troubleshooting.md', () => {
  const text = pageText('docs/troubleshooting.md');
  it('knows every error code', () => {
    const codes = [...Object.keys(ERRORS), 'unreachable', 'unexpected_answer', 'usage', 'unforeseen'];
    expect(codes.filter((code) => !text.includes(`\`${code}\``))).toEqual([]);
  });

  it('gives each its HTTP status', () => {
    const rows = new Map<string, string>();
    for (const [, names = '', status = ''] of text.matchAll(/^\| ((?:`\w+`(?:, )?)+) \| (\d+) \|/gm))
      for (const [, name = ''] of names.matchAll(/`(\w+)`/g)) rows.set(name, status);
    for (const [code, { status }] of Object.entries(ERRORS))
      expect([code, rows.get(code)]).toEqual([code, String(status)]);
  });

  it('knows every gate, and every reason of a pause', () => {
    const reasons = ['requested', 'canary', 'window', 'failure', 'gate'];
    expect([...GATES, ...reasons].filter((name) => !text.includes(`| \`${name}\` |`))).toEqual([]);
  });
});

describe('docs/configuration.md', () => {
  it.each(Object.keys(driversConfig))('has a row for %s, which a driver reads', (name) => {
    expect(pageText('docs/configuration.md')).toMatch(new RegExp(`^\\| \`${name}\` \\| guestagent \\|`, 'm'));
  });
});

describe('docs/batches.md', () => {
  it.each(Object.entries(DEFAULT_WAVE))('gives the setting %s of a wave its default', (name, value) => {
    const cell = new RegExp(`^\\| \`${name}\` \\| \`?([^|\`]+?)\`? \\|`, 'm').exec(
      pageText('docs/batches.md'),
    )?.[1];
    expect(cell).toBe(String(value ?? 'none'));
  });
});

it('the commands of a page are found in a clone whose path has blanks and quotes', async () => {
  const folder = mkdtempSync(join(tmpdir(), "coffer's pages-"));
  const clone = join(folder, "a clone of Ann's (2) & $more");
  symlinkSync(ROOT, clone);
  const bin = await commandsIn(folder, clone);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(execFileSync(join(bin, 'coffer'), ['--version'], { encoding: 'utf8' }).trim()).toBe(version);
  expect(execFileSync(join(bin, 'npx'), ['coffer', '--version'], { encoding: 'utf8' }).trim()).toBe(version);
  expect(execFileSync(join(bin, 'curl'), ['--version'], { encoding: 'utf8' })).toMatch(/^curl /);
  rmSync(folder, { recursive: true });
});

it('TypeScript in the documentation compiles', () => {
  const examples = PAGES.filter((page) => page !== 'docs/rest.md').flatMap((page) =>
    blocksOf(page).filter(({ language }) => language === 'ts'),
  );
  expect(examples.length).toBeGreaterThan(0);
  const files = new Map(
    examples.map(({ page, line, text }) => [
      join(ROOT, `test/unit/${page.replaceAll(/\W/g, '-')}-${line}.ts`),
      text,
    ]),
  );
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => readFileSync(path, 'utf8'));
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, ROOT);
  const plain: ts.CompilerOptions = { ...options, incremental: false, noEmit: true };
  delete plain.tsBuildInfoFile;
  const host = ts.createCompilerHost(plain);
  const { readFile, fileExists } = host;
  host.readFile = (path) => files.get(path) ?? readFile(path);
  host.fileExists = (path) => files.has(path) || fileExists(path);
  const { getSourceFile } = host;
  host.getSourceFile = (path, version) => {
    const text = files.get(path);
    return text === undefined ? getSourceFile(path, version) : ts.createSourceFile(path, text, version);
  };
  const program = ts.createProgram([...files.keys()], plain, host);
  const found = [...files.keys()].flatMap((path) =>
    ts.getPreEmitDiagnostics(program, program.getSourceFile(path)),
  );
  expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))).toEqual([]);
});
