import { readFileSync } from 'node:fs';
import { isMap, isNode, isScalar, LineCounter, type Pair, parseDocument } from 'yaml';
import { ConfigError } from '../../src/config.ts';
import { textOf } from '../../src/log.ts';
import { type Check, parseRule, type Rules, references } from './language.ts';
import { defaultChecks, TROVE_ONLY } from './rules.ts';

/** More than any list of rules that people write. */
const MAX_BYTES = 256 * 1024;

/**
 * The rules in force: the file's rules replace the defaults. Throws a `ConfigError` that lists every problem.
 */
export function readRuleFile(path: string): Rules {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (err) {
    throw new ConfigError(`${path} can't be read: ${textOf(err)}`);
  }
  const { rules, problems } = overrideRules(text);
  if (problems.length > 0) throw new ConfigError(problems.map((problem) => `${path}, ${problem}`).join('\n'));
  return rules;
}

/**
 * Reads a policy file in oslo.policy's format: YAML or JSON, with names and rules. Each problem names its
 * line.
 */
export function overrideRules(text: string): { readonly rules: Rules; readonly problems: readonly string[] } {
  const rules = defaultChecks();
  const problems: string[] = [];
  const lines = new LineCounter();
  if (text.length > MAX_BYTES)
    return { rules, problems: [`line 1: the file is larger than ${MAX_BYTES} bytes`] };
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, schema: 'core' });
  const lineAt = (offset: number) => `line ${lines.linePos(offset).line || 1}`;
  for (const { pos, message } of document.errors) problems.push(`${lineAt(pos[0])}: ${message}`);
  if (problems.length > 0 || document.contents === null) return { rules, problems };
  if (!isMap(document.contents))
    return { rules, problems: ['line 1: the file must hold rules as `name: rule`'] };

  const written = new Map<string, { readonly line: string; readonly check: Check }>();
  for (const pair of document.contents.items) {
    const line = lineAt(startOf(pair));
    const name = isScalar(pair.key) ? String(pair.key.value) : '';
    try {
      written.set(name, { line, check: parseRule(contentOf(pair)) });
    } catch (err) {
      problems.push(`${line}: ${name}: ${textOf(err)}`);
    }
  }
  for (const [name, { check }] of written) rules.set(name, check);
  for (const [name, { line, check }] of written) {
    const problem = problemWith(name, check, rules);
    if (problem) problems.push(`${line}: ${name}: ${problem}`);
  }
  return { rules, problems };
}

function startOf({ key }: Pair): number {
  return isNode(key) ? (key.range?.[0] ?? 0) : 0;
}

function contentOf({ value }: Pair): unknown {
  return isNode(value) ? value.toJSON() : value;
}

/** A name without a colon is a helper that the operator defines for other rules to refer to. */
function problemWith(name: string, check: Check, rules: Rules): string | undefined {
  if (name.includes(':') && !defaultChecks().has(name) && !TROVE_ONLY.has(name)) {
    return 'there is no such rule';
  }
  const missing = references(check).find((each) => !rules.has(each));
  if (missing !== undefined) return `it refers to rule:${missing}, which there is not`;
  return leadsTo(name, check, rules, new Set()) ? 'it refers to itself, over others or directly' : undefined;
}

function leadsTo(name: string, check: Check, rules: Rules, visited: Set<string>): boolean {
  return references(check).some((each) => {
    if (each === name) return true;
    const next = rules.get(each);
    if (next === undefined || visited.has(each)) return false;
    visited.add(each);
    return leadsTo(name, next, rules, visited);
  });
}
