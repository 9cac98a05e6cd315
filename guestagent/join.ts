import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join as pathOf } from 'node:path';
import { type Bus, TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import { isAgentKey, joinKeyOf, newAgentKey, newQuestion } from '../src/bus/joining.ts';
import type { InstanceConfig } from '../src/contract/guest-config.ts';
import { JoinAnswer, JoinedInstance } from '../src/contract/rpc.ts';
import type { Endpoint } from '../src/core/domain.ts';
import { readIfThere } from '../src/files.ts';
import type { Logger } from '../src/log.ts';
import { sleep } from '../src/service.ts';
import { writeFileAtomic } from './files.ts';

const CALL_TIMEOUT_MS = 5_000;
const RETRY_MS = 2_000;

/** `<cluster id>.<32 random bytes>`, as returned when the cluster is created. */
export const JOIN_TOKEN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[A-Za-z0-9_-]{43}$/;

/** A taskmanager has refused the agent: asking again would not help. */
class JoinRefused extends Error {
  override readonly name = 'JoinRefused';
}

interface JoinOptions {
  readonly dir: string;
  readonly token: string;
  readonly endpoint: Endpoint;
  readonly bus: Bus;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Takes a place in the cluster that `token` belongs to, for an agent without an instance. Asks until a
 * taskmanager has answered and, for a replica, until the place of the primary is known. Writes the instance's
 * configuration, including its key, into `dir`, where the host finds it. The token itself is not sent.
 * Rejects with `JoinRefused`.
 */
export async function joinCluster(options: JoinOptions): Promise<void> {
  const { dir, token, signal, log } = options;
  const cluster_id = token.slice(0, token.indexOf('.'));
  await mkdir(dir, { recursive: true });
  const clusters = await clustersIn(dir);
  if (clusters.includes(cluster_id)) {
    return log.info({ cluster_id }, 'this agent has its instance already: the join token is not needed');
  }
  if (clusters.length > 0) {
    const advice = 'not joining: the folder holds an instance of another cluster; give each agent its own';
    return log.error({ cluster_id, dir, of_clusters: clusters }, advice);
  }
  const keys = { join_key: joinKeyOf(token), agent_key: await ownKey(dir) };
  while (!signal.aborted) {
    const config = await ask(options, cluster_id, keys);
    if (config) return keep(dir, config);
    await sleep(RETRY_MS, signal);
  }
}

/** Asks once; null if the agent must ask again. */
async function ask(
  { token, endpoint, bus, log }: JoinOptions,
  cluster_id: string,
  keys: { readonly join_key: string; readonly agent_key: string },
): Promise<InstanceConfig | null> {
  const { question, open } = newQuestion(keys, { cluster_id, endpoint, sent: Date.now() });
  let instance: JoinedInstance;
  try {
    const args = { ...question };
    const said = await bus.call(TASKMANAGER_TOPIC, 'join', args, { timeout_ms: CALL_TIMEOUT_MS });
    const answer = JoinAnswer.parse(said);
    if (answer.verdict === 'refused') throw new JoinRefused(answer.reason);
    instance = JoinedInstance.parse(open(answer.sealed));
  } catch (err) {
    if (err instanceof JoinRefused) throw err;
    log.warn({ err, cluster_id }, 'could not join the cluster; trying again');
    return null;
  }
  const about = { cluster_id, instance_id: instance.instance_id };
  if (instance.role === 'replica' && !instance.primary) {
    log.info(about, 'joined; waiting for the agent of the primary to join');
    return null;
  }
  log.info(about, `joined as ${instance.name}`);
  return { ...instance, cluster_token: token };
}

/** The clusters of the instances that this agent already has. */
async function clustersIn(dir: string): Promise<readonly string[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.json'));
  return Promise.all(
    names.map(async (name) => {
      const config = JSON.parse(await readFile(pathOf(dir, name), 'utf8')) as InstanceConfig;
      return config.cluster_id;
    }),
  );
}

/** The key is made once, so that a restarted agent gets the same instance, and nobody else does. */
async function ownKey(dir: string): Promise<string> {
  const path = pathOf(dir, '.agent-key');
  const held = await readIfThere(path);
  if (held !== null && isAgentKey(held)) return held;
  if (held !== null) throw new Error(`${path} holds no key: remove it, and this agent joins as a new one`);
  const key = newAgentKey();
  await writeFileAtomic(path, key, { mode: 0o600 });
  return key;
}

async function keep(dir: string, config: InstanceConfig): Promise<void> {
  await writeFileAtomic(pathOf(dir, `${config.instance_id}.json`), JSON.stringify(config, null, 2), {
    mode: 0o600,
  });
}
