// @ts-check
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { which } from './command.mjs';

/**
 * A Redis of our own. It is the only copy of every record, so it writes each change to its append-only file.
 * When memory is full it refuses writes and evicts nothing.
 *
 * @typedef {import('./supervisor.mjs').Spec} Spec
 */

export const redisPackage = { title: 'Redis', apt: 'redis-server', brew: 'redis', unit: 'redis-server' };

export const REDIS_PORTS = ['redis'];

const DIRS = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/home/linuxbrew/.linuxbrew/bin'];

/** Valkey is Redis under another name; some distributions have only Valkey. */
export function findRedis() {
  return which('redis-server', DIRS) ?? which('valkey-server', DIRS);
}

/**
 * @param {string} server
 * @param {string} folder
 * @param {Record<string, number>} ports
 * @returns {Spec[]}
 */
export function redisSpecs(server, folder, ports) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(
    join(folder, 'redis.conf'),
    [
      '# Written by Coffer at every start. Paths are relative to this folder, which may have any name.',
      'bind 127.0.0.1',
      `port ${ports['redis']}`,
      'daemonize no',
      'dir .',
      'appendonly yes',
      'appendfsync everysec',
      'save ""',
      'maxmemory-policy noeviction',
      '',
    ].join('\n'),
  );
  return [
    { name: 'redis', command: server, args: ['redis.conf'], env: process.env, cwd: folder, graceMs: 10_000 },
  ];
}

/** @param {Record<string, number>} ports */
export function redisUrl(ports) {
  return `redis://127.0.0.1:${ports['redis']}`;
}
