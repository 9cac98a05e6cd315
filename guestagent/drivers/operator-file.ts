import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { ConfigError } from '../../src/config.ts';
import { explain } from '../../src/contract/explain.ts';
import { textOf } from '../../src/log.ts';

/** A file on the agent's host in which its operator says what the agent may run there. */

/** An argument vector, which no shell interprets. */
export const Argv = z
  .array(z.string())
  .min(1)
  .refine(
    ([program = '']) => program === '' || isAbsolute(program),
    'must begin with the absolute path of a program',
  );
export const Timeout = z.int().min(1).max(86_400);

/** A map in which every key matches `form`. */
export function mapOf<Value extends z.ZodType>(value: Value, form: RegExp, what: string) {
  return z.record(z.string(), value).check(({ value: given, issues }) => {
    const wrong = Object.keys(given).filter((key) => !form.test(key));
    if (wrong.length === 0) return;
    issues.push({ code: 'custom', input: given, message: `must have ${what}, and not ${wrong.join(', ')}` });
  });
}

/** Reads the file strictly. Throws a `ConfigError` that lists every problem. */
export function readOperatorFile<Shape extends z.ZodType>(path: string, shape: Shape): z.output<Shape> {
  const content = contentOf(path);
  const parsed = shape.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new ConfigError(`${path}: ${explain(parsed.error, content, 'the file', { problems: 'all' })}`);
}

export function missingProgram(where: string, program: string | undefined): readonly string[] {
  if (program === undefined) return [];
  try {
    accessSync(program, constants.X_OK);
    return [];
  } catch {
    return [`${where}: there is no program ${program} that may be run`];
  }
}

/**
 * Whoever can change the file can run anything as this agent: only its owner may change it, and the owner
 * must be root or the agent.
 */
function refuseForeignHands(path: string): void {
  const { mode, uid } = statSync(path);
  if (process.platform === 'win32') return;
  if ((mode & 0o022) !== 0) {
    const shown = (mode & 0o777).toString(8).padStart(4, '0');
    throw new ConfigError(`${path} has mode ${shown}, so others can change it: chmod go-w ${path}`);
  }
  if (uid !== 0 && uid !== process.getuid?.()) {
    throw new ConfigError(
      `${path} belongs to user ${uid}: it must belong to root or to the agent's own user`,
    );
  }
}

function contentOf(path: string): unknown {
  try {
    refuseForeignHands(path);
    return parse(readFileSync(path, 'utf8'));
  } catch (err) {
    if (err instanceof ConfigError) throw err;
    throw new ConfigError(`${path} can't be read: ${textOf(err)}`);
  }
}
