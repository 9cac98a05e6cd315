/**
 * The language of oslo.policy's rules: `role:admin or (project_id:%(tenant)s and not role:reader)`. Pure:
 * turns a text into a check, and a check and a caller into yes or no.
 *
 * Rules have the same meaning as in oslo.policy, with one difference. Some rules that oslo.policy cannot read
 * mean "nobody may" there, or "everybody may" (a rule left empty in YAML), or fail at the first request. Such
 * rules are refused here: a misspelt rule must prevent the start, not grant or deny access.
 */

/** What is known about the caller: `user_id`, `project_id`, `roles`, `is_admin` … */
export type Credentials = Readonly<Record<string, unknown>>;
/** What is known about the object of the request: its owner. */
type Target = Readonly<Record<string, string>>;

export type Check =
  | { readonly is: 'everybody' }
  | { readonly is: 'nobody' }
  | { readonly is: 'not'; readonly check: Check }
  | { readonly is: 'all' | 'any'; readonly checks: readonly Check[] }
  | { readonly is: 'rule'; readonly name: string }
  | { readonly is: 'role'; readonly role: string }
  /** One of the credentials, e.g. `project_id`; `user.domain.id` looks inside. */
  | { readonly is: 'credential'; readonly path: readonly string[]; readonly value: string }
  /** A constant on the left: `'member':%(role)s`. */
  | { readonly is: 'constant'; readonly constant: string; readonly value: string };

export type Rules = ReadonlyMap<string, Check>;

/** A rule that can't be read. The message describes its fault. */
export class RuleError extends Error {
  override readonly name = 'RuleError';
}

/** The keys of the target that a rule may use, as `%(tenant)s`. Trove's own targets have `tenant` only. */
const TARGET_KEYS: readonly string[] = ['tenant', 'project_id'];
/** Deeper than any rule that a person can read. */
const MAX_DEPTH = 50;
const MAX_TOKENS = 1000;

/** Reads a rule as a file contains it: a text, or the older list of lists. Throws a `RuleError`. */
export function parseRule(rule: unknown): Check {
  if (typeof rule === 'string') return parseText(rule);
  if (Array.isArray(rule)) return parseList(rule);
  if (rule === null || rule === undefined) {
    throw new RuleError("it is empty. Write '@' if everybody may, '!' if nobody may");
  }
  throw new RuleError(`it must be text, not ${typeof rule}`);
}

/** Whether the caller is allowed. A reference to an unknown rule means no. */
export function allows(check: Check, rules: Rules, credentials: Credentials, target: Target): boolean {
  const holds = (inner: Check): boolean => allows(inner, rules, credentials, target);
  switch (check.is) {
    case 'everybody':
      return true;
    case 'nobody':
      return false;
    case 'not':
      return !holds(check.check);
    case 'all':
      return check.checks.every(holds);
    case 'any':
      return check.checks.some(holds);
    case 'rule': {
      const named = rules.get(check.name);
      return named !== undefined && holds(named);
    }
    case 'role':
      return hasRole(credentials, fill(check.role, target));
    case 'credential':
      return isAt(credentials, check.path, fill(check.value, target));
    case 'constant':
      return check.constant === fill(check.value, target);
  }
}

/** The rules that a check refers to. */
export function references(check: Check): readonly string[] {
  switch (check.is) {
    case 'rule':
      return [check.name];
    case 'not':
      return references(check.check);
    case 'all':
    case 'any':
      return check.checks.flatMap(references);
    case 'everybody':
    case 'nobody':
    case 'role':
    case 'credential':
    case 'constant':
      return [];
  }
}

/** Alternatives, each of which is one check or a list of checks that must all hold. */
function parseList(list: readonly unknown[]): Check {
  if (list.length === 0) return { is: 'everybody' };
  const alternatives = list
    .map((inner) => (typeof inner === 'string' ? [inner] : inner))
    .map((inner) => {
      if (Array.isArray(inner) && inner.every((each) => typeof each === 'string')) return inner;
      throw new RuleError('it must be a list of checks, or of lists of checks, each of them text');
    })
    .filter((inner) => inner.length > 0);
  if (alternatives.length === 0) return { is: 'nobody' };
  return joined(
    'any',
    alternatives.map((inner) => joined('all', inner.map(parseCheck))),
  );
}

type Token =
  | { readonly is: '(' | ')' | 'and' | 'or' | 'not' }
  | { readonly is: 'check'; readonly check: Check };

function parseText(text: string): Check {
  if (text === '') return { is: 'everybody' };
  const tokens = text.split(/\s+/).flatMap(tokensOf);
  if (tokens.length === 0) throw new RuleError("it is blank. Write '@' if everybody may, '!' if nobody may");
  if (tokens.length > MAX_TOKENS) throw new RuleError(`it has more than ${MAX_TOKENS} words`);
  const reader = { tokens, at: 0, depth: 0 };
  const check = readAny(reader);
  const next = tokens[reader.at];
  if (next !== undefined)
    throw new RuleError(`${named(next)} is out of place: 'and' or 'or' must join checks`);
  return check;
}

/** Parentheses are tokens only at the ends of a word: those in `%(tenant)s` are part of the word. */
function tokensOf(word: string): readonly Token[] {
  const [, open = '', middle = '', close = ''] = /^(\(*)(.*?)(\)*)$/s.exec(word) ?? [];
  const parens = (signs: string): Token[] => Array.from(signs, (sign) => ({ is: sign === '(' ? '(' : ')' }));
  return [...parens(open), ...(middle === '' ? [] : [tokenOf(middle)]), ...parens(close)];
}

