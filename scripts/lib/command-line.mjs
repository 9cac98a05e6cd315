// @ts-check
import { Problem } from './problem.mjs';

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
  if (argv.includes('--help')) {
    const width = Math.max(...names.map((name) => name.length)) + 4;
    const lines = names.map((name) => `  ${`--${name}`.padEnd(width)}${flags[name]}`);
    process.stdout.write(`${usage}\n\n${lines.join('\n')}\n`);
    process.exit(0);
  }
  return /** @type {Record<Name, boolean>} */ (given);
}
