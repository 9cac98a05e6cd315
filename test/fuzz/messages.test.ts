/**
 * Whatever may lie in a queue: no crash, no hang, nothing that goes round and round, and no record changed
 * by what nobody may say. More of it: npm run fuzz -- --inputs 100000
 */
import { expect, it } from 'vitest';
import { startApi } from '../integration/api-harness.ts';
import { fuzzMessages } from './messages.ts';
import { newTaskmanager } from './targets.ts';

const inputs = Number(process.env['COFFER_FUZZ_MESSAGES'] ?? 300);
const seed = Number(process.env['COFFER_FUZZ_SEED'] ?? 1);

it(`stands ${inputs} messages of seed ${seed}`, { timeout: 120_000 + inputs * 500 }, async () => {
  const api = await startApi();
  api.answerCalls();
  try {
    const began = performance.now();
    const { counts, findings } = await fuzzMessages(api, newTaskmanager(api), { inputs, seed });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const { outcomes } = counts;
    process.stdout.write(`${inputs} messages of seed ${seed} in ${seconds} s: ${JSON.stringify(outcomes)}\n`);
    if (inputs > 300) process.stdout.write(`${counts.lines().join('\n')}\n`);
    expect(findings).toEqual([]);
    expect(outcomes).toMatchObject({
      'message: done': expect.any(Number),
      'message: a message was refused': expect.any(Number),
      'message: a message went to the dead letters': expect.any(Number),
    });
  } finally {
    await api.close();
  }
});
