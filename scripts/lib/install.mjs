// @ts-check
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { mustRun, run, which } from './command.mjs';
import { readJson } from './json-file.mjs';
import { lockWhenFree } from './lock.mjs';
import { projectRoot, readText } from './paths.mjs';
import { Problem } from './problem.mjs';

/**
 * Brings node_modules and dist up to date with their sources. A stamp in each records the sources' state.
 *
 * @typedef {import('./progress.mjs').Progress} Progress
 * @typedef {{ progress: Progress, signal?: AbortSignal | undefined, root?: string, what?: 'all' | 'modules' }} Options
 */

const MODULES_STAMP = 'node_modules/.coffer-lock';
const BUILD_STAMP = 'dist/.coffer-build';
/** The output of vite: these files have no single source each, and vite empties the folder itself. */
const BUNDLED = 'dist/dashboard';

/** Folders that never hold sources of dist. */
const NOT_SOURCES = new Set(['node_modules', 'dist', 'coverage', 'test', 'docs', 'scripts', 'bin']);

/**
 * Only one process does this at a time; the others wait and then find the work done.
 * @param {Options} options
 */
export async function setUp(options) {
  const { root = projectRoot, what = 'all', progress, signal } = options;
  const lacksBuild = () => what === 'all' && needsBuild(root);
  if (!needsModules(root) && !lacksBuild()) return;
  const folder = join(root, '.coffer');
  mkdirSync(folder, { recursive: true });
  let isTold = false;
  const release = await lockWhenFree(join(folder, 'setup.lock'), {
    signal,
    onWait({ pid }) {
      if (!isTold) progress.line(`  … waiting for the set-up that process ${pid} is doing`);
      isTold = true;
    },
  });
  try {
    if (needsModules(root)) await installModules({ ...options, root });
    if (lacksBuild()) await build({ ...options, root });
  } finally {
    release();
  }
}

/** @param {string} root */
function needsModules(root) {
  const stamp = join(root, MODULES_STAMP);
  if (existsSync(stamp)) return readText(stamp) !== modulesStamp(root);
  // Somebody ran npm by hand: that is fine if the result is the same.
  if (!holdsWhatIsLocked(root)) return true;
  writeFileSync(stamp, modulesStamp(root));
  return false;
}

/** @param {string} root */
function modulesStamp(root) {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return `${hash([lock])} ${process.platform}-${process.arch}\n`;
}

/**
 * npm writes its own list of the installed packages. Optional packages of other platforms may be missing.
 * @param {string} root
 */
function holdsWhatIsLocked(root) {
  const locked = packagesIn(join(root, 'package-lock.json'));
  const installed = packagesIn(join(root, 'node_modules/.package-lock.json'));
  if (!locked || !installed) return false;
  const isSame = (/** @type {string} */ path) => {
    const there = installed[path];
    return there ? there.integrity === locked[path]?.integrity : locked[path]?.optional === true;
  };
  const wanted = Object.keys(locked).filter((path) => path !== ''); // '' is this package itself
  return wanted.every(isSame) && Object.keys(installed).every((path) => path in locked);
}

/**
 * @param {string} file
 * @returns {Record<string, { integrity?: string, optional?: boolean }> | undefined}
 */
function packagesIn(file) {
  return /** @type {any} */ (readJson(file))?.packages;
}

/** @param {Options & { root: string }} options */
async function installModules({ root, progress, signal }) {
  const { command, prefix } = npm();
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=http'];
  /** @type {string[]} */
  const errors = [];
  await progress.step('Installing node modules (npm ci)', async (update) => {
    const onLine = (/** @type {string} */ line) => {
      update(line);
      if (/^npm error ./.test(line)) errors.push(line);
    };
    const { code } = await run(command, [...prefix, ...args], { cwd: root, onLine, signal });
    if (code === 0) return;
    // npm prints the error first, and long explanations after it.
    throw new Problem(
      `the node modules could not be installed (npm ci ended with ${code}):\n${errors.slice(0, 12).join('\n')}`,
      'Correct that (is there a connection to the npm registry?), then run the same command again.',
    );
  });
  writeFileSync(join(root, MODULES_STAMP), modulesStamp(root));
}

/** @param {string} root */
function needsBuild(root) {
  return readText(join(root, BUILD_STAMP)) !== buildStamp(root);
}

/** @param {string} root */
function buildStamp(root) {
  const inputs = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'];
  const files = [...inputs.filter((name) => existsSync(join(root, name))), ...sources(root, root)];
  const parts = files.flatMap((name) => [name, readFileSync(join(root, name))]);
  return `${hash(parts)}\n`;
}

/**
 * All files that the build may read, relative to the root.
 * @param {string} root
 * @param {string} folder
 * @returns {string[]}
 */
function sources(root, folder) {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.') && !(folder === root && NOT_SOURCES.has(name)))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return sources(root, path);
      // The root folder itself holds notes and settings of tools; below it every file counts, pages and
      // styles too.
      return folder === root && !entry.name.endsWith('.ts') ? [] : [relative(root, path)];
    })
    .sort();
}

/** @param {Options & { root: string }} options */
async function build({ root, progress, signal }) {
  const stamp = buildStamp(root);
  const { command, prefix } = npm();
  rmSync(join(root, BUILD_STAMP), { force: true });
  await progress.step('Building', () =>
    mustRun(command, [...prefix, 'run', '--silent', 'build'], {
      cwd: root,
      signal,
      failure: 'the build failed',
      remedy: 'Correct the errors above; `npm run build` shows them again.',
    }),
  );
  if (!existsSync(join(root, 'dist'))) throw new Problem('the build left no dist folder');
  removeOrphans(root, join(root, 'dist'));
  writeFileSync(join(root, BUILD_STAMP), stamp);
}

/**
 * The compiler leaves the output of a removed source in place; nobody must import that output by accident.
 * @param {string} root
 * @param {string} folder
 */
function removeOrphans(root, folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (path === join(root, BUNDLED)) continue;
    if (entry.isDirectory()) removeOrphans(root, path);
    const source = join(root, relative(join(root, 'dist'), path));
    const stem = source.replace(/(\.d\.ts|\.js)(\.map)?$/, '');
    const isOutput = stem !== source;
    const hasSource = [`${stem}.ts`, `${stem}.tsx`, source].some((candidate) => existsSync(candidate));
    if (isOutput && !hasSource) rmSync(path);
  }
}

/** The npm that runs this script belongs to this Node.js; without one, the npm on PATH. */
export function npm() {
  const script = process.env['npm_execpath'];
  if (script?.endsWith('npm-cli.js')) return { command: process.execPath, prefix: [script] };
  const command = which('npm');
  if (command) return { command, prefix: [] };
  throw new Problem(
    'npm was not found',
    'It comes with Node.js (https://nodejs.org/en/download); install it, then try again.',
  );
}

/** @param {readonly (string | Buffer)[]} parts */
function hash(parts) {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(String(part.length)).update(':').update(part);
  return digest.digest('hex');
}
