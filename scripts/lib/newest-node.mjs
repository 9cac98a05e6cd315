// @ts-check
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from './command.mjs';
import { npm } from './install.mjs';

/** The newest release that Coffer is tested with: README.md names its major number. */
export const NEWEST_NODE = '26.10.0';

/**
 * Installs the newest Node.js beside the one that runs this script, from npm, once for each home.
 * @param {{ home: string, progress: import('./progress.mjs').Progress, signal?: AbortSignal }} options
 * @returns {Promise<string>} the path of its program
 */
export async function newestNode({ home, progress, signal }) {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = join(home, `node-${NEWEST_NODE}`);
  const program = join(folder, 'node_modules', name, 'bin/node');
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private": true}\n');
  const { command, prefix } = npm();
  const args = ['install', '--prefer-offline', '--no-audit', '--no-fund', `${name}@${NEWEST_NODE}`];
  await progress.step(`Installing Node.js ${NEWEST_NODE}`, () =>
    mustRun(command, [...prefix, ...args], {
      cwd: folder,
      signal,
      failure: `Node.js ${NEWEST_NODE} could not be installed (npm's package ${name})`,
      remedy: 'Is there a connection to the npm registry, and such a package for this machine?',
    }),
  );
  return program;
}
