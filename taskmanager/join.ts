import type { Bus, Request } from '../src/bus/bus.ts';
import { agentIdOf, handOver, isProven, type JoinQuestion } from '../src/bus/joining.ts';
import { parseAs } from '../src/contract/explain.ts';
import { type JoinAnswer, JoinArgs } from '../src/contract/rpc.ts';
import {
  type Cluster,
  type Endpoint,
  type Instance,
  type Instant,
  sameEndpoint,
} from '../src/core/domain.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Logger } from '../src/log.ts';
import type { Store } from '../src/store/store.ts';
import { instanceConfig } from './instance-config.ts';
import type { Keyring } from './keyring.ts';

/** How long a question is valid, by the clocks of both sides. A later copy of it is refused. */
const WINDOW_MS = 30_000;

interface JoinDeps {
  readonly store: Pick<Store, 'clusters' | 'provisioning'>;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly keyring?: Keyring;
  readonly installation?: string;
  readonly bus?: Pick<Bus, 'otherInstallations'>;
}

/**
 * Gives an external agent its instance. The answer holds the configuration of the instance and its key, in a
 * form that only this agent can open. Somebody who replays the agent's question gains nothing and changes
 * nothing.
 */
export async function join(
  { store, log, now, keyring, installation, bus }: JoinDeps,
  request: Request,
): Promise<JoinAnswer> {
  const question = parseAs(JoinArgs, request.args, 'join');
  const { cluster_id, endpoint, sent } = question;
  const agent_id = agentIdOf(question.agent_key);
  const cluster = await store.clusters.get(cluster_id);
  if (!cluster) requireAlone(bus?.otherInstallations?.() ?? [], cluster_id);
  const order = await store.provisioning.getOrder(cluster_id);
  const admission = cluster && (await admissionOf(cluster, question, keyring));
  if (!cluster || !order || !admission) {
    log.warn({ cluster_id, agent_id }, 'an agent with a wrong join token');
    return refused(
      'the join token fits no cluster that is being built, grown or adopted: none other takes an agent',
    );
  }
  requireFresh(now() - sent);
  const { join_key, place } = admission;
  if (place?.address && !sameEndpoint(place.address, endpoint)) return refused(elsewhere(place, endpoint));
  const joined = await store.provisioning.join(cluster_id, {
    ...{ id: agent_id, endpoint, sent },
    ...(place && { instance_id: place.id }),
  });
  if (joined === 'stale')
    throw new CofferError('conflict', 'this agent has asked anew since: it is a replay');
  const instance = joined !== 'full' && cluster.instances.find(({ id }) => id === joined.instance_id);
  const rpc_key = instance ? ((await keyring?.secretOf(instance.id)) ?? null) : null;
  if (!instance || rpc_key === null) {
    if (place) return refused(`the place of ${place.name} is taken by another agent`);
    const { length } = cluster.instances.filter(({ task }) => task === 'BUILDING');
    return refused(`all ${length} places of the cluster are taken by other agents`);
  }
  const first = cluster.task === 'BUILDING' ? cluster.instances[0] : undefined;
  const endpoints = new Map([
    ...(joined.first && first ? [[first.id, joined.first] as const] : []),
    [instance.id, endpoint],
  ]);
  const config = instanceConfig(cluster, instance, order, endpoints, installation);
  return { verdict: 'joined', sealed: handOver(join_key, question, { ...config, rpc_key }) };
}

interface Admission {
  readonly join_key: string;
  /** The only instance that the agent may have; absent if the agent may have any free one. */
  readonly place?: Instance;
}

/**
 * Finds the join key that the agent has proven to hold. A cluster that is built has one key; a cluster that is
 * adopted has one key for each of its servers, and so the key says which server is the agent's. Null if the
 * agent holds none of them.
 */
async function admissionOf(
  { id, adopted, instances }: Cluster,
  question: JoinQuestion,
  keyring: Keyring | undefined,
): Promise<Admission | null> {
  const places = adopted ? instances.map((place) => ({ of: place.id, place })) : [{ of: id }];
  for (const { of, ...place } of places) {
    const join_key = (await keyring?.joinKeyOf(of)) ?? null;
    if (join_key !== null && isProven(join_key, question)) return { join_key, ...place };
  }
  return null;
}

function elsewhere({ name, address }: Instance, said: Endpoint): string {
  const [here, there] = [address, said].map((at) => `${at?.host}:${at?.port}`);
  return `the join token is of ${name} at ${here}, and this agent says that its server is at ${there}: set COFFER_ADVERTISE=${here} on the host of ${name}, or start this agent with the token of its own host`;
}

/**
 * An agent does not know yet which installation its cluster belongs to, and the agent ends after a refusal.
 * An error instead makes the agent ask again, until a taskmanager of its own installation receives the
 * question.
 */
function requireAlone(others: readonly string[], cluster_id: string): void {
  if (others.length === 0) return;
  throw new CofferError(
    'conflict',
    `no cluster ${cluster_id} is known here, and another installation (${others.join(', ')}) takes messages from the same queue: the agent asks again; give each installation a virtual host of RabbitMQ of its own`,
  );
}

function refused(reason: string): JoinAnswer {
  return { verdict: 'refused', reason };
}

function requireFresh(age_ms: number): void {
  if (Math.abs(age_ms) <= WINDOW_MS) return;
  const off_s = Math.round(age_ms / 1000);
  throw new CofferError(
    'conflict',
    `the agent's clock says that it asked ${off_s} s ago: set the clocks of both hosts (NTP), or it is a replay`,
  );
}
