// @ts-check
import { Problem } from './problem.mjs';

/**
 * Prints how a script is used and ends it, if the command line asks for help.
 * @param {readonly string[]} argv
 * @param {string} usage
 */
export function answerHelp(argv, usage) {
  if (!argv.includes('--help')) return;
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}

/**
 * The few flags of our own scripts.
 *
 * @template {string} Name
 * @param {readonly string[]} argv
 * @param {Record<Name, string>} flags what each means, by name without the dashes
 * @param {string} usage the first line of the help
 * @returns {Record<Name, boolean>}
 */
export function readFlags(argv, flags, usage) {
  const names = /** @type {Name[]} */ (Object.keys(flags));
  const given = Object.fromEntries(names.map((name) => [name, argv.includes(`--${name}`)]));
  const unknown = argv.find((word) => !names.some((name) => word === `--${name}`) && word !== '--help');
  if (unknown !== undefined) {
    const known = names.map((name) => `--${name}`).join(', ');
    throw new Problem(`unknown option ${unknown}`, `Options: ${known}, --help. ${usage}`);
  }
  const width = Math.max(...names.map((name) => name.length)) + 4;
  const lines = names.map((name) => `  ${`--${name}`.padEnd(width)}${flags[name]}`);
  answerHelp(argv, `${usage}\n\n${lines.join('\n')}`);
  return /** @type {Record<Name, boolean>} */ (given);
}
