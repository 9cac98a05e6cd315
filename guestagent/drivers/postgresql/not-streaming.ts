import type { Endpoint } from '../../../src/core/domain.ts';
import type { InstanceConfig } from '../../driver.ts';
import type { Server } from './server.ts';
import type { Setup } from './setup.ts';
import { shellWord } from './shell.ts';

/**
 * Messages of a standby that has diverged from its primary for good: the log that it needs is gone, or it has
 * log that the primary never had. No retry helps.
 */
const PARTED = [
  /requested WAL segment [0-9A-F]+ has already been removed/,
  /requested starting point \S+ on timeline \d+ is not in this server's history/,
  /requested starting point \S+ is ahead of the WAL flush position of this server/,
  /new timeline \d+ forked off current database system timeline \d+ before current recovery point/,
  /new timeline \d+ is not a child of database system timeline/,
  /requested timeline \d+ is not a child of this server's history/,
  /database system identifier differs between the primary and standby/,
];

/** Why a standby does not stream, as a text with the server's own message. */
export async function notStreaming(
  server: Server,
  setup: Pick<Setup, 'rebuildAdvice'>,
  primary: Endpoint | null,
): Promise<string> {
  const where = primary === null ? 'its primary' : `${primary.host}:${primary.port}`;
  const reason = await server.saidLately(PARTED);
  if (reason !== null) return withWayOut(`the standby does not stream from ${where}: ${reason}`, setup);
  const words = await server.lastWords();
  return `the standby does not stream from ${where}${words === null ? '' : ` (last said: ${words})`}`;
}

/** Adds what to do, if the server's message says that it has diverged from its primary. */
export function withWayOut(message: string, { rebuildAdvice }: Pick<Setup, 'rebuildAdvice'>): string {
  if (!PARTED.some((pattern) => pattern.test(message))) return message;
  return `${message}. It can never catch up and must be built anew: ${rebuildAdvice}`;
}

/** How a standby of a cluster that Coffer built is built anew. */
export function buildAnew({ cluster_id, name }: Pick<InstanceConfig, 'cluster_id' | 'name'>): string {
  return (
    `"coffer cluster-shrink ${cluster_id} ${shellWord(name)}", then "coffer cluster-grow ${cluster_id}" ` +
    '(an upgrade that is under way must be cancelled before)'
  );
}
