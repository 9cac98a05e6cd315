// @ts-check
import './node-version.mjs';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

/**
 * Runs a built program in this process. When npm installs the package, npm links to the files of `bin` and
 * leaves out files that do not exist yet. Therefore these files are committed, and the programs that they run
 * are built.
 * @param {string} program below `dist`, such as `cli/main.js`
 */
export async function runProgram(program) {
  const path = join(ROOT, 'dist', program);
  if (!existsSync(path)) refuse('is not built yet', `is incomplete: there is no ${path}`);
  process.setSourceMapsEnabled(true);
  try {
    await import(pathToFileURL(path).href);
  } catch (error) {
    if (!isMissingModule(error)) throw error;
    refuse('lacks its node modules', `is incomplete: ${error.message}`);
  }
}

/**
 * @param {string} inClone what is wrong with a clone
 * @param {string} installed what is wrong with the published package, which has neither sources nor `npm start`
 * @returns {never}
 */
function refuse(inClone, installed) {
  const isClone = existsSync(join(ROOT, 'scripts/start.mjs'));
  process.stderr.write(
    isClone
      ? `coffer: this clone ${inClone}. \`npm start\` installs and builds what is missing, and starts the stack;\n` +
          '`npm ci && npm run build` only installs and builds.\n'
      : `coffer: this installation ${installed}\nInstall the package again: npm install coffer\n`,
  );
  process.exit(1);
}

/**
 * @param {unknown} error
 * @returns {error is Error}
 */
function isMissingModule(error) {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
}