function tokenOf(word: string): Token {
  switch (word.toLowerCase()) {
    case 'and':
      return { is: 'and' };
    case 'or':
      return { is: 'or' };
    case 'not':
      return { is: 'not' };
    default:
      return { is: 'check', check: parseCheck(word) };
  }
}

interface Reader {
  readonly tokens: readonly Token[];
  at: number;
  depth: number;
}

/** Takes the next token if it is of this kind. */
function take(reader: Reader, is: Token['is']): boolean {
  if (reader.tokens[reader.at]?.is !== is) return false;
  reader.at += 1;
  return true;
}

/** `a or b or c`. `and` binds more tightly than `or`, `not` more tightly than both. */
function readAny(reader: Reader): Check {
  const checks = [readAll(reader)];
  while (take(reader, 'or')) checks.push(readAll(reader));
  return joined('any', checks);
}

function readAll(reader: Reader): Check {
  const checks = [readOne(reader)];
  while (take(reader, 'and')) checks.push(readOne(reader));
  return joined('all', checks);
}

function readOne(reader: Reader): Check {
  reader.depth += 1;
  if (reader.depth > MAX_DEPTH) throw new RuleError(`it is nested more than ${MAX_DEPTH} deep`);
  const check = readNested(reader);
  reader.depth -= 1;
  return check;
}

function readNested(reader: Reader): Check {
  if (take(reader, 'not')) return { is: 'not', check: readOne(reader) };
  if (take(reader, '(')) {
    const inner = readAny(reader);
    if (!take(reader, ')')) throw new RuleError("a ')' is missing");
    return inner;
  }
  const next = reader.tokens[reader.at];
  if (next === undefined) throw new RuleError('it ends too early: a check is missing');
  if (next.is !== 'check')
    throw new RuleError(`${named(next)} is out of place: a check is missing before it`);
  reader.at += 1;
  return next.check;
}

function named(token: Token): string {
  return token.is === 'check' ? 'a check' : `'${token.is}'`;
}

function joined(is: 'all' | 'any', checks: readonly Check[]): Check {
  const [only] = checks;
  return only !== undefined && checks.length === 1 ? only : { is, checks };
}

/** `kind:value`, `@` or `!`. */
function parseCheck(word: string): Check {
  if (word === '@') return { is: 'everybody' };
  if (word === '!') return { is: 'nobody' };
  const colon = word.indexOf(':');
  if (colon < 0) throw new RuleError(`'${word}' is no check: write e.g. role:${word} or rule:${word}`);
  const kind = word.slice(0, colon);
  const value = word.slice(colon + 1);
  if (kind === 'rule') return { is: 'rule', name: value };
  checkTemplate(value);
  if (kind === 'role') return { is: 'role', role: value };
  if (kind === 'http' || kind === 'https') {
    throw new RuleError(`'${word}' would ask another server, which is not supported`);
  }
  const constant = constantOf(kind);
  if (constant !== undefined) return { is: 'constant', constant, value };
  if (!/^[A-Za-z_]\w*(?:[.-][A-Za-z_]\w*)*$/.test(kind)) {
    throw new RuleError(`'${kind}' before the colon of '${word}' is neither a credential nor a constant`);
  }
  return { is: 'credential', path: kind.split('.'), value };
}

/** Python's literals, as far as they make sense here, in the form in which Python shows them. */
function constantOf(kind: string): string | undefined {
  const quoted = /^(['"])([^'"\\]*)\1$/.exec(kind)?.[2];
  if (quoted !== undefined) return quoted;
  return /^(?:True|False|None|0|[1-9]\d*)$/.test(kind) ? kind : undefined;
}

const SUBSTITUTION = /%(?:\(([^)]*)\)s|%|[\s\S]?)/g;

function checkTemplate(value: string): void {
  for (const [sign, key] of value.matchAll(SUBSTITUTION)) {
    if (sign === '%%') continue;
    if (key === undefined) throw new RuleError(`'${value}' holds '${sign}': write %(tenant)s, or %% for a %`);
    if (TARGET_KEYS.includes(key)) continue;
    throw new RuleError(
      `'%(${key})s' is not known: there are ${TARGET_KEYS.map((each) => `%(${each})s`).join(' and ')}`,
    );
  }
}

/** Undefined if the target lacks a key: then nothing equals the result. */
function fill(template: string, target: Target): string | undefined {
  let isKnown = true;
  const filled = template.replaceAll(SUBSTITUTION, (sign, key: string | undefined) => {
    if (key === undefined) return sign === '%%' ? '%' : sign;
    const value = Object.hasOwn(target, key) ? target[key] : undefined;
    if (value === undefined) isKnown = false;
    return value ?? '';
  });
  return isKnown ? filled : undefined;
}

function hasRole({ roles }: Credentials, role: string | undefined): boolean {
  if (role === undefined || !Array.isArray(roles)) return false;
  return roles.some((each) => typeof each === 'string' && each.toLowerCase() === role.toLowerCase());
}

/** For a list, one matching element is enough. */
function isAt(value: unknown, path: readonly string[], wanted: string | undefined): boolean {
  const [key, ...rest] = path;
  if (wanted === undefined) return false;
  if (key === undefined) return asPython(value) === wanted;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return false;
  const inner: unknown = Reflect.get(value, key);
  return Array.isArray(inner) ? inner.some((each) => isAt(each, rest, wanted)) : isAt(inner, rest, wanted);
}

/**
 * Rules are compared with text as Python writes it: `is_admin:True`. Undefined for values without such a text
 * here.
 */
function asPython(value: unknown): string | undefined {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}
