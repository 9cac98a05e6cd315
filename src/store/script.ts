/**
 * The atomic steps on Redis: Lua scripts, whose keys and arguments have names on both sides. The rules for
 * every script:
 *
 * - R1: every script may run twice with the same arguments and the same result, because a client that has
 *   lost the answer asks again.
 * - R2: no script ends half-way. Redis keeps what a script wrote before an error. So a script checks
 *   everything that could fail before its first write: types of keys (`wholeOf`), a revision, the numbers of
 *   events.
 * - R3: a Redis that is full (`maxmemory`) takes nothing new, and lets work under way continue. It refuses a
 *   script at the script's first write if that write could need memory, and never afterwards. So a script
 *   that must continue begins with a command that frees memory.
 * - R4: no script uses `unpack` on a list of unlimited length: Lua refuses some 8,000 values.
 * - R5: the first of KEYS is the prefix of all keys. Every other key that a script uses is declared, or its
 *   name is made from the prefix in the script.
 */

import { CofferError } from '../core/errors.ts';

/** In Lua a number is text, `null` and `false` are the empty text, and `true` is `1`. */
type Arg = string | number | boolean | null;

/** `read`: the script reads the key before its first write, so Redis refuses a wrong type in time. */
type KeyType = 'hash' | 'zset' | 'stream' | 'string' | 'set' | 'read';

/**
 * What a script is made of. In its Lua
 *
 * - each of `keys` is a local name in capitals. A key is `[type, name below the prefix]`, where `<name>`
 *   stands for the value of that name that the caller gives.
 * - each of `args` is a local name.
 * - each of `lists` is an iterator over rows, with one value for each column:
 *   `for seq, event in events() do … end`.
 */
interface Parts<K, A, L> {
  readonly keys?: K;
  readonly args?: readonly A[];
  readonly lists?: L;
  readonly lua: string;
}

type Keys = Readonly<Record<string, readonly [KeyType, string]>>;
type Lists = Readonly<Record<string, readonly string[]>>;

type Row<Columns extends readonly string[]> = Columns extends readonly [string]
  ? Arg
  : Readonly<Record<Columns[number], Arg>>;
type Columns = readonly (readonly [list: string, columns: readonly string[]])[];
type Holes<Pattern> = Pattern extends `${string}<${infer Hole}>${infer Rest}` ? Hole | Holes<Rest> : never;

/** What a caller of a script gives: every argument, list and part of a key, by name. */
type Given<K extends Keys, A extends string, L extends Lists> = Readonly<
  Record<A | Holes<K[keyof K][1]>, Arg> & { [N in keyof L]: readonly Row<L[N]>[] }
>;

export interface Script<G> {
  readonly name: string;
  readonly number_of_keys: number;
  readonly lua: string;
  /** The keys and then the arguments, as Redis takes them. Throws if a number is none. */
  readonly flatten: (prefix: string, given: G) => readonly string[];
}

/** Defines a script. `name` must be the only one of its kind: Redis' client knows the script by it. */
export function script<
  const K extends Keys = Record<never, never>,
  const A extends string = never,
  const L extends Lists = Record<never, never>,
>(name: string, { keys, args = [], lists, lua }: Parts<K, A, L>): Script<Given<K, A, L>> {
  const patterns = Object.values(keys ?? {}).map(([, pattern]) => pattern.split(/<(\w+)>/));
  const columns = Object.entries(lists ?? {});
  for (const [list, names] of columns) checkLoops(lua, list, names);
  return {
    name,
    number_of_keys: 1 + patterns.length,
    lua: wholeOf(keys ?? {}, args, columns, lua),
    flatten: (prefix, given) => {
      const values = given as Readonly<Record<string, Arg>>;
      const rows = given as Readonly<Record<string, readonly (Arg | Readonly<Record<string, Arg>>)[]>>;
      const flat = [prefix];
      const push = (value: Arg | undefined) => flat.push(textOf(name, value));
      for (const pattern of patterns) flat.push(`${prefix}:${filled(pattern, values)}`);
      for (const arg of args) push(values[arg]);
      for (const [list] of columns) push(rows[list]?.length);
      for (const [list, names] of columns)
        for (const row of rows[list] ?? [])
          if (row === null || typeof row !== 'object') push(row);
          else for (const column of names) push(row[column]);
      return flat;
    },
  };
}

/** A loop over a list names the list's columns, in their order. It may leave out the last ones. */
function checkLoops(lua: string, list: string, columns: readonly string[]): void {
  for (const [, names = ''] of lua.matchAll(new RegExp(`for ([\\w, ]+) in ${list}\\(`, 'g')))
    if (names !== columns.slice(0, names.split(', ').length).join(', '))
      throw new TypeError(`the list ${list} has the columns ${columns.join(', ')}, and not ${names}`);
}

/** A pattern that was split at its holes: every second part is the name of one. */
function filled(pattern: readonly string[], values: Readonly<Record<string, Arg>>): string {
  return pattern.map((part, at) => (at % 2 === 0 ? part : String(values[part]))).join('');
}

function textOf(script: string, value: Arg | undefined): string {
  if (typeof value === 'string') return value;
  // Redis would notice such a number in the middle of the script.
  if (value === undefined || (typeof value === 'number' && !Number.isFinite(value)))
    throw new CofferError('internal', `${script} was given ${value} as an argument`);
  return value === true ? '1' : value === false || value === null ? '' : String(value);
}

/**
 * The script as Redis receives it. First the names. Then R2: a key of a wrong type, written by another program,
 * must not make the script end half-way.
 */
function wholeOf(keys: Keys, args: readonly string[], lists: Columns, lua: string): string {
  const scalars = [...args, ...lists.map(([list]) => `${list}_length`)];
  const typed = Object.entries(keys).filter(([, [type]]) => type !== 'read');
  const guard = `
for key, kind in pairs({ ${typed.map(([name, [type]]) => `[${name.toUpperCase()}] = '${type}'`).join(', ')} }) do
  local held = redis.call('TYPE', key).ok
  if held ~= 'none' and held ~= kind then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. held .. ' and should be a ' .. kind)
  end
end`;
  return [
    named(['PREFIX', ...Object.keys(keys).map((key) => key.toUpperCase())], 'KEYS'),
    named(scalars, 'ARGV'),
    typed.length === 0 ? '' : guard,
    `local list_end = ${scalars.length}`,
    ...lists.map(([list, columns]) => iteratorOf(list, columns.length)),
    lua,
  ].join('\n');
}

function named(names: readonly string[], table: string): string {
  const values = names.map((_, at) => `${table}[${at + 1}]`);
  return names.length === 0 ? '' : `local ${names.join(', ')} = ${values.join(', ')}`;
}

function iteratorOf(list: string, width: number): string {
  const row = Array.from({ length: width }, (_, at) => (at === 0 ? 'ARGV[at]' : `ARGV[at + ${at}]`));
  return `
local ${list}_begin = list_end + 1 - ${width}
list_end = list_end + ${width} * ${list}_length
local ${list}_end = list_end
local function ${list}()
  local at = ${list}_begin
  return function()
    at = at + ${width}
    if at <= ${list}_end then return ${row.join(', ')} end
  end
end`;
}
