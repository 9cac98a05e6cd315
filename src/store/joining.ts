/** How an external agent takes the place of an instance that is being built or adopted, and how that ends. */
import type { Cluster, Endpoint, Instant } from '../core/domain.ts';
import { taskField } from './cluster-hash.ts';
import type { RedisPort } from './redis-port.ts';
import { script } from './script.ts';

/** An external agent that asks for a place. */
export interface JoiningAgent {
  readonly id: string;
  readonly endpoint: Endpoint;
  readonly sent: Instant;
  /** The only instance that the agent may have. */
  readonly instance_id?: string;
}

/**
 * `stale`: the agent has already asked at a later time. `full`: other agents have all places. `first` is where
 * the first instance of those being built will serve; null until its agent has joined.
 */
export type JoinVerdict =
  | 'stale'
  | 'full'
  | { readonly instance_id: string; readonly first: Endpoint | null };

export const JOINED = { joined: ['hash', 'joined:<id>'] } as const;

/** A part of scripts: the cluster is built or adopted, and idle. The arguments of the script must have `id`. */
export const END_BUILD = {
  keys: {
    ...JOINED,
    cluster: ['hash', 'cluster:<id>'],
    due: ['zset', 'due'],
    build: ['string', 'build:<id>'],
  },
  args: ['idle'],
  lists: { built: ['instance_id'] },
  lua: `
redis.call('ZREM', DUE, 'cluster:' .. id)
redis.call('DEL', BUILD, JOINED)
redis.call('HSET', CLUSTER, 'task', 'NONE')
for instance_id in built() do redis.call('HSET', CLUSTER, 'task:' .. instance_id, idle) end
`,
} as const;

/** What `END_BUILD` is given. */
export function endBuildArgs(cluster: Cluster) {
  return { idle: taskField({ task: 'NONE', fault: null, in_doubt: false }), built: idsBeingBuilt(cluster) };
}

export function idsBeingBuilt({ instances }: Cluster): readonly string[] {
  return instances.filter(({ task }) => task === 'BUILDING').map(({ id }) => id);
}

/** A change of the cluster, if the cluster is still as it was seen. Its time never goes back. */
export function changeOf({ updated }: Cluster, now: Instant) {
  return { since: updated, updated: Math.max(now, updated) };
}

const JOIN = script('provisioning.join', {
  keys: { cluster: ['hash', 'cluster:<id>'], ...JOINED },
  args: ['agent', 'endpoint', 'sent', 'first'],
  lists: { places: ['instance_id'] },
  lua: `
local task = redis.call('HGET', CLUSTER, 'task')
if task ~= 'BUILDING' and task ~= 'GROWING_CLUSTER' then return { 'full' } end
local mine = redis.call('HGET', JOINED, 'agent:' .. agent)
if tonumber(sent) < tonumber(redis.call('HGET', JOINED, 'sent:' .. agent) or 0) then return { 'stale' } end
for instance_id in places() do
  if mine then break end
  if redis.call('HSETNX', JOINED, instance_id, endpoint) == 1 then
    mine = instance_id
    redis.call('HSET', JOINED, 'agent:' .. agent, mine)
  end
end
if not mine then return { 'full' } end
redis.call('HSET', JOINED, mine, endpoint, 'sent:' .. agent, sent)
return { 'joined', mine, redis.call('HGET', JOINED, first) or '' }`,
});

export async function joinIn(port: RedisPort, cluster: Cluster, agent: JoiningAgent): Promise<JoinVerdict> {
  const building = idsBeingBuilt(cluster);
  const { instance_id: own } = agent;
  const answer = await port.run(JOIN, {
    ...{ id: cluster.id, agent: agent.id, sent: agent.sent, first: building[0] ?? null },
    places: own === undefined ? building : building.filter((one) => one === own),
    endpoint: JSON.stringify(agent.endpoint),
  });
  const [verdict, instance_id, first] = answer as ['full' | 'stale'] | ['joined', string, string];
  if (verdict !== 'joined') return verdict;
  return { instance_id, first: first === '' ? null : (JSON.parse(first) as Endpoint) };
}
