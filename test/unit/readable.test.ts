/** What `npm start` shows of the logs of its processes. */
import { resolve } from 'node:path';
import { expect, it } from 'vitest';

const { showLines } = (await import(resolve(import.meta.dirname, '../../scripts/lib/readable.mjs'))) as {
  showLines: (
    write: (text: string) => void,
    options: { all: boolean },
  ) => (name: string, line: string) => void;
};

const ID = '8a2d93dd-25ef-4ef6-810a-5c0d34749326';

function shown(name: string, entry: object | string, all = false): string[] {
  const lines: string[] = [];
  const text =
    typeof entry === 'string' ? entry : JSON.stringify({ time: '2026-11-25T09:00:00.123Z', ...entry });
  showLines((line) => lines.push(line.replace(/^[\d:]{8}/, 'hh:mm:ss')), { all })(name, text);
  return lines;
}

it('a line says when, how bad, who, what, and what it is about', () => {
  expect(shown('api', { level: 40, pid: 1, hostname: 'x', msg: 'is slow', ms: 12, url: '/a b' })).toEqual([
    'hh:mm:ss.123 WARN  api             is slow  ms=12  url="/a b"',
  ]);
});

it('an agent of one instance is called by the beginning of its id, once; other ids are whole', () => {
  expect(
    shown(`guest-${ID}`, { level: 30, msg: 'started', instance_id: ID, cluster_id: ID.replace('8', '9') }),
  ).toEqual([`hh:mm:ss.123 info  guest-8a2d93dd  started  cluster_id=${ID.replace('8', '9')}`]);
  expect(shown('guest-simulated', { level: 30, msg: 'started', instance_id: ID })).toEqual([
    `hh:mm:ss.123 info  guest-simulated started  instance_id=${ID}`,
  ]);
});

it('what is only for who looks for a fault is shown when that is asked for', () => {
  expect(shown('redis', 'Ready to accept connections')).toEqual([]);
  expect(shown('redis', 'Ready to accept connections', true)).toEqual([
    'redis | Ready to accept connections',
  ]);
  expect(shown('api', { level: 20, msg: 'detail' })).toEqual([]);
  expect(shown('api', { level: 20, msg: 'detail' }, true)).toHaveLength(1);
});

it('an error brings its stack along, indented', () => {
  const err = { message: 'no', stack: 'Error: no\n  at here' };
  expect(shown('api', { level: 50, msg: 'failed', err })).toEqual([
    'hh:mm:ss.123 ERROR api             failed\n    Error: no\n      at here',
  ]);
});
