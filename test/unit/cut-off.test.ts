/** The suite for drivers cuts orders off at their effects: each kind of effect has to be seen. */
import { execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, appendFile, cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { cutOff, stopAt, watch } from '../support/cut-off.ts';

const dir = await mkdtemp(join(tmpdir(), 'coffer-effects-'));
afterAll(() => rm(dir, { recursive: true }));
const made = join(dir, 'made');
const other = join(dir, 'other');
await writeFile(other, '');
const run = promisify(execFile);
const makes = `require('node:fs').writeFileSync(${JSON.stringify(made)}, '')`;
const program = join(dir, 'program.cjs');
await writeFile(program, makes);

const EFFECTS: Readonly<Record<string, () => Promise<unknown>>> = {
  appendFile: () => appendFile(made, 'text'),
  cp: () => cp(other, made),
  mkdir: () => mkdir(made),
  rename: () => rename(other, made),
  writeFile: () => writeFile(made, 'text'),
  spawn: () => once(spawn(process.execPath, [program]), 'exit'),
  'execFile, promisified': () => run(process.execPath, [program]),
  fork: () => once(fork(program), 'exit'),
};

describe('an order that is cut off', () => {
  it.each(Object.entries(EFFECTS))('has not done %s, its first effect', async (_name, effect) => {
    expect(await cutOff(effect, 0)).toBe(true);
    await expect(access(made)).rejects.toThrow('ENOENT');
    await access(other);
  });

  it.each(['kill of the child', 'kill of the process'])('has sent no signal by %s', async (name) => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const send = async () =>
      name === 'kill of the child' ? child.kill('SIGKILL') : process.kill(child.pid ?? 0, 'SIGKILL');
    expect(await cutOff(send, 0)).toBe(true);
    expect(child.killed).toBe(false);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
  });

  it('is done if it has fewer effects', async () => {
    expect(await cutOff(EFFECTS['writeFile'] ?? never, 1)).toBe(false);
    await access(made);
    await rm(made);
  });
});

describe('an order during which the agent stops', () => {
  it('goes on, and its processes are known', async () => {
    let stops = 0;
    const stop = async () => {
      stops += 1;
    };
    const order = async () => {
      await writeFile(made, '');
      await run(process.execPath, ['-e', '']);
      await rm(made);
    };
    const counts = [];
    for (let effects = 0; effects < 4; effects++) counts.push((await stopAt(order, effects, stop))?.length);
    expect([counts, stops]).toEqual([[1, 1, 1, undefined], 3]);
    await expect(access(made)).rejects.toThrow('ENOENT');
  });
});

it('the time of an order stands still until a day passes', async () => {
  const before = Date.now();
  const order = watch(async () => {
    const began = Date.now();
    while (Date.now() === began) await new Promise((done) => setImmediate(done));
    expect(Date.now() - began).toBeGreaterThanOrEqual(86_400_000);
  });
  order.passDay();
  await order.done;
  expect(Date.now() - before).toBeLessThan(86_400_000);
});

function never(): never {
  throw new Error('no such effect');
}
