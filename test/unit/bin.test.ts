/** The commands of the package: committed files that run what is built, or say that nothing is built yet. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT, which } from '../support/docs.ts';

interface Manifest {
  readonly bin: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}
const { bin, files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'coffer bin-'));
  for (const name of ['bin', 'package.json'])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

function start(program: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe.each(Object.entries(bin))('%s', (_name, path) => {
  it('is a program that is committed and published', () => {
    const tracked = spawnSync('git', ['check-ignore', '--quiet', path], { cwd: ROOT });
    expect(tracked.status).not.toBe(0);
    expect(files).toContain('bin');
    expect(statSync(join(ROOT, path)).mode & 0o111).toBe(0o111);
  });

  it('runs a program that the build leaves', () => {
    const program = /runProgram\('(.*)\.js'\)/.exec(readFileSync(join(ROOT, path), 'utf8'))?.[1];
    expect(existsSync(join(ROOT, `${program}.ts`))).toBe(true);
  });

  it('says in a clone that it is not built yet, and how to build it', () => {
    mkdirSync(join(folder, 'scripts'));
    writeFileSync(join(folder, 'scripts/start.mjs'), '');
    expect(start(join(folder, path), '--help')).toEqual({
      ...{ status: 1, stdout: '' },
      stderr: expect.stringMatching(/^coffer: this clone is not built yet\. `npm start` /) as string,
    });
  });

  it('says in an incomplete package to install it again, and nothing of npm start', () => {
    const { status, stderr } = start(join(folder, path), '--help');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(
        /^coffer: this installation is incomplete: .*\n.*npm install coffer\n$/,
      ) as string,
    });
    expect(stderr).not.toContain('npm start');
  });

  it('says that node modules are missing', () => {
    const program = /runProgram\('(.*)'\)/.exec(readFileSync(join(ROOT, path), 'utf8'))?.[1] ?? '';
    mkdirSync(join(folder, 'dist', dirname(program)), { recursive: true });
    writeFileSync(join(folder, 'dist', program), "import 'no-such-package';\n");
    mkdirSync(join(folder, 'scripts'));
    writeFileSync(join(folder, 'scripts/start.mjs'), '');
    const { status, stderr } = start(join(folder, path), '--help');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/^coffer: this clone lacks its node modules\. `npm start` /) as string,
    });
  });
});

describe('npx coffer', () => {
  const npx = which('npx');
  it.skipIf(!npx)(
    `works after the build in a clone where it was tried before${npx ? '' : ' (skipped: no npx here)'}`,
    () => {
      mkdirSync(join(folder, 'scripts'));
      writeFileSync(join(folder, 'scripts/start.mjs'), '');
      const env = { ...process.env, npm_config_cache: join(folder, 'cache'), npm_config_offline: 'true' };
      const npxCoffer = () =>
        spawnSync(npx ?? '', ['coffer', '--version'], { cwd: folder, encoding: 'utf8', env });
      const before = npxCoffer();
      expect(before.stderr).toContain('not built yet');
      expect(before.status).toBe(1);
      mkdirSync(join(folder, 'dist/cli'), { recursive: true });
      writeFileSync(join(folder, 'dist/cli/main.js'), "console.log('this is it');\n");
      const after = npxCoffer();
      expect(after, after.stderr).toMatchObject({ status: 0, stdout: 'this is it\n' });
    },
  );
});

it('the package is built whenever npm packs it', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  expect(scripts['prepack']).toBe('npm run build');
});
