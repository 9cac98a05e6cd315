/** The commands of package.json that are scripts of ours: what they answer before they do anything. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { satisfies } from 'semver';
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

describe('the Node.js that Coffer runs on', () => {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly engines: { readonly node: string };
  };

  it('is one that its own claim covers', () => {
    expect(satisfies(process.versions.node, engines.node)).toBe(true);
  });

  it('is claimed from the oldest that the scripts accept to the newest that a whole run tests', async () => {
    const { NEWEST_NODE } = (await import(join(ROOT, 'scripts/lib/newest-node.mjs'))) as {
      readonly NEWEST_NODE: string;
    };
    const newest = Number(NEWEST_NODE.split('.')[0]);
    expect(engines.node).toBe(`>=20.19 <${newest + 1}`);
    expect(readFileSync(join(ROOT, 'bin/node-version.mjs'), 'utf8')).toContain('major === 20 && minor < 19');
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8').replaceAll('\n', ' ');
    expect(readme).toContain(`Node.js 20.19 to ${newest}`);
  });

  it('is a supported one in the image: an even major number above 20', () => {
    const bases = [...readFileSync(join(ROOT, 'Dockerfile'), 'utf8').matchAll(/^FROM node:(\d+)-slim/gm)];
    expect(bases.length).toBe(2);
    for (const [, major] of bases) {
      expect(Number(major) % 2).toBe(0);
      expect(Number(major)).toBeGreaterThan(20);
      expect(satisfies(`${major}.99.0`, engines.node)).toBe(true);
    }
  });
});
