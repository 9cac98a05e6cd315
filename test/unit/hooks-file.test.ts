/** The file by which an operator says what a guest agent may run. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readHooksFile } from '../../guestagent/drivers/command/hooks-file.ts';
import { arrivedAt, type State, wayTo } from '../../guestagent/drivers/command/state.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'coffer-hooks-'));
});
afterAll(() => rm(dir, { recursive: true }));

async function read(text: string, mode = 0o600) {
  const path = join(dir, 'hooks.yaml');
  await writeFile(path, text);
  await chmod(path, mode);
  return readHooksFile(path, ['postgresql', 'simulated']);
}
const GOOD = `
managers:
  kv:
    upgrade:
      command: [/bin/sh, -c, "exit 0"]
      timeout_seconds: 90
    health: [/bin/true]
`;

describe('the file of hooks', () => {
  it('names commands and how long they may take', async () => {
    const kv = (await read(GOOD)).get('kv');
    expect(kv).toEqual({
      environment: {},
      hooks: {
        upgrade: { command: ['/bin/sh', '-c', 'exit 0'], timeout_ms: 90_000 },
        health: { command: ['/bin/true'], timeout_ms: 10_000 },
      },
    });
  });

  it.each([
    ['without a manager', 'managers: {}', 'must name a manager'],
    ['without what every manager needs', 'managers: {kv: {upgrade: [/bin/true]}}', "'health' is a required"],
    ['with a word too many', `${GOOD}    helth: [/bin/true]`, "'helth' was unexpected"],
    [
      'with a command line in place of a list',
      GOOD.replace('[/bin/true]', '/bin/true'),
      "['health'] '/bin/true' is not of type 'array'",
    ],
    ['with a relative path', GOOD.replace('/bin/true', 'bin/true'), 'absolute path'],
    ['with an empty command', GOOD.replace('[/bin/true]', '[]'), 'too few'],
    [
      'with a program that is not there',
      GOOD.replace('/bin/true', '/bin/not-there'),
      'kv.health: there is no program /bin/not-there that may be run',
    ],
    ['with a file that is no program', GOOD.replace('/bin/true', '/etc/passwd'), 'may be run'],
    [
      'with a manager that has a driver',
      GOOD.replace('kv:', 'postgresql:'),
      'postgresql has a driver of its own',
    ],
    ['with a name that no manager has', GOOD.replace('kv:', 'KV:'), 'and not KV'],
    ['with a variable of ours', `${GOOD}    environment: {COFFER_HOST: x}`, 'and not COFFER_HOST'],
    ['with no time at all', GOOD.replace('90', '0'), 'less than the minimum of 1'],
    ['that is not YAML', 'managers: [', "can't be read"],
  ])('%s is refused in words', async (_, text, words) => {
    await expect(read(text)).rejects.toThrow(words);
  });

  it('that others can change is refused: it decides what is run', async () => {
    await expect(read(GOOD, 0o620)).rejects.toThrow('others can change it: chmod go-w');
    await expect(read(GOOD, 0o644)).resolves.toBeDefined();
  });

  it('that is not there is refused', () => {
    expect(() => readHooksFile(join(dir, 'nowhere'), [])).toThrow("can't be read: ENOENT");
  });
});

describe('what a driver by hooks remembers', () => {
  const at = (version: string, ...came_from: string[]): State => ({
    ...{ version, came_from, moving_to: null, run: null },
  });

  it('tells an upgrade from a rollback, also in the middle of either', () => {
    expect(wayTo(at('1.0'), '1.0')).toBe(null);
    expect(wayTo(at('1.0'), '2.0')).toBe('upgrade');
    expect(wayTo(at('2.0', '1.0'), '1.0')).toBe('rollback');
    expect(wayTo({ ...at('1.0'), moving_to: '2.0' }, '2.0')).toBe('upgrade');
    expect(wayTo({ ...at('1.0'), moving_to: '2.0' }, '1.0')).toBe('rollback');
    expect(wayTo({ ...at('1.0'), moving_to: '2.0' }, '2.1')).toBe('upgrade');
    expect(wayTo({ ...at('2.0', '1.0'), moving_to: '1.0' }, '1.0')).toBe('rollback');
    expect(wayTo({ ...at('2.0', '1.0'), moving_to: '1.0' }, '2.0')).toBe('upgrade');
  });

  it('knows every version that it came from, and those only', () => {
    const third = arrivedAt(arrivedAt(at('1.0'), '2.0'), '3.0');
    expect(third).toEqual(at('3.0', '1.0', '2.0'));
    expect(arrivedAt(third, '2.0')).toEqual(at('2.0', '1.0'));
    expect(arrivedAt(third, '1.0')).toEqual(at('1.0'));
    expect(arrivedAt({ ...at('2.0', '1.0'), moving_to: '3.0' }, '2.0')).toEqual(at('2.0', '1.0'));
  });
});
