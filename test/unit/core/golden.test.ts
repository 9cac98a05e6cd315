/**
 * Whole upgrades as text in `test/golden/`: each input that changed something, with the events and
 * effects that it brought about. `UPDATE=1` writes them anew; commit that only if you understand the
 * difference.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { World, type WorldOptions } from './world.ts';

const FOLDER = join(import.meta.dirname, '../../golden');

const TRANSCRIPTS: Readonly<Record<string, WorldOptions>> = {
  'postgresql-roll': { lag_bytes: { 'db-2': 4_096 } },
  'failing-replica': {
    scripts: { 'db-3': { upgrade: { error: 'the server does not start on 17.10; it is back on 17.6' } } },
  },
  'successor-refuses': {
    instances: 2,
    scripts: { 'db-2': { promote: [{ error: 'this standby has not replayed everything' }] } },
  },
  'two-at-a-time': {
    manager: 'cassandra',
    instances: 5,
    broken: ['db-4'],
    policy: { max_unavailable: 2 },
  },
  'cassandra-racks': {
    manager: 'cassandra',
    instances: 5,
    policy: { max_unavailable: 2 },
    placement: {
      'db-1': { rack: 'a', seed: true },
      'db-2': { rack: 'b' },
      'db-3': { rack: 'a' },
      'db-4': { rack: 'b', seed: true },
      'db-5': { rack: 'a' },
    },
  },
  'galera-one-by-one': { manager: 'mariadb', broken: ['db-3'], policy: { max_unavailable: 2 } },
};

describe('golden transcripts', () => {
  it.each(Object.entries(TRANSCRIPTS))('%s', (name, options) => {
    const world = new World(options);
    world.settle();
    expect(world.violations).toEqual([]);
    const text = `${world.transcript.join('\n')}\n`;
    const path = join(FOLDER, `${name}.golden`);
    if (process.env['UPDATE'] === '1') writeFileSync(path, text);
    expect(text).toBe(readFileSync(path, 'utf8'));
  });
});
