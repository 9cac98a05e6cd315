/**
 * Thousands of schedules, each from its seed: the guarantees G1 to G10 hold under every fault, and when the
 * faults stop every upgrade ends. `npm run simulate` runs more schedules, and shows one from start to end.
 */
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { simulate } from './run.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const SEEDS = 3_000;

describe('the simulation', () => {
  it('goes the same way twice from the same seed, and another way from another', async () => {
    const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
    const hashes: string[] = [];
    for (const seed of seeds) {
      const [one, other] = [await simulate(seed), await simulate(seed)];
      expect(other.history).toEqual(one.history);
      expect(other).toEqual(one);
      hashes.push(one.hash);
    }
    expect(new Set(hashes).size).toBe(seeds.length);
  });

  it(`breaks no guarantee in ${SEEDS} schedules`, async () => {
    const { code, output } = await run('simulate', ['--seeds', String(SEEDS)]);
    expect(output).toContain(`0 of ${SEEDS} schedules broke a guarantee`);
    expect(code).toBe(0);
    // The schedules must contain upgrades that end in every possible way.
    for (const state of ['succeeded', 'failed', 'cancelled', 'rolled_back']) {
      expect(Number(new RegExp(`(\\d+) ${state}`).exec(output)?.[1])).toBeGreaterThan(SEEDS / 50);
    }
  }, 1_800_000);

  it('tells a single seed from start to end, and with the same hash as it has in a test', async () => {
    const { output } = await run('simulate', ['--seed', '5']);
    const { hash, history } = await simulate(5);
    expect(output).toContain(history.join('\n'));
    expect(output).toContain(`hash: ${hash}`);
  });
});

describe('the bugs that its checkers are proven with', () => {
  it('fit the sources: npm run prove puts them in one by one, and each is caught', async () => {
    const { code, output } = await run('prove-checkers', ['--check']);
    expect(output).toMatch(/\d\d bugs fit the sources/);
    expect(code).toBe(0);
  });
});

function run(
  script: 'simulate' | 'prove-checkers',
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [join(ROOT, `scripts/${script}.mjs`), ...args], { cwd: ROOT });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString();
      });
    }
    child.once('error', fail);
    child.once('close', (code) => done({ code, output }));
  });
}
