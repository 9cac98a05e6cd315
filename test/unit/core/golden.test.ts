/**
 * Whole upgrades as text in `test/golden/`: each input that changed something, with the events and
 * effects that it brought about. `UPDATE=1` writes them anew; commit that only if you understand the
 * difference.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { World, type WorldOptions } from './world.ts';

const FOLDER = join(import.meta.dirname, '../../golden');

interface Transcript extends WorldOptions {
  /** What people do meanwhile; nothing said: they look on. */
  readonly people?: (world: World) => void;
}

const members = { manager: 'cassandra' };

const TRANSCRIPTS: Readonly<Record<string, Transcript>> = {
  'postgresql-roll': { lag_bytes: { 'db-2': 4_096 } },
  'failing-replica': {
    scripts: { 'db-3': { upgrade: { error: 'the server does not start on 17.10; it is back on 17.6' } } },
  },
  'successor-refuses': {
    instances: 2,
    scripts: { 'db-2': { promote: [{ error: 'this standby has not replayed everything' }] } },
  },
  'two-at-a-time': { ...members, instances: 5, broken: ['db-4'], policy: { max_unavailable: 2 } },
  'cassandra-racks': {
    ...members,
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
  'mongodb-shards': {
    manager: 'mongodb',
    instances: 5,
    roles: { 'db-2': 'primary', 'db-3': 'replica' },
    placement: {
      'db-1': { kind: 'router' },
      'db-2': { kind: 'shard', shard: 'a' },
      'db-3': { kind: 'shard', shard: 'a' },
      'db-4': { kind: 'shard', shard: 'b' },
      'db-5': { kind: 'config' },
    },
  },
  'couchdb-creation-order': { manager: 'couchdb', instances: 2 },
  rollback: {
    people(world) {
      world.reach('db-1', 'upgrading');
      world.act('rollback');
    },
  },
  'retry-with-another-version': {
    ...members,
    instances: 2,
    policy: { retries: 0 },
    scripts: { 'db-2': { upgrade: [{ error: '17.10 does not start' }] } },
    people(world) {
      world.settle();
      const target = { id: 'v-fixed', name: '17.11' };
      world.feed({ type: 'action', action: 'retry', by: 'ann', target });
    },
  },
  'window-closes': {
    ...members,
    policy: { window: { cron: '30 * * * *', duration_seconds: 120, time_zone: 'UTC' } },
    scripts: { 'db-1': { upgrade: { ms: 70_000 } } },
    people(world) {
      world.until(() => world.upgrade.state.name === 'succeeded', 7_200);
    },
  },
  canary: {
    ...members,
    policy: { canary: 1 },
    people(world) {
      world.settle();
      world.act('approve');
    },
  },
};

describe('golden transcripts', () => {
  it.each(Object.entries(TRANSCRIPTS))('%s', (name, { people, ...options }) => {
    const world = new World(options);
    people?.(world);
    world.settle();
    expect(world.violations).toEqual([]);
    const text = `${world.transcript.join('\n')}\n`;
    const path = join(FOLDER, `${name}.golden`);
    if (process.env['UPDATE'] === '1') writeFileSync(path, text);
    expect(text).toBe(readFileSync(path, 'utf8'));
  });

  it('are all there is in their folder', () => {
    const names = Object.keys(TRANSCRIPTS).map((name) => `${name}.golden`);
    expect(readdirSync(FOLDER).toSorted()).toEqual(names.toSorted());
  });
});
