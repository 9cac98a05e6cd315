/**
 * Every route and every RPC method with whatever may come: no 5xx, no crash, no hang, no record changed
 * by what was refused, and none of a bystander's at all. More of it: npm run fuzz -- --inputs 100000
 */
import { expect, it } from 'vitest';
import { startApi } from '../integration/api-harness.ts';
import { authenticate, fuzz } from './fuzzer.ts';
import { newTaskmanager } from './targets.ts';

const inputs = Number(process.env['COFFER_FUZZ_INPUTS'] ?? 1500);
const seed = Number(process.env['COFFER_FUZZ_SEED'] ?? 1);

it(`stands ${inputs} inputs of seed ${seed}`, { timeout: 60_000 + inputs * 500 }, async () => {
  const api = await startApi({ authenticate });
  api.answerCalls();
  const taskmanager = newTaskmanager(api);
  try {
    const began = performance.now();
    const { outcomes, findings } = await fuzz(api, taskmanager, { inputs, seed });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    process.stdout.write(`${inputs} inputs of seed ${seed} in ${seconds} s: ${JSON.stringify(outcomes)}\n`);
    expect(findings).toEqual([]);
    // They got past the door: much was done, much was refused by what it was, not only by its form.
    expect(outcomes).toMatchObject({
      'http 200': expect.any(Number),
      'http 202': expect.any(Number),
      'rpc done': expect.any(Number),
    });
    expect((await fetch(`${api.origin}/health/ready`)).status).toBe(200);
  } finally {
    await api.close();
  }
});
