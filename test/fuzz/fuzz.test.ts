/**
 * Every route and every RPC method with whatever may come: no 5xx, no crash, no hang, no record changed
 * by what was refused, and none of a bystander's at all. More of it: npm run fuzz -- --inputs 100000
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { readDashboard } from '../../api/http/dashboard.ts';
import { GUEST_ARGS } from '../../src/contract/rpc.ts';
import { startApi } from '../integration/api-harness.ts';
import { fuzz } from './fuzzer.ts';
import { callsTo, kindOf, newTaskmanager, operationsOf } from './targets.ts';
import { authenticate } from './world.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const inputs = Number(process.env['COFFER_FUZZ_INPUTS'] ?? 1500);
const seed = Number(process.env['COFFER_FUZZ_SEED'] ?? 1);
/** From so many inputs on it is no chance if nothing was ever granted. */
const MANY = 50_000;

const METHODS = callsTo({ cluster: '', instance: '', upgrade: '' }).map(
  ([topic, method]) => `${topic}.${method}`,
);

it('knows every RPC method that there is', () => {
  const source = readFileSync(join(ROOT, 'taskmanager/requests.ts'), 'utf8');
  const served = [...source.matchAll(/^ {4}case '(\w+)':$/gm)].map(([, method]) => `taskmanager.${method}`);
  expect(served.length).toBeGreaterThan(8);
  const ofGuests = Object.keys(GUEST_ARGS).map((method) => `guest.${method}`);
  expect(METHODS.toSorted()).toEqual([...served, ...ofGuests, 'conductor.heartbeat'].toSorted());
});

it(`stands ${inputs} inputs of seed ${seed}`, { timeout: 60_000 + inputs * 500 }, async () => {
  const api = await startApi({ authenticate, dashboard: readDashboard(join(ROOT, 'dist/dashboard')) });
  api.answerCalls();
  try {
    const began = performance.now();
    const options = { inputs, seed };
    const { counts, findings } = await fuzz(api, newTaskmanager(api), options);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const { outcomes } = counts;
    process.stdout.write(`${inputs} inputs of seed ${seed} in ${seconds} s: ${JSON.stringify(outcomes)}\n`);
    if (inputs >= MANY) process.stdout.write(`${counts.lines().join('\n')}\n`);
    expect(findings).toEqual([]);
    // They got past the door: much was done, much was refused by what it was, not only by its form.
    expect(outcomes).toMatchObject({
      'http 200': expect.any(Number),
      'http 202': expect.any(Number),
      'rpc done': expect.any(Number),
    });
    const operations = operationsOf(api).map(kindOf);
    expect(counts.missing([...operations, ...METHODS, 'job'])).toEqual([]);
    if (inputs >= MANY) {
      expect(counts.without(operations, /^http 20/)).toEqual([]);
      expect(counts.without([...METHODS, 'job'], /^rpc done/)).toEqual([]);
    }
    expect((await fetch(`${api.origin}/health/ready`)).status).toBe(200);
  } finally {
    await api.close();
  }
});
