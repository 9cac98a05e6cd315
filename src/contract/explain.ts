/**
 * Turns zod's findings into messages in Trove's style: `Validation error: upgrade 'datastore_version' is a
 * required property`. Trove's clients print this text unchanged, and people search for it.
 */
import type { z } from 'zod';
import { CofferError } from '../core/errors.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** More problems than this help nobody, and an answer must stay small whatever was sent. */
const MAX_ISSUES = 5;
const MAX_SHOWN = 60;

/** Values under these names are never repeated in a message. */
const SECRET = /password|token|secret/i;

/**
 * Parses `input` with `schema`. Throws a `CofferError('invalid_request')` that names every problem; `where`
 * says what the input is, e.g. `body`.
 */
export function parseAs<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
  where: string,
  options?: ExplainOptions,
): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new CofferError('invalid_request', explain(parsed.error, input, where, options));
}

interface ExplainOptions {
  /** `some`: only as many as help a person; the rest is counted. */
  readonly problems: 'some' | 'all';
}

/** One sentence per problem, secrets left out. */
export function explain(
  error: z.ZodError,
  input: unknown,
  where: string,
  { problems }: ExplainOptions = { problems: 'some' },
): string {
  const sentences = error.issues.flatMap(branchesOf).map((issue) => sentence(issue, input, where));
  const max = problems === 'all' ? sentences.length : MAX_ISSUES;
  const shown = sentences.slice(0, max).join('; ');
  const more = sentences.length - max;
  return `Validation error: ${shown}${more > 0 ? `; and ${more} more` : ''}`;
}

/** When no branch of a union fits: the problems of the branch that came nearest. */
function branchesOf(issue: Issue): readonly Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const nearest = issue.errors.toSorted((a, b) => a.length - b.length || depthOf(b) - depthOf(a))[0] ?? [];
  return nearest.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** The branch whose problem lies deeper has matched more of the input. */
function depthOf(issues: readonly Issue[]): number {
  return Math.max(0, ...issues.map(({ path }) => path.length));
}

function sentence(issue: Issue, input: unknown, where: string): string {
  const value = valueAt(input, issue.path);
  if (value === undefined && issue.code !== 'custom') {
    const parent = issue.path.slice(0, -1);
    return `${pathText(parent, where)} '${String(issue.path.at(-1))}' is a required property`;
  }
  return `${pathText(issue.path, where)} ${complaint(issue, shown(value, issue.path))}`;
}

function complaint(issue: Issue, value: string): string {
  switch (issue.code) {
    case 'invalid_type':
      return `${value} is not of type '${TYPE_NAMES[issue.expected] ?? issue.expected}'`;
    case 'unrecognized_keys':
      return `Additional properties are not allowed (${issue.keys.map((key) => quoted(key)).join(', ')} ${issue.keys.length > 1 ? 'were' : 'was'} unexpected)`;
    case 'invalid_value':
      return `${value} is not one of [${issue.values.map((option) => quoted(String(option))).join(', ')}]`;
    case 'too_big':
      if (issue.origin === 'string') return `${value} is too long (at most ${issue.maximum} characters)`;
      if (issue.origin === 'array') return `has too many items (at most ${issue.maximum})`;
      return `${value} is greater than the maximum of ${issue.maximum}`;
    case 'too_small':
      if (issue.origin === 'string') return `${value} is too short`;
      if (issue.origin === 'array') return `has too few items (at least ${issue.minimum})`;
      return `${value} is less than the minimum of ${issue.minimum}`;
    case 'invalid_format':
      return `${value} ${issue.message}`;
    case 'custom':
      return /^[{[]/.test(value) ? issue.message : `${value} ${issue.message}`;
    default:
      return issue.message;
  }
}

/** JSON's names for the types, as Trove's messages have them. */
const TYPE_NAMES: Readonly<Record<string, string>> = { int: 'integer', record: 'object' };

/** `cluster['instances'][0]['flavorRef']` */
function pathText(path: Path, where: string): string {
  const [first, ...rest] = path;
  if (first === undefined) return where;
  const steps = rest.map((key) => (typeof key === 'number' ? `[${key}]` : `[${quoted(String(key))}]`));
  return `${String(first)}${steps.join('')}`;
}

/** A value as the message repeats it: short, on one line, and never a secret. */
function shown(value: unknown, path: Path): string {
  if (path.some((key) => SECRET.test(String(key))) || isUser(path)) return 'value';
  if (Array.isArray(value)) return '[…]';
  if (typeof value === 'object' && value !== null) return '{…}';
  return typeof value === 'string' ? quoted(value) : String(value);
}

/** A value in the place of one user, or of all users, may be a password that does not stand under its name. */
function isUser(path: Path): boolean {
  return path.slice(-2).includes('users');
}

function quoted(value: string): string {
  const line = value.replaceAll(/[\p{Cc}\p{Cs}]/gu, '�');
  return `'${line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line}'`;
}

function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}
