import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join as pathOf } from 'node:path';
import { type Bus, RemoteError, TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import type { InstanceConfig } from '../src/contract/guest-config.ts';
import type { Endpoint } from '../src/core/domain.ts';
import type { Logger } from '../src/log.ts';
import { sleep } from '../src/service.ts';

const CALL_TIMEOUT_MS = 5_000;
const RETRY_MS = 2_000;

/**
 * Takes a place in the cluster that `token` belongs to, for an agent without any instance yet: asks
 * until a taskmanager has answered and, for a replica, until it is known where the primary will be.
 * Writes what the instance is to be into `dir`, where the host finds it. The token itself is not sent.
 */
export async function joinCluster(options: {
  readonly dir: string;
  readonly token: string;
  readonly endpoint: Endpoint;
  readonly bus: Bus;
  readonly log: Logger;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { dir, token, endpoint, bus, log, signal } = options;
  await mkdir(dir, { recursive: true });
  if ((await readdir(dir)).some((name) => name.endsWith('.json'))) return;
  const [cluster_id] = token.split('.', 1);
  const token_sha256 = createHash('sha256').update(token).digest('hex');
  const args = { cluster_id, token_sha256, agent_id: await ownId(dir), endpoint };
  while (!signal.aborted) {
    try {
      const answer = await bus.call(TASKMANAGER_TOPIC, 'join', args, { timeout_ms: CALL_TIMEOUT_MS });
      const config = { ...(answer as Omit<InstanceConfig, 'cluster_token'>), cluster_token: token };
      if (config.role !== 'replica' || config.primary) return await keep(dir, config);
      log.info({ cluster_id }, 'joined; waiting for the agent of the primary to join');
    } catch (err) {
      const level = err instanceof RemoteError ? 'error' : 'warn';
      log[level]({ err, cluster_id }, 'could not join the cluster; trying again');
    }
    await sleep(RETRY_MS, signal);
  }
}

/** Made once, so that an agent that is started again gets the same instance. */
async function ownId(dir: string): Promise<string> {
  const path = pathOf(dir, '.agent-id');
  await writeFile(path, randomUUID(), { flag: 'wx', mode: 0o600 }).catch((err: NodeJS.ErrnoException) => {
    if (err.code !== 'EEXIST') throw err;
  });
  return (await readFile(path, 'utf8')).trim();
}

async function keep(dir: string, config: InstanceConfig): Promise<void> {
  const path = pathOf(dir, `${config.instance_id}.json`);
  await writeFile(`${path}.new`, JSON.stringify(config, null, 2), { mode: 0o600 });
  await rename(`${path}.new`, path);
}
