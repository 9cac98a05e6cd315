/**
 * Whole upgrades as text in `test/golden/`: each input that changed something, with the events and
 * effects that it brought about. `UPDATE=1` writes them anew; commit that only if you understand the
 * difference.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { versionOf } from './versions.ts';
import { World, type WorldOptions } from './world.ts';

const FOLDER = join(import.meta.dirname, '../../golden');

interface Transcript extends WorldOptions {
  /** What people do meanwhile; nothing said: they look on. */
  readonly people?: (world: World) => void;
}

const members = { manager: 'cassandra' };
const SILENT = { silent: true };
const BAD = { error: 'it went wrong' };

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
      const target = versionOf('17.11', { id: 'v-fixed', ...members });
      world.versions = [...world.versions, target];
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
  'unheard-at-first': { last_heard_s_ago: 60 },
  'another-is-ill': {
    ...members,
    already_upgraded: ['db-3'],
    people(world) {
      world.reach('db-1', 'verifying');
      world.guest('db-3').sickUntil = world.now + 20_000;
      world.speak(world.guest('db-3'));
    },
  },
  'old-primary-does-not-say': {
    policy: { step_timeout_seconds: 5, retries: 1 },
    scripts: { 'db-1': { demote: [SILENT, SILENT, SILENT] } },
  },
  'successor-does-not-say': {
    instances: 2,
    policy: { step_timeout_seconds: 5 },
    scripts: { 'db-2': { promote: SILENT } },
    people(world) {
      world.settle();
      world.pass(12);
      world.guest('db-2').script = {};
      world.act('retry');
    },
  },
  'old-primary-can-not-serve': {
    instances: 2,
    policy: { retries: 1 },
    scripts: { 'db-1': { promote: [BAD, BAD] }, 'db-2': { promote: [BAD] } },
    people(world) {
      world.settle();
      world.pass(10);
      world.act('retry');
    },
  },
  'standbys-do-not-follow': {
    instances: 4,
    lag_bytes: { 'db-3': 9, 'db-4': 9 },
    policy: { step_timeout_seconds: 8 },
    scripts: { 'db-3': { follow: [BAD] }, 'db-4': { follow: SILENT } },
  },
  'health-does-not-hold': {
    ...members,
    instances: 1,
    policy: { soak_seconds: 20, step_timeout_seconds: 30, retries: 0 },
    people(world) {
      world.reach('db-1', 'soaking');
      world.pass(10);
      world.guest('db-1').sickUntil = world.now + 5_000;
      world.reach('db-1', 'settling');
      world.reach('db-1', 'soaking');
      world.guest('db-1').sickUntil = Infinity;
    },
  },
  'cancelled-in-the-switchover': {
    people(world) {
      world.reach('db-1', 'promoting', 'switchover');
      world.act('cancel');
    },
  },
  'rollback-by-policy': {
    ...members,
    policy: { on_failure: 'rollback', retries: 1 },
    scripts: { 'db-2': { upgrade: [BAD, BAD] } },
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

  it('are all there is of upgrades in their folder', () => {
    const names = Object.keys(TRANSCRIPTS).map((name) => `${name}.golden`);
    const found = readdirSync(FOLDER).filter(
      (name) => name.endsWith('.golden') && !name.startsWith('batch-'),
    );
    expect(found.toSorted()).toEqual(names.toSorted());
  });
});
