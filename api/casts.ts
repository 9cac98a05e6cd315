import { TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import type { Cluster } from '../src/core/domain.ts';
import { every, type Service, type Sleep, sleep } from '../src/service.ts';
import type { PendingCast } from '../src/store/outbox.ts';
import type { Caller } from './access/caller.ts';
import type { Deps } from './deps.ts';

/** How long a request waits for the confirm of its cast: the cast is already safe in the store. */
const PUBLISH_WAIT_MS = 1000;
/** How often the relay searches for unconfirmed casts, and how old they must be. */
const RELAY_PERIOD_MS = 1000;
const RELAY_AGE_MS = 2000;
const RELAY_BATCH = 100;

type CastDeps = Pick<Deps, 'store' | 'bus' | 'log' | 'now'> & { readonly sleep?: Sleep };

/** The cast that makes a taskmanager build, grow, shrink, remove or release a cluster. */
export function clusterCast(
  { request_id, trace }: Caller,
  method: 'create_cluster' | 'grow_cluster' | 'shrink_cluster' | 'delete_cluster' | 'release_cluster',
  { id: cluster_id, tenant_id }: Pick<Cluster, 'id' | 'tenant_id'>,
  more: Readonly<Record<string, unknown>> = {},
): PendingCast {
  return {
    id: `${cluster_id}:${method}`,
    topic: TASKMANAGER_TOPIC,
    method,
    args: { cluster_id, ...more },
    request_id,
    ...(trace !== undefined && { trace }),
    tenant_id,
  };
}

/**
 * Publishes a cast that the store holds as pending. Never rejects, and waits a second at most: while RabbitMQ
 * is away the cast stays pending, and the relay publishes it when RabbitMQ is back.
 */
export async function publish(deps: CastDeps, cast: PendingCast): Promise<void> {
  const waiting = new AbortController();
  const { sleep: pause = sleep } = deps;
  await Promise.race([send(deps, cast), pause(PUBLISH_WAIT_MS, waiting.signal)]);
  waiting.abort();
}

/** Publishes casts again that were not confirmed: after a crash, or while RabbitMQ was away. */
export function startRelay(deps: CastDeps): Service {
  return every('cast relay', RELAY_PERIOD_MS, deps, async () => {
    if (!deps.bus.isConnected()) return;
    const casts = await deps.store.outbox.pendingCasts(deps.now() - RELAY_AGE_MS, RELAY_BATCH);
    await Promise.all(casts.map((cast) => send(deps, cast)));
  });
}

async function send(deps: CastDeps, cast: PendingCast): Promise<void> {
  const { id, topic, method, args, request_id, trace, tenant_id, notification } = cast;
  try {
    await deps.bus.cast(topic, method, args, {
      context: { request_id, tenant_id, user: null, is_admin: false, ...(notification && { notification }) },
      trace,
    });
    await deps.store.outbox.castConfirmed(id);
  } catch (err) {
    deps.log.warn(
      { err, cast_id: id, method, request_id },
      'a cast was not confirmed; the relay will publish it again',
    );
  }
}
