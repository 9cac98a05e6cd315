/**
 * Whole batches as text in `test/golden/`, as those of upgrades are. `UPDATE=1` writes them anew; commit that
 * only if you understand the difference.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BatchWorld } from './world.ts';

const FOLDER = join(import.meta.dirname, '../../golden');

const TRANSCRIPTS: Readonly<Record<string, () => BatchWorld>> = {
  'batch-default-waves': () => new BatchWorld({ clusters: 12 }).settle(),
  'batch-over-budget': () => {
    const it = new BatchWorld({
      clusters: 4,
      waves: [{ max_concurrent: 2, failure_budget: 0 }],
      scripts: { 'c-2': [{ takes_s: 4, end: 'failed' }, {}] },
    }).settle();
    it.act({ action: 'retry' });
    return it.settle();
  },
  'batch-rolled-back': () => {
    const it = new BatchWorld({
      clusters: 3,
      waves: [{ share: 2, soak_seconds: 30 }, { approval: true }],
      busy_s: { 'c-2': 20 },
    }).settle();
    it.act({ action: 'rollback' });
    it.settle();
    it.act({ action: 'cancel' });
    return it.settle();
  },
};

describe('golden transcripts of batches', () => {
  it.each(Object.entries(TRANSCRIPTS))('%s', (name, play) => {
    const world = play();
    expect(world.violations).toEqual([]);
    const text = `${world.transcript.join('\n')}\n`;
    const path = join(FOLDER, `${name}.golden`);
    if (process.env['UPDATE'] === '1') writeFileSync(path, text);
    expect(text).toBe(readFileSync(path, 'utf8'));
  });
});
